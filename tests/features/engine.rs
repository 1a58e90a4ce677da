//! That the two engines of the other tests are what they say.

use crate::lab::{Engine, Lab};
use crate::text::query;

#[test]
fn a_database_opened_through_vwal_is_virtual() {
    let lab = Lab::new(Engine::Vwal);
    let db = lab.create("a.db", "");
    db.execute_batch("CREATE TABLE t(x)").unwrap();
    assert!(lab.wal("a.db").is_dir());
    assert_eq!(query(&db, "SELECT count(*) FROM vwal_status"), "1");
    assert!(query(&db, "SELECT vwal_frame_no()").parse::<u64>().unwrap() > 0);
}

#[test]
fn a_database_opened_by_stock_sqlite_beside_it_is_not() {
    let lab = Lab::new(Engine::Stock);
    let db = lab.create("a.db", "");
    db.execute_batch("CREATE TABLE t(x)").unwrap();
    assert!(lab.wal("a.db").is_file());
    assert_eq!(query(&db, "SELECT vwal_log_id(), vwal_frame_no()"), "NULL|NULL");
}
