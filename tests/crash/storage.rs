//! kill -9 while commits are shipped: what was said to be in storage is there, each state of it can be restored, and the
//! next process goes on where storage is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use vwal::restore::verify::{Depth, Verified, verify};
use vwal::restore::{Restore, Target};
use vwal::storage::keys::Key;
use vwal::storage::{RetryPolicy, StorageUrl};
use vwal::{Database, Error, Level};

use crate::campaign::Campaign;
use crate::lab::{Engine, Lab};
use crate::plan::{Host, Moment, Plan, Work};
use crate::random::Random;
use crate::text::assert_intact;
use crate::{Claims, KILLS, THREADS, Truth, keeping, kill_once, ledger};

/// Objects by key.
type Objects = BTreeMap<String, Vec<u8>>;

#[test]
fn kill_nine_loses_nothing_that_storage_was_said_to_have() {
    let totals = Mutex::new(Totals::default());
    let campaign = Campaign::new("kill -9", "storage", 4, 60);
    campaign.run(THREADS, |seed| {
        let mut random = Random::new(seed.wrapping_mul(1000) + 500);
        let case = Case::new(seed, &mut random);
        let mut mine = Totals::default();
        case.run(KILLS, &mut random, &mut mine);
        let mut totals = totals.lock().expect("no panic with it");
        totals.stored += mine.stored;
        totals.restored += mine.restored;
        KILLS
    });
    let totals = totals.into_inner().expect("no panic with it");
    println!("{totals:?}");
    assert!(totals.stored > 0 && totals.restored > 0, "{totals:?}");
}

#[derive(Default, Debug)]
pub struct Totals {
    /// Ledger entries that storage had at the end.
    stored: u32,
    /// States that were restored and compared.
    restored: u64,
}

pub struct Case {
    lab: Arc<Lab>,
    plan: Plan,
    truth: Truth,
    /// What was in storage when it was last looked at.
    objects: Objects,
}

impl Case {
    /// Both kinds of acknowledgement, with group commit on and off, at two levels of `synchronous`.
    pub fn new(seed: u64, random: &mut Random) -> Case {
        let ack = ["local", "remote"][(seed % 2) as usize];
        let group_commit = ["on", "off"][(seed / 2 % 2) as usize];
        let synchronous = ["FULL", "NORMAL"][(seed / 4 % 2) as usize];
        let lab = Arc::new(Lab::new(Engine::Vwal));
        let plan = Plan {
            synchronous: synchronous.to_owned(),
            page_size: *random.pick(&[512, 1024, 4096]),
            params: format!(
                "vwal_swap=frames%3E%3D20&vwal_checkpoint_size=64KiB&vwal_group_commit={group_commit}&vwal_ack={ack}\
                 &vwal_storage=file://{}&vwal_ship_interval_ms={}&vwal_close_timeout_ms=60000",
                lab.path("store").display(),
                random.below(10)
            ),
            path: lab.path("a.db").to_str().expect("a path of text").to_owned(),
            work: Work::All,
            host: Host::Linked,
        };
        Case { lab, plan, truth: Truth::default(), objects: Objects::new() }
    }

    fn url(&self) -> StorageUrl {
        format!("file://{}", self.lab.path("store").display()).parse().expect("a URL")
    }

    pub fn run(mut self, kills: u64, random: &mut Random, totals: &mut Totals) {
        let lab = Arc::clone(&self.lab);
        keeping(&lab, || self.kill_in_turn(kills, random, totals));
    }

    fn kill_in_turn(&mut self, kills: u64, random: &mut Random, totals: &mut Totals) {
        let mut claims = Claims::default();
        for kill in 0..kills {
            self.plan = self.plan.next(random);
            let moment = Moment::any(random, Duration::from_millis(250));
            let place = format!("kill {kill}, {moment:?}, of {:?}", self.plan);
            claims = kill_once(&self.plan, claims, &mut self.truth, moment, &place);
            self.look_at_objects(&place);
            let verified = self.verify(&place);
            if verified.logs.is_empty() {
                assert_eq!(claims.stored, 0, "{place}: storage is empty");
                continue;
            }
            claims.stored = self.check_latest(claims, &place);
            totals.restored += 1 + self.check_some(&verified, random, &place);
            claims = self.go_on(claims, &verified, &place);
        }
        totals.stored += claims.stored;
    }

    /// For the planted defects: a process that has put commits into storage, killed.
    pub fn kill_after_commits(&mut self, place: &str) -> Claims {
        let mut claims = Claims::default();
        while claims.stored < 50 {
            let moment = Moment::Working(Duration::from_millis(200));
            claims = kill_once(&self.plan, claims, &mut self.truth, moment, place);
        }
        claims
    }

    /// For the planted defects: the newest bundles of the log are lost.
    pub fn remove_newest_bundles(&self, count: usize) {
        let mut objects = Objects::new();
        walk(&self.lab.path("store"), "", &mut objects);
        // Names go from the newest to the oldest.
        let is_of_level_zero =
            |key: &&String| matches!(Key::parse(key), Some(Key::Head { level: Level::ZERO, .. }));
        for key in objects.keys().filter(is_of_level_zero).take(count) {
            std::fs::remove_file(self.lab.path("store").join(key)).expect("an object that can be removed");
        }
    }

    /// Objects that were there are there as they were.
    fn look_at_objects(&mut self, place: &str) {
        let mut objects = Objects::new();
        walk(&self.lab.path("store"), "", &mut objects);
        for (key, bytes) in &self.objects {
            assert!(objects.get(key) == Some(bytes), "{place}: {key} is not what it was");
        }
        self.objects = objects;
    }

