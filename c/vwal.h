/*
** The verbs of the virtual WAL: what the C shim asks of Rust, and the little that Rust asks of the shim.
**
** SQLite has no table of WAL methods, but it reaches its log only through the sqlite3_io_methods of the -wal file and
** the xShm* methods of the database file. The shim (vfs.c, dbfile.c, walfile.c) decodes those calls and hands them to
** the table vwal_methods, which Rust fills in (src/ffi/methods.rs). Nothing else crosses the boundary in that direction.
**
** Every verb returns an SQLite result code. A verb never throws: a Rust panic is caught and becomes SQLITE_INTERNAL.
** Strings that a verb returns in a char** are allocated with sqlite3_malloc64 and freed by the caller.
*/
#ifndef VWAL_H
#define VWAL_H

#include <stdint.h>

/* The state of one open database file handle; owned by Rust. It holds the log of that database open. */
typedef struct vwal_handle vwal_handle;

/* A second handle on the base file through the parent VFS, for the background threads; owned by the shim. */
typedef struct vwal_base vwal_base;

/* One vwal_* URI parameter of the database's file name. */
typedef struct vwal_param {
  const char *zKey;
  const char *zValue;
} vwal_param;

/* Where vwal_methods.xDbRead sends its caller */
#define VWAL_IN_BASE         1
#define VWAL_IN_BASE_KEEP    2     /* ... and wants to see the page */

/* Flags of vwal_methods.xAttach */
#define VWAL_ATTACH_CREATE   0x01  /* Make the log directory when there is none: the database is in WAL mode */

/* One row of the table vwal_status. Strings as described above. */
typedef struct vwal_status_row {
  char *zPath;                 /* The database file */
  char zLogId[37];             /* UUID, hyphenated */
  int64_t iFrameNo;            /* Last published frame number */
  int64_t iDurableFrameNo;     /* Up to here everything is durable */
  int64_t iCheckpointedFrameNo;/* What the footer of the base file says */
  int64_t szPage;              /* Bytes */
  int64_t nDbPage;             /* Pages of the database as of iFrameNo */
  int64_t nSegment;            /* Segments that hold frames */
  int64_t nLogByte;            /* Bytes of those segments */
  char *zStorage;              /* Storage URL, or NULL: local disk only */
  char *zLastError;            /* The last error of a background task, or NULL */
} vwal_status_row;

/* One row of the table vwal_segments. */
typedef struct vwal_segment_row {
  int64_t iStart;              /* First frame number */
  int64_t iEnd;                /* Last frame number; iStart-1 when the segment is empty */
  const char *zState;          /* "current" or "sealed": static */
  int64_t nByte;               /* File size */
  char *zPath;
} vwal_segment_row;

/* One row of the table vwal_processes. */
typedef struct vwal_process_row {
  int64_t iSlot;               /* From 0 */
  int64_t iPid;                /* As the process knows itself */
  char *zProgram;
  char *zSince;                /* When it opened the database, RFC 3339 */
} vwal_process_row;

