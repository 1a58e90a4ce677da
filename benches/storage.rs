//! What storage costs, as ratios of paired runs.
//!
//!     cargo bench --bench storage -- --pairs 5
//!
//! - *ship*: commits per second with storage in a local directory, against the same without;
//! - *bytes*: what storage holds per commit of a one-row insert, against the full pages of those commits;
//! - *restore*: the time to restore a database from a local directory, against that to copy its file (both end with an
//!   fsync), and the memory that it takes;
//! - *compact*: the memory that it takes to merge bundles which together rewrite the whole database.
//!
//! Options: `--pairs N` (5), `--seconds S` for each run (3), `--size MIB` of the database that is restored (1024), `--dir DIR`
//! (the system's temporary directory), `--only NAME,NAME`. Absolute figures depend on the machine and on what else it does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use vwal::{Database, Options};

struct Arguments {
    pairs: usize,
    length: Duration,
    dir: PathBuf,
    only: Vec<String>,
    /// Bytes.
    size: u64,
    /// This is a child, whose memory is measured: what it is to do.
    child: Option<Vec<String>>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        pairs: 5,
        length: Duration::from_secs(3),
        dir: std::env::temp_dir(),
        only: Vec::new(),
        size: 1 << 30,
        child: None,
    };
    let mut rest = std::env::args().skip(1);
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{flag} needs a value"));
        let number = |text: String| text.parse::<f64>().map_err(|error| format!("{flag} {text}: {error}"));
        match flag.as_str() {
            "--pairs" => parsed.pairs = (number(value()?)? as usize).max(1),
            "--seconds" => parsed.length = Duration::from_secs_f64(number(value()?)?),
            "--dir" => parsed.dir = PathBuf::from(value()?),
            "--size" => parsed.size = (number(value()?)? as u64).max(8) << 20,
            "--child" => {
                parsed.child = Some(rest.by_ref().collect());
            }
            "--only" => parsed.only = value()?.split(',').map(str::to_owned).collect(),
            // What cargo passes to every benchmark.
            "--bench" => {}
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(parsed)
}

type Workload = fn(&Connection, u64);

const INSERT: (&str, Workload) = ("1-row inserts", |db, _| {
    db.prepare_cached("INSERT INTO t(x) VALUES ('a row of text of ordinary length, as rows are')")
        .and_then(|mut insert| insert.execute([]))
        .expect("an insert");
});

const UPDATE: (&str, Workload) = ("1-row updates", |db, i| {
    // Any order that is far from sequential.
    let id = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % ROWS as u64 + 1;
    db.prepare_cached("UPDATE t SET x = ?2 WHERE id = ?1")
        .and_then(|mut update| update.execute((id as i64, format!("row {i}, updated"))))
        .expect("an update");
});

const ROWS: i64 = 100_000;

fn open(path: &Path, store: Option<&Path>) -> Connection {
    let storage = store.map_or_else(|| "off".to_owned(), |store| format!("file://{}", store.display()));
    let db = Connection::open(format!("file:{}?vfs=vwal&vwal_storage={storage}", path.display()))
        .expect("an open");
    db.execute_batch(
        "PRAGMA synchronous=NORMAL; CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, x TEXT);",
    )
    .expect("a table");
    db
}

/// What a run gave.
struct Run {
    per_second: f64,
    commits: u64,
    frames: u64,
}

fn run(path: &Path, store: Option<&Path>, workload: Workload, length: Duration) -> Run {
    let db = open(path, store);
    let database = Database::of(&db, "main").expect("a virtual database");
    database.sync().expect("everything is durable before it begins");
    let first = database.frame_no();
    let started = Instant::now();
    let mut commits = 0;
    while started.elapsed() < length {
        for _ in 0..16 {
            workload(&db, commits);
            commits += 1;
        }
    }
    let per_second = commits as f64 / started.elapsed().as_secs_f64();
    Run { per_second, commits, frames: database.frame_no() - first }
}

