/*
** The methods of a -wal file. There is no such file: frames go to, and come from, the segments of the log.
**
** SQLite never locks or maps a -wal file, so those methods do nothing. SQLITE_IOCAP_POWERSAFE_OVERWRITE tells it not to
** pad a commit to a whole sector: every frame carries a checksum of its own here, and a torn one is noticed.
*/
#include "internal.h"

#define HANDLE(pFile) (((WalFile*)(pFile))->pDb->pHandle)

static int walClose(sqlite3_file *pFile){
  if( HANDLE(pFile) ) pVwal->xWalClosed(HANDLE(pFile));
  return SQLITE_OK;
}
/*
** While a checkpoint of this connection runs, the only reads are of the pages that it is about to write to the database
** file, and dbWrite() throws those writes away: there is no need to read the pages either.
*/
static int walRead(sqlite3_file *pFile, void *pBuf, int iAmt, sqlite3_int64 iOfst){
  if( HANDLE(pFile)==0 ) return SQLITE_IOERR_READ;
  if( ((WalFile*)pFile)->pDb->inCkpt ) return SQLITE_OK;
  return pVwal->xWalRead(HANDLE(pFile), pBuf, iAmt, iOfst);
}
static int walWrite(sqlite3_file *pFile, const void *pBuf, int iAmt, sqlite3_int64 iOfst){
  if( HANDLE(pFile)==0 ) return SQLITE_IOERR_WRITE;
  return pVwal->xWalWrite(HANDLE(pFile), pBuf, iAmt, iOfst);
}
static int walTruncate(sqlite3_file *pFile, sqlite3_int64 nByte){
  if( HANDLE(pFile)==0 ) return SQLITE_IOERR_TRUNCATE;
  return pVwal->xWalTruncate(HANDLE(pFile), nByte);
}
static int walSync(sqlite3_file *pFile, int flags){
  (void)flags;
  if( HANDLE(pFile)==0 ) return SQLITE_IOERR_FSYNC;
  return pVwal->xWalSync(HANDLE(pFile));
}
static int walFileSize(sqlite3_file *pFile, sqlite3_int64 *pnByte){
  int64_t n = 0;
  int rc;
  if( HANDLE(pFile)==0 ) return SQLITE_IOERR_FSTAT;
  rc = pVwal->xWalSize(HANDLE(pFile), &n);
  *pnByte = n;
  return rc;
}
static int walLock(sqlite3_file *pFile, int eLock){
  (void)pFile; (void)eLock;
  return SQLITE_OK;
}
static int walCheckReservedLock(sqlite3_file *pFile, int *pResOut){
  (void)pFile;
  *pResOut = 0;
  return SQLITE_OK;
}
static int walFileControl(sqlite3_file *pFile, int op, void *pArg){
  (void)pFile; (void)op; (void)pArg;
  return SQLITE_NOTFOUND;
}
static int walSectorSize(sqlite3_file *pFile){
  sqlite3_file *pReal = ((WalFile*)pFile)->pDb->pReal;
  return pReal->pMethods->xSectorSize(pReal);
}
static int walDeviceCharacteristics(sqlite3_file *pFile){
  (void)pFile;
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

const sqlite3_io_methods vwalWalMethods = {
  1,                           /* iVersion */
  walClose,
  walRead,
  walWrite,
  walTruncate,
  walSync,
  walFileSize,
  walLock,
  walLock,
  walCheckReservedLock,
  walFileControl,
  walSectorSize,
  walDeviceCharacteristics,
  0, 0, 0, 0, 0, 0
};
