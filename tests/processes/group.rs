//! Several members that work on one database by themselves, and the checks of what they have claimed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::random::Random;
use crate::setting::Engine;
use crate::worker::{Ledger, Options, Role, Worker};

/// See [`Group::limit`]. As long as a member is patient, and a little more, so that its error is told first.
const LIMIT: Duration = Duration::from_secs(70);
/// The member that only checks.
const CHECKER: usize = 0;

/// What all members of a group have in common.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who serves the database.
    pub engine: Engine,
    /// `PRAGMA page_size`
    pub page_size: u32,
    /// URI parameters.
    pub params: String,
    /// Milliseconds between two transactions of a member.
    pub pace: u32,
}

/// A database and its members.
pub struct Group {
    /// What they have in common.
    pub plan: Plan,
    /// The members that are there.
    pub members: Vec<Worker>,
    /// What they have claimed.
    pub ledger: Ledger,
    /// The longest wait for anything that a member does.
    pub limit: Duration,
    /// The one that looks what is there. Its connections are fresh ones, its process stays.
    checker: Worker,
    home: Option<TempDir>,
}

impl Group {
    /// A new database, which nobody has open.
    pub fn new(plan: Plan) -> Group {
        let home = tempfile::tempdir().expect("a temporary directory");
        let ledger = Ledger::new(home.path());
        let checker = Worker::start(plan.engine, home.path(), checker(&plan), &ledger);
        let mut group = Group { plan, members: Vec::new(), ledger, limit: LIMIT, checker, home: Some(home) };
        let request = format!("create {}", group.plan.page_size);
        group.check(&request);
        group
    }

    /// The directory of the database.
    pub fn home(&self) -> &Path {
        self.home.as_ref().expect("it is there until the group is dropped").path()
    }

    /// Options that differ from member to member by the dice.
    pub fn options(&self, member: usize, role: Role, random: &mut Random) -> Options {
        Options {
            member,
            role,
            seed: random.next() >> 1,
            params: self.plan.params.clone(),
            synchronous: ["NORMAL", "NORMAL", "FULL"][random.below(3) as usize],
            checkpoint: *random.pick(&[20, 20, 1000]),
            pace: self.plan.pace,
            fork: false,
            fatal: None,
        }
    }

    /// Starts a member.
    pub fn start(&mut self, options: Options) -> &mut Worker {
        let worker = Worker::start(self.plan.engine, self.home(), options, &self.ledger);
        self.members.push(worker);
        self.members.last_mut().expect("it has just been pushed")
    }

