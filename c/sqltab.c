/*
** The tables that an SQL statement can read:
**
**     SELECT * FROM vwal_status;                     one row per virtual database of this connection
**     SELECT * FROM vwal_segments;                   one row per segment of each of them
**     SELECT * FROM vwal_processes;                  one row per process that has one of them open
**
** The tables are eponymous: they exist on every connection and in no schema. They share one module, and differ in a
** VwalTable, which names the columns and fills rows from one handle. xFilter takes all rows at once into the cursor,
** because the verb that gives segments keeps one snapshot per handle, which a second cursor would replace. There are
** few rows and no index: SQLite checks every constraint itself.
*/
#include "internal.h"
#include <string.h>

/* One cell of a table row. */
typedef struct VwalCell {
  int eType;                   /* SQLITE_NULL, SQLITE_INTEGER or SQLITE_TEXT */
  sqlite3_int64 i;
  char *z;                     /* sqlite3_malloc64; owned */
} VwalCell;

typedef struct VwalTable VwalTable;

typedef struct VwalTab {
  sqlite3_vtab base;           /* Must be first */
  sqlite3 *db;
  const VwalTable *pTable;
} VwalTab;

typedef struct VwalCursor {
  sqlite3_vtab_cursor base;    /* Must be first */
  VwalCell *aCell;             /* nRow rows of pTable->nCol cells, then perhaps an unfinished one */
  sqlite3_int64 nCell;         /* Cells in use */
  sqlite3_int64 nCellAlloc;
  sqlite3_int64 nRow;
  sqlite3_int64 iRow;          /* The current row */
  int rc;                      /* SQLITE_NOMEM once a cell could not be stored */
} VwalCursor;

/* A table: its name, its columns, and where the rows of one database come from. */
struct VwalTable {
  const char *zName;
  const char *zDeclare;
  int nCol;
  int (*xFill)(VwalCursor*, const char *zSchema, vwal_handle*);
};

static void vwalCursorClear(VwalCursor *pCur){
  sqlite3_int64 i;
  for(i=0; i<pCur->nCell; i++) sqlite3_free(pCur->aCell[i].z);
  sqlite3_free(pCur->aCell);
  pCur->aCell = 0;
  pCur->nCell = pCur->nCellAlloc = pCur->nRow = pCur->iRow = 0;
  pCur->rc = SQLITE_OK;
}

/* Append a cell. Takes z over, also when there is no memory for the cell. */
static void vwalCell(VwalCursor *pCur, int eType, sqlite3_int64 i, char *z){
  if( pCur->nCell>=pCur->nCellAlloc ){
    sqlite3_int64 nNew = pCur->nCellAlloc ? pCur->nCellAlloc*2 : 64;
    VwalCell *aNew = (VwalCell*)sqlite3_realloc64(pCur->aCell, (sqlite3_uint64)nNew*sizeof(VwalCell));
    if( aNew==0 ){
      sqlite3_free(z);
      pCur->rc = SQLITE_NOMEM;
      return;
    }
    pCur->aCell = aNew;
    pCur->nCellAlloc = nNew;
  }
  pCur->aCell[pCur->nCell].eType = eType;
  pCur->aCell[pCur->nCell].i = i;
  pCur->aCell[pCur->nCell].z = z;
  pCur->nCell++;
}

static void vwalCellInt(VwalCursor *pCur, sqlite3_int64 i){
  vwalCell(pCur, SQLITE_INTEGER, i, 0);
}

/* A cell with a string that a verb gave, taken over; NULL stays NULL. */
static void vwalCellOwned(VwalCursor *pCur, char *z){
  vwalCell(pCur, z ? SQLITE_TEXT : SQLITE_NULL, 0, z);
}

/* A cell with a copy of z. */
static void vwalCellText(VwalCursor *pCur, const char *z){
  char *zCopy = sqlite3_mprintf("%s", z);
  if( zCopy==0 ) pCur->rc = SQLITE_NOMEM;
  vwalCellOwned(pCur, zCopy);
}

static int vwalFillStatus(VwalCursor *pCur, const char *zSchema, vwal_handle *pHandle){
  vwal_status_row row;
  int rc;
  memset(&row, 0, sizeof(row));
  rc = pVwal->xStatus(pHandle, &row);
  if( rc!=SQLITE_OK ) return rc;
  row.zLogId[sizeof(row.zLogId)-1] = 0;
  vwalCellText(pCur, zSchema);
  vwalCellOwned(pCur, row.zPath);
  vwalCellText(pCur, row.zLogId);
  vwalCellInt(pCur, row.iFrameNo);
  vwalCellInt(pCur, row.iDurableFrameNo);
  vwalCellInt(pCur, row.iCheckpointedFrameNo);
  vwalCellInt(pCur, row.szPage);
  vwalCellInt(pCur, row.nDbPage);
  vwalCellInt(pCur, row.nSegment);
  vwalCellInt(pCur, row.nLogByte);
  vwalCellOwned(pCur, row.zStorage);
  vwalCellOwned(pCur, row.zLastError);
  return pCur->rc;
}

