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

/* Is this a parameter of a URI that a VFS below may want? Not those of SQLite and of the unix VFS: they are about one connection
** and its locks. */
static int isForParent(const char *zKey){
  static const char *const azOwn[] = { "cache", "immutable", "mode", "modeof", "nolock", "psow", "vfs" };
  unsigned i;
  for(i=0; i<sizeof(azOwn)/sizeof(azOwn[0]); i++){
    if( strcmp(zKey, azOwn[i])==0 ) return 0;
  }
  return strncmp(zKey, "vwal", 4)!=0;
}

/* A name for the second handle, with the parameters that the connection's name has for the parent. NULL: out of memory. */
static const char *baseName(const char *zDb, const char *zWal, int *pnParam){
  const char **az = 0;
  const char *zName;
  const char *zKey;
  int n = 0;
  int i;
  for(i=0; sqlite3_uri_key(zDb, i)!=0; i++){}
  if( i>0 ){
    az = (const char**)sqlite3_malloc64(sizeof(*az)*2*(sqlite3_uint64)i);
    if( az==0 ) return 0;
    for(i=0; (zKey = sqlite3_uri_key(zDb, i))!=0; i++){
      if( !isForParent(zKey) ) continue;
      az[2*n] = zKey;
      az[2*n+1] = sqlite3_uri_parameter(zDb, zKey);
      n++;
    }
  }
  zName = sqlite3_create_filename(zDb, "", zWal, n, az);
  sqlite3_free((void*)az);
  *pnParam = n;
  return zName;
}

int vwal_base_open(const void *pFile, const char *zDb, const char *zWal, int *pbReadonly, vwal_base **pp){
  vwal_base *p;
  int flags = SQLITE_OPEN_MAIN_DB | (*pbReadonly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
  int outFlags = 0;
  int nParam = 0;
  int rc;
  *pp = 0;
  p = (vwal_base*)sqlite3_malloc64(sizeof(*p) + (sqlite3_uint64)pParentVfs->szOsFile);
  if( p==0 ) return SQLITE_NOMEM;
  memset(p, 0, sizeof(*p) + (size_t)pParentVfs->szOsFile);
  p->pFile = (sqlite3_file*)&p[1];
  p->zName = baseName(zDb, zWal, &nParam);
  if( p->zName==0 ){
    sqlite3_free(p);
    return SQLITE_NOMEM;
  }
  if( nParam>0 ) flags |= SQLITE_OPEN_URI;
  rc = pParentVfs->xOpen(pParentVfs, p->zName, p->pFile, flags, &outFlags);
  if( rc!=SQLITE_OK ){
    vwal_base_close(p);
    return rc;
  }
  /* The log belongs to the file that the connection has open, and this one is written to: it must be the same. */
  if( vwalHasMoved(((const DbFile*)pFile)->pReal) ){
    vwal_base_close(p);
    return SQLITE_READONLY_DBMOVED;
  }
  *pbReadonly = (outFlags & SQLITE_OPEN_READONLY)!=0;
  *pp = p;
  return SQLITE_OK;
}

/* The VFSes of os_unix.c take what they get. Another one may take each xWrite for one page, as SQLite never writes more. */
int vwal_base_is_plain(void){
  static const char *const azPlain[] = { "unix", "unix-dotfile", "unix-excl", "unix-none" };
  unsigned i;
  for(i=0; i<sizeof(azPlain)/sizeof(azPlain[0]); i++){
    if( strcmp(pParentVfs->zName, azPlain[i])==0 ) return 1;
  }
  return 0;
}

int vwal_base_read(vwal_base *p, void *pBuf, int iAmt, int64_t iOfst){
  return p->pFile->pMethods->xRead(p->pFile, pBuf, iAmt, iOfst);
}
int vwal_base_write(vwal_base *p, void *pBuf, int iAmt, int64_t iOfst){
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
int vwal_base_has_moved(vwal_base *p){
  return vwalHasMoved(p->pFile);
}
void vwal_base_close(vwal_base *p){
  if( p==0 ) return;
  if( p->pFile->pMethods ) p->pFile->pMethods->xClose(p->pFile);
  sqlite3_free_filename((char*)p->zName);
  sqlite3_free(p);
}
