//! Planted defects: a group that breaks a rule of the ledger, or of which one does not go on, is noticed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rustix::process::Signal;

use crate::group::{Group, Plan};
use crate::member::Member;
use crate::random::Random;
use crate::setting::Engine;
use crate::worker::Role;

/// A group on stock SQLite with a writer, whose number is 1 and which has written some lines.
fn group() -> Group {
    let plan = Plan { engine: Engine::Stock, page_size: 4096, params: String::new(), pace: 1 };
    let mut group = Group::new(plan);
    let options = group.options(1, Role::Writer, &mut Random::new(1));
    group.start(options);
    group.until("there are lines", |group| group.lines() >= 10);
    group.check("check");
    group
}

/// The message of the failure that `act` ends with.
fn failure(act: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(act)).expect_err("a planted defect is noticed");
    panic.downcast_ref::<String>().expect("a failure has a message").clone()
}

fn assert_noticed(sql: &str, message: &str) {
    let mut group = group();
    group.members[0].close();
    group.gone(0);
    let mut vandal = Member::start("vandal", Engine::Stock, group.home());
    assert_eq!(vandal.open("mode=rw", 60_000), "");
    vandal.rows(sql);
    let said = failure(|| group.check("check"));
    assert!(said.contains(message), "{sql}: {said}");
}

#[test]
fn a_commit_that_is_gone() {
    assert_noticed(
        "DELETE FROM line WHERE member = 1 AND number = (SELECT max(number) FROM line WHERE member = 1)",
        "was acknowledged",
    );
}

#[test]
fn a_gap() {
    assert_noticed("DELETE FROM line WHERE member = 1 AND number = 2", "member 1 has");
}

#[test]
fn half_of_a_transfer() {
    assert_noticed("UPDATE account SET balance = balance + 1 WHERE id = 3", "the accounts have");
}

#[test]
fn another_payload() {
    assert_noticed("UPDATE line SET payload = payload || 'x' WHERE number > 5", "of member 1 has");
}

#[test]
fn a_commit_that_nobody_attempted() {
    let mut group = group();
    group.members[0].close();
    group.gone(0);
    group.limit = Duration::from_secs(2);
    group.ledger.claims().attempted[1] -= 1;
    group.ledger.claims().acknowledged[1] = 0;
    let said = failure(|| group.check("check"));
    assert!(said.contains("what is there was attempted"), "{said}");
}

#[test]
fn a_member_that_does_not_go_on() {
    let mut group = group();
    group.limit = Duration::from_secs(2);
    group.members[0].signal(Signal::STOP);
    let said = failure(|| group.all_go_on());
    assert!(said.contains("all go on") && said.contains("member 1 (Writer"), "{said}");
}

#[test]
fn an_error_of_a_member() {
    let mut group = group();
    let mut vandal = Member::start("vandal", Engine::Stock, group.home());
    assert_eq!(vandal.open("mode=rw", 60_000), "");
    vandal.rows("DROP TABLE account");
    let said = failure(|| (0..50).for_each(|_| group.all_go_on()));
    assert!(said.contains("no such table: account"), "{said}");
}
