/*
** A database file that another VFS has opened through vwal.
**
** vwal follows SQLite's WAL by the calls that SQLite makes, in their order and with their bytes. A VFS above may change bytes
** (encryption, checksums), delay writes, split the file or leave calls out, and nothing here could tell. So the file is
** refused. The open itself succeeds and touches nothing: the hook on open (ext.c) then fails with words, and ATTACH with the
** first lock. Until then SQLite sees an empty file.
*/
#include "internal.h"
#include <string.h>

static int refusedClose(sqlite3_file *pFile){
  sqlite3_free(((DbFile*)pFile)->zErr);
  return SQLITE_OK;
}
static int refusedRead(sqlite3_file *pFile, void *pBuf, int iAmt, sqlite3_int64 iOfst){
  (void)pFile; (void)iOfst;
  memset(pBuf, 0, (size_t)iAmt);
  return SQLITE_IOERR_SHORT_READ;
}
static int refusedWrite(sqlite3_file *pFile, const void *pBuf, int iAmt, sqlite3_int64 iOfst){
  (void)pBuf; (void)iAmt; (void)iOfst;
  return ((DbFile*)pFile)->rcErr;
}
static int refusedTruncate(sqlite3_file *pFile, sqlite3_int64 nByte){
  (void)nByte;
  return ((DbFile*)pFile)->rcErr;
}
static int refusedWithInt(sqlite3_file *pFile, int i){
  (void)i;
  return ((DbFile*)pFile)->rcErr;
}
static int refusedUnlock(sqlite3_file *pFile, int eLock){
  (void)pFile; (void)eLock;
  return SQLITE_OK;
}
static int refusedFileSize(sqlite3_file *pFile, sqlite3_int64 *pnByte){
  (void)pFile;
  *pnByte = 0;
  return SQLITE_OK;
}
static int refusedCheckReservedLock(sqlite3_file *pFile, int *pResOut){
  *pResOut = 0;
  return ((DbFile*)pFile)->rcErr;
}
static int refusedFileControl(sqlite3_file *pFile, int op, void *pArg){
  if( op!=VWAL_FCNTL_FILE ) return SQLITE_NOTFOUND;
  *(DbFile**)pArg = (DbFile*)pFile;
  return SQLITE_OK;
}
static int refusedSectorSize(sqlite3_file *pFile){
  (void)pFile;
  return 4096;
}
static int refusedDeviceCharacteristics(sqlite3_file *pFile){
  (void)pFile;
  return 0;
}

static const sqlite3_io_methods refusedMethods = {
  1,                           /* iVersion */
  refusedClose,
  refusedRead,
  refusedWrite,
  refusedTruncate,
  refusedWithInt,              /* xSync */
  refusedFileSize,
  refusedWithInt,              /* xLock */
  refusedUnlock,
  refusedCheckReservedLock,
  refusedFileControl,
  refusedSectorSize,
  refusedDeviceCharacteristics,
  0, 0, 0, 0, 0, 0
};

int vwalRefusedOpen(DbFile *p, const char *zName){
  memset(p, 0, sizeof(*p));
  p->rcErr = SQLITE_CANTOPEN;
  p->zErr = sqlite3_mprintf(
    "vwal: '%s' was opened by another VFS, which stands above vwal; vwal has to be the uppermost one: "
    "open the database with vfs=vwal, and load what is to be below it before vwal is loaded", zName);
  if( p->zErr==0 ) return SQLITE_NOMEM;
  sqlite3_log(p->rcErr, "%s", p->zErr);
  p->base.pMethods = &refusedMethods;
  return SQLITE_OK;
}
