/*
** The SQL surface: what an SQL statement can ask of vwal, and tell it.
**
**     SELECT vwal_version();                         text
**     SELECT vwal_log_id([schema]);                  text: the UUID of the log
**     SELECT vwal_frame_no([schema]);                integer: the last published frame
**     SELECT vwal_durable_frame_no([schema]);        integer: up to here everything is durable
**     SELECT vwal_checkpointed_frame_no([schema]);   integer: what the footer of the database file says
**     SELECT vwal_metrics([schema]);                 text: state and counters, as Prometheus reads them
**     SELECT vwal_sync([schema]);                    make everything committed so far durable; gives the frame number
**     SELECT vwal_checkpoint([schema]);              drain the log into the database file now; gives the frame number
**
** and the tables of sqltab.c.
**
** The schema is "main" when it is left out or NULL, as in SQLite's own C interface, and "unknown database X" is the
** error for a name that is not attached. On a database that is not virtual (in memory, temporary, in rollback mode,
** opened through another VFS, or new and not written to yet) the five questions answer NULL, the tables have no
** row, and the two commands are an error: a caller who asks for durability must not take a NULL for it.
**
** vwal_checkpoint() asks SQLite for a TRUNCATE checkpoint first, so it waits for readers and writers as long as the busy
** handler of the connection lets it. When they, or a transaction of this very connection, stay in the way, it drains what
** they allow: the frame number that it gives is then smaller than vwal_frame_no().
**
** vwal_sync() and vwal_checkpoint() change state and the tables look at files, so they are DIRECTONLY: a view or a
** trigger in a database that somebody sent cannot reach them. The questions give away numbers and names only.
**
** HOW IT WORKS
**
** A function finds the log of its database by the file control VWAL_FCNTL_HANDLE, at every call: the handle comes and
** goes with the journal mode, so nothing here may keep it. The connection's mutex is held throughout, so it cannot go
** during a call.
**
** vwalSqlRegister() runs for every connection (auto-extension), and once more on a connection that loads the extension
** itself, where it is itself called from a running statement if load_extension() is. SQLite answers SQLITE_BUSY to the
** redefinition of a function while a statement runs; it does so only for one that exists, so that is not an error.
*/
#include "internal.h"
#include <string.h>

/* ---------------------------------------------------------------------------------------------- the functions */

/* What the functions that take a schema do. */
enum { VWAL_LOG_ID, VWAL_FRAME_NO, VWAL_DURABLE, VWAL_CHECKPOINTED, VWAL_METRICS, VWAL_SYNC, VWAL_CHECKPOINT };

typedef struct VwalFunc {
  const char *zName;
  int eWhat;
  int flags;
} VwalFunc;

static const VwalFunc aVwalFunc[] = {
  { "vwal_log_id",                VWAL_LOG_ID,       0 },
  { "vwal_frame_no",              VWAL_FRAME_NO,     0 },
  { "vwal_durable_frame_no",      VWAL_DURABLE,      0 },
  { "vwal_checkpointed_frame_no", VWAL_CHECKPOINTED, 0 },
  { "vwal_metrics",               VWAL_METRICS,      0 },
  { "vwal_sync",                  VWAL_SYNC,         SQLITE_DIRECTONLY },
  { "vwal_checkpoint",            VWAL_CHECKPOINT,   SQLITE_DIRECTONLY },
};

/*
** The log of the database zSchema, or *ppHandle==0 when that is not virtual. SQLITE_ERROR: no such database.
*/
int vwalFindHandle(sqlite3 *db, const char *zSchema, vwal_handle **ppHandle){
  DbFile *pFile = 0;
  int rc;
  *ppHandle = 0;
  /* Before its first use the temp database has no file at all, which the file control reports as an unknown name. */
  if( sqlite3_stricmp(zSchema, "temp")==0 ) return SQLITE_OK;
  rc = sqlite3_file_control(db, zSchema, VWAL_FCNTL_HANDLE, (void*)ppHandle);
  if( rc==SQLITE_NOTFOUND && sqlite3_file_control(db, zSchema, VWAL_FCNTL_FILE, (void*)&pFile)==SQLITE_OK
   && pFile->bConvert ){
    /* A database that has just been created: its log is opened with its next read, which may as well be now. */
    char *zSql = sqlite3_mprintf("SELECT 1 FROM \"%w\".sqlite_master LIMIT 1", zSchema);
    if( zSql==0 ) return SQLITE_NOMEM;
    sqlite3_exec(db, zSql, 0, 0, 0);
    sqlite3_free(zSql);
    rc = sqlite3_file_control(db, zSchema, VWAL_FCNTL_HANDLE, (void*)ppHandle);
  }
  if( rc==SQLITE_OK ) return SQLITE_OK;
  *ppHandle = 0;
  return rc==SQLITE_NOTFOUND ? SQLITE_OK : rc;
}

/* Answer with an error. zMsg: what to say, or NULL for SQLite's own words. */
static void vwalResultError(sqlite3_context *pCtx, int rc, const char *zMsg){
  if( rc==SQLITE_NOMEM ){
    sqlite3_result_error_nomem(pCtx);
    return;
  }
  /* In this order: the code alone would bring its own message. */
  sqlite3_result_error(pCtx, zMsg ? zMsg : sqlite3_errstr(rc), -1);
  sqlite3_result_error_code(pCtx, rc);
}

/* Answer with an error and a message that was just made; frees it. */
static void vwalResultErrorOwned(sqlite3_context *pCtx, int rc, char *zMsg){
  vwalResultError(pCtx, zMsg ? rc : SQLITE_NOMEM, zMsg);
  sqlite3_free(zMsg);
}

