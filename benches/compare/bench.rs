//! The parent of all runs: templates, directories, the order of the runs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::args::Settings;
use crate::child::{Job, Run};
use crate::engine::{Contestant, make_template};
use crate::rows::Row;

/// Writing 3 here empties the page cache. It takes root.
pub const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// What the runs have in common.
pub struct Bench {
    pub settings: Settings,
    /// Everything that is made is in here.
    dir: TempDir,
    /// By their number of rows.
    templates: RefCell<BTreeMap<i64, PathBuf>>,
}

/// The runs of a row, by contestant; the runs with the same place in the lists belong together.
pub type Runs = BTreeMap<Contestant, Vec<Run>>;

impl Bench {
    pub fn new(dir: &Path, settings: Settings) -> Result<Bench, String> {
        let dir = tempfile::Builder::new()
            .prefix("compare")
            .tempdir_in(dir)
            .map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Bench { settings, dir, templates: RefCell::default() })
    }

    /// A directory for a run.
    pub fn lab(&self) -> Result<TempDir, String> {
        tempfile::tempdir_in(&self.dir).map_err(|error| format!("{}: {error}", self.dir.path().display()))
    }

    /// A job for a run in `dir`.
    pub fn job(
        &self,
        row: &str,
        contestant: Contestant,
        dir: &Path,
        settings: &Settings,
    ) -> Result<Job, String> {
        Ok(Job {
            row: row.to_owned(),
            contestant,
            part: String::new(),
            dir: dir.to_owned(),
            template: self.template(settings.rows)?,
            settings: settings.clone(),
            values: BTreeMap::new(),
        })
    }

    fn template(&self, rows: i64) -> Result<PathBuf, String> {
        let path = self.dir.path().join(format!("template-{rows}.db"));
        if !self.templates.borrow().contains_key(&rows) {
            make_template(&path, rows).map_err(|error| format!("{}: {error}", path.display()))?;
            self.templates.borrow_mut().insert(rows, path.clone());
        }
        Ok(path)
    }

    /// So many rounds of `once`, the contestants forwards and backwards in turns, so that none always finds the disk as the
    /// same other one left it. `progress` hears of every round.
    pub fn rounds(
        contestants: &[Contestant],
        rounds: usize,
        mut progress: impl FnMut(usize),
        mut once: impl FnMut(Contestant) -> Result<Run, String>,
    ) -> Result<Runs, String> {
        let mut runs = Runs::new();
        for round in 0..rounds {
            progress(round + 1);
            let mut order = contestants.to_vec();
            if round % 2 == 1 {
                order.reverse();
            }
            for contestant in order {
                runs.entry(contestant).or_default().push(once(contestant)?);
            }
        }
        Ok(runs)
    }

    /// The contestants of a row, or the only one that is wanted.
    pub fn contestants(row: &Row, only: Option<Contestant>) -> Vec<Contestant> {
        let wanted = |contestant: &Contestant| only.is_none_or(|only| only == *contestant);
        row.contestants.iter().copied().filter(wanted).collect()
    }
}
