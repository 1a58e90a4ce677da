/*
** The methods of a database file.
**
** While the database is virtual (p->pHandle!=0), SQLite reads the view, its writes during a checkpoint are noted and move
** nothing, and the wal-index is the log's. While it is not, everything goes to the parent's file. The locks of the file
** itself are always the parent's real ones: SQLite decides by them whether a connection is the last one.
**
** Three things happen at the edges:
**
**   In.   A database becomes virtual when SQLite opens its WAL (vfs.c), or earlier, when there is a log directory already.
**   Out.  SQLite writes to the file outside a checkpoint only when it has left WAL mode (PRAGMA journal_mode=DELETE; it
**         holds the EXCLUSIVE lock then). The log is drained and its directory removed before that write is done.
**   New.  An empty main database is created in rollback mode, as by stock SQLite, so that its page size and so on can be
**         chosen; but page 1 is written with the mark of WAL mode (bytes 18 and 19), and with a change counter that is one
**         higher than SQLite thinks, so that its next transaction reads page 1 anew and opens the WAL. The log is begun before
**         the first transaction gives up its lock: from its commit on the connection has the database open, for other
**         processes too, as with stock SQLite in WAL mode. An existing database that could not be put into WAL mode when it
**         was opened, because it was locked then, for instance, is treated alike.
*/
#include "internal.h"
#include <string.h>

#define REAL(p) ((p)->pReal)

static int dbClose(sqlite3_file *pFile){
  DbFile *p = (DbFile*)pFile;
  vwalPagerRemove(p);
  vwalDbDetach(&p->pHandle);
  vwalDbDetach(&p->pBegun);
  sqlite3_free(p->zErr);
  p->zErr = 0;
  return REAL(p)->pMethods->xClose(REAL(p));
}

/* Change counter, size in pages, and freelist: Pager.dbFileVers. */
#define VERSION_OFFSET 24
#define VERSION_SIZE   16

static int dbReadPart(DbFile *p, void *pBuf, int iAmt, sqlite3_int64 iOfst){
  if( p->pHandle ){
    int eBase = 0;
    int rc = pVwal->xDbRead(p->pHandle, pBuf, iAmt, iOfst, &eBase);
    if( rc!=SQLITE_OK || !eBase ) return rc;
    rc = REAL(p)->pMethods->xRead(REAL(p), pBuf, iAmt, iOfst);
    if( rc==SQLITE_IOERR_SHORT_READ ){
      /* The file has lost its end since the log was opened. To SQLite these would be zeros. */
      sqlite3_log(SQLITE_IOERR_READ, "vwal: '%s' is shorter than it was: %d bytes at offset %lld are gone",
                  p->zDb, iAmt, iOfst);
      return SQLITE_IOERR_READ;
    }
    if( rc==SQLITE_OK && eBase==VWAL_IN_BASE_KEEP ) pVwal->xDbKeep(p->pHandle, pBuf, iAmt, iOfst);
    return rc;
  }
  return REAL(p)->pMethods->xRead(REAL(p), pBuf, iAmt, iOfst);
}

static int dbRead(sqlite3_file *pFile, void *pBuf, int iAmt, sqlite3_int64 iOfst){
  DbFile *p = (DbFile*)pFile;
  int rc = dbReadPart(p, pBuf, iAmt, iOfst);
  if( p->pHandle && iOfst==VERSION_OFFSET && iAmt==VERSION_SIZE ){
    /* The pager asks for these bytes to find out whether its cache is older than the file. In WAL mode they do not tell: commits
    ** need not change them (https://sqlite.org/fileformat2.html#file_change_counter). SQLite believes them all the same when it
    ** has just closed its WAL to leave WAL mode, and then goes on with pages from before the last commits of other connections:
    ** without vwal those commits are lost. What is read here agrees with no cache. */
    *(unsigned char*)pBuf = (unsigned char)~*(unsigned char*)pBuf;
  }
  return rc;
}

