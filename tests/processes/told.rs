//! What vwal tells of the processes that have a database open, and what they have to agree on. Stock SQLite has no counterpart.

use std::time::{Duration, Instant};

use crate::member::Member;
use crate::setting::Engine;

/// Until a process that is gone is not told of any more.
const SOON: Duration = Duration::from_secs(5);

/// What member `who` is told: the process ids, sorted.
fn processes(who: &mut Member) -> Vec<u32> {
    let rows = who.rows("SELECT pid FROM vwal_processes ORDER BY pid");
    rows.iter().map(|row| row.parse().expect("a process id")).collect()
}

fn assert_soon(who: &mut Member, mut expected: Vec<u32>) {
    expected.sort_unstable();
    let start = Instant::now();
    while processes(who) != expected {
        assert!(start.elapsed() < SOON, "{:?} are told, {expected:?} have it open", processes(who));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_process_is_told_who_has_the_database_open() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let [mut a, mut b, mut c] = ["A", "B", "C"].map(|name| Member::start(name, Engine::Vwal, home.path()));
    assert_eq!(a.open("mode=rwc", 0), "");
    a.rows("CREATE TABLE t(x)");
    assert_eq!(processes(&mut a), [a.id()]);
    for member in [&mut b, &mut c] {
        assert_eq!(member.open("mode=rwc", 0), "");
        member.rows("SELECT * FROM t");
    }
    let all = vec![a.id(), b.id(), c.id()];
    for member in [&mut a, &mut b, &mut c] {
        assert_soon(member, all.clone());
        let rows = member.rows("SELECT slot, pid, program, since FROM vwal_processes");
        let columns: Vec<Vec<&str>> = rows.iter().map(|row| row.split('|').collect()).collect();
        let mut slots: Vec<&str> = columns.iter().map(|row| row[0]).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), 3, "each has a slot of its own: {rows:?}");
        for row in &columns {
            assert_eq!(row.len(), 4, "{rows:?}");
            assert!(row[2].contains("python"), "the program of {row:?}");
            assert!(!["", "NULL"].contains(&row[3]), "the time of {row:?}");
        }
    }
    // Gone in order, and without.
    assert!(b.ask(".close").lines.is_empty());
    let two = vec![a.id(), c.id()];
    assert_soon(&mut a, two);
    c.kill();
    let own = a.id();
    assert_soon(&mut a, vec![own]);
    assert_eq!(b.open("mode=rwc", 0), "");
    b.rows("INSERT INTO t VALUES (1)");
    let both = vec![a.id(), b.id()];
    assert_soon(&mut a, both);
}

#[test]
fn other_options_than_those_that_the_database_is_open_with_are_refused() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let [mut a, mut b] = ["A", "B"].map(|name| Member::start(name, Engine::Vwal, home.path()));
    assert_eq!(a.open("vwal_swap=frames%3E%3D9", 0), "");
    a.rows("CREATE TABLE t(x); INSERT INTO t VALUES (1)");
    // An open may put it off until the database is used.
    let refused = match b.open("vwal_swap=frames%3E%3D10", 0) {
        answer if answer.is_empty() => b.ask("SELECT * FROM t").lines.join("\n"),
        answer => answer,
    };
    assert!(refused.starts_with('!'), "{refused:?} is an error");
    assert!(refused.contains("frames>=10") && refused.contains("frames>=9"), "{refused:?} names both values");
    // None, the same, and the same in other words.
    for params in ["mode=rwc", "vwal_swap=frames%3E%3D9", "vwal_swap=frames%20%3E%3D%209"] {
        assert_eq!(b.open(params, 0), "", "{params}");
        assert_eq!(b.rows("SELECT * FROM t"), ["1"], "{params}");
        assert!(b.ask(".close").lines.is_empty());
    }
    // Whoever is alone decides.
    assert!(a.ask(".close").lines.is_empty());
    assert_eq!(b.open("vwal_swap=frames%3E%3D10", 0), "");
    assert_eq!(b.rows("INSERT INTO t VALUES (2); SELECT * FROM t"), ["1", "2"]);
}
