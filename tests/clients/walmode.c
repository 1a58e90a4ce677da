/*
** An extension for the suites of clients: what the VFS vwal does to each new connection, on stock SQLite. It asks for WAL mode,
** whatever comes of it. So a difference that comes of WAL mode alone is seen on stock SQLite as well.
*/
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1

static int walMode(sqlite3 *db, char **pzErr, const sqlite3_api_routines *pApi){
  const char *zFile = sqlite3_db_filename(db, "main");
  (void)pzErr; (void)pApi;
  if( zFile && zFile[0] ) sqlite3_exec(db, "PRAGMA journal_mode=WAL", 0, 0, 0);
  return SQLITE_OK;
}

int sqlite3_extension_init(sqlite3 *db, char **pzErr, const sqlite3_api_routines *pApi){
  int rc;
  (void)db; (void)pzErr;
  SQLITE_EXTENSION_INIT2(pApi);
  rc = sqlite3_auto_extension((void (*)(void))walMode);
  return rc==SQLITE_OK ? SQLITE_OK_LOAD_PERMANENTLY : rc;
}
