//! How a sweep is done: what is tried at each moment, recovered by a few threads, and made small where it fails.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::place::{Mask, parse};
use super::variants::{Variant, always, others};
use super::{Counted, Crash, Failure, Plan, Recording, Subject, describe, sweep};
use crate::testing::faults::campaign::Campaign;
use crate::testing::io::{Disks, Fate, Mark, Op, splitmix};

/// So many recoveries are handed to the threads at once.
const BATCH: usize = 128;

/// What may be found.
#[derive(Clone, Copy, Default)]
struct Bounds {
    acknowledged: u32,
    attempted: u32,
}

impl Bounds {
    fn note(&mut self, op: &Op) {
        match op {
            Op::Mark(Mark::Attempt(k)) => self.attempted = *k,
            Op::Mark(Mark::Acknowledged(k)) => self.acknowledged = *k,
            _ => {}
        }
    }

    fn check(self, k: u32) -> Result<(), String> {
        let Bounds { acknowledged, attempted } = self;
        if acknowledged <= k && k <= attempted {
            return Ok(());
        }
        Err(format!("acknowledged {acknowledged}, recovered {k}, attempted {attempted}"))
    }
}

/// A disk to be recovered, for the first time.
struct Case {
    key: u64,
    disks: Disks,
    at: usize,
    variant: Variant,
    bounds: Bounds,
    again: bool,
}

/// A crash that left a disk which may have been left by another one before.
struct Check {
    key: u64,
    at: usize,
    variant: Variant,
    bounds: Bounds,
}