    fn verify(&self, place: &str) -> Verified {
        let verified = verify(&self.url(), RetryPolicy::default(), Depth::Data, |_| ())
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(verified.findings, [], "{place}");
        verified
    }

    /// Restore to a new file, and say which entry it is.
    fn restore(&self, restore: &Restore, place: &str) -> Result<(String, u64, u32), Error> {
        let path = self.lab.path("restored.db");
        let restored = restore.run(&path, |_| ())?;
        let db = Connection::open(&path).expect("a database");
        assert_intact(&db, "main");
        let has_ledger: bool = db
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'cell'", [], |row| row.get(0))
            .expect("a schema");
        let k = match has_ledger {
            true => ledger::check_all(&db).unwrap_or_else(|wrong| panic!("{place}, {restored:?}: {wrong}")),
            false => 0,
        };
        drop(db);
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.lab.path(&format!("restored.db{suffix}")));
        }
        Ok((restored.log_id.to_string(), restored.resolved.commit.frame_no, k))
    }

    /// The newest state in storage. Returns which entry it is.
    pub fn check_latest(&self, claims: Claims, place: &str) -> u32 {
        let (log_id, frame_no, k) = self
            .restore(&Restore::new(&self.url()), place)
            .unwrap_or_else(|error| panic!("{place}: the latest: {error}"));
        assert!(
            claims.stored <= k && k <= claims.attempted,
            "{place}: restored {k} from frame {frame_no} of log {log_id}: {claims:?}"
        );
        for ((_, said), &expected) in self.truth.entries.range((log_id.clone(), frame_no)..).take(1) {
            assert!(*said != frame_no || k == expected, "{place}: frame {frame_no} is {expected}, not {k}");
        }
        for (log_id, &durable) in &self.truth.durable {
            let range = (log_id.clone(), 0)..=(log_id.clone(), durable);
            if let Some((at, &least)) = self.truth.entries.range(range).next_back() {
                assert!(least <= k, "{place}: {at:?} was said to be in storage, with {least}, not {k}");
            }
        }
        k
    }

    /// Three commits of those that storage has.
    fn check_some(&self, verified: &Verified, random: &mut Random, place: &str) -> u64 {
        let is_there = |log_id: &str, frame_no: u64| {
            verified.logs.iter().any(|log| {
                log.log_id.to_string() == log_id
                    && log.first_frame_no.is_some_and(|first| first <= frame_no)
                    && log.end_frame_no.is_some_and(|end| frame_no <= end)
            })
        };
        let commits: Vec<_> =
            self.truth.entries.iter().filter(|((log_id, frame_no), _)| is_there(log_id, *frame_no)).collect();
        if commits.is_empty() {
            return 0;
        }
        for _ in 0..3 {
            let ((log_id, frame_no), &expected) = *random.pick(&commits);
            let restore = Restore::new(&self.url())
                .log(log_id.parse().expect("a log id"))
                .target(Target::Frame(*frame_no));
            let (_, _, k) = self
                .restore(&restore, place)
                .unwrap_or_else(|error| panic!("{place}: frame {frame_no} of {log_id}: {error}"));
            assert_eq!(k, expected, "{place}: frame {frame_no} of {log_id}");
        }
        3
    }

    /// Another process opens the database, and ships what is missing and a new commit.
    fn go_on(&mut self, claims: Claims, before: &Verified, place: &str) -> Claims {
        let keys: Vec<String> = self.objects.keys().cloned().collect();
        let db =
            self.lab.open_with("a.db", &self.plan.params).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_intact(&db, "main");
        let k = ledger::check_all(&db).unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
        assert!(
            claims.stored.max(claims.acknowledged) <= k && k <= claims.attempted,
            "{place}: {k} is here: {claims:?}"
        );
        ledger::commit_next(&db).unwrap_or_else(|wrong| panic!("{place}: a new commit: {wrong}"));
        let database = Database::of(&db, "main").expect("a virtual database");
        let frame_no = database.frame_no();
        let began = Instant::now();
        while database.durable_frame_no() < frame_no {
            assert_eq!(database.fence().map(|error| error.to_string()), None, "{place}: fenced off");
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{place}: it is not shipped: {:?}",
                database.status().last_error
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        let log_id = database.log_id();
        self.truth.entries.insert((log_id.to_string(), frame_no), k + 1);
        drop(database);
        drop(db);
        self.look_at_objects(place);
        let end = before.logs.iter().find(|log| log.log_id == log_id).and_then(|log| log.end_frame_no);
        for key in self.objects.keys().filter(|key| !keys.contains(key)) {
            if let Some(Key::Head { log_id: of, level: Level::ZERO, frame_no, .. }) = Key::parse(key)
                && of == log_id
            {
                assert!(end.is_none_or(|end| frame_no > end), "{place}: {key} was shipped again, {end:?}");
            }
        }
        Claims { attempted: k + 1, acknowledged: k + 1, stored: k + 1, ..claims }
    }
}

fn walk(dir: &Path, prefix: &str, objects: &mut Objects) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().expect("a name of text");
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{prefix}{name}/"), objects);
        } else if Key::parse(&format!("{prefix}{name}")).is_some() {
            objects.insert(format!("{prefix}{name}"), std::fs::read(entry.path()).expect("an object"));
        }
    }
}
