//! Closing while storage is away.

use std::time::{Duration, Instant};

use crate::lab::{FaultyLab, wait_for};

/// In a process of its own: all closes of a process share what they wait, those of the tests beside this one too.
#[test]
fn databases_that_are_closed_together_wait_for_storage_once() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "closing::closes_databases_together", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
}

#[test]
#[ignore = "the work of a child process"]
fn closes_databases_together() {
    // Each of them on its own would wait this long.
    const TIMEOUT: Duration = Duration::from_secs(8);
    for at_once in [false, true] {
        // Each database has a storage of its own, and all are away.
        let labs: Vec<FaultyLab> =
            (0..8).map(|number| FaultyLab::new(&format!("closing-{at_once}-{number}"))).collect();
        let databases: Vec<_> = labs
            .iter()
            .map(|lab| {
                lab.store.set_down(true);
                let params = format!("&vwal_close_timeout_ms={}", TIMEOUT.as_millis());
                let db = lab.open(&params).unwrap();
                db.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1)").unwrap();
                db
            })
            .collect();
        let started = Instant::now();
        if at_once {
            let closing: Vec<_> =
                databases.into_iter().map(|db| std::thread::spawn(move || drop(db))).collect();
            closing.into_iter().for_each(|thread| thread.join().unwrap());
        } else {
            drop(databases);
        }
        // One after the other they would wait for eight times as long, however fast the machine is.
        assert!(started.elapsed() < 7 * TIMEOUT, "they took {:?}", started.elapsed());
        // What was not shipped is in the log, and is shipped after the next open.
        for lab in &labs {
            lab.store.set_down(false);
            let db = lab.open("").unwrap();
            let database = crate::lab::database(&db);
            wait_for("shipping", || database.durable_frame_no() == database.frame_no());
        }
    }
}