static int vwalFillSegments(VwalCursor *pCur, const char *zSchema, vwal_handle *pHandle){
  int i, n = 0;
  int rc = pVwal->xSegmentCount(pHandle, &n);
  for(i=0; rc==SQLITE_OK && i<n; i++){
    vwal_segment_row row;
    memset(&row, 0, sizeof(row));
    rc = pVwal->xSegment(pHandle, i, &row);
    if( rc==SQLITE_OK ){
      vwalCellText(pCur, zSchema);
      vwalCellInt(pCur, row.iStart);
      vwalCellInt(pCur, row.iEnd);
      vwalCellText(pCur, row.zState ? row.zState : "");
      vwalCellInt(pCur, row.nByte);
      vwalCellOwned(pCur, row.zPath);
      rc = pCur->rc;
    }
  }
  /* Fewer than were counted: in shared-cache mode another connection on this handle took a snapshot in between. */
  return rc==SQLITE_DONE ? SQLITE_OK : rc;
}

static int vwalFillProcesses(VwalCursor *pCur, const char *zSchema, vwal_handle *pHandle){
  int i, n = 0;
  int rc = pVwal->xProcessCount(pHandle, &n);
  for(i=0; rc==SQLITE_OK && i<n; i++){
    vwal_process_row row;
    memset(&row, 0, sizeof(row));
    rc = pVwal->xProcess(pHandle, i, &row);
    if( rc==SQLITE_OK ){
      vwalCellText(pCur, zSchema);
      vwalCellInt(pCur, row.iSlot);
      vwalCellInt(pCur, row.iPid);
      vwalCellOwned(pCur, row.zProgram);
      vwalCellOwned(pCur, row.zSince);
      rc = pCur->rc;
    }
  }
  /* As above. */
  return rc==SQLITE_DONE ? SQLITE_OK : rc;
}

static const VwalTable aVwalTable[] = {
  { "vwal_status",
    "CREATE TABLE x(schema TEXT, path TEXT, log_id TEXT, frame_no INTEGER, durable_frame_no INTEGER,"
    " checkpointed_frame_no INTEGER, page_size INTEGER, db_size_pages INTEGER, segment_count INTEGER,"
    " log_bytes INTEGER, storage TEXT, last_error TEXT)",
    12, vwalFillStatus },
  { "vwal_segments",
    "CREATE TABLE x(schema TEXT, start_frame_no INTEGER, end_frame_no INTEGER, state TEXT, bytes INTEGER, path TEXT)",
    6, vwalFillSegments },
  { "vwal_processes",
    "CREATE TABLE x(schema TEXT, slot INTEGER, pid INTEGER, program TEXT, since TEXT)",
    5, vwalFillProcesses },
};

static int vwalTabConnect(sqlite3 *db, void *pAux, int argc, const char *const*argv, sqlite3_vtab **ppVtab,
                          char **pzErr){
  const VwalTable *pTable = (const VwalTable*)pAux;
  VwalTab *pTab;
  int rc;
  (void)argc;
  (void)argv;
  (void)pzErr;
  *ppVtab = 0;
  rc = sqlite3_declare_vtab(db, pTable->zDeclare);
  if( rc==SQLITE_OK ) rc = sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
  if( rc!=SQLITE_OK ) return rc;
  pTab = (VwalTab*)sqlite3_malloc64(sizeof(*pTab));
  if( pTab==0 ) return SQLITE_NOMEM;
  memset(pTab, 0, sizeof(*pTab));
  pTab->db = db;
  pTab->pTable = pTable;
  *ppVtab = &pTab->base;
  return SQLITE_OK;
}

static int vwalTabDisconnect(sqlite3_vtab *pVtab){
  sqlite3_free(pVtab);
  return SQLITE_OK;
}

static int vwalTabBestIndex(sqlite3_vtab *pVtab, sqlite3_index_info *pInfo){
  (void)pVtab;
  pInfo->estimatedCost = 100.0;
  pInfo->estimatedRows = 10;
  return SQLITE_OK;
}

static int vwalTabOpen(sqlite3_vtab *pVtab, sqlite3_vtab_cursor **ppCursor){
  VwalCursor *pCur = (VwalCursor*)sqlite3_malloc64(sizeof(*pCur));
  (void)pVtab;
  if( pCur==0 ) return SQLITE_NOMEM;
  memset(pCur, 0, sizeof(*pCur));
  *ppCursor = &pCur->base;
  return SQLITE_OK;
}