/* vwal_sync() and vwal_checkpoint(). */
static void vwalCommand(sqlite3_context *pCtx, int eWhat, const char *zSchema, vwal_handle *pHandle){
  sqlite3 *db = sqlite3_context_db_handle(pCtx);
  int rc;
  int64_t iFrameNo = 0;
  char *zErr = 0;
  if( eWhat==VWAL_SYNC ){
    rc = pVwal->xFlush(pHandle, &iFrameNo, &zErr);
  }else{
    /* How much of the log the open read transactions allow to be absorbed is for wal.c to decide, so SQLite is asked to
    ** checkpoint first. When readers are in the way it gets as far as it can, and so does the drain. */
    rc = sqlite3_wal_checkpoint_v2(db, zSchema, SQLITE_CHECKPOINT_TRUNCATE, 0, 0);
    if( rc==SQLITE_BUSY || rc==SQLITE_LOCKED ) rc = SQLITE_OK;
    if( rc==SQLITE_OK ) rc = pVwal->xDrain(pHandle, &iFrameNo, &zErr);
  }
  if( rc==SQLITE_OK ){
    sqlite3_result_int64(pCtx, iFrameNo);
  }else{
    vwalResultError(pCtx, rc, zErr);
  }
  sqlite3_free(zErr);
}

/* Every function with the optional argument schema. The user data says which one it is. */
static void vwalSchemaFunc(sqlite3_context *pCtx, int argc, sqlite3_value **argv){
  const VwalFunc *pFunc = (const VwalFunc*)sqlite3_user_data(pCtx);
  const char *zSchema = "main";
  vwal_handle *pHandle = 0;
  int rc;

  if( argc>0 && sqlite3_value_type(argv[0])!=SQLITE_NULL ){
    zSchema = (const char*)sqlite3_value_text(argv[0]);
    if( zSchema==0 ){
      sqlite3_result_error_nomem(pCtx);
      return;
    }
  }
  rc = vwalFindHandle(sqlite3_context_db_handle(pCtx), zSchema, &pHandle);
  if( rc==SQLITE_ERROR ){
    vwalResultErrorOwned(pCtx, rc, sqlite3_mprintf("unknown database %s", zSchema));
    return;
  }
  if( rc!=SQLITE_OK ){
    vwalResultError(pCtx, rc, 0);
    return;
  }
  if( pHandle==0 ){
    /* Without a log there is NULL to tell, and nothing to do. */
    if( pFunc->flags & SQLITE_DIRECTONLY ){
      vwalResultErrorOwned(pCtx, SQLITE_ERROR, sqlite3_mprintf(
          "%s: database %s is not virtual: open it with vfs=vwal, in WAL mode; a new one has no log before its "
          "first write", pFunc->zName, zSchema));
    }
    return;
  }
  switch( pFunc->eWhat ){
    case VWAL_LOG_ID: {
      char zId[37];
      memset(zId, 0, sizeof(zId));
      pVwal->xLogId(pHandle, zId);
      sqlite3_result_text(pCtx, zId, -1, SQLITE_TRANSIENT);
      break;
    }
    case VWAL_FRAME_NO:
      sqlite3_result_int64(pCtx, pVwal->xFrameNo(pHandle));
      break;
    case VWAL_DURABLE:
      sqlite3_result_int64(pCtx, pVwal->xDurableFrameNo(pHandle));
      break;
    case VWAL_CHECKPOINTED:
      sqlite3_result_int64(pCtx, pVwal->xCheckpointedFrameNo(pHandle));
      break;
    case VWAL_METRICS: {
      char *zText = pVwal->xMetrics(pHandle);
      if( zText ){
        sqlite3_result_text(pCtx, zText, -1, sqlite3_free);
      }else{
        sqlite3_result_error_nomem(pCtx);
      }
      break;
    }
    default:
      vwalCommand(pCtx, pFunc->eWhat, zSchema, pHandle);
      break;
  }
}

static void vwalVersionFunc(sqlite3_context *pCtx, int argc, sqlite3_value **argv){
  (void)argc;
  (void)argv;
  sqlite3_result_text(pCtx, VWAL_VERSION, -1, SQLITE_STATIC);
}

/* --------------------------------------------------------------------------------------------- the registration */

int vwalSqlRegister(sqlite3 *db, char **pzErr){
  const char *zWhat = "vwal_version";
  int i;
  int rc = sqlite3_create_function_v2(db, zWhat, 0, SQLITE_UTF8, 0, vwalVersionFunc, 0, 0, 0);
  if( rc==SQLITE_BUSY ) return SQLITE_OK;   /* All of it is there already and a statement runs: see above */
  for(i=0; rc==SQLITE_OK && i<(int)(sizeof(aVwalFunc)/sizeof(aVwalFunc[0])); i++){
    const VwalFunc *pFunc = &aVwalFunc[i];
    int nArg;
    zWhat = pFunc->zName;
    for(nArg=0; rc==SQLITE_OK && nArg<=1; nArg++){
      rc = sqlite3_create_function_v2(db, zWhat, nArg, SQLITE_UTF8|pFunc->flags, (void*)pFunc, vwalSchemaFunc,
                                      0, 0, 0);
    }
  }
  if( rc==SQLITE_OK ) rc = vwalTablesRegister(db, &zWhat);
  if( rc!=SQLITE_OK && pzErr ){
    sqlite3_free(*pzErr);
    *pzErr = sqlite3_mprintf("vwal: cannot register %s: %s", zWhat, sqlite3_errmsg(db));
  }
  return rc;
}
