/*
** Names and files of SQLite's pager.
**
** sqlite3_filename_wal(), sqlite3_uri_parameter(), sqlite3_database_file_object() and so on read memory around the name that
** they get. That is sound for the very names that the pager passes to xOpen, and undefined for a copy of one. A VFS above this
** one may pass copies; nothing in the name tells. But the pager keeps a database file and its name in one piece of memory, so
** both lie at the same distance for every database that is opened through one VFS, and a VFS above has its own file there.
** The distance is measured once, by two opens that fail (of absolute names: the working directory may be gone); where they do not agree, vwal is not registered.
*/
#include "internal.h"

static uintptr_t nDistance = 0;    /* From a database file of the pager to its name */
static DbFile *pFirst = 0;         /* All open database files, under openFiles() */

static sqlite3_mutex *openFiles(void){
  return sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_VFS3);
}

static int measureOpen(sqlite3_vfs *pVfs, const char *zName, sqlite3_file *pFile, int flags, int *pOutFlags){
  (void)flags; (void)pOutFlags;
  pFile->pMethods = 0;
  *(uintptr_t*)pVfs->pAppData = (uintptr_t)zName - (uintptr_t)pFile;
  return SQLITE_CANTOPEN;
}

static int measure(const char *zName, uintptr_t *pn){
  sqlite3_vfs vfs = vwalVfs;
  sqlite3 *db = 0;
  int rc;
  *pn = 0;
  vfs.zName = "vwal-measure";
  vfs.pAppData = pn;
  vfs.xOpen = measureOpen;
  rc = sqlite3_vfs_register(&vfs, 0);
  if( rc!=SQLITE_OK ) return rc;
  rc = sqlite3_open_v2(zName, &db, SQLITE_OPEN_READWRITE|SQLITE_OPEN_PRIVATECACHE, vfs.zName);
  sqlite3_close(db);
  sqlite3_vfs_unregister(&vfs);
  if( rc==SQLITE_CANTOPEN && *pn!=0 ) return SQLITE_OK;
  return rc==SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_ERROR;
}

int vwalPagerMeasure(void){
  uintptr_t nOther = 0;
  int rc = measure("/a", &nDistance);
  if( rc==SQLITE_OK ) rc = measure("/another name, which is longer", &nOther);
  return rc==SQLITE_OK && nOther!=nDistance ? SQLITE_ERROR : rc;
}

int vwalPagerOwns(sqlite3_file *pFile, const char *zName){
  return (uintptr_t)zName - (uintptr_t)pFile==nDistance;
}

void vwalPagerAdd(DbFile *p){
  sqlite3_mutex_enter(openFiles());
  p->pNext = pFirst;
  if( pFirst ) pFirst->pPrev = p;
  pFirst = p;
  sqlite3_mutex_leave(openFiles());
}

void vwalPagerRemove(DbFile *p){
  sqlite3_mutex_enter(openFiles());
  if( p->pNext ) p->pNext->pPrev = p->pPrev;
  if( p->pPrev ) p->pPrev->pNext = p->pNext;
  else pFirst = p->pNext;
  sqlite3_mutex_leave(openFiles());
}

DbFile *vwalPagerFind(const char *zName){
  DbFile *p;
  sqlite3_mutex_enter(openFiles());
  for(p=pFirst; p && p->zWal!=zName && p->zJournal!=zName; p=p->pNext){}
  sqlite3_mutex_leave(openFiles());
  return p;
}
