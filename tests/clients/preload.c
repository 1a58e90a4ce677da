/*
** For LD_PRELOAD: loads the extension CLIENTS_EXTENSION into the shared libsqlite3 before main(). So a client's own suite needs no
** change. Without the variable SQLite is initialized all the same: a suite that wants to configure it first fails alike.
*/
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void clientsLoad(void){
  const char *zExtension = getenv("CLIENTS_EXTENSION");
  sqlite3 *db = 0;
  char *zErr = 0;
  if( sqlite3_open(":memory:", &db)==SQLITE_OK && zExtension ){
    sqlite3_enable_load_extension(db, 1);
    if( sqlite3_load_extension(db, zExtension, 0, &zErr)!=SQLITE_OK ){
      fprintf(stderr, "%s: %s\n", zExtension, zErr);
      exit(70);
    }
  }
  sqlite3_close(db);
}
