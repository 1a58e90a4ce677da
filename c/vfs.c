/*
** The VFS "vwal": a virtual WAL for unmodified SQLite.
**
** SQLite, in WAL mode, reaches its log only through the sqlite3_io_methods of the -wal file and the xShm* methods of the
** database file. This VFS stands on the default one, and answers those calls from a log of its own:
**
**   database file  (dbfile.c)    reads come from the view: the newest absorbed frame of a page, else the real file.
**                                Writes during a checkpoint move nothing. xShm* are the wal-index in memory.
**   -wal file      (walfile.c)   a header and frames that exist only in the log's segments.
**   anything else                opened by the parent VFS, with its own methods: journals, temporary files, the
**                                databases of VACUUM.
**
** A database is virtual while it is in WAL mode. In rollback mode the database file is passed through to the parent;
** the way in is PRAGMA journal_mode=WAL (ext.c issues it for main databases), the way out PRAGMA journal_mode=DELETE.
**
** <database>-wal is a directory. Stock SQLite answers SQLITE_CANTOPEN when it finds a directory there, instead of reading
** a database file that is behind its log. A -wal *file* is stock SQLite's: it is checkpointed by stock SQLite, through the
** parent VFS, before the directory takes its place; if somebody else has it open, that is SQLITE_BUSY.
**
** The decisions themselves are taken in Rust, behind the verbs in vwal.h.
*/
#include "internal.h"
#include <string.h>

/* What xWalKind says. */
#define KIND_MISSING 0
#define KIND_DIR     1
#define KIND_FILE    2

