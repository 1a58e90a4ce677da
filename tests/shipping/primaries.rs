//! Two primaries of one log: copies of a database that are both written to. Whoever ships first goes on; the other one is
//! told, and storage holds the history of the first one alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use vwal::restore::verify::{Depth, verify};
use vwal::restore::{Restore, Target};
use vwal::storage::{RetryPolicy, StorageUrl};
use vwal::{Database, Options};

use crate::campaign::Campaign;
use crate::common_lab::copy_database;
use crate::random::Random;

/// What a commit leaves: who wrote each row.
type States = BTreeMap<u64, String>;

struct Primary {
    name: &'static str,
    path: PathBuf,
    uri: String,
    db: Option<Connection>,
    states: States,
}

impl Primary {
    fn new(name: &'static str, path: PathBuf, params: &str) -> Primary {
        let uri = format!("file:{}?vfs=vwal{params}", path.display());
        Primary { name, path, uri, db: None, states: States::new() }
    }

    fn db(&mut self) -> &Connection {
        let uri = &self.uri;
        self.db.get_or_insert_with(|| Connection::open(uri).expect("it opens, whoever owns the storage"))
    }

    fn database(&mut self) -> Database {
        // The VFS knows the database once something has been read.
        let _ = state(self.db());
        Database::of(self.db(), "main").expect("a virtual database")
    }

    /// One more row. A database that has been fenced off may refuse.
    fn commit(&mut self) -> bool {
        let name = self.name;
        let done = self.db().execute("INSERT INTO t(who) VALUES (?1)", [name]).is_ok();
        let now = state(self.db());
        let frame_no = self.database().frame_no();
        let before = self.states.insert(frame_no, now.clone());
        assert!(before.is_none_or(|before| before == now), "{name}: frame {frame_no} changed");
        done
    }
}

fn state(db: &Connection) -> String {
    db.query_row(
        "SELECT coalesce(group_concat(who, ''), '') FROM (SELECT who FROM t ORDER BY n)",
        [],
        |row| row.get(0),
    )
    .expect("it can be read")
}

#[test]
fn of_two_primaries_the_first_to_ship_goes_on() {
    vwal::register(Options::new()).expect("vwal can be registered");
    // Most of the time they wait.
    Campaign::new("storage", "two primaries", 60, 200).run(6, |seed| {
        one(seed);
        1
    });
}

fn one(seed: u64) {
    let mut random = Random::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let url = format!("memory://primaries-{seed}");
    let is_local = seed.is_multiple_of(3);
    let params = format!(
        "&vwal_storage={url}&vwal_ship_interval_ms={}&vwal_swap=frames%3E%3D9&vwal_close_timeout_ms=300\
         &vwal_storage_timeout_ms=300{}",
        [1, 20, 3_600_000][random.below(3) as usize],
        if is_local { "&vwal_fenced=local" } else { "" }
    );
    let mut a = Primary::new("A", dir.path().join("a.db"), &params);
    let mut b = Primary::new("B", dir.path().join("b.db"), &params);
    a.db().execute_batch("CREATE TABLE t(n INTEGER PRIMARY KEY, who TEXT)").unwrap();
    for _ in 0..1 + random.below(8) {
        assert!(a.commit());
        if random.below(3) == 0 {
            a.db().execute_batch("SELECT vwal_sync()").unwrap();
        }
    }
    // The copy: of a database that is closed, or as a kill would leave it.
    if random.below(2) == 0 {
        a.db = None;
    } else {
        a.database().sync().ok();
        let path = a.path.clone();
        copy_database(&path, &b.path);
    }
    if a.db.is_none() {
        copy_database(&a.path, &b.path);
    }
    b.states = a.states.clone();
    for _ in 0..random.below(14) {
        let who = if random.below(2) == 0 { &mut a } else { &mut b };
        match random.below(6) {
            0..3 => drop(who.commit()),
            3 => drop(who.db().execute_batch("SELECT vwal_sync()")),
            4 => who.db = None,
            _ => std::thread::sleep(Duration::from_millis(random.below(8))),
        }
    }
    // Both write: one of them comes through, and only one.
    let mut outcome = Vec::new();
    for who in [&mut a, &mut b] {
        who.commit();
    }
    let began = Instant::now();
    loop {
        outcome.clear();
        for who in [&mut a, &mut b] {
            let database = who.database();
            let is_through = database.durable_frame_no() == database.frame_no();
            drop(database.sync());
            outcome.push((who.name, is_through, database.fence().is_some()));
        }
        if outcome.iter().any(|who| who.1 && !who.2) && outcome.iter().any(|who| who.2) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "seed {seed}: {outcome:?}");
    }
    assert!(outcome.iter().filter(|who| who.2).count() == 1, "seed {seed}: {outcome:?}");
    let (winner, loser) = if outcome[0].2 { (&mut b, &mut a) } else { (&mut a, &mut b) };
    assert!(winner.commit(), "seed {seed}: the first one goes on");
    winner.db().execute_batch("SELECT vwal_sync()").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let goes_on = loser.commit();
    assert_eq!(goes_on, is_local, "seed {seed}: a commit of the one that was fenced off");
    assert!(loser.database().status().last_error.is_some(), "seed {seed}");
    if is_local {
        assert_eq!(loser.database().checkpoint().unwrap(), loser.database().frame_no(), "seed {seed}");
        // After the next open it still is.
        loser.db = None;
        assert!(loser.commit());
        let database = loser.database();
        let began = Instant::now();
        while database.fence().is_none() {
            assert!(began.elapsed() < Duration::from_secs(30), "seed {seed}: {:?}", database.status());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    check_storage(seed, &url.parse().unwrap(), winner, dir.path());
}

/// Storage has the history of `winner`, at every commit.
fn check_storage(seed: u64, url: &StorageUrl, winner: &Primary, dir: &std::path::Path) {
    let verified = verify(url, RetryPolicy::default(), Depth::Data, |_| ()).unwrap();
    assert_eq!(verified.findings, [], "seed {seed}");
    let first = verified.logs[0].first_frame_no.unwrap();
    let end = verified.logs[0].end_frame_no.unwrap();
    assert_eq!(Some(&end), winner.states.keys().next_back(), "seed {seed}: everything was shipped");
    for (&frame_no, expected) in winner.states.range(first..=end) {
        let path = dir.join(format!("restored-{frame_no}.db"));
        Restore::new(url)
            .target(Target::Frame(frame_no))
            .run(&path, |_| ())
            .unwrap_or_else(|error| panic!("seed {seed}: frame {frame_no}: {error}"));
        let db = Connection::open(&path).unwrap();
        assert_eq!(&state(&db), expected, "seed {seed}: frame {frame_no}");
    }
}
