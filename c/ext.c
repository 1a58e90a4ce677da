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
**   - A database in rollback mode is converted by PRAGMA journal_mode=WAL. One that is locked, or whose schema is damaged, is
**     marked like a new one.
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
    int rcText = SQLITE_OK;
    if( sqlite3_step(pStmt)==SQLITE_ROW ){
      const char *z = (const char*)sqlite3_column_text(pStmt, 0);
      *pzOut = z ? copyText(z) : 0;
      if( *pzOut==0 ) rcText = SQLITE_NOMEM;
    }
    rc = sqlite3_finalize(pStmt);
    if( rc==SQLITE_OK ) rc = rcText;
  }
  return rc;
}

/*
** The main database cannot be made virtual now: is that a reason to fail the open? Stock SQLite opens a database without looking
** at it, and the first statement says what is wrong; then the application has set its busy timeout, and can repair a schema.
** An error of the log (p->rcErr) is another matter: it is told here, in words.
*/
static int canWait(DbFile *p, int rc){
  if( p->rcErr!=SQLITE_OK ) return 0;
  return rc==SQLITE_BUSY || rc==SQLITE_LOCKED || rc==SQLITE_NOTADB || rc==SQLITE_CORRUPT || rc==SQLITE_ERROR;
}

/* The main database is in rollback mode, or in WAL mode without a log: make it virtual. */
static int convertMain(sqlite3 *db, DbFile *p, char **pzErr){
  char *zMode = 0;
  int rc = queryText(db, "PRAGMA main.journal_mode=WAL", &zMode);
  if( rc==SQLITE_OK && (zMode==0 || sqlite3_stricmp(zMode, "wal")!=0) ){
    *pzErr = sqlite3_mprintf("vwal: the database cannot be put into WAL mode: its journal mode stays '%s'",
                             zMode ? zMode : "");
    rc = SQLITE_CANTOPEN;
  }else{
    /* The log is opened with the WAL, which is opened with the first read: this one needs no schema. */
    if( rc==SQLITE_OK ) rc = sqlite3_exec(db, "PRAGMA main.schema_version", 0, 0, 0);
    if( canWait(p, rc) ){
      sqlite3_log(SQLITE_NOTICE, "vwal: '%s' becomes virtual with its first write, not yet: %s", p->zDb, sqlite3_errmsg(db));
      p->bConvert = 1;
      /* SQLite takes the error that the connection has after this hook for one of the open. */
      rc = sqlite3_exec(db, "", 0, 0, 0);
    }
  }
  sqlite3_free(zMode);
  if( rc!=SQLITE_OK && *pzErr==0 ){
    *pzErr = p->zErr ? copyText(p->zErr) : sqlite3_mprintf("vwal: %s", sqlite3_errmsg(db));
  }
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

/* May the database get a log? With these parameters SQLite has no WAL, and a file in WAL mode could not be opened again. */
static int canHaveLog(DbFile *p){
  return !p->bReadonly && !sqlite3_uri_boolean(p->zDb, "immutable", 0) && !sqlite3_uri_boolean(p->zDb, "nolock", 0);
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
    /* Connections of a shared cache share the file. */
    p->bShared = p->bShared || (p->db!=0 && p->db!=db);
    p->db = db;
    if( p->rcErr!=SQLITE_OK ){
      rc = p->rcErr;
      zErr = copyText(p->zErr ? p->zErr : "vwal: the log cannot be opened");
    }else if( canHaveLog(p) && (p->pHandle==0 || hasJournal(p)) ){
      rc = p->pReal->pMethods->xFileSize(p->pReal, &nByte);
      if( rc==SQLITE_OK && nByte==0 ){
        p->bConvert = 1;
      }else if( rc==SQLITE_OK ){
        rc = convertMain(db, p, &zErr);
      }
    }
  }
  /* SQLite makes this of what a VFS says in a statement, but not of what this hook says. */
  if( rc==SQLITE_IOERR_NOMEM ) rc = SQLITE_NOMEM;
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
