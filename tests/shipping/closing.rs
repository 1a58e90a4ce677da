//! Closing while storage is away.

use std::time::{Duration, Instant};

use crate::lab::{FaultyLab, wait_for};

#[test]
fn databases_that_are_closed_together_wait_for_storage_once() {
    // Each of them on its own would wait this long.
    const TIMEOUT: Duration = Duration::from_secs(4);
    for at_once in [false, true] {
        let lab = FaultyLab::new(if at_once { "closing-at-once" } else { "closing-in-turn" });
        lab.store.set_down(true);
        let databases: Vec<_> = (0..8)
            .map(|number| {
                let params = format!("&vwal_close_timeout_ms={}", TIMEOUT.as_millis());
                let db = lab.open_named(&format!("{number}.db"), &params).unwrap();
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
        assert!(started.elapsed() < 4 * TIMEOUT, "they took {:?}", started.elapsed());
        // What was not shipped is in the log, and is shipped after the next open.
        lab.store.set_down(false);
        for number in 0..8 {
            let db = lab.open_named(&format!("{number}.db"), "").unwrap();
            let database = crate::lab::database(&db);
            wait_for("shipping", || database.durable_frame_no() == database.frame_no());
        }
    }
}