    /// Waits until `is_so`, and fails when that takes too long or a member has found something wrong.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Group) -> bool) {
        let start = Instant::now();
        loop {
            self.assert_well(what);
            if is_so(self) {
                return;
            }
            if start.elapsed() > self.limit {
                self.fail(&format!("not in {:?}: {what}", self.limit));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// Fails if a member has found something wrong.
    pub fn assert_well(&mut self, when: &str) {
        let wrong = self.ledger.claims().wrong.clone();
        if let Some(wrong) = wrong {
            self.fail(&format!("{wrong}\n(while: {when})"));
        }
    }

    /// Ends the test, with all that can be told of the members.
    pub fn fail(&mut self, message: &str) -> ! {
        let mut text = format!("{message}\n{:?}\n{}", self.plan, self.checker.portrait());
        for member in &mut self.members {
            text.push_str(&member.portrait());
        }
        panic!("{text}");
    }

    /// Waits until everybody has the database open.
    pub fn all_ready(&mut self) {
        self.until("all are ready", |group| group.members.iter().all(Worker::is_ready));
    }

    /// Waits until everybody who is there has done something that began after now.
    pub fn all_go_on(&mut self) {
        self.members.iter_mut().for_each(Worker::mark);
        self.until("all go on", |group| group.members.iter().all(Worker::has_gone_on));
    }

    /// A fresh connection of the process that stays does `request`: `check`, `check all`, `create`.
    pub fn check(&mut self, request: &str) {
        let floors = self.ledger.claims().acknowledged;
        self.checker.demand(request);
        self.until("the checker has checked", |group| group.checker.found().is_some());
        let found = self.checker.found().expect("it has just been there");
        self.compare(&floors, &found);
    }

    /// The same from a process that is started for it.
    pub fn check_in_a_new_process(&mut self) {
        let floors = self.ledger.claims().acknowledged;
        let mut fresh = Worker::start(self.plan.engine, self.home(), checker(&self.plan), &self.ledger);
        fresh.demand("check");
        self.until("a new process has checked", |_| fresh.found().is_some());
        let found = fresh.found().expect("it has just been there");
        self.compare(&floors, &found);
        fresh.close();
        self.until("a new process has ended", |_| fresh.ended().is_some());
    }

    /// What was acknowledged is there, and nothing else than what was attempted.
    fn compare(&mut self, floors: &[u64], found: &[(usize, u64)]) {
        let last = |member: usize| found.iter().find(|&&(one, _)| one == member).map_or(0, |&(_, line)| line);
        for (member, &floor) in floors.iter().enumerate() {
            if last(member) < floor {
                let last = last(member);
                self.fail(&format!("line {floor} of member {member} was acknowledged, {last} is the last"));
            }
        }
        // A commit was announced before it was begun; what was said may still have to be heard.
        self.until("what is there was attempted", |group| {
            let attempted = group.ledger.claims().attempted;
            found.iter().all(|&(member, line)| line <= attempted[member])
        });
    }

    /// Kills the members at these places of the list. Returns the number of processes.
    pub fn kill(&mut self, places: &[usize]) -> u64 {
        let mut places = places.to_vec();
        places.sort_unstable();
        // All at once: each gets the signal before the first is waited for.
        for &place in &places {
            self.members[place].signal(rustix::process::Signal::KILL);
        }
        places.iter().rev().map(|&place| self.members.remove(place).kill()).sum()
    }

    /// Waits until the member at `place`, which was told to close, has ended.
    pub fn gone(&mut self, place: usize) {
        self.until("a member has closed", |group| group.members[place].ended().is_some());
        let mut member = self.members.remove(place);
        let status = member.ended().expect("it has just ended");
        if !status.success() {
            let portrait = member.portrait();
            self.fail(&format!("{status}: {portrait}"));
        }
    }

    /// Closes everybody, then looks at what is there: through the engine, and the file alone through stock SQLite.
    pub fn finish(mut self) {
        self.members.iter_mut().for_each(Worker::close);
        while !self.members.is_empty() {
            self.gone(0);
        }
        self.check("check all");
        self.checker.close();
        self.until("the checker has ended", |group| group.checker.ended().is_some());
        let floors = self.ledger.claims().acknowledged;
        let alone = tempfile::tempdir_in(self.home()).expect("a directory");
        for name in ["app.db", "floors"] {
            std::fs::copy(self.home().join(name), alone.path().join(name)).expect("a copy");
        }
        let stock = Plan { engine: Engine::Stock, params: "mode=ro".to_owned(), ..self.plan.clone() };
        let mut reader = Worker::start(Engine::Stock, alone.path(), checker(&stock), &self.ledger);
        reader.demand("check all");
        self.until("the file alone is whole", |_| reader.found().is_some());
        let found = reader.found().expect("it has just been there");
        self.compare(&floors, &found);
        reader.close();
        self.until("the last reader has ended", |_| reader.ended().is_some());
    }

    /// Commits that were acknowledged.
    pub fn lines(&self) -> u64 {
        self.ledger.claims().acknowledged.iter().sum()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(home) = self.home.take().filter(|_| std::thread::panicking()) else { return };
        self.members.clear();
        let kept: PathBuf = home.keep();
        eprintln!("The database of the failure is in {}", kept.display());
    }
}

fn checker(plan: &Plan) -> Options {
    Options {
        member: CHECKER,
        role: Role::Checker,
        seed: 0,
        params: plan.params.clone(),
        synchronous: "FULL",
        checkpoint: 1000,
        pace: plan.pace,
        fork: false,
        fatal: None,
    }
}