pub(super) struct Sweep<'a> {
    recording: &'a Recording,
    subject: &'a dyn Subject,
    plan: Plan,
    /// A recovery is swept, which is one of many.
    is_second: bool,
    /// At the start of the recording.
    bounds: Bounds,
    random: u64,
    /// Each disk that was recovered, and what it held.
    seen: HashMap<u64, u32>,
    queued: HashSet<u64>,
    cases: Vec<Case>,
    checks: Vec<Check>,
    /// What was tried at this place.
    here: Vec<(u64, Variant)>,
    counted: Counted,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(recording: &'a Recording, subject: &'a dyn Subject, plan: Plan) -> Sweep<'a> {
        let mut bounds = Bounds::default();
        // A process that goes on where another one was killed is told first what that one did.
        let told = recording.trace.iter().take_while(|record| matches!(record.op, Op::Mark(_)));
        told.for_each(|record| bounds.note(&record.op));
        Sweep {
            recording,
            subject,
            plan,
            is_second: false,
            bounds,
            random: plan.seed,
            seen: HashMap::new(),
            queued: HashSet::new(),
            cases: Vec::new(),
            checks: Vec::new(),
            here: Vec::new(),
            counted: Counted::default(),
        }
    }

    /// Of a recovery from a crash with these bounds, which found commit `k`. Until the syncer has been at it, a second crash
    /// may take what had not been acknowledged.
    fn second(
        &self,
        recording: &'a Recording,
        subject: &'a dyn Subject,
        bounds: Bounds,
        k: u32,
        seed: u64,
    ) -> Sweep<'a> {
        let plan = Plan { seed, states: self.plan.within, again: 0, kills: 0, within: 0, ..self.plan };
        let bounds = Bounds { acknowledged: bounds.acknowledged, attempted: k };
        Sweep { is_second: true, bounds, ..Sweep::new(recording, subject, plan) }
    }

    pub(super) fn run(mut self) -> Result<Counted, Failure> {
        let trace = &self.recording.trace;
        let mut disks = self.recording.start.clone();
        let mut bounds = self.bounds;
        let is_mark = |at: usize| at > 0 && matches!(trace[at - 1].op, Op::Mark(_));
        let places = (0..=trace.len()).filter(|&at| !is_mark(at)).count() as u64;
        let mut place = 0;
        let mut context = None;
        for at in 0..=trace.len() {
            if at > 0 {
                disks.apply(&trace[at - 1]);
                bounds.note(&trace[at - 1].op);
            }
            let before = context.replace(self.subject.context(at));
            if is_mark(at) && before == context {
                // The same disks, and more, or less, is asked of them.
                let here = self.here.iter();
                self.checks.extend(here.map(|&(key, variant)| Check { key, at, variant, bounds }));
                continue;
            }
            place = (place + 1).min(places);
            self.crash(&disks, at, bounds, place, self.plan.states * place / places);
            if self.cases.len() >= BATCH {
                self.recover()?;
            }
        }
        self.recover()?;
        Ok(self.counted)
    }

    /// Crash here, until so many disks have been tried.
    fn crash(&mut self, disks: &Disks, at: usize, bounds: Bounds, place: u64, states: u64) {
        let kinds = disks.kinds();
        let context = self.subject.context(at);
        self.here.clear();
        let mut attempt = |variant: Variant| {
            let fates = variant.fates(&kinds);
            let image = disks.crash(|unit| fates[unit]);
            let killed = variant == Variant::Killed;
            let mut key = image.hash() ^ context.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            if killed {
                // What is open counts too.
                key ^= splitmix(&mut (at as u64));
            }
            self.counted.crashes += 1;
            self.here.push((key, variant));
            self.checks.push(Check { key, at, variant, bounds });
            if !self.seen.contains_key(&key) && self.queued.insert(key) {
                self.counted.states += 1;
                let again = killed || self.plan.again > 0 && key.is_multiple_of(self.plan.again);
                let disks = if killed { disks.clone() } else { Disks::new(image) };
                self.cases.push(Case { key, disks, at, variant, bounds, again });
            }
            self.counted.states
        };
        let few = |variant: &Variant| matches!(variant, Variant::Hard | Variant::Whole);
        let (first, mut rest): (Vec<_>, Vec<_>) =
            always(kinds.len()).into_iter().partition(|variant| !self.is_second || few(variant));
        let mut tried = 0;
        for variant in first {
            tried = attempt(variant);
        }
        if self.plan.kills > 0 && place.is_multiple_of(self.plan.kills) {
            tried = attempt(Variant::Killed);
        }
        if tried < states {
            let limit = 4 * (states - tried) + 64;
            rest.extend(others(&kinds, &mut self.random));
            for variant in rest.into_iter().take(limit as usize) {
                if attempt(variant) >= states {
                    break;
                }
            }
        }
    }

    /// Recover what is queued, and check it.
    fn recover(&mut self) -> Result<(), Failure> {
        let cases = std::mem::take(&mut self.cases);
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::with_capacity(cases.len()));
        let work = || {
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = self.try_case(case);
                if result.is_err() {
                    next.store(cases.len(), Ordering::Relaxed);
                }
                results.lock().push((case.key, result));
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(cases.len()));
        if self.is_second || threads < 2 {
            work();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(work);
                }
            });
        }
        for (key, result) in results.into_inner() {
            let (k, within) = result?;
            self.seen.insert(key, k);
            self.counted.states += within.states;
            self.counted.crashes += within.crashes;
        }
        self.queued.clear();
        for Check { key, at, variant, bounds } in std::mem::take(&mut self.checks) {
            bounds.check(self.seen[&key]).map_err(|what| self.failed(at, variant, what))?;
        }
        Ok(())
    }

    fn try_case(&self, case: &Case) -> Result<(u32, Counted), Failure> {
        let (at, again) = (case.at, case.again);
        let crash = Crash { disks: case.disks.clone(), killed: case.variant == Variant::Killed, at, again };
        let recovered = guarded(|| self.subject.recover(crash)).and_then(|recovered| {
            case.bounds.check(recovered.k)?;
            Ok(recovered)
        });
        let recovered = recovered.map_err(|what| self.failed(at, case.variant, what))?;
        let mut within = Counted::default();
        if let Some((recording, subject)) = recovered.again.filter(|_| self.plan.within > 0) {
            let second = self.second(&recording, &*subject, case.bounds, recovered.k, case.key);
            within = second.run().map_err(|mut failure| {
                (failure.seed, failure.states) = (self.plan.seed, self.counted.states);
                failure.path.insert(0, (at, self.mask(at, case.variant)));
                failure
            })?;
        }
        Ok((recovered.k, within))
    }

    fn mask(&self, at: usize, variant: Variant) -> Mask {
        match variant {
            Variant::Killed => Mask::Killed,
            other => Mask::Power(other.fates(&self.recording.disks(at).kinds())),
        }
    }

    fn bounds_at(&self, at: usize) -> Bounds {
        let mut bounds = self.bounds;
        self.recording.trace[..at].iter().for_each(|record| bounds.note(&record.op));
        bounds
    }

    /// What is wrong after a crash in which the open units had these fates.
    fn wrong(&self, at: usize, disks: &Disks, fates: &[Fate]) -> Option<String> {
        let disks = Disks::new(disks.crash(|unit| fates[unit]));
        let recovered = guarded(|| self.subject.recover(Crash { disks, killed: false, at, again: false }));
        recovered.and_then(|recovered| self.bounds_at(at).check(recovered.k)).err()
    }

    /// The failure, with as few units as possible that are not what the others are.
    fn failed(&self, at: usize, variant: Variant, mut what: String) -> Failure {
        let disks = self.recording.disks(at);
        let mut mask = self.mask(at, variant);
        if let (Mask::Power(fates), true) = (&mask, self.plan.shrink) {
            let mut best = fates.clone();
            for usual in [Fate::Kept, Fate::Lost] {
                let mut smaller = fates.clone();
                for unit in 0..fates.len() {
                    let before = std::mem::replace(&mut smaller[unit], usual);
                    if before != usual && self.wrong(at, &disks, &smaller).is_none() {
                        smaller[unit] = before;
                    }
                }
                if Mask::oddities(&smaller) < Mask::oddities(&best) {
                    best = smaller;
                }
            }
            if let Some(wrong) = self.wrong(at, &disks, &best) {
                (what, mask) = (wrong, Mask::Power(best));
            }
        }
        let image = match mask.fates(&disks.kinds()) {
            Some(fates) => disks.crash(|unit| fates[unit]),
            None => disks.crash_hard(),
        };
        let what = format!("{what}\n{}", describe(&image, &self.recording.trace[..at]));
        Failure { states: self.counted.states, seed: self.plan.seed, path: vec![(at, mask)], what }
    }

    /// Try one crash.
    fn replay(&self, path: &[(usize, Mask)]) -> Result<(), String> {
        let Some(((at, mask), rest)) = path.split_first() else { return Ok(()) };
        let at = *at;
        if at > self.recording.trace.len() {
            return Err(format!("the recording has only {} lines", self.recording.trace.len()));
        }
        let disks = self.recording.disks(at);
        let kinds = disks.kinds();
        let fates = mask.fates(&kinds).ok_or(format!("there are {} open units at {at}", kinds.len()))?;
        let killed = *mask == Mask::Killed;
        let crashed = if killed { disks } else { Disks::new(disks.crash(|unit| fates[unit])) };
        let crash = Crash { disks: crashed, killed, at, again: !rest.is_empty() };
        let recovered = guarded(|| self.subject.recover(crash))?;
        let bounds = self.bounds_at(at);
        bounds.check(recovered.k)?;
        match recovered.again {
            Some((recording, subject)) => {
                self.second(&recording, &*subject, bounds, recovered.k, 0).replay(rest)
            }
            None => Ok(()),
        }
    }
}

