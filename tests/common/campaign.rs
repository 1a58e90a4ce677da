//! How much of a class of faults is tried, and what came of it.
//!
//! `cargo test` tries a small part of each class, so that it stays quick. `FAULTS=ci` tries as much as has to hold
//! before a change lands (`.ci/run`), `FAULTS=nightly` goes on with new seeds for `FAULTS_SECONDS` (`.ci/nightly`).
//! With `FAULTS_DIR` set, each campaign keeps a file there with its figures, from which `.ci/table` makes one table and
//! from which the next night goes on.
//!
//! The unit tests of the library take this file in as well, so it stands on `std` alone.

#![allow(dead_code, reason = "each test uses its own part of this")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Figures are written at least this often, so that a run that is killed keeps them.
const KEEP: Duration = Duration::from_secs(2);

/// What is asked of every campaign.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Quick,
    Ci,
    Nightly(Duration),
}

fn mode() -> Mode {
    match std::env::var("FAULTS").as_deref() {
        Err(_) => Mode::Quick,
        Ok("ci") => Mode::Ci,
        Ok("nightly") => {
            let seconds = std::env::var("FAULTS_SECONDS").unwrap_or_else(|_| "60".into());
            let seconds = seconds
                .parse()
                .unwrap_or_else(|_| panic!("FAULTS_SECONDS is a number of seconds, not {seconds:?}"));
            Mode::Nightly(Duration::from_secs(seconds))
        }
        Ok(other) => panic!("FAULTS is ci or nightly, not {other:?}"),
    }
}

/// Whether somebody looks into one seed, and wants to be told what happens.
pub fn is_one_seed() -> bool {
    std::env::var_os("FAULTS_SEED").is_some()
}

/// A part of a class of faults that one test tries.
///
/// Dropped while its test panics, it counts a failure, and keeps the seed that failed.
pub struct Campaign {
    class: &'static str,
    part: &'static str,
    mode: Mode,
    started: Instant,
    /// The seed that is next.
    next: u64,
    /// The seeds of this run end before this one.
    end: u64,
    /// Of this run, and of the nights before.
    cases: u64,
    failures: u64,
    /// Seeds that failed, of this run and of the nights before.
    failed: Vec<u64>,
    /// The cases that this run had at its start.
    before: u64,
    kept: Instant,
    current: Option<u64>,
    /// The failure for which the test panics has been counted.
    is_told: bool,
}

impl Campaign {
    /// `class` is a row of the table; `part` tells this test from others of its class. `quick` seeds are tried by
    /// `cargo test`, `ci` by CI. The first seed is 0, but in a night, which goes on where the night before ended;
    /// `FAULTS_SEED` is the only one to try, if it is set.
    pub fn new(class: &'static str, part: &'static str, quick: u64, ci: u64) -> Campaign {
        let mode = mode();
        let now = Instant::now();
        let mut campaign = Campaign {
            class,
            part,
            mode,
            started: now,
            next: 0,
            end: match mode {
                Mode::Quick => quick,
                Mode::Ci => ci,
                Mode::Nightly(_) => u64::MAX,
            },
            cases: 0,
            failures: 0,
            failed: Vec::new(),
            before: 0,
            kept: now,
            current: None,
            is_told: false,
        };
        if let (Mode::Nightly(_), Some(text)) =
            (mode, campaign.file().and_then(|file| std::fs::read_to_string(file).ok()))
        {
            campaign.resume(&text);
        }
        if let Ok(seed) = std::env::var("FAULTS_SEED") {
            campaign.next = seed.parse().unwrap_or_else(|_| panic!("FAULTS_SEED is a number, not {seed:?}"));
            campaign.end = campaign.next + 1;
        }
        campaign
    }

    /// A class, or a part of it, that is finite: all of it is tried, always. What a night before counted does not count
    /// again.
    pub fn all(class: &'static str, part: &'static str) -> Campaign {
        let mut campaign = Campaign::new(class, part, 1, 1);
        (campaign.cases, campaign.before, campaign.failures) = (0, 0, 0);
        campaign
    }

