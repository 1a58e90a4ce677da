//! A scenario of several processes as a script of steps, which runs on stock SQLite and on vwal and must say the same.
//!
//! ```text
//! A: SQL              member A does it, and the script waits for its answer; the first step of a member starts its process
//! A: .open b.db x=y   a connection (without a name: app.db), with URI parameters; `.close` closes it. See member.py
//! A& SQL              the same, and the script goes on
//! A...                A has no answer yet, a while later
//! A?                  waits for the answer to what A was told with `&`
//! A: .kill            ends the process with SIGKILL
//! sh: SQL             a `sqlite3` shell opens app.db, does it, and ends
//! = row               what the answer must be, on stock SQLite too: one line a row ...
//! ! error             ... or an error
//! # remark
//! A line that begins with none of these goes on with the SQL of the one before.
//! ```
//!
//! A step without expectation must not fail. Member `P` uses stock SQLite on both engines. A connection has no busy timeout
//! until `.timeout` sets one.

use std::collections::BTreeMap;
use std::time::Duration;

use tempfile::TempDir;

use crate::member::{Answer, Host, Member};
use crate::setting::Engine;
use crate::shell;

/// How long something that waits is watched waiting.
const WHILE: Duration = Duration::from_millis(200);
/// An answer that is to come at once comes in this time, on a busy machine too.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Where the connections of a script are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Each in a process of its own.
    Apart,
    /// All in one process.
    Together,
}

/// Runs `script` on stock SQLite, then on vwal, where it must say the same.
pub fn same_as_stock(script: &str) {
    let stock = Scene::new(Engine::Stock, Place::Apart).play(script);
    // A shell is a process of its own, and so is who is killed.
    if !script.contains("sh:") && !script.contains(".kill") {
        compare(&stock, &Scene::new(Engine::Vwal, Place::Together).play(script), Place::Together);
    }
    compare(&stock, &Scene::new(Engine::Vwal, Place::Apart).play(script), Place::Apart);
}

fn compare(stock: &[String], vwal: &[String], place: Place) {
    for (at, (expected, found)) in stock.iter().zip(vwal).enumerate() {
        if expected != found {
            let before = &stock[at.saturating_sub(8)..at];
            panic!(
                "{place:?}: step {at} differs, after\n{}\nstock: {expected}\nvwal:  {found}",
                before.join("\n")
            );
        }
    }
    assert_eq!(stock.len(), vwal.len(), "both take the same steps");
}

/// A directory and the members that work in it.
struct Scene {
    engine: Engine,
    home: TempDir,
    /// The process of all members, if they have one.
    host: Option<Host>,
    members: BTreeMap<String, Member>,
    said: Vec<String>,
}

impl Scene {
    fn new(engine: Engine, place: Place) -> Scene {
        let home = tempfile::tempdir().expect("a temporary directory");
        let host = (place == Place::Together).then(|| Host::start(engine, home.path()));
        Scene { engine, home, host, members: BTreeMap::new(), said: Vec::new() }
    }

    fn play(mut self, script: &str) -> Vec<String> {
        let lines = lines_of(script);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut at = 0;
        while at < lines.len() {
            let step = lines[at];
            at += 1;
            let expected: Vec<&str> =
                lines[at..].iter().copied().take_while(|line| line.starts_with(['=', '!'])).collect();
            at += expected.len();
            let said = self.step(step);
            self.check(step, &expected, said.as_deref());
            self.said.push(format!("{step}\n    {}", said.unwrap_or_default().join("\n    ")));
        }
        self.said
    }

    fn check(&mut self, step: &str, expected: &[&str], said: Option<&[String]>) {
        let found: Vec<String> = said
            .unwrap_or_default()
            .iter()
            .map(|line| if line.starts_with('!') { line.clone() } else { format!("= {line}") })
            .collect();
        let fits = match expected {
            [] => !found.iter().any(|line| line.starts_with('!')),
            _ => found == expected,
        };
        assert!(
            fits,
            "{:?}: {step}\nexpected {expected:#?}\nfound    {found:#?}\nafter\n{}",
            self.engine,
            self.said.join("\n")
        );
    }

    /// Takes a step. `None`: there is no answer to it.
    fn step(&mut self, step: &str) -> Option<Vec<String>> {
        if let Some(name) = step.strip_suffix("...") {
            let early = self.member(name).answer(WHILE);
            assert!(early.is_none(), "{:?}: {step} was to wait, and answered {early:?}", self.engine);
            return None;
        }
        if let Some(name) = step.strip_suffix('?') {
            return Some(self.member(name).finish().lines);
        }
        let end = step.find([':', '&']).unwrap_or_else(|| panic!("no step: {step}"));
        let (name, request) = (&step[..end], step[end + 1..].trim());
        if name == "sh" {
            return Some(shell::run(self.engine, self.home.path(), request));
        }
        let request = whole(request);
        if request == ".kill" {
            self.member(name).kill();
            self.members.remove(name);
            return None;
        }
        let member = self.member(name);
        member.begin(&request);
        if step[end..].starts_with('&') {
            return None;
        }
        let Answer { took, lines } = member.finish();
        // Nobody has set a timeout, or the script waits for this with `&` and `?`.
        let is_busy = lines.iter().any(|line| line.starts_with("! SQLITE_BUSY"));
        assert!(!is_busy || took < AT_ONCE, "{:?}: {step} took {took:?}: {lines:?}", self.engine);
        Some(lines)
    }

    fn member(&mut self, name: &str) -> &mut Member {
        let engine = if name == "P" { Engine::Stock } else { self.engine };
        let home = self.home.path();
        let host = self.host.as_ref().filter(|_| name != "P");
        self.members.entry(name.to_owned()).or_insert_with(|| match host {
            Some(host) => Member::in_process(name, host, home),
            None => Member::start(name, engine, home),
        })
    }
}

/// The lines of a script. One that begins with nothing that a line begins with goes on with the one before.
fn lines_of(script: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.find([':', '&', '.', '?']).map_or("", |end| &line[..end]);
        let begins = line.starts_with(['=', '!']) || (1..=2).contains(&name.len());
        match lines.last_mut() {
            Some(last) if !begins => {
                last.push(' ');
                last.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// `.open` with everything that it may leave out.
fn whole(request: &str) -> String {
    let Some(rest) = request.strip_prefix(".open") else { return request.to_owned() };
    let (mut name, mut params) = ("app.db", "mode=rwc");
    for word in rest.split_whitespace() {
        if word.contains('=') { params = word } else { name = word }
    }
    format!(".open {name} {params} 0")
}