/* Write page 1 of a new database, marked as one in WAL mode. See "New" above. */
static int dbWriteMarked(DbFile *p, const void *pBuf, int iAmt){
  static const int aCounter[] = { 24, 92 };  /* Change counter, version-valid-for */
  unsigned char *a = (unsigned char*)sqlite3_malloc(iAmt);
  int rc;
  int i;
  if( a==0 ) return SQLITE_IOERR_NOMEM;
  memcpy(a, pBuf, (size_t)iAmt);
  a[18] = a[19] = 2;
  for(i=0; i<2; i++){
    unsigned char *c = &a[aCounter[i]];
    unsigned n = ((unsigned)c[0]<<24 | (unsigned)c[1]<<16 | (unsigned)c[2]<<8 | (unsigned)c[3]) + 1;
    c[0] = (unsigned char)(n>>24);
    c[1] = (unsigned char)(n>>16);
    c[2] = (unsigned char)(n>>8);
    c[3] = (unsigned char)n;
  }
  rc = REAL(p)->pMethods->xWrite(REAL(p), a, iAmt, 0);
  p->bMarking = 1;
  p->bBegin = 0;
  sqlite3_free(a);
  return rc;
}

static int dbWrite(sqlite3_file *pFile, const void *pBuf, int iAmt, sqlite3_int64 iOfst){
  DbFile *p = (DbFile*)pFile;
  if( p->pHandle ){
    int rc;
    /* A checkpoint "copies" a frame: xCkptDone will absorb it. */
    if( p->inCkpt ) return SQLITE_OK;
    rc = pVwal->xDbLeave(p->pHandle);
    if( rc!=SQLITE_OK ) return rc;
    vwalDbDetach(&p->pHandle);
  }else if( p->bConvert && iOfst==0 && iAmt>=512 && memcmp(pBuf, "SQLite format 3", 16)==0 ){
    return dbWriteMarked(p, pBuf, iAmt);
  }
  p->bBegin = 0;
  return REAL(p)->pMethods->xWrite(REAL(p), pBuf, iAmt, iOfst);
}

static int dbTruncate(sqlite3_file *pFile, sqlite3_int64 nByte){
  DbFile *p = (DbFile*)pFile;
  /* The end of a checkpoint: the size of the view is that of the last absorbed commit already. */
  if( p->pHandle ) return SQLITE_OK;
  return REAL(p)->pMethods->xTruncate(REAL(p), nByte);
}

static int dbSync(sqlite3_file *pFile, int flags){
  DbFile *p = (DbFile*)pFile;
  if( p->pHandle ) return SQLITE_OK;
  p->bSynced = 1;
  return REAL(p)->pMethods->xSync(REAL(p), flags);
}

static int dbFileSize(sqlite3_file *pFile, sqlite3_int64 *pnByte){
  DbFile *p = (DbFile*)pFile;
  if( p->pHandle ){
    int64_t n = 0;
    int rc;
    /* What SQLite asks first in a checkpoint. It ignores what CKPT_START returns; SQLITE_BUSY here ends the checkpoint without
    ** an error and without a mark that anything was copied. */
    if( p->bCkptVoid ) return SQLITE_BUSY;
    rc = pVwal->xDbSize(p->pHandle, &n);
    *pnByte = n;
    return rc;
  }
  return REAL(p)->pMethods->xFileSize(REAL(p), pnByte);
}