/// A panic is an error as well.
fn guarded<T>(recover: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(recover)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("it panics: {}", text.unwrap_or_default()))
    })
}

/// Sweep the recordings that `make` makes of the seeds of a campaign: so many seeds by `cargo test` and by CI, and for each of
/// them so many states by `cargo test`, by CI and at night.
pub fn campaign(
    part: &'static str,
    seeds: [u64; 2],
    states: [u64; 3],
    plan: Plan,
    make: impl Fn(u64) -> (String, Recording, Box<dyn Subject>),
) {
    if let Ok(text) = std::env::var("FAULTS_CRASH") {
        let (seed, path) =
            parse(&text).unwrap_or_else(|| panic!("FAULTS_CRASH is seed:crashpoint:mask, not {text:?}"));
        let (label, recording, subject) = make(seed);
        let tried = Sweep::new(&recording, &*subject, Plan { seed, ..plan }).replay(&path);
        tried.unwrap_or_else(|what| panic!("{part}, {label}, {text}: {what}"));
        println!("{part}, {label}, {text}: held");
        return;
    }
    let mut campaign = Campaign::new("power loss", part, seeds[0], seeds[1]);
    let states = campaign.scale(states[0], states[1], states[2]);
    while let Some(seed) = campaign.seed() {
        let (label, recording, subject) = make(seed);
        let counted = sweep(&recording, &*subject, Plan { seed, states, ..plan })
            .unwrap_or_else(|failure| panic!("{part}, {label}: {failure}"));
        campaign.count(counted.states);
        let operations = recording.trace.len();
        println!(
            "{part}, {label}: {operations} lines, {} crashes, {} disks",
            counted.crashes, counted.states
        );
    }
}
