//! Power loss while the log is shipped: storage never has what the disk lost, and the log that is recovered goes on there.

use std::sync::Arc;

use super::rig::{Content, Db, History, PAGE, Rig, check_bytes};
use super::stored::Stored;
use super::sweep::{Crash, Plan, Recording, Recovered, Subject, campaign};
use crate::error::Result;
use crate::restore::{Restore, Target};
use crate::ship::ship_once;
use crate::storage::{Storage, bundles};
use crate::testing::io::{Mark, splitmix};
use crate::testing::storage::block_on;

fn ship(db: &Db, storage: &Arc<dyn Storage>) -> Result<()> {
    ship_once(db.wal.log(), storage)
}

/// What the newest state in storage holds.
fn restored(storage: &Arc<dyn Storage>, history: &History) -> u32 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("restored.db");
    let restore = Restore::new(&"memory://unused".parse().unwrap()).target(Target::Latest);
    let commit = block_on(restore.run_from(storage, &path, &mut |_| ())).unwrap().resolved.commit;
    let bytes = std::fs::read(&path).unwrap();
    check_bytes(&bytes[..commit.db_size_pages as usize * PAGE], history).unwrap()
}

/// Recovers, and ships what storage does not have.
struct Shipped {
    rig: Rig,
    history: History,
    stored: Arc<Stored>,
}

impl Subject for Shipped {
    fn recover(&self, crash: Crash) -> Result<Recovered, String> {
        let restores = crash.at.is_multiple_of(20);
        let rig = self.rig.again(crash.disks);
        let storage: Arc<dyn Storage> = self.stored.at(crash.at, &rig.io);
        let (db, k) = rig.open_and_check(&self.history)?;
        let end = db.log().published_frame_no();
        let durable = block_on(bundles::durable_frame_no(&storage, db.log().log_id()))
            .map_err(|error| format!("storage: {error}"))?;
        if let Some(durable) = durable.filter(|durable| durable.end_frame_no > end) {
            return Err(format!("storage has {durable:?}, the log ends at {end}"));
        }
        ship(&db, &storage).map_err(|error| format!("shipping: {error}"))?;
        if db.log().stored_frame_no() != Some(end) {
            return Err(format!("stored is {:?}, the log ends at {end}", db.log().stored_frame_no()));
        }
        if restores && restored(&storage, &self.history) != k {
            return Err("storage restores to another commit".into());
        }
        Ok(Recovered { k, again: None })
    }

    fn context(&self, at: usize) -> u64 {
        self.stored.count_at(at)
    }
}

/// A random workload that ships now and then.
pub(super) fn recorded(seed: u64, rig: Rig) -> (String, Recording, Box<dyn Subject>) {
    let mut next = seed;
    let rig = rig.with("vwal_storage", "memory://unused");
    let stored = Stored::new(&rig.io);
    let storage: Arc<dyn Storage> = Arc::clone(&stored) as _;
    let mut history = History::from([(0, Content::first())]);
    let db = rig.open().unwrap();
    let mut k = 0;
    for _ in 0..14 {
        match splitmix(&mut next) % 8 {
            0..4 => {
                let size = history[&k].pages.len() as u32 + (splitmix(&mut next) % 2) as u32;
                let pages = [1, 2, size];
                let content = history[&k].after(k + 1, &pages, size);
                k += 1;
                history.insert(k, content);
                let full = splitmix(&mut next).is_multiple_of(2);
                rig.io.mark(Mark::Attempt(k));
                db.commit(k, &pages, size, full).unwrap();
                if full {
                    rig.io.mark(Mark::Acknowledged(k));
                }
            }
            4..7 => {
                ship(&db, &storage).unwrap();
                rig.io.mark(Mark::Acknowledged(k));
            }
            _ => drop(db.pass().unwrap()),
        }
    }
    drop(db);
    let recording = Recording { start: rig.io.start(), trace: rig.io.trace() };
    (format!("seed {seed}"), recording, Box::new(Shipped { rig, history, stored }))
}

#[test]
fn what_was_shipped_survives_a_power_loss() {
    let plan = Plan { seed: 0, states: 0, again: 0, kills: 0, within: 0, shrink: true };
    campaign("shipped", [8, 40], [200, 250, 2_000], plan, |seed| recorded(seed, Rig::new()));
}