static int dbLock(sqlite3_file *pFile, int eLock){
  DbFile *p = (DbFile*)pFile;
  int rc;
  if( eLock==SQLITE_LOCK_SHARED ){
    rc = vwalDbPrepare(p, 0);
    if( rc!=SQLITE_OK ) return rc;
  }
  rc = REAL(p)->pMethods->xLock(REAL(p), eLock);
  if( rc==SQLITE_OK && eLock>SQLITE_LOCK_SHARED && p->pHandle==0 && !p->bHadDir && pVwal->xWalKind(p->zWal)==1 ){
    /* A new database got the mark of WAL mode from this connection, which still reads it in rollback mode; meanwhile
    ** another connection has begun a log. What would be written here, the log does not know. The next transaction will. */
    if( eLock==SQLITE_LOCK_RESERVED ) REAL(p)->pMethods->xUnlock(REAL(p), SQLITE_LOCK_SHARED);
    return SQLITE_BUSY;
  }
  if( rc==SQLITE_OK && eLock==SQLITE_LOCK_SHARED && p->pHandle && pVwal->xHasLeft(p->pHandle) ){
    /* Somebody has taken the database out of WAL mode since the look above. With the lock held nobody can, so this look
    ** is the last one. */
    rc = vwalDbPrepare(p, 0);
    if( rc!=SQLITE_OK ) REAL(p)->pMethods->xUnlock(REAL(p), SQLITE_LOCK_NONE);
  }
  if( rc==SQLITE_OK && eLock==SQLITE_LOCK_EXCLUSIVE && p->pHandle ) pVwal->xExclusive(p->pHandle, 1);
  return rc;
}

static int dbUnlock(sqlite3_file *pFile, int eLock){
  DbFile *p = (DbFile*)pFile;
  if( p->pHandle ) pVwal->xExclusive(p->pHandle, 0);
  p->bMarking = 0;
  if( eLock==SQLITE_LOCK_NONE && p->bBegin ) vwalDbBegin(p);
  return REAL(p)->pMethods->xUnlock(REAL(p), eLock);
}

static int dbCheckReservedLock(sqlite3_file *pFile, int *pResOut){
  DbFile *p = (DbFile*)pFile;
  return REAL(p)->pMethods->xCheckReservedLock(REAL(p), pResOut);
}

/* A committed transaction has put the file into WAL mode, but SQLite has not read that yet: have it read. False: it could not, or a
** statement that is running keeps the old state. */
static int dbReadMark(DbFile *p){
  /* With a shared cache p->db may be closed by now, and the file be somebody's attached database. */
  if( !p->bShared && p->ppDb && *p->ppDb==p->db ) sqlite3_exec(p->db, "PRAGMA main.schema_version", 0, 0, 0);
  return p->pHandle!=0;
}

/* PRAGMA journal_mode of a new database that is in WAL mode as soon as there is a page to say so, and that page has been
** read again; and PRAGMA wal_checkpoint of one that has that page. */
static int dbPragma(DbFile *p, char **azArg){
  if( !p->bConvert || p->pHandle ) return SQLITE_NOTFOUND;
  if( p->bMarked && sqlite3_stricmp(azArg[1], "wal_checkpoint")==0 ) dbReadMark(p);
  if( sqlite3_stricmp(azArg[1], "journal_mode")!=0 ) return SQLITE_NOTFOUND;
  if( azArg[2]==0 ){
    azArg[0] = sqlite3_mprintf("wal");
    return SQLITE_OK;
  }
  if( sqlite3_stricmp(azArg[2], "wal")==0 ) return SQLITE_NOTFOUND;
  /* Who asks for another mode gets it. */
  if( !p->bMarked ){
    p->bConvert = 0;
    return SQLITE_NOTFOUND;
  }
  /* Without this SQLite would answer, and do nothing. */
  if( !dbReadMark(p) ){
    azArg[0] = sqlite3_mprintf("wal");
    return SQLITE_OK;
  }
  return SQLITE_NOTFOUND;
}

