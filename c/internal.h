/*
** What the files of the shim share. The essay on how the shim works is in vfs.c.
*/
#ifndef VWAL_INTERNAL_H
#define VWAL_INTERNAL_H

#include "sqlite3ext.h"
#include "vwal.h"

/* The SQLite that vwal runs in: every sqlite3_xxx() below goes through this pointer (sqlite3ext.h makes it so). */
SQLITE_EXTENSION_INIT3

/* The verbs; set once by vwal_shim_init(). */
extern const vwal_methods *pVwal;

/* The VFS that vwal is built upon: the default one when vwal was registered. Looked up once, since a later look-up may
** find vwal itself. */
extern sqlite3_vfs *pParentVfs;

/* This SQLite is SQLite3 Multiple Ciphers, which is not below vwal. */
extern int bVwalCiphers;

/* File controls of our own, for the SQL surface and the connection hook. */
#define VWAL_FCNTL_HANDLE 0x76776101   /* *(vwal_handle**)pArg: SQLITE_NOTFOUND while the database is not virtual */
#define VWAL_FCNTL_FILE   0x76776102   /* *(DbFile**)pArg */

/* A database file. The file of the parent VFS follows it in memory. */
typedef struct DbFile DbFile;
struct DbFile {
  sqlite3_file base;           /* Must be first */
  sqlite3_file *pReal;         /* The file of the parent VFS */
  vwal_handle *pHandle;        /* The open log; NULL: not (yet) virtual, everything goes to pReal */
  vwal_handle *pBegun;         /* The log that the creating transaction began; pHandle as of the next SHARED lock */
  DbFile *pNext;               /* All open database files: pager.c */
  DbFile *pPrev;
  const char *zDb;             /* File name, as SQLite passed it: URI parameters can be had from it */
  const char *zJournal;        /* Name of the rollback journal, as SQLite will pass it */
  const char *zWal;            /* Name of the log directory, as SQLite will pass it */
  sqlite3 *db;                 /* The connection, of a main database; with bShared any of several. Not to be used unless it is *ppDb */
  sqlite3 **ppDb;              /* The connection that is calling just now: with a shared cache any. NULL: SQLite does not say */
  sqlite3_int64 szMmap;        /* What PRAGMA mmap_size was set to; it has no effect */
  int rcErr;                   /* Why the database cannot be used; SQLITE_OK: it can */
  char *zErr;                  /* The same in words */
  unsigned char bFatal;        /* rcErr is for good: a URI parameter is wrong */
  unsigned char bReadonly;     /* Opened read-only */
  unsigned char bConvert;      /* A new or locked database: page 1 gets the mark of WAL mode when it is next written */
  unsigned char bMarking;      /* The open transaction has written that mark */
  unsigned char bMarked;       /* A committed one has, and SQLite has not read page 1 since */
  unsigned char bBegin;        /* It has just been committed, and the SHARED lock is still held: the log is to be begun */
  unsigned char bShared;       /* Several connections use this file */
  unsigned char bSynced;       /* Not virtual, and fsynced since the last transaction ended */
  unsigned char bHadDir;       /* There was a log directory when the SHARED lock was taken */
  unsigned char inCkpt;        /* Between SQLITE_FCNTL_CKPT_START and SQLITE_FCNTL_CKPT_DONE */
  unsigned char bCkptVoid;     /* Meanwhile: xCkptStart said no */
};

/* A -wal file: a view of the log, without a file of its own. */
typedef struct WalFile WalFile;
struct WalFile {
  sqlite3_file base;           /* Must be first */
  DbFile *pDb;
};

extern sqlite3_vfs vwalVfs;
extern const sqlite3_io_methods vwalDbMethods;
extern const sqlite3_io_methods vwalWalMethods;

/* ext.c: have vwal_shim_connection() run for each connection that is opened. */
int vwalHookOnOpen(void);

/* pager.c: measure where the pager keeps the names of its files. */
int vwalPagerMeasure(void);
/* pager.c: true when SQLite's pager itself opens pFile. Only then zName may be given to sqlite3_uri_parameter() and so on. */
int vwalPagerOwns(sqlite3_file *pFile, const char *zName);
/* pager.c: the list of open database files. */
void vwalPagerAdd(DbFile*);
void vwalPagerRemove(DbFile*);
/* pager.c: the database file to whose -wal or journal SQLite gives the name zName; it is compared as a pointer. NULL: none. */
DbFile *vwalPagerFind(const char *zName);

/* refused.c: a file that another VFS has opened through this one. */
int vwalRefusedOpen(DbFile*, const char *zName);

/* dblog.c: does the name of an open file lead elsewhere by now? A VFS that cannot tell says no. pFile: a file of the parent VFS. */
int vwalHasMoved(sqlite3_file *pFile);
/* dblog.c: open the log when there is one (or bCreate), adopt a -wal file of stock SQLite. */
int vwalDbPrepare(DbFile *p, int bCreate);
/* dblog.c: begin the log of a database that has just been put into WAL mode. */
void vwalDbBegin(DbFile *p);
/* dblog.c: let go of a log, if *ppHandle is one. */
void vwalDbDetach(vwal_handle **ppHandle);
/* dblog.c: collect the vwal_* URI parameters and have them checked. */
int vwalDbCheckParams(DbFile *p);

/* sqlfunc.c: register functions and tables on a connection. */
int vwalSqlRegister(sqlite3 *db, char **pzErr);
/* sqlfunc.c: the handle of a database of a connection; NULL: it is not virtual. SQLITE_ERROR: there is no such schema. */
int vwalFindHandle(sqlite3 *db, const char *zSchema, vwal_handle **ppHandle);
/* sqltab.c: register the tables. *pzName: the one that failed. */
int vwalTablesRegister(sqlite3 *db, const char **pzName);

#endif /* VWAL_INTERNAL_H */
