//! The golden sessions of `sql/`: the same SQL gives the same output on stock SQLite and on vwal, in the
//! distribution's shell and in an application.
//!
//! Each `sql/NAME.sql` is a session for the `sqlite3` shell, and `sql/NAME.expected` is what the shell prints. Where
//! vwal is not the subject, it runs on stock SQLite *and* on vwal, and both must print just that. A script named
//! `vwal_*` opens its databases through vwal itself, and runs on vwal alone. By hand, in an empty directory:
//!
//!     sqlite3 app.db < sql/savepoints.sql
//!     VWAL_DEFAULT=1 sqlite3 -cmd '.load .../libvwal' -cmd '.open app.db' < sql/savepoints.sql
//!     sqlite3 -cmd '.load .../libvwal' < sql/vwal_functions.sql
//!
//! `VWAL_BLESS=1 cargo test --test golden` writes the `.expected` files anew (from stock SQLite, and from vwal for
//! `vwal_*`): read the difference before you commit it. `VWAL_GOLDEN=part` runs the scripts whose name contains it.

#[path = "common/campaign.rs"]
mod campaign;
#[path = "golden/diff.rs"]
mod diff;
#[path = "common/extension.rs"]
mod extension;
#[path = "golden/session.rs"]
mod session;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use campaign::Campaign;

/// A session that takes longer hangs. None takes a tenth of this.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// What runs the script, and on what.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Host {
    /// The distribution's shell without vwal.
    StockShell,
    /// The distribution's shell with the extension; databases are opened as `file:...?vfs=vwal`.
    ShellByUri,
    /// The distribution's shell with the extension and `VWAL_DEFAULT=1`; databases are opened by their plain names.
    ShellByDefault,
    /// SQLite linked into this test, without vwal.
    StockLinked,
    /// SQLite linked into this test, `vwal::register`, and `file:...?vfs=vwal`.
    Linked,
}

impl Host {
    fn is_shell(self) -> bool {
        matches!(self, Host::StockShell | Host::ShellByUri | Host::ShellByDefault)
    }

    fn is_stock(self) -> bool {
        matches!(self, Host::StockShell | Host::StockLinked)
    }

    /// What its run is called as a part of the class of differential tests.
    fn part(self) -> Option<&'static str> {
        match self {
            Host::StockShell | Host::StockLinked => None,
            Host::ShellByUri => Some("sessions in the shell by URI"),
            Host::ShellByDefault => Some("sessions in the shell by default"),
            Host::Linked => Some("sessions linked"),
        }
    }

    /// Whether the plain names in a script have to become URIs.
    fn needs_uris(self) -> bool {
        matches!(self, Host::ShellByUri | Host::Linked)
    }
}

#[test]
fn stock_sqlite_in_the_shell() {
    check(Host::StockShell);
}

#[test]
fn vwal_in_the_shell_by_uri() {
    check(Host::ShellByUri);
}

#[test]
fn vwal_in_the_shell_by_default() {
    check(Host::ShellByDefault);
}

#[test]
fn stock_sqlite_linked() {
    check(Host::StockLinked);
}

#[test]
fn vwal_linked() {
    check(Host::Linked);
}

#[test]
fn every_script_has_its_expected_output_and_nothing_lies_about() {
    let mut stems: [BTreeSet<String>; 2] = Default::default();
    for entry in fs::read_dir(directory()).expect("the directory sql/") {
        let path = entry.expect("an entry of sql/").path();
        if path.is_dir() {
            continue; // sql/demo: the data of `vwal demo`
        }
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("sql") => stems[0].insert(stem),
            Some("expected") => stems[1].insert(stem),
            _ => panic!("{} is neither a script nor its output", path.display()),
        };
    }
    assert_eq!(stems[0], stems[1]);
    assert!(stems[0].len() > 60, "only {} scripts were found", stems[0].len());
}

/// The scripts' directory.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sql")
}