fn size_of(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size_of(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Median, smallest and largest.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn ship(arguments: &Arguments) {
    for (title, workload) in [INSERT, UPDATE] {
        let mut ratios = Vec::new();
        for pair in 0..arguments.pairs {
            let mut rates = [0.0; 2];
            let mut order = [0, 1];
            // Each goes first in every other pair.
            order.rotate_left(pair % 2);
            for with_storage in order {
                let dir = tempfile::tempdir_in(&arguments.dir).expect("a temporary directory");
                let (path, store) = (dir.path().join("app.db"), dir.path().join("store"));
                fill(&path);
                let store = (with_storage == 1).then_some(store.as_path());
                rates[with_storage] = run(&path, store, workload, arguments.length).per_second;
            }
            ratios.push(rates[1] / rates[0]);
        }
        let (median, least, most) = spread(ratios);
        println!("ship   {title:<16} with storage / without: {median:.3} ({least:.3}..{most:.3})");
    }
}

fn fill(path: &Path) {
    let db = open(path, None);
    db.execute_batch(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         INSERT INTO t SELECT i, 'row ' || i FROM n"
    ))
    .expect("rows");
}

fn bytes(arguments: &Arguments) {
    for (title, workload) in [INSERT, UPDATE] {
        let dir = tempfile::tempdir_in(&arguments.dir).expect("a temporary directory");
        let (path, store) = (dir.path().join("app.db"), dir.path().join("store"));
        fill(&path);
        // The base snapshot is there before it begins.
        drop(open(&path, Some(&store)));
        let db = open(&path, Some(&store));
        Database::of(&db, "main").and_then(|database| database.sync()).expect("a base snapshot");
        let before = size_of(&store);
        let done = run(&path, Some(&store), workload, arguments.length);
        Database::of(&db, "main").and_then(|database| database.sync()).expect("everything shipped");
        let per_commit = (size_of(&store) - before) as f64 / done.commits as f64;
        let pages = done.frames as f64 * 4096.0 / done.commits as f64;
        println!(
            "bytes  {title:<16} {per_commit:.0} stored per commit, of {pages:.0} in pages: {:.4}",
            per_commit / pages
        );
    }
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("storage: {message}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = vwal::register(Options::new()) {
        eprintln!("storage: {error}");
        return ExitCode::FAILURE;
    }
    if let Some(work) = &arguments.child {
        return child(work);
    }
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    println!(
        "SQLite {}, {} pairs of runs in {}",
        rusqlite::version(),
        arguments.pairs,
        arguments.dir.display()
    );
    if wanted("ship") {
        ship(&arguments);
    }
    if wanted("bytes") {
        bytes(&arguments);
    }
    if wanted("restore") || wanted("compact") {
        large(&arguments, &wanted);
    }
    ExitCode::SUCCESS
}

/// A database of the wanted size, and everything that is measured on it.
fn large(arguments: &Arguments, wanted: &dyn Fn(&str) -> bool) {
    let dir = tempfile::tempdir_in(&arguments.dir).expect("a temporary directory");
    let (path, store) = (dir.path().join("app.db"), dir.path().join("store"));
    let db = open(&path, Some(&store));
    // The table is there before its log is opened.
    db.execute_batch("INSERT INTO t VALUES (0, '')").expect("a row");
    let database = Database::of(&db, "main").expect("a virtual database");
    // Some of a row is text, some is noise, so that it compresses as rows do.
    let rows = arguments.size / 1100;
    let batch = rows / 64 + 1;
    for _ in 0..64 {
        db.execute_batch(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {batch})
             INSERT INTO t(x) SELECT hex(randomblob(130)) || printf('%.*c', 750, 'x') FROM n"
        ))
        .expect("rows");
        database.sync().expect("shipped");
    }
    database.checkpoint().expect("a checkpoint");
    if wanted("compact") {
        // The keeper has merged already; here the merges of a copy without them are done again.
        for level in ["1", "2", "3"] {
            for log in std::fs::read_dir(&store).expect("storage").flatten() {
                let _ = std::fs::remove_dir_all(log.path().join(level));
            }
        }
        let memory = memory_of(&["compact", &store.display().to_string()]);
        println!("compact {} MiB in bundles: {memory:.1} MiB of memory at most", arguments.size >> 20);
    }
    database.snapshot().expect("a snapshot");
    database.sync().expect("shipped");
    drop(database);
    drop(db);
    if wanted("restore") {
        restore(arguments, dir.path(), &path, &store);
    }
}

fn restore(arguments: &Arguments, dir: &Path, path: &Path, store: &Path) {
    let size = std::fs::metadata(path).expect("the database").len();
    let (copied, restored) = (dir.join("copied.db"), dir.join("restored.db"));
    let work = ["restore", &store.display().to_string(), &restored.display().to_string()];
    let mut ratios = Vec::new();
    let mut memory = 0.0f64;
    for pair in 0..=arguments.pairs {
        let mut times = [0.0; 2];
        let mut order = [0, 1];
        // Each goes first in every other pair.
        order.rotate_left(pair % 2);
        for which in order {
            let started = Instant::now();
            if which == 0 {
                std::fs::copy(path, &copied).expect("a copy");
                std::fs::File::open(&copied).and_then(|file| file.sync_all()).expect("an fsync");
            } else {
                memory = memory.max(memory_of(&work));
            }
            times[which] = started.elapsed().as_secs_f64();
        }
        std::fs::remove_file(&copied).expect("removing the copy");
        std::fs::remove_file(&restored).expect("removing what was restored");
        if pair > 0 {
            // The first pair only warms the page cache.
            ratios.push(times[1] / times[0]);
        }
    }
    let (median, least, most) = spread(ratios);
    println!(
        "restore {} MiB: {median:.2} ({least:.2}..{most:.2}) of the time of a copy, {memory:.1} MiB of memory at most",
        size >> 20
    );
}

/// Do something in a process of its own. Returns the most memory that it had, in MiB.
fn memory_of(work: &[&str]) -> f64 {
    let program = std::env::current_exe().expect("this program");
    let done = std::process::Command::new(program).arg("--child").args(work).output().expect("a child");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.lines().last().and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("no figure: {text}"))
}

/// The child's side of [`memory_of`].
fn child(work: &[String]) -> ExitCode {
    let url = format!("file://{}", work[1]).parse().expect("a URL");
    if work[0] == "restore" {
        vwal::restore::Restore::new(&url).run(Path::new(&work[2]), |_| ()).expect("a restore");
    } else {
        let runtime = vwal::storage::runtime().expect("a runtime");
        runtime.block_on(async {
            let storage = vwal::storage::open(&url, vwal::storage::RetryPolicy::default()).expect("storage");
            for log_id in vwal::storage::bundles::logs(&*storage).await.expect("logs") {
                let mut compactor = vwal::ship::compact::Compactor::new(&storage, log_id);
                let mut nonce = 1;
                while compactor.step(nonce).await.expect("a merge").is_some() {
                    nonce += 1;
                }
            }
        });
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    println!("{}", kib / 1024.0);
    ExitCode::SUCCESS
}
