//! How many fsyncs commits cost, as the metrics tell it.

use crate::lab::{Engine, Lab};
use crate::text::query;

/// Commits and the fsyncs that made them durable.
fn counts(db: &rusqlite::Connection) -> [u64; 2] {
    let text = query(db, "SELECT vwal_metrics()");
    ["vwal_commits_total{", "vwal_commit_fsyncs_total{"].map(|name| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        line.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    })
}

#[test]
fn one_connection_costs_one_fsync_for_each_commit_under_full_and_none_under_normal() {
    for group_commit in ["on", "off"] {
        let lab = Lab::new(Engine::Vwal);
        let params = format!("&vwal_sync_interval_ms=0&vwal_group_commit={group_commit}");
        let db = lab.open_with("a.db", &params).unwrap();
        query(&db, "PRAGMA synchronous=NORMAL; CREATE TABLE t(x); INSERT INTO t VALUES (0)");
        let before = counts(&db);
        for i in 0..20 {
            query(&db, &format!("INSERT INTO t VALUES ({i}); SELECT count(*) FROM t"));
        }
        let normal = counts(&db);
        assert_eq!(normal, [before[0] + 20, before[1]], "NORMAL, group commit {group_commit}");
        query(&db, "PRAGMA synchronous=FULL");
        for i in 0..20 {
            query(&db, &format!("INSERT INTO t VALUES ({i}); SELECT count(*) FROM t"));
        }
        assert_eq!(counts(&db), [normal[0] + 20, normal[1] + 20], "FULL, group commit {group_commit}");
        // What has to be durable already costs nothing.
        query(&db, "SELECT vwal_sync(); SELECT vwal_sync()");
        assert_eq!(counts(&db)[1], normal[1] + 20);
    }
}
