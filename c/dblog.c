/*
** The log of a database file: how a connection finds, makes and shares it, and takes over a -wal file of stock SQLite before.
*/
#include "internal.h"
#include <string.h>

/* Set the reason why the database cannot be used now. Takes zErr over. */
static int dbError(DbFile *p, int rc, char *zErr){
  sqlite3_free(p->zErr);
  p->zErr = zErr;
  p->rcErr = rc;
  if( rc!=SQLITE_OK && zErr ) sqlite3_log(rc, "%s", zErr);
  return rc;
}

/* The vwal_* parameters of the file name. The array is to be freed. */
static int dbParams(DbFile *p, vwal_param **paParam, int *pnParam){
  const char *zKey;
  int n = 0;
  int i;
  vwal_param *a = 0;
  for(i=0; (zKey = sqlite3_uri_key(p->zDb, i))!=0; i++){
    if( strncmp(zKey, "vwal", 4)==0 ) n++;
  }
  if( n>0 ){
    a = (vwal_param*)sqlite3_malloc64(sizeof(*a)*(sqlite3_uint64)n);
    if( a==0 ) return SQLITE_NOMEM;
    n = 0;
    for(i=0; (zKey = sqlite3_uri_key(p->zDb, i))!=0; i++){
      if( strncmp(zKey, "vwal", 4)!=0 ) continue;
      a[n].zKey = zKey;
      a[n].zValue = sqlite3_uri_parameter(p->zDb, zKey);
      n++;
    }
  }
  *paParam = a;
  *pnParam = n;
  return SQLITE_OK;
}

void vwalDbDetach(vwal_handle **ppHandle){
  vwal_handle *pHandle = *ppHandle;
  *ppHandle = 0;
  if( pHandle ) pVwal->xDetach(pHandle);
}

int vwalDbCheckParams(DbFile *p){
  vwal_param *aParam = 0;
  int nParam = 0;
  char *zErr = 0;
  int rc = dbParams(p, &aParam, &nParam);
  if( rc==SQLITE_OK && bVwalCiphers && (sqlite3_uri_parameter(p->zDb, "key") || sqlite3_uri_parameter(p->zDb, "hexkey")
   || sqlite3_uri_parameter(p->zDb, "textkey")) ){
    rc = SQLITE_CANTOPEN;
    zErr = sqlite3_mprintf("vwal: '%s' has a key in its URI, but encryption is not supported by vwal: leave the key away, or "
                           "open the database without vfs=vwal", p->zDb);
  }
  if( rc==SQLITE_OK ) rc = pVwal->xCheckParams(aParam, nParam, &zErr);
  sqlite3_free(aParam);
  if( rc!=SQLITE_OK ){
    p->bFatal = 1;
    return dbError(p, rc, zErr);
  }
  return SQLITE_OK;
}

/*
** An empty -wal file is none to SQLite, which leaves it where it is beside a database in rollback mode (a power loss, for
** instance, may leave one). With the EXCLUSIVE lock on the database nobody else has it open, and it can go.
*/
static int dbRemoveEmptyWal(DbFile *p, sqlite3 *db){
  int bExists = 0;
  int rc = sqlite3_exec(db, "BEGIN EXCLUSIVE", 0, 0, 0);
  if( rc!=SQLITE_OK ) return rc;
  rc = pParentVfs->xAccess(pParentVfs, p->zWal, SQLITE_ACCESS_EXISTS, &bExists);
  if( rc==SQLITE_OK && !bExists && pVwal->xWalKind(p->zWal)==2 ){
    rc = pParentVfs->xDelete(pParentVfs, p->zWal, 0);
  }
  sqlite3_exec(db, "ROLLBACK", 0, 0, 0);
  return rc;
}