typedef struct vwal_methods {
  int iVersion;                /* 1 */

  /* May this process open a database file with these vwal_* URI parameters? On error *pzErr says what is wrong and what
  ** would be right. */
  int (*xCheckParams)(const vwal_param *aParam, int nParam, char **pzErr);

  /* Open (or share) the log of the database zDb, whose log directory is zWal: both are names of SQLite's pager. Without VWAL_ATTACH_CREATE and without a
  ** directory: SQLITE_OK and *ppHandle==0. pFile is for vwal_base_open(). On error *pzErr is a message for people. */
  int (*xAttach)(const void *pFile, const char *zDb, const char *zWal, int flags, const vwal_param *aParam, int nParam,
                 vwal_handle **ppHandle, char **pzErr);
  /* The database file handle is closed. The last one closes the log. */
  void (*xDetach)(vwal_handle*);
  /* True when another connection has taken the database out of WAL mode: only xDetach may follow. */
  int (*xHasLeft)(vwal_handle*);

  /* Is zWal a directory that vwal may own? 0: no such file, 1: a directory, 2: a regular file, 3: something else. */
  int (*xWalKind)(const char *zWal);
  /* SQLite deletes the -wal of the database: its generation ends and the log is drained into the base file. */
  int (*xDeleteWal)(vwal_handle*);

  /* The first transaction of the new database zDb is committed, with SQLite's own journal. Make the names in its directory
  ** durable: that of the database, and that there is no journal any more. */
  int (*xCreated)(const char *zDb);

  /* The database file as SQLite sees it. xDbRead sets *peBase to VWAL_IN_BASE or VWAL_IN_BASE_KEEP when the caller must read the
  ** range from the base file (iAmt and iOfst unchanged); the whole range then lies in it. xDbKeep gets what was read, in the
  ** second case. */
  int (*xDbRead)(vwal_handle*, void *pBuf, int iAmt, int64_t iOfst, int *peBase);
  void (*xDbKeep)(vwal_handle*, const void *pBuf, int iAmt, int64_t iOfst);
  int (*xDbSize)(vwal_handle*, int64_t *pnByte);
  /* SQLite is about to write to the database file outside a checkpoint: WAL mode ends. Drains the log and removes the
  ** directory. On success the handle is a dead one: only xDetach may follow. */
  int (*xDbLeave)(vwal_handle*);
  /* SQLite is about to begin a rollback journal, so it will write to the database file: would xDbLeave find the way free?
  ** Once there is a journal, its failure leaves a hot journal that cannot be played back either. */
  int (*xCanLeave)(vwal_handle*, char **pzErr);
  /* The connection has got, or is about to release, the EXCLUSIVE lock of the database file. */
  void (*xExclusive)(vwal_handle*, int bExclusive);
  int (*xCommitted)(vwal_handle*);      /* SQLITE_FCNTL_COMMIT_PHASETWO */
  int (*xCkptStart)(vwal_handle*);      /* SQLITE_FCNTL_CKPT_START. Not SQLITE_OK: this checkpoint must copy nothing */
  int (*xCkptDone)(vwal_handle*);       /* SQLITE_FCNTL_CKPT_DONE */

  /* The -wal file */
  int (*xWalOpened)(vwal_handle*, int *pbReadonly);
  void (*xWalClosed)(vwal_handle*);
  int (*xWalRead)(vwal_handle*, void *pBuf, int iAmt, int64_t iOfst);
  int (*xWalWrite)(vwal_handle*, const void *pBuf, int iAmt, int64_t iOfst);
  int (*xWalTruncate)(vwal_handle*, int64_t nByte);
  int (*xWalSync)(vwal_handle*);
  int (*xWalSize)(vwal_handle*, int64_t *pnByte);

  /* The wal-index */
  int (*xShmMap)(vwal_handle*, int iRegion, int szRegion, int bExtend, void volatile **pp);
  int (*xShmLock)(vwal_handle*, int ofst, int n, int flags);
  void (*xShmBarrier)(vwal_handle*);
  int (*xShmUnmap)(vwal_handle*, int deleteFlag);

  /* The SQL surface */
  void (*xLogId)(vwal_handle*, char *zOut /* 37 bytes */);
  int64_t (*xFrameNo)(vwal_handle*);
  int64_t (*xDurableFrameNo)(vwal_handle*);
  int64_t (*xCheckpointedFrameNo)(vwal_handle*);
  int (*xFlush)(vwal_handle*, int64_t *piFrameNo, char **pzErr);       /* vwal_sync() */
  int (*xDrain)(vwal_handle*, int64_t *piFrameNo, char **pzErr);       /* vwal_checkpoint() */
  char *(*xMetrics)(vwal_handle*);                                     /* From vwal_malloc(); NULL: out of memory */
  int (*xStatus)(vwal_handle*, vwal_status_row *pOut);
  int (*xSegmentCount)(vwal_handle*, int *pn);
  /* Row i of a snapshot taken by the last xSegmentCount; SQLITE_DONE past the end. */
  int (*xSegment)(vwal_handle*, int i, vwal_segment_row *pOut);
  /* The same for the processes that have the database open. */
  int (*xProcessCount)(vwal_handle*, int *pn);
  int (*xProcess)(vwal_handle*, int i, vwal_process_row *pOut);
} vwal_methods;

/* What Rust calls in the shim. */

/* Register the VFS and the SQL surface on the SQLite behind pApi. Once per process and SQLite.
** bDefault: make vwal the default VFS. */
int vwal_shim_init(const void *pApi, const vwal_methods *pMethods, int bDefault, char **pzErr);
/* Take a registration back: the library is about to be unloaded. */
void vwal_shim_undo(void);
/* Make an error message with the routines behind pApi, whether or not anything is registered with them. */
char *vwal_shim_message(const void *pApi, const char *zMsg);
/* The sqlite3_auto_extension callback: the SQL surface on db, and WAL mode for a main database opened through vwal. */
int vwal_shim_connection(void *db, char **pzErr);

/* The base file, through the parent VFS. Result codes are SQLite's. zDb is a name of SQLite's pager: it has parameters.
** *pbReadonly: whether it is to be opened for reading only; then whether it was. */
/* pFile: the database file for which xAttach was called. SQLITE_READONLY_DBMOVED: another file has its name. */
int vwal_base_open(const void *pFile, const char *zDb, const char *zWal, int *pbReadonly, vwal_base **pp);
int vwal_base_read(vwal_base*, void *pBuf, int iAmt, int64_t iOfst);  /* SQLITE_IOERR_SHORT_READ: zero-filled */
int vwal_base_write(vwal_base*, void *pBuf, int iAmt, int64_t iOfst);  /* A VFS may change pBuf, as SQLite lets it */
int vwal_base_is_plain(void);                 /* 0: each read and write has to be one page, or a part of one */
int vwal_base_truncate(vwal_base*, int64_t nByte);
int vwal_base_sync(vwal_base*);
int vwal_base_size(vwal_base*, int64_t *pnByte);
int vwal_base_has_moved(vwal_base*);          /* Its name leads elsewhere now, or nowhere */
void vwal_base_close(vwal_base*);
void vwal_log(int rc, const char *zMsg);      /* sqlite3_log */
void *vwal_malloc(uint64_t n);                /* sqlite3_malloc64 */

#endif /* VWAL_H */
