//! Damaged files: an error that names the file, or a state that was committed and that the promises allow. Never a wrong
//! page, never a panic; an open that is refused changes nothing; and with the damage undone everything is back.
//!
//! What `vwal status` and `vwal verify` say of the files must be what an open makes of them (`agreement.rs`).
//!
//! `log.rs` does it to the files of a log, `checkpointed.rs` to the part of a log that is in the base file, `objects.rs` to what is in storage, `journal.rs` to a restore that was
//! interrupted.

pub mod agreement;
mod base;
mod checkpointed;
mod journal;
mod log;
mod objects;
mod wholes;

pub use objects::quick_dir;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many failures are shown. All are counted.
const SHOWN: usize = 12;

/// What a sweep found.
#[derive(Default)]
struct Sweep {
    cases: u64,
    failures: Vec<String>,
    failed: u64,
}

impl Sweep {
    /// Try one case. `what` tells which one it was.
    fn case(&mut self, what: impl Fn() -> String, act: impl FnOnce() -> Result<(), String>) {
        self.cases += 1;
        let outcome = catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| Err("a panic".into()));
        if let Err(wrong) = outcome {
            self.failed += 1;
            if self.failures.len() < SHOWN {
                self.failures.push(format!("{}: {wrong}", what()));
            }
        }
    }

    /// Every case held.
    fn held(self) -> u64 {
        let (cases, failed, failures) = (self.cases, self.failed, self.failures.join("\n"));
        assert!(failed == 0, "{failed} of {cases}:\n{failures}");
        cases
    }
}