/*
** There is a -wal file of stock SQLite: have stock SQLite checkpoint and remove it, through the parent VFS. The
** connection takes its own locks; if somebody else uses the database, the file stays, and nothing has been lost.
*/
static int dbAdopt(DbFile *p){
  char *zShm;
  sqlite3 *db = 0;
  int nLog = 0;
  int rc = sqlite3_open_v2(p->zDb, &db, SQLITE_OPEN_READWRITE|SQLITE_OPEN_PRIVATECACHE, pParentVfs->zName);
  /* The EXCLUSIVE lock comes first, so that nothing is touched when somebody else has the database open. */
  if( rc==SQLITE_OK ) rc = sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE; SELECT 1 FROM sqlite_master", 0, 0, 0);
  if( rc==SQLITE_OK ) rc = sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, &nLog, 0);
  /* In locking_mode=EXCLUSIVE SQLite does not use the -shm file, and leaves it. Nobody else uses it: a connection that does has
  ** a SHARED lock on the database file, and this one has the EXCLUSIVE lock. */
  zShm = rc==SQLITE_OK && nLog>=0 ? sqlite3_mprintf("%s-shm", p->zDb) : 0;
  if( zShm ) (void)pParentVfs->xDelete(pParentVfs, zShm, 0);
  sqlite3_free(zShm);
  /* -1 frames: the database is in rollback mode. */
  if( rc==SQLITE_OK && nLog<0 ) rc = dbRemoveEmptyWal(p, db);
  sqlite3_close(db);
  if( rc==SQLITE_OK && pVwal->xWalKind(p->zWal)==2 ) rc = SQLITE_BUSY;
  if( rc==SQLITE_BUSY ){
    return dbError(p, rc, sqlite3_mprintf(
      "vwal: '%s' is in use by SQLite without vwal (its -wal file cannot be taken over): close it there and try again",
      p->zDb));
  }
  if( rc!=SQLITE_OK ){
    return dbError(p, rc, sqlite3_mprintf("vwal: the -wal file of '%s' cannot be checkpointed: %s",
                                          p->zDb, sqlite3_errstr(rc)));
  }
  return SQLITE_OK;
}

int vwalHasMoved(sqlite3_file *pFile){
  int bMoved = 0;
  int rc = pFile->pMethods->xFileControl(pFile, SQLITE_FCNTL_HAS_MOVED, &bMoved);
  return rc==SQLITE_OK && bMoved;
}

/*
** Share the log of the database, or open it; or bCreate: or make it. *ppHandle==0: there is none.
**
** xAttach goes by the name, and may write to the file that has it. So it is asked before whether that is the one that is open here,
** in vwal_base_open() once more, and after it: it may have been shared.
*/
static int dbAttach(DbFile *p, int bCreate, vwal_handle **ppHandle){
  vwal_param *aParam = 0;
  int nParam = 0;
  char *zErr = 0;
  int rc = dbParams(p, &aParam, &nParam);
  *ppHandle = 0;
  if( rc==SQLITE_OK && vwalHasMoved(p->pReal) ) rc = SQLITE_READONLY_DBMOVED;
  if( rc==SQLITE_OK ){
    rc = pVwal->xAttach(p, p->zDb, p->zWal, bCreate ? VWAL_ATTACH_CREATE : 0, aParam, nParam, ppHandle, &zErr);
  }
  sqlite3_free(aParam);
  if( rc==SQLITE_OK && *ppHandle && vwalHasMoved(p->pReal) ){
    vwalDbDetach(ppHandle);
    rc = SQLITE_READONLY_DBMOVED;
  }
  if( rc==SQLITE_READONLY_DBMOVED ){
    sqlite3_free(zErr);
    zErr = sqlite3_mprintf("vwal: '%s' has been replaced by another file since it was opened", p->zDb);
  }
  return rc==SQLITE_OK ? SQLITE_OK : dbError(p, rc, zErr);
}

int vwalDbPrepare(DbFile *p, int bCreate){
  int eKind;
  int rc = SQLITE_OK;
  if( p->pHandle ){
    if( !pVwal->xHasLeft(p->pHandle) ) return SQLITE_OK;
    vwalDbDetach(&p->pHandle);
  }
  if( p->bFatal ) return p->rcErr;
  dbError(p, SQLITE_OK, 0);
  eKind = pVwal->xWalKind(p->zWal);
  p->bHadDir = eKind==1;
  if( p->pBegun && pVwal->xHasLeft(p->pBegun) ){
    /* Another connection has left WAL mode since. */
    vwalDbDetach(&p->pBegun);
    p->bConvert = p->bMarked = 0;
  }
  if( p->pBegun ){
    p->pHandle = p->pBegun;
    p->pBegun = 0;
  }else{
    if( eKind==0 && !bCreate ) return SQLITE_OK;
    if( eKind==2 ){
      rc = dbAdopt(p);
      if( rc!=SQLITE_OK || !bCreate ) return rc;
    }
    rc = dbAttach(p, bCreate, &p->pHandle);
  }
  if( p->pHandle ) p->bConvert = p->bMarking = p->bMarked = 0;
  return rc;
}

/* The transaction that put the file into WAL mode is committed, and the SHARED lock still held, so the file stays in WAL mode. SQLite
** itself reads that with its next transaction; until then this connection goes on in rollback mode, and pHandle stays NULL. The
** commit stands also when the log cannot be begun here: the next transaction tries again, and tells the error. */
void vwalDbBegin(DbFile *p){
  p->bBegin = 0;
  if( p->pHandle==0 && p->pBegun==0 && !p->bFatal && pVwal->xWalKind(p->zWal)!=2 ) dbAttach(p, 1, &p->pBegun);
}