/// Runs every script on `host` and compares.
fn check(host: Host) {
    let bless = std::env::var_os("VWAL_BLESS").is_some_and(|value| value == "1");
    let filter = std::env::var("VWAL_GOLDEN").unwrap_or_default();
    let mut scripts: Vec<String> = fs::read_dir(directory())
        .expect("the directory sql/")
        .filter_map(|entry| {
            let name = entry.expect("an entry of sql/").file_name().into_string().expect("an ASCII name");
            name.strip_suffix(".sql").map(str::to_owned)
        })
        .filter(|name| name.contains(&filter) && !(host.is_stock() && is_about_vwal(name)))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no script is named like {filter:?}");
    let count = scripts.len();
    // Part of a class only where vwal runs them: on stock SQLite they show that the expected output is right.
    let mut campaign = host.part().map(|part| Campaign::all("differential", part));

    let queue = Mutex::new(scripts);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(name) = { queue.lock().expect("no panic while queued").pop() } {
                    let outcome = run(host, &name).and_then(|output| judge(host, &name, &output, bless));
                    if let Err(failure) = outcome {
                        failures.lock().expect("no panic while failing").push(failure);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no panic while failing");
    failures.sort();
    assert!(failures.is_empty(), "{} of {count} sessions differ:\n\n{}", failures.len(), failures.join("\n"));
    if let Some(campaign) = &mut campaign {
        campaign.count(count as u64);
    }
}

/// Whether a script's subject is vwal, so that stock SQLite cannot run it.
fn is_about_vwal(name: &str) -> bool {
    name.starts_with("vwal_")
}

/// Compares with the expected output, or replaces that.
fn judge(host: Host, name: &str, output: &str, bless: bool) -> Result<(), String> {
    let path = directory().join(format!("{name}.expected"));
    if bless {
        let source = if is_about_vwal(name) { Host::ShellByUri } else { Host::StockShell };
        if host == source {
            fs::write(&path, output).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        return Ok(());
    }
    let expected = fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error} (VWAL_BLESS=1 makes it)", path.display()))?;
    match diff::unified(&expected, output, &format!("sql/{name}.expected"), &format!("{host:?}")) {
        None => Ok(()),
        Some(diff) => Err(diff),
    }
}

/// Runs a script in an empty directory of its own and gives what it printed, errors among the rows as on a terminal.
fn run(host: Host, name: &str) -> Result<String, String> {
    let home = tempfile::tempdir().map_err(|error| error.to_string())?;
    let script =
        fs::read_to_string(directory().join(format!("{name}.sql"))).map_err(|error| error.to_string())?;
    let (script, renamed) = if host.needs_uris() { with_uris(&script) } else { (script, Vec::new()) };
    // A script about vwal opens its databases itself.
    let database = match (is_about_vwal(name), host.needs_uris()) {
        (true, _) => None,
        (false, true) => Some("file:app.db?vfs=vwal"),
        (false, false) => Some("app.db"),
    };
    let (input, output) = (home.path().join(".script"), home.path().join(".output"));
    fs::write(&input, script).map_err(|error| error.to_string())?;

    let mut command = if host.is_shell() { shell(host, database)? } else { linked(host, database)? };
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("VWAL_") {
            command.env_remove(key);
        }
    }
    if host == Host::ShellByDefault {
        command.env("VWAL_DEFAULT", "1");
    }
    // Nobody's ~/.sqliterc.
    command.env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path()).current_dir(home.path());
    let (code, printed) = finish(&mut command, &input, &output, host.is_shell())?;
    let printed = if host.is_shell() {
        printed
    } else if code == Some(0) {
        fs::read_to_string(home.path().join(".session")).map_err(|error| error.to_string())?
    } else {
        return Err(format!("{name} on {host:?} ended with {code:?}:\n{printed}"));
    };
    if code.is_none() {
        return Err(format!("{name} on {host:?} was killed by a signal; it printed:\n{printed}"));
    }
    // Messages name files in full; the temporary directory may be a link (macOS).
    let real = home.path().canonicalize().map_err(|error| error.to_string())?;
    let printed = printed.replace(&format!("{}/", real.display()), "");
    let printed = printed.replace(&format!("{}/", home.path().display()), "");
    Ok(restore_names(&printed, &renamed))
}

/// The shell, ready for the script on its standard input.
fn shell(host: Host, database: Option<&str>) -> Result<Command, String> {
    if Command::new("sqlite3").arg("--version").output().is_err() {
        return Err(
            "there is no `sqlite3` in PATH: install it (Debian and Ubuntu: `apt-get install sqlite3`)".into(),
        );
    }
    if Command::new("stdbuf").arg("--version").output().is_err() {
        return Err("there is no `stdbuf` in PATH: install GNU coreutils".into());
    }
    // The shell buffers its output, but not its errors: without stdbuf their order would be lost.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "sqlite3", "-batch"]);
    match (host, database) {
        (Host::StockShell, Some(name)) => {
            command.arg(name);
        }
        (_, database) => {
            command.args(["-cmd", &format!(".load \"{}\"", extension::path().display())]);
            if let Some(name) = database {
                command.args(["-cmd", &format!(".open \"{name}\"")]);
            }
        }
    }
    Ok(command)
}

