//! `vwal status` and `vwal verify` judge files as an open does, and change nothing.

use std::path::Path;

use crate::db::inspect::{Depth, Inspection, look};
use crate::error::Error;
use crate::testing::faults::rig::{BASE, DIR, Db, Rig};
use crate::testing::io::Image;

/// What is said of damaged files: by `vwal status`, and by `vwal verify`.
pub struct Said([Result<Inspection, Error>; 2]);

impl Said {
    pub fn of(damaged: &Image) -> Result<Said, String> {
        let rig = Rig::from(damaged.clone());
        let said =
            [Depth::Heads, Depth::Frames].map(|depth| look(&rig.io, Path::new(BASE), Path::new(DIR), depth));
        match rig.io.trace().first() {
            None => Ok(Said(said)),
            Some(record) => Err(format!("looking at the files did {:?}", record.op)),
        }
    }

    fn each(&self) -> impl Iterator<Item = (&str, &Result<Inspection, Error>)> {
        ["status", "verify"].into_iter().zip(&self.0)
    }

    /// An open is refused, and so there is something to find.
    pub fn is_refused(&self, error: &Error) -> Result<(), String> {
        for (who, said) in self.each() {
            if said.as_ref().is_ok_and(|found| found.findings.is_empty()) {
                return Err(format!("the open was refused ({error}), and {who} finds nothing"));
            }
        }
        Ok(())
    }

    /// A database is open: the log ends where it was said to end. `vwal verify` reads frames that an open does not, and may find
    /// damage in them: then it has told where, and says the frame before.
    pub fn is_open(&self, db: &Db) -> Result<(), String> {
        for (who, said) in self.each() {
            let found = said.as_ref().map_err(|error| format!("it opens, {who} says {error}"))?;
            let (said, is) = (found.frame_no(), Some(db.log().published_frame_no()));
            // Unless a new log began.
            let is_right = said == is || (who == "verify" && !found.findings.is_empty() && said < is);
            if found.log_id() == Some(db.log().log_id()) && !is_right {
                return Err(format!("the log ends at frame {is:?}, {who} says {said:?}"));
            }
        }
        Ok(())
    }

    /// Some page cannot be read, and `vwal verify`, which reads everything, says so.
    pub fn is_unreadable(&self) -> Result<(), String> {
        match &self.0[1] {
            Ok(found) if found.findings.is_empty() => {
                Err("a page cannot be read, and verify finds nothing".into())
            }
            _ => Ok(()),
        }
    }
}