static int vwalTabClose(sqlite3_vtab_cursor *pCursor){
  vwalCursorClear((VwalCursor*)pCursor);
  sqlite3_free(pCursor);
  return SQLITE_OK;
}

/* Take all rows of all databases of the connection. */
static int vwalTabFilter(sqlite3_vtab_cursor *pCursor, int idxNum, const char *idxStr, int argc,
                         sqlite3_value **argv){
  VwalCursor *pCur = (VwalCursor*)pCursor;
  VwalTab *pTab = (VwalTab*)pCursor->pVtab;
  sqlite3_stmt *pStmt = 0;
  int rc, rc2;
  (void)idxNum;
  (void)idxStr;
  (void)argc;
  (void)argv;

  vwalCursorClear(pCur);
  /* sqlite3_db_name() would do, but SQLite has it since 3.39 only. */
  rc = sqlite3_prepare_v2(pTab->db, "PRAGMA database_list", -1, &pStmt, 0);
  while( rc==SQLITE_OK && (rc = sqlite3_step(pStmt))==SQLITE_ROW ){
    const char *zSchema = (const char*)sqlite3_column_text(pStmt, 1);
    vwal_handle *pHandle = 0;
    if( zSchema==0 ){
      rc = SQLITE_NOMEM;
      break;
    }
    rc = vwalFindHandle(pTab->db, zSchema, &pHandle);
    if( rc==SQLITE_OK && pHandle ) rc = pTab->pTable->xFill(pCur, zSchema, pHandle);
    if( rc!=SQLITE_OK ){
      sqlite3_free(pTab->base.zErrMsg);
      pTab->base.zErrMsg = sqlite3_mprintf("%s: database %s: %s", pTab->pTable->zName, zSchema, sqlite3_errstr(rc));
    }
  }
  if( rc==SQLITE_DONE ) rc = SQLITE_OK;
  rc2 = sqlite3_finalize(pStmt);
  if( rc==SQLITE_OK ) rc = rc2;
  if( rc!=SQLITE_OK ){
    vwalCursorClear(pCur);
    return rc;
  }
  pCur->nRow = pCur->nCell / pTab->pTable->nCol;
  return SQLITE_OK;
}

static int vwalTabNext(sqlite3_vtab_cursor *pCursor){
  ((VwalCursor*)pCursor)->iRow++;
  return SQLITE_OK;
}

static int vwalTabEof(sqlite3_vtab_cursor *pCursor){
  VwalCursor *pCur = (VwalCursor*)pCursor;
  return pCur->iRow>=pCur->nRow;
}

static int vwalTabColumn(sqlite3_vtab_cursor *pCursor, sqlite3_context *pCtx, int iCol){
  VwalCursor *pCur = (VwalCursor*)pCursor;
  const VwalTable *pTable = ((VwalTab*)pCursor->pVtab)->pTable;
  const VwalCell *pCell = &pCur->aCell[pCur->iRow*pTable->nCol + iCol];
  if( pCell->eType==SQLITE_TEXT ){
    sqlite3_result_text(pCtx, pCell->z, -1, SQLITE_TRANSIENT);
  }else if( pCell->eType==SQLITE_INTEGER ){
    sqlite3_result_int64(pCtx, pCell->i);
  }
  return SQLITE_OK;
}

static int vwalTabRowid(sqlite3_vtab_cursor *pCursor, sqlite3_int64 *piRowid){
  *piRowid = ((VwalCursor*)pCursor)->iRow + 1;
  return SQLITE_OK;
}

/* Without xCreate: no CREATE VIRTUAL TABLE, the table just exists. Without xUpdate: it is read-only. */
static const sqlite3_module vwalModule = {
  .iVersion = 0,
  .xConnect = vwalTabConnect,
  .xBestIndex = vwalTabBestIndex,
  .xDisconnect = vwalTabDisconnect,
  .xOpen = vwalTabOpen,
  .xClose = vwalTabClose,
  .xFilter = vwalTabFilter,
  .xNext = vwalTabNext,
  .xEof = vwalTabEof,
  .xColumn = vwalTabColumn,
  .xRowid = vwalTabRowid,
};

int vwalTablesRegister(sqlite3 *db, const char **pzName){
  int i;
  int rc = SQLITE_OK;
  for(i=0; rc==SQLITE_OK && i<(int)(sizeof(aVwalTable)/sizeof(aVwalTable[0])); i++){
    *pzName = aVwalTable[i].zName;
    rc = sqlite3_create_module_v2(db, *pzName, &vwalModule, (void*)&aVwalTable[i], 0);
  }
  return rc;
}
