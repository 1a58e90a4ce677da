//! Segments are sealed without another transaction, so that opening after a crash need not read them.

use std::time::Duration;

use crate::lab::{Engine, Lab};
use crate::text::query;

#[test]
fn what_a_large_transaction_wrote_is_sealed_although_none_follows_it() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.open_with("a.db", "vwal_swap=size%3E%3D64KiB&vwal_checkpoint_age_ms=0").unwrap();
    query(&db, "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x)");
    let last = query(&db, "SELECT frame_no FROM vwal_status").trim().parse::<u64>().unwrap();
    query(
        &db,
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
         INSERT INTO t SELECT zeroblob(4000) FROM n",
    );
    // The segment that it made is a file with a seal, and what comes next goes into another one.
    let sealed = |path: &std::path::Path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.len() > 3592 && bytes[3584..3592] == *b"VWALSEAL"
    };
    let path = lab.wal("a.db").join(format!("{:020}.seg", 1));
    assert!(last < 10 && path.exists());
    while !sealed(&path) {
        std::thread::sleep(Duration::from_millis(2));
    }
    query(&db, "INSERT INTO t VALUES (1)");
    assert_eq!(query(&db, "SELECT count(*) FROM vwal_segments"), "2");
}