/// This test again, as the application that runs the script (a process of its own has a directory of its own).
fn linked(host: Host, database: Option<&str>) -> Result<Command, String> {
    let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
    command.args(["--exact", "application", "--ignored", "--nocapture"]);
    command.env("GOLDEN_DATABASE", database.unwrap_or_default());
    command.env("GOLDEN_STOCK", if host.is_stock() { "1" } else { "0" });
    Ok(command)
}

/// Not a test of its own: what [`linked`] starts.
#[test]
#[ignore = "the other tests run it in a process of its own"]
fn application() {
    let setting = |key| std::env::var(key).expect("started by another test of this file");
    if setting("GOLDEN_STOCK") != "1" {
        vwal::register(vwal::Options::default()).expect("vwal can be registered");
    }
    let database = setting("GOLDEN_DATABASE");
    let script = fs::read_to_string(".script").expect("the script");
    let output = session::run(&script, (!database.is_empty()).then_some(database.as_str()));
    fs::write(".session", output).expect("the output can be written");
}

/// Runs `command` within the time limit; gives its exit code (none after a signal) and what it printed.
fn finish(
    command: &mut Command,
    input: &Path,
    output: &Path,
    feed: bool,
) -> Result<(Option<i32>, String), String> {
    let both = File::create(output).map_err(|error| error.to_string())?;
    let stdin =
        if feed { File::open(input).map_err(|error| error.to_string())?.into() } else { Stdio::null() };
    let mut child = command
        .stdin(stdin)
        .stdout(both.try_clone().map_err(|error| error.to_string())?)
        .stderr(both)
        .spawn()
        .map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            let printed = fs::read(output).map_err(|error| error.to_string())?;
            return Ok((status.code(), String::from_utf8_lossy(&printed).into_owned()));
        }
        if started.elapsed() > TIME_LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            let printed = fs::read(output).unwrap_or_default();
            return Err(format!("{command:?} hangs; it printed:\n{}", String::from_utf8_lossy(&printed)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The script with `vfs=vwal` on every `.open`, `.backup` and `.restore` that does not choose a VFS, and what was replaced by what.
fn with_uris(script: &str) -> (String, Vec<(String, String)>) {
    let mut renamed = Vec::new();
    let mut out = String::new();
    for line in script.lines() {
        let words = session::split_words(line);
        match words.as_slice() {
            [command, options @ .., name]
                if [".open", ".backup", ".restore"].contains(&command.as_str())
                    && name != ":memory:"
                    && !name.contains("vfs=") =>
            {
                let uri = if name.starts_with("file:") {
                    format!("{name}{}vfs=vwal", if name.contains('?') { '&' } else { '?' })
                } else {
                    format!(
                        "file:{}?vfs=vwal",
                        name.replace('%', "%25").replace('?', "%3f").replace('#', "%23")
                    )
                };
                out += &format!(
                    "{command} {}\"{uri}\"\n",
                    options.iter().map(|o| format!("{o} ")).collect::<String>()
                );
                renamed.push((name.clone(), uri));
            }
            _ => {
                out += line;
                out.push('\n');
            }
        }
    }
    (out, renamed)
}

/// Undoes [`with_uris`] in what was printed, and leaves out where in a statement the shell points with `^--- error here`.
fn restore_names(printed: &str, renamed: &[(String, String)]) -> String {
    let mut printed = printed.to_owned();
    for (name, uri) in renamed {
        printed = printed.replace(&format!("\"{uri}\""), &format!("\"{name}\""));
    }
    let lines: Vec<&str> = printed.lines().collect();
    let points =
        |at: usize| lines.get(at).is_some_and(|line| line.trim_start().starts_with("^--- error here"));
    let kept = (0..lines.len()).filter(|&at| !points(at) && !points(at + 1));
    kept.map(|at| format!("{}\n", lines[at])).collect()
}
