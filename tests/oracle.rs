//! Random SQL on stock SQLite and on vwal, in lock step: every row, every error and the final content are the same.
//!
//! One seed is one run: a page size, a cache that spills, a few connections with transactions that overlap, an attached
//! database, and some hundred statements. A failure prints the seed and what was run. To run that one again:
//! `FAULTS_SEED=<seed> cargo test --test oracle`.
//!
//! Once on the SQLite that is linked, once on the distribution's.

#[path = "common/campaign.rs"]
mod campaign;
#[path = "oracle/connection.rs"]
mod connection;
#[path = "common/extension.rs"]
mod extension;
#[path = "common/lab.rs"]
mod lab;
#[path = "oracle/program.rs"]
mod program;
#[path = "common/random.rs"]
mod random;
#[path = "common/text.rs"]
mod text;
#[path = "oracle/world.rs"]
mod world;

use campaign::Campaign;
use connection::Library;
use lab::Engine;
use program::{Program, Step};
use world::World;

/// Statements of one seed.
const STEPS: u64 = 250;
/// How many of them a failure shows.
const SHOWN: usize = 60;

#[test]
fn stock_and_vwal_agree() {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().min(4));
    Campaign::new("differential", "random SQL", 150, 600).run(threads, |seed| {
        run(seed, Library::Linked);
        1
    });
}

/// The SQLite that most people have is older than the one that is linked here, and makes other calls.
#[test]
fn stock_and_vwal_agree_on_the_distributions_sqlite() {
    Campaign::new("differential", "random SQL, old SQLite", 40, 150).run(2, |seed| {
        run(seed, Library::Distribution);
        1
    });
}

/// Shows what was run so far when the run panics.
struct Story {
    seed: u64,
    lines: Vec<String>,
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = self.lines.len().saturating_sub(SHOWN);
            eprintln!("seed {} after {} steps, the last of them:", self.seed, self.lines.len());
            for line in &self.lines[shown..] {
                eprintln!("  {line}");
            }
        }
    }
}

fn run(seed: u64, library: Library) {
    let mut program = Program::new(seed);
    let mut story = Story { seed, lines: vec![program.settings.to_string()] };
    let mut stock = World::new(library, Engine::Stock, &program.settings);
    let mut vwal = World::new(library, Engine::Vwal, &program.settings);
    for _ in 0..STEPS {
        let step = program.next_step();
        story.lines.push(step.to_string());
        let expected = stock.run(&step);
        let found = vwal.run(&step);
        assert!(
            expected == found,
            "seed {seed}, step {}: {step}\nstock: {}\nvwal:  {}",
            story.lines.len() - 1,
            shortened(&expected, &found),
            shortened(&found, &expected),
        );
        program.learn(&step, &expected);
        if matches!(step, Step::Crash) {
            let committed = stock.committed();
            let recovered = vwal.recovered();
            assert!(
                committed == recovered,
                "seed {seed}, step {}: a crash here\nstock: {}\nvwal:  {}",
                story.lines.len() - 1,
                shortened(&committed, &recovered),
                shortened(&recovered, &committed),
            );
        }
    }
    story.lines.push("the end".to_owned());
    let (expected, found) = (stock.finish(), vwal.finish());
    assert!(
        expected == found,
        "seed {seed}, final content\nstock: {}\nvwal:  {}",
        shortened(&expected, &found),
        shortened(&found, &expected)
    );
}

/// `text` from shortly before it begins to differ from `other`.
fn shortened(text: &str, other: &str) -> String {
    let same = text.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let from = (0..=same.saturating_sub(80)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let dots = if from > 0 { "…" } else { "" };
    format!("{dots}{}", text[from..].chars().take(300).collect::<String>())
}
