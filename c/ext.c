/*
** The extension: registration with SQLite, and what happens when a connection is opened.
**
** vwal is used in two ways, from one build:
**
**   - As a loadable extension: SQLite calls sqlite3_vwal_init(), which is in Rust (a function defined in C is not exported
**     from a Rust cdylib) and calls vwal_shim_init() and vwal_shim_connection() here.
**   - Linked into an application: vwal::register() gets the same pointer through sqlite3_auto_extension().
**
** Either way SQLite is reached only through the pointer to its routines, so one object file serves both.
**
** From then on vwalAutoExtension() runs for each connection that is opened. It registers the SQL surface, and turns a
** main database that was opened through vwal into a virtual one:
**
**   - A database in rollback mode is converted by PRAGMA journal_mode=WAL.
**   - A new, empty database is marked instead, and converted when its first page is written (dbfile.c): PRAGMA page_size,
**     PRAGMA auto_vacuum and the backup API need it to be empty still.
**   - An error of the open (a wrong vwal_* parameter, another process that holds the log, damage) fails here, where
**     there is a way to say why.
*/
#include "internal.h"
#include <string.h>

SQLITE_EXTENSION_INIT1

const vwal_methods *pVwal = 0;
sqlite3_vfs *pParentVfs = 0;
int bVwalCiphers = 0;

int vwalVfsInit(void);         /* vfs.c */

static int bDefaultVfs = 0;

/* The oldest SQLite that has everything vwal calls. */
#define VWAL_MIN_SQLITE 3034000

/* How long an open waits for another connection that has the rollback-mode database locked. */
#define CONVERT_WAIT_MS 2000

static char *copyText(const char *z){
  return sqlite3_mprintf("%s", z);
}

/*
** The default VFS. SQLite3 Multiple Ciphers puts one of its own there, "multipleciphers-unix" above "unix". It enciphers with a
** key that a connection has, which the threads that write the database file have not; so vwal is built upon what is below, and
** SQLite3 Multiple Ciphers itself refuses a key for a database that is opened through vwal; one in the URI it would ignore,
** see vwalDbCheckParams().
*/
static sqlite3_vfs *findParent(void){
  static const char zCiphers[] = "multipleciphers-";
  sqlite3_vfs *p = sqlite3_vfs_find(0);
  bVwalCiphers = p!=0 && strncmp(p->zName, zCiphers, sizeof(zCiphers)-1)==0;
  if( bVwalCiphers ) p = sqlite3_vfs_find(&p->zName[sizeof(zCiphers)-1]);
  return p;
}

static int vwalAutoExtension(sqlite3 *db, char **pzErr, const sqlite3_api_routines *pApi){
  (void)pApi;
  return vwal_shim_connection(db, pzErr);
}

int vwalHookOnOpen(void){
  return sqlite3_auto_extension((void(*)(void))vwalAutoExtension);
}

/* Register, or register again what sqlite3_shutdown() has dropped. */
static int registerAll(void){
  int rc = sqlite3_vfs_register(&vwalVfs, bDefaultVfs);
  if( rc==SQLITE_OK ) rc = vwalHookOnOpen();
  return rc;
}

int vwal_shim_init(const void *pApi, const vwal_methods *pMethods, int bDefault, char **pzErr){
  int rc;
  if( pVwal!=0 ){
    if( pApi!=(const void*)sqlite3_api ){
      /* Its SQLite differs from the one that vwal runs in, and there is one pointer. */
      const sqlite3_api_routines *pOther = (const sqlite3_api_routines*)pApi;
      if( pzErr ) *pzErr = pOther->mprintf("vwal is already in use by another copy of SQLite in this process");
      return SQLITE_ERROR;
    }
    return registerAll();
  }
  sqlite3_api = (const sqlite3_api_routines*)pApi;
  if( sqlite3_libversion_number()<VWAL_MIN_SQLITE ){
    if( pzErr ) *pzErr = sqlite3_mprintf("vwal needs SQLite 3.34.0 or newer, this is %s", sqlite3_libversion());
    return SQLITE_ERROR;
  }
  if( sqlite3_threadsafe()==0 ){
    if( pzErr ) *pzErr = copyText("vwal needs an SQLite with threads, this one was compiled with SQLITE_THREADSAFE=0");
    return SQLITE_ERROR;
  }
  pParentVfs = findParent();
  if( pParentVfs==0 || pParentVfs->iVersion<2 ){
    if( pzErr ) *pzErr = copyText("vwal found no default VFS that it can be built upon");
    return SQLITE_ERROR;
  }
  bDefaultVfs = bDefault;
  rc = vwalVfsInit();
  if( rc==SQLITE_OK ) rc = registerAll();
  if( rc!=SQLITE_OK ){
    sqlite3_vfs_unregister(&vwalVfs);
    if( pzErr ) *pzErr = sqlite3_mprintf("vwal cannot be registered: %s", sqlite3_errstr(rc));
    return rc;
  }
  pVwal = pMethods;
  return SQLITE_OK;
}