/* PRAGMA vwal_last_error: what vwal_status tells, or why the database cannot be used. SQLite answers a PRAGMA of the VFS without
** reading the schema, which a query has to read first, and which it may not be able to read for this very reason. */
static int dbLastError(DbFile *p, char **azArg){
  int rc = SQLITE_OK;
  if( sqlite3_stricmp(azArg[1], "vwal_last_error")!=0 ) return SQLITE_NOTFOUND;
  if( p->pHandle ){
    vwal_status_row row;
    memset(&row, 0, sizeof(row));
    rc = pVwal->xStatus(p->pHandle, &row);
    sqlite3_free(row.zPath);
    sqlite3_free(row.zStorage);
    azArg[0] = row.zLastError;
  }else if( p->zErr ){
    azArg[0] = sqlite3_mprintf("%s", p->zErr);
  }
  /* Without a text SQLite makes a column without a name, which Python's sqlite3 takes for a lack of memory. */
  if( rc==SQLITE_OK && azArg[0]==0 ) azArg[0] = sqlite3_mprintf("");
  return rc;
}

/* PRAGMA journal_mode that ends WAL mode: when vwal would refuse that, here the reason can be the message of the statement. Later,
** when SQLite opens its journal, all that the application would be told is the text of a result code. */
static int dbLeavePragma(DbFile *p, char **azArg){
  static const char *const azMode[] = { "delete", "truncate", "persist", "memory", "off" };
  char *zErr = 0;
  int rc;
  int i;
  if( p->pHandle==0 || azArg[2]==0 || sqlite3_stricmp(azArg[1], "journal_mode")!=0 ) return SQLITE_NOTFOUND;
  for(i=0; i<5 && sqlite3_stricmp(azArg[2], azMode[i])!=0; i++){}
  if( i==5 ) return SQLITE_NOTFOUND;
  rc = pVwal->xCanLeave(p->pHandle, &zErr);
  if( rc==SQLITE_OK ) return SQLITE_NOTFOUND;
  azArg[0] = zErr;
  return rc;
}

static int dbFileControl(sqlite3_file *pFile, int op, void *pArg){
  DbFile *p = (DbFile*)pFile;
  int rc;
  switch( op ){
    case VWAL_FCNTL_FILE:
      *(DbFile**)pArg = p;
      return SQLITE_OK;
    case VWAL_FCNTL_HANDLE:
      *(vwal_handle**)pArg = p->pHandle;
      return p->pHandle ? SQLITE_OK : SQLITE_NOTFOUND;
    case SQLITE_FCNTL_PDB:
      p->ppDb = (sqlite3**)pArg;
      break;
    case SQLITE_FCNTL_PRAGMA:
      rc = dbPragma(p, (char**)pArg);
      if( rc==SQLITE_NOTFOUND ) rc = dbLeavePragma(p, (char**)pArg);
      if( rc==SQLITE_NOTFOUND ) rc = dbLastError(p, (char**)pArg);
      if( rc!=SQLITE_NOTFOUND ) return rc;
      break;
    case SQLITE_FCNTL_VFSNAME:
      rc = REAL(p)->pMethods->xFileControl(REAL(p), op, pArg);
      if( rc==SQLITE_OK ) *(char**)pArg = sqlite3_mprintf("vwal/%z", *(char**)pArg);
      return rc;
    default:
      break;
  }
  if( p->pHandle ){
    switch( op ){
      case SQLITE_FCNTL_CKPT_START:
        p->inCkpt = 1;
        p->bCkptVoid = pVwal->xCkptStart(p->pHandle)!=SQLITE_OK;
        return SQLITE_OK;
      case SQLITE_FCNTL_CKPT_DONE:
        p->inCkpt = 0;
        if( p->bCkptVoid ){
          p->bCkptVoid = 0;
          return SQLITE_OK;
        }
        return pVwal->xCkptDone(p->pHandle);
      case SQLITE_FCNTL_COMMIT_PHASETWO:
        return pVwal->xCommitted(p->pHandle);
      case SQLITE_FCNTL_SIZE_HINT:
        return SQLITE_OK;
      case SQLITE_FCNTL_MMAP_SIZE: {
        /* Accepted and shown, as by stock SQLite. A page may be in a segment, so nothing is mapped. */
        sqlite3_int64 nNew = *(sqlite3_int64*)pArg;
        *(sqlite3_int64*)pArg = p->szMmap;
        if( nNew>=0 ) p->szMmap = nNew>0x7fff0000 ? 0x7fff0000 : nNew;
        return SQLITE_OK;
      }
      case SQLITE_FCNTL_EXTERNAL_READER:
        *(int*)pArg = 0;
        return SQLITE_OK;
      default:
        break;
    }
  }
  if( op==SQLITE_FCNTL_COMMIT_PHASETWO && p->bMarking ) p->bMarked = p->bBegin = 1;
  if( op==SQLITE_FCNTL_COMMIT_PHASETWO && p->bConvert && p->bSynced ){
    /* The first transaction of a new database. SQLite's journal is gone, but only with synchronous=EXTRA is that durable: a
    ** journal that comes back after a power loss takes the commit back. Commits in the log are durable with FULL, and so is
    ** this one. */
    p->bSynced = 0;
    rc = pVwal->xCreated(p->zDb);
    if( rc!=SQLITE_OK ) return rc;
  }
  return REAL(p)->pMethods->xFileControl(REAL(p), op, pArg);
}

