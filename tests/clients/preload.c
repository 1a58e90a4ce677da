/*
** For LD_PRELOAD: loads the extension CLIENTS_EXTENSION into the shared libsqlite3 before main(). So a client's own suite needs no
** change. Without the variable SQLite is initialized all the same: a suite that wants to configure it first fails alike.
**
** With CLIENTS_FILES, the name of a directory, each database in memory that is opened by the name ":memory:" is a new file there:
** most tests open nothing else, and memory is no business of a VFS.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*OpenV2)(const char*, sqlite3**, int, const char*);
static OpenV2 openV2;

__attribute__((constructor)) static void clientsLoad(void){
  const char *zExtension = getenv("CLIENTS_EXTENSION");
  sqlite3 *db = 0;
  char *zErr = 0;
  openV2 = (OpenV2)dlsym(RTLD_NEXT, "sqlite3_open_v2");
  if( openV2==0 ) return; /* a process without SQLite, as a shell */
  if( openV2(":memory:", &db, SQLITE_OPEN_READWRITE|SQLITE_OPEN_CREATE, 0)==SQLITE_OK && zExtension ){
    sqlite3_enable_load_extension(db, 1);
    if( sqlite3_load_extension(db, zExtension, 0, &zErr)!=SQLITE_OK ){
      fprintf(stderr, "%s: %s\n", zExtension, zErr);
      exit(70);
    }
  }
  sqlite3_close(db);
}

int sqlite3_open_v2(const char *zName, sqlite3 **ppDb, int flags, const char *zVfs){
  static int nMade = 0;
  const char *zPlace = getenv("CLIENTS_FILES");
  char zFile[1000];
  if( zPlace && zName && strcmp(zName, ":memory:")==0 && (flags & SQLITE_OPEN_MEMORY)==0 ){
    snprintf(zFile, sizeof(zFile), "%s/memory-%d-%d.db", zPlace, (int)getpid(), __sync_add_and_fetch(&nMade, 1));
    zName = zFile;
  }
  return openV2(zName, ppDb, flags, zVfs);
}

int sqlite3_open(const char *zName, sqlite3 **ppDb){
  return sqlite3_open_v2(zName, ppDb, SQLITE_OPEN_READWRITE|SQLITE_OPEN_CREATE, 0);
}
