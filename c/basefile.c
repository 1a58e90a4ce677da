/*
** A second handle on a database file, for the checkpointer.
**
** It is opened through the parent VFS and not with open(): POSIX drops all locks that a process holds on a file when any
** descriptor of it is closed, and the default VFS of SQLite is what knows how to close without that.
*/
#include "internal.h"
#include <string.h>

struct vwal_base {
  const char *zName;           /* From sqlite3_create_filename(); the file keeps a pointer to it */
  sqlite3_file *pFile;
};

int vwal_base_open(const char *zDb, const char *zWal, int *pbReadonly, vwal_base **pp){
  vwal_base *p;
  int outFlags = 0;
  int rc;
  *pp = 0;
  p = (vwal_base*)sqlite3_malloc64(sizeof(*p) + (sqlite3_uint64)pParentVfs->szOsFile);
  if( p==0 ) return SQLITE_NOMEM;
  memset(p, 0, sizeof(*p) + (size_t)pParentVfs->szOsFile);
  p->pFile = (sqlite3_file*)&p[1];
  p->zName = sqlite3_create_filename(zDb, "", zWal, 0, 0);
  if( p->zName==0 ){
    sqlite3_free(p);
    return SQLITE_NOMEM;
  }
  rc = pParentVfs->xOpen(pParentVfs, p->zName, p->pFile, SQLITE_OPEN_READWRITE|SQLITE_OPEN_MAIN_DB, &outFlags);
  if( rc!=SQLITE_OK ){
    vwal_base_close(p);
    return rc;
  }
  *pbReadonly = (outFlags & SQLITE_OPEN_READONLY)!=0;
  *pp = p;
  return SQLITE_OK;
}

int vwal_base_read(vwal_base *p, void *pBuf, int iAmt, int64_t iOfst){
  return p->pFile->pMethods->xRead(p->pFile, pBuf, iAmt, iOfst);
}
int vwal_base_write(vwal_base *p, const void *pBuf, int iAmt, int64_t iOfst){
  return p->pFile->pMethods->xWrite(p->pFile, pBuf, iAmt, iOfst);
}
int vwal_base_truncate(vwal_base *p, int64_t nByte){
  return p->pFile->pMethods->xTruncate(p->pFile, nByte);
}
int vwal_base_sync(vwal_base *p){
  return p->pFile->pMethods->xSync(p->pFile, SQLITE_SYNC_NORMAL);
}
int vwal_base_size(vwal_base *p, int64_t *pnByte){
  sqlite3_int64 n = 0;
  int rc = p->pFile->pMethods->xFileSize(p->pFile, &n);
  *pnByte = n;
  return rc;
}
void vwal_base_close(vwal_base *p){
  if( p==0 ) return;
  if( p->pFile->pMethods ) p->pFile->pMethods->xClose(p->pFile);
  sqlite3_free_filename((char*)p->zName);
  sqlite3_free(p);
}