static int dbSectorSize(sqlite3_file *pFile){
  DbFile *p = (DbFile*)pFile;
  return REAL(p)->pMethods->xSectorSize(REAL(p));
}

static int dbDeviceCharacteristics(sqlite3_file *pFile){
  DbFile *p = (DbFile*)pFile;
  int m = REAL(p)->pMethods->xDeviceCharacteristics(REAL(p));
  /* SQLite asks this file, and not the -wal file, whether commits in the WAL need padding. */
  return p->pHandle ? (m | SQLITE_IOCAP_POWERSAFE_OVERWRITE) : m;
}

static int dbShmMap(sqlite3_file *pFile, int iRegion, int szRegion, int bExtend, void volatile **pp){
  DbFile *p = (DbFile*)pFile;
  if( p->pHandle==0 ) return SQLITE_IOERR_SHMMAP;
  return pVwal->xShmMap(p->pHandle, iRegion, szRegion, bExtend, pp);
}
static int dbShmLock(sqlite3_file *pFile, int ofst, int n, int flags){
  DbFile *p = (DbFile*)pFile;
  if( p->pHandle==0 ) return SQLITE_IOERR_SHMLOCK;
  return pVwal->xShmLock(p->pHandle, ofst, n, flags);
}
static void dbShmBarrier(sqlite3_file *pFile){
  DbFile *p = (DbFile*)pFile;
  if( p->pHandle ) pVwal->xShmBarrier(p->pHandle);
}
static int dbShmUnmap(sqlite3_file *pFile, int deleteFlag){
  DbFile *p = (DbFile*)pFile;
  if( p->pHandle==0 ) return SQLITE_OK;
  return pVwal->xShmUnmap(p->pHandle, deleteFlag);
}

static int dbFetch(sqlite3_file *pFile, sqlite3_int64 iOfst, int iAmt, void **pp){
  (void)pFile; (void)iOfst; (void)iAmt;
  *pp = 0;                     /* Not mapped: SQLite reads instead */
  return SQLITE_OK;
}
static int dbUnfetch(sqlite3_file *pFile, sqlite3_int64 iOfst, void *pPage){
  (void)pFile; (void)iOfst; (void)pPage;
  return SQLITE_OK;
}

const sqlite3_io_methods vwalDbMethods = {
  3,                           /* iVersion */
  dbClose,
  dbRead,
  dbWrite,
  dbTruncate,
  dbSync,
  dbFileSize,
  dbLock,
  dbUnlock,
  dbCheckReservedLock,
  dbFileControl,
  dbSectorSize,
  dbDeviceCharacteristics,
  dbShmMap,
  dbShmLock,
  dbShmBarrier,
  dbShmUnmap,
  dbFetch,
  dbUnfetch
};
