//! Who is woken, and when.

use super::{Place, commit};
use crate::options::Options;

/// The checkpointer absorbs what it can before each pass. Where passes do not get on it must sleep in between.
#[test]
fn absorbing_what_is_absorbed_wakes_nobody() {
    let place = Place::new();
    let url = "memory://absorbing".parse().unwrap();
    let log = place.open_with(Options::new().storage(url).checkpoint_size(1)).unwrap();
    let first = commit(&log, &[1]);
    log.checkpointer().absorb(first).unwrap();
    let woken = || log.checkpointer_wakeup().take_notified();
    assert!(woken(), "a pass is due");
    log.checkpointer().absorb(first).unwrap();
    assert!(!woken());
    let second = commit(&log, &[2]);
    log.checkpointer().absorb(second).unwrap();
    assert!(woken());
}