    /// `quick`, `ci` or `nightly`, whichever of the three is asked for.
    pub fn scale<T>(&self, quick: T, ci: T, nightly: T) -> T {
        match self.mode {
            Mode::Quick => quick,
            Mode::Ci => ci,
            Mode::Nightly(_) => nightly,
        }
    }

    /// The next seed, until enough are tried or the time is up.
    pub fn seed(&mut self) -> Option<u64> {
        let time_is_up = matches!(self.mode, Mode::Nightly(budget) if self.started.elapsed() >= budget);
        if self.next >= self.end || time_is_up {
            self.current = None;
            return None;
        }
        let seed = self.next;
        self.next += 1;
        self.current = Some(seed);
        if self.kept.elapsed() >= KEEP {
            self.keep();
        }
        Some(seed)
    }

    /// Tries seeds on several threads; `one` returns how many cases it tried. The first failure ends it, when the seeds that
    /// are under way have come to their end.
    pub fn run(self, threads: usize, one: impl Fn(u64) -> u64 + Sync) {
        let campaign = Mutex::new(self);
        let failure = Mutex::new(None);
        // Nothing panics with one of these locks held.
        fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
            mutex.lock().unwrap_or_else(PoisonError::into_inner)
        }
        let work = || {
            while lock(&failure).is_none() {
                let Some(seed) = lock(&campaign).seed() else { break };
                match catch_unwind(AssertUnwindSafe(|| one(seed))) {
                    Ok(cases) => lock(&campaign).count(cases),
                    Err(panic) => {
                        lock(&campaign).fail(seed);
                        lock(&failure).get_or_insert(panic);
                    }
                }
            }
        };
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        let mut campaign = campaign.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(panic) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            campaign.is_told = true;
            resume_unwind(panic);
        }
    }

    fn fail(&mut self, seed: u64) {
        self.failures += 1;
        self.failed.push(seed);
        eprintln!("{}, {}: FAULTS_SEED={seed} tries this one again", self.class, self.part);
    }

    /// So many cases more were tried, and held.
    pub fn count(&mut self, cases: u64) {
        self.cases += cases;
    }

    /// Cases of this run.
    pub fn cases(&self) -> u64 {
        self.cases - self.before
    }

    fn file(&self) -> Option<PathBuf> {
        let dir = std::env::var_os("FAULTS_DIR").filter(|dir| !dir.is_empty())?;
        Some(Path::new(&dir).join(format!("{}.{}", self.class, self.part).replace([' ', '/'], "-")))
    }

    /// One line: class, part, cases, failures, next seed, failed seeds; with tabs between them.
    fn line(&self) -> String {
        let failed: Vec<String> = self.failed.iter().map(u64::to_string).collect();
        let (class, part, failed) = (self.class, self.part, failed.join(" "));
        format!("{class}\t{part}\t{}\t{}\t{}\t{failed}\n", self.cases, self.failures, self.next)
    }

    fn resume(&mut self, line: &str) {
        let mut fields = line.trim_end_matches('\n').split('\t').skip(2);
        let mut number = || fields.next().and_then(|field| field.parse().ok());
        if let (Some(cases), Some(failures), Some(next)) = (number(), number(), number()) {
            (self.cases, self.before, self.failures, self.next) = (cases, cases, failures, next);
            self.failed =
                fields.next().unwrap_or("").split(' ').filter_map(|seed| seed.parse().ok()).collect();
        }
    }

    fn keep(&mut self) {
        self.kept = Instant::now();
        if let Some(file) = self.file() {
            // Written beside and renamed: a run may be killed here.
            let mut beside = file.clone().into_os_string();
            beside.push(".new");
            let kept = std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))
                .and_then(|()| std::fs::write(&beside, self.line()))
                .and_then(|()| std::fs::rename(&beside, &file));
            kept.unwrap_or_else(|error| eprintln!("{}: {error}", file.display()));
        }
    }
}

impl Drop for Campaign {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.is_told {
            match self.current {
                Some(seed) => self.fail(seed),
                None => self.failures += 1,
            }
        }
        self.keep();
        println!("{}, {}: {} cases, {} failures", self.class, self.part, self.cases(), self.failures);
    }
}