static int vwalOpen(sqlite3_vfs *pVfs, const char *zName, sqlite3_file *pFile, int flags, int *pOutFlags){
  (void)pVfs;
  pFile->pMethods = 0;
  if( (flags & SQLITE_OPEN_WAL)!=0 && zName!=0 ){
    DbFile *pDb = vwalPagerFind(zName);
    if( pDb!=0 ){
      WalFile *p = (WalFile*)pFile;
      int bReadonly = 0;
      int rc = vwalDbPrepare(pDb, 1);
      if( rc==SQLITE_OK ) rc = pVwal->xWalOpened(pDb->pHandle, &bReadonly);
      if( rc!=SQLITE_OK ) return rc;
      p->pDb = pDb;
      p->base.pMethods = &vwalWalMethods;
      if( pOutFlags ){
        *pOutFlags = flags;
        if( bReadonly ){
          *pOutFlags = (flags & ~(SQLITE_OPEN_READWRITE|SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
        }
      }
      return SQLITE_OK;
    }
  }
  if( (flags & SQLITE_OPEN_MAIN_JOURNAL)!=0 && (flags & SQLITE_OPEN_CREATE)!=0 && zName!=0 ){
    DbFile *pDb = vwalPagerFind(zName);
    if( pDb!=0 && pDb->pHandle!=0 ){
      char *zErr = 0;
      int rc = pVwal->xCanLeave(pDb->pHandle, &zErr);
      sqlite3_free(zErr);
      if( rc!=SQLITE_OK ) return rc;
    }
  }
  if( (flags & SQLITE_OPEN_MAIN_DB)!=0 && zName!=0 ){
    DbFile *p = (DbFile*)pFile;
    int outFlags = 0;
    int rc;
    if( !vwalPagerOwns(pFile, zName) ) return vwalRefusedOpen(p, zName);
    /* sqlite3_shutdown() and sqlite3_reset_auto_extension() drop the hook. It runs after this, for this connection too. */
    rc = vwalHookOnOpen();
    if( rc!=SQLITE_OK ) return rc;
    memset(p, 0, sizeof(*p));
    p->pReal = (sqlite3_file*)&p[1];
    p->zDb = zName;
    p->zJournal = sqlite3_filename_journal(zName);
    p->zWal = sqlite3_filename_wal(zName);
    rc = pParentVfs->xOpen(pParentVfs, zName, p->pReal, flags, &outFlags);
    if( rc!=SQLITE_OK ){
      /* A parent that sets its methods although it fails wants to be closed. */
      if( p->pReal->pMethods ) p->pReal->pMethods->xClose(p->pReal);
      return rc;
    }
    if( pOutFlags ) *pOutFlags = outFlags;
    p->bReadonly = (outFlags & SQLITE_OPEN_READONLY)!=0;
    if( p->bReadonly && pVwal->xWalKind(p->zWal)==KIND_FILE ){
      /* A stock database that may not be changed, so it cannot be adopted: what SQLite would make of it. */
      p->pReal->pMethods->xClose(p->pReal);
      memset(pFile, 0, sizeof(*p));
      return pParentVfs->xOpen(pParentVfs, zName, pFile, flags, pOutFlags);
    }
    p->base.pMethods = &vwalDbMethods;
    vwalPagerAdd(p);
    if( vwalDbCheckParams(p)==SQLITE_OK ){
      /* An error is kept in p, and told when the file is used, or by the hook on open. */
      vwalDbPrepare(p, 0);
    }
    return SQLITE_OK;
  }
  return pParentVfs->xOpen(pParentVfs, zName, pFile, flags, pOutFlags);
}

static int vwalDelete(sqlite3_vfs *pVfs, const char *zName, int syncDir){
  DbFile *pDb = vwalPagerFind(zName);
  (void)pVfs;
  /* The directory stays, to keep stock SQLite out. To SQLite the file is gone. The log is that of the connection: what has the
  ** name may be the log of another file by now. */
  if( pDb!=0 && pDb->zWal==zName && pDb->pHandle!=0 ) return pVwal->xDeleteWal(pDb->pHandle);
  if( pVwal->xWalKind(zName)==KIND_DIR ) return SQLITE_OK;
  return pParentVfs->xDelete(pParentVfs, zName, syncDir);
}

/* To SQLite a log directory is no file: it opens the WAL of a database whose header says so, and when it has deleted the
** WAL, to leave WAL mode, it must not find it again. */
static int vwalAccess(sqlite3_vfs *pVfs, const char *zName, int flags, int *pResOut){
  size_t n = zName ? strlen(zName) : 0;
  (void)pVfs;
  if( flags==SQLITE_ACCESS_EXISTS && n>4 && memcmp(&zName[n-4], "-wal", 4)==0
   && pVwal->xWalKind(zName)==KIND_DIR ){
    *pResOut = 0;
    return SQLITE_OK;
  }
  return pParentVfs->xAccess(pParentVfs, zName, flags, pResOut);
}

static int vwalFullPathname(sqlite3_vfs *pVfs, const char *zName, int nOut, char *zOut){
  (void)pVfs;
  return pParentVfs->xFullPathname(pParentVfs, zName, nOut, zOut);
}

static void *vwalDlOpen(sqlite3_vfs *pVfs, const char *zName){
  (void)pVfs;
  return pParentVfs->xDlOpen(pParentVfs, zName);
}
static void vwalDlError(sqlite3_vfs *pVfs, int nByte, char *zErrMsg){
  (void)pVfs;
  pParentVfs->xDlError(pParentVfs, nByte, zErrMsg);
}
static void (*vwalDlSym(sqlite3_vfs *pVfs, void *pLib, const char *zSym))(void){
  (void)pVfs;
  return pParentVfs->xDlSym(pParentVfs, pLib, zSym);
}
static void vwalDlClose(sqlite3_vfs *pVfs, void *pLib){
  (void)pVfs;
  pParentVfs->xDlClose(pParentVfs, pLib);
}
static int vwalRandomness(sqlite3_vfs *pVfs, int nByte, char *zOut){
  (void)pVfs;
  return pParentVfs->xRandomness(pParentVfs, nByte, zOut);
}
static int vwalSleep(sqlite3_vfs *pVfs, int nMicro){
  (void)pVfs;
  return pParentVfs->xSleep(pParentVfs, nMicro);
}
static int vwalCurrentTime(sqlite3_vfs *pVfs, double *pTime){
  (void)pVfs;
  return pParentVfs->xCurrentTime(pParentVfs, pTime);
}
static int vwalGetLastError(sqlite3_vfs *pVfs, int nByte, char *zOut){
  (void)pVfs;
  return pParentVfs->xGetLastError(pParentVfs, nByte, zOut);
}
static int vwalCurrentTimeInt64(sqlite3_vfs *pVfs, sqlite3_int64 *pTime){
  (void)pVfs;
  return pParentVfs->xCurrentTimeInt64(pParentVfs, pTime);
}

sqlite3_vfs vwalVfs = {
  2,                           /* iVersion */
  0,                           /* szOsFile: vwalVfsInit() */
  0,                           /* mxPathname: vwalVfsInit() */
  0,                           /* pNext */
  "vwal",                      /* zName */
  0,                           /* pAppData */
  vwalOpen,
  vwalDelete,
  vwalAccess,
  vwalFullPathname,
  vwalDlOpen,
  vwalDlError,
  vwalDlSym,
  vwalDlClose,
  vwalRandomness,
  vwalSleep,
  vwalCurrentTime,
  vwalGetLastError,
  vwalCurrentTimeInt64,
  0, 0, 0                      /* xSetSystemCall and so on: the parent's are reached by its own name */
};

/* Fill in what depends on the parent. */
int vwalVfsInit(void){
  vwalVfs.szOsFile = (int)sizeof(DbFile) + pParentVfs->szOsFile;
  vwalVfs.mxPathname = pParentVfs->mxPathname;
  return vwalPagerMeasure();
}