void vwal_shim_undo(void){
  sqlite3_cancel_auto_extension((void(*)(void))vwalAutoExtension);
  sqlite3_vfs_unregister(&vwalVfs);
  pVwal = 0;
}

char *vwal_shim_message(const void *pApi, const char *zMsg){
  return ((const sqlite3_api_routines*)pApi)->mprintf("%s", zMsg);
}

/* Run zSql, which yields one text at most. *pzOut: a copy of it. */
static int queryText(sqlite3 *db, const char *zSql, char **pzOut){
  sqlite3_stmt *pStmt = 0;
  int rc = sqlite3_prepare_v2(db, zSql, -1, &pStmt, 0);
  *pzOut = 0;
  if( rc==SQLITE_OK ){
    if( sqlite3_step(pStmt)==SQLITE_ROW ){
      const char *z = (const char*)sqlite3_column_text(pStmt, 0);
      *pzOut = copyText(z ? z : "");
    }
    rc = sqlite3_finalize(pStmt);
  }
  return rc;
}

/* The main database is in rollback mode, or in WAL mode without a log: make it virtual. */
static int convertMain(sqlite3 *db, DbFile *p, char **pzErr){
  char *zMode = 0;
  char *zCount = 0;
  int nWait;
  int rc = queryText(db, "PRAGMA main.journal_mode=WAL", &zMode);
  /* Connections that are opened at the same time convert at the same time, and the application cannot have set a busy
  ** timeout yet. When it is the log that is busy (rcErr), waiting would not help. */
  for(nWait=0; rc==SQLITE_BUSY && p->rcErr==SQLITE_OK && nWait<CONVERT_WAIT_MS; nWait+=10){
    sqlite3_sleep(10);
    sqlite3_free(zMode);
    rc = queryText(db, "PRAGMA main.journal_mode=WAL", &zMode);
  }
  if( rc==SQLITE_OK && (zMode==0 || sqlite3_stricmp(zMode, "wal")!=0) ){
    *pzErr = sqlite3_mprintf("vwal: the database cannot be put into WAL mode: its journal mode stays '%s'",
                             zMode ? zMode : "");
    rc = SQLITE_CANTOPEN;
  }
  /* The log is opened with the WAL, which is opened with the first read. */
  if( rc==SQLITE_OK ) rc = queryText(db, "SELECT count(*) FROM main.sqlite_master", &zCount);
  if( rc==SQLITE_NOTADB ){
    /* SQLite opens such a file, and says so at the first statement. */
    rc = SQLITE_OK;
  }
  if( rc!=SQLITE_OK && *pzErr==0 ){
    *pzErr = p->zErr ? copyText(p->zErr) : sqlite3_mprintf("vwal: %s", sqlite3_errmsg(db));
  }
  sqlite3_free(zMode);
  sqlite3_free(zCount);
  return rc;
}

/*
** There is a rollback journal beside a database that has a log: a power loss brought it back, from before the database was put
** into WAL mode. SQLite plays it back with the first read, and the database is in rollback mode then.
*/
static int hasJournal(DbFile *p){
  int bExists = 0;
  int rc = pParentVfs->xAccess(pParentVfs, p->zJournal, SQLITE_ACCESS_EXISTS, &bExists);
  return rc==SQLITE_OK && bExists;
}

int vwal_shim_connection(void *pDb, char **pzErr){
  sqlite3 *db = (sqlite3*)pDb;
  DbFile *p = 0;
  char *zErr = 0;
  int rc;
  if( bDefaultVfs && sqlite3_vfs_find(0)!=&vwalVfs ){
    /* sqlite3_initialize() after sqlite3_shutdown() makes its own VFS the default again. */
    sqlite3_vfs_register(&vwalVfs, 1);
  }
  rc = vwalSqlRegister(db, &zErr);
  if( rc==SQLITE_OK && sqlite3_file_control(db, "main", VWAL_FCNTL_FILE, &p)==SQLITE_OK && p!=0 ){
    sqlite3_int64 nByte = 0;
    if( p->rcErr!=SQLITE_OK ){
      rc = p->rcErr;
      zErr = copyText(p->zErr ? p->zErr : "vwal: the log cannot be opened");
    }else if( !p->bReadonly && !sqlite3_uri_boolean(p->zDb, "immutable", 0) && (p->pHandle==0 || hasJournal(p)) ){
      rc = p->pReal->pMethods->xFileSize(p->pReal, &nByte);
      if( rc==SQLITE_OK && nByte==0 ){
        p->bConvert = 1;
      }else if( rc==SQLITE_OK ){
        rc = convertMain(db, p, &zErr);
      }
    }
  }
  if( rc!=SQLITE_OK && pzErr!=0 ){
    *pzErr = zErr ? zErr : sqlite3_mprintf("vwal: %s", sqlite3_errstr(rc));
  }else{
    sqlite3_free(zErr);
  }
  return rc;
}

void vwal_log(int rc, const char *zMsg){
  sqlite3_log(rc, "vwal: %s", zMsg);
}

void *vwal_malloc(uint64_t n){
  return sqlite3_malloc64(n);
}
