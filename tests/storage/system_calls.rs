//! What storage in a directory has fsynced before it answers, as strace sees it: the files are written by other crates.
//!
//! Without strace the test says so and passes; with `CI` in the environment it fails instead.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use vwal::storage::{Put, RetryPolicy, open};

use crate::campaign::Campaign;
use crate::run;

/// Files that nobody has: trying to remove them marks where an operation begins and ends.
const MARK: &str = "/vwal-test-mark-";

fn mark(name: &str) {
    let _ = fs::remove_file(format!("{MARK}{name}"));
}

#[test]
#[ignore = "the entry point of child processes"]
fn child_process() {
    let root = std::env::var("VWAL_TEST_ROOT").expect("the parent sets it");
    let storage = || open(&format!("file://{root}").parse().unwrap(), RetryPolicy::default()).unwrap();
    let content = [Bytes::from_static(b"an object")];
    run(async {
        let first = storage();
        for key in ["a/b/one", "a/b/two", "a/c/one"] {
            mark("begin");
            assert_eq!(first.put_new(key, &content).await.unwrap(), Put::Created);
            mark("end");
        }
        // As a process that knows nothing of the first one finds it.
        let second = storage();
        mark("begin");
        assert_eq!(second.put_new("a/b/one", &content).await.unwrap(), Put::Created);
        mark("end");
        for key in ["a/b/two", "a/c/one"] {
            mark("begin");
            second.delete(&[key.into()]).await.unwrap();
            mark("end");
        }
    });
}

/// A system call that succeeded, as far as it is of interest here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    Mark(String),
    MakeDir(PathBuf),
    Write(PathBuf),
    Sync(PathBuf),
    /// A link or a rename: from, to.
    Name(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// The calls of all threads, in the order in which they returned.
fn parse(trace: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, String> = HashMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (pid, rest) = line.split_once(' ').expect("a line begins with a thread");
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(pid, first.to_owned());
            continue;
        }
        let call = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let (_, end) = resumed.split_once("resumed>").expect("the end of a call");
                begun.remove(pid).unwrap_or_default() + end
            }
            None => rest.to_owned(),
        };
        calls.extend(parse_call(&call));
    }
    calls
}

fn parse_call(call: &str) -> Option<Call> {
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let strings: Vec<PathBuf> = arguments.split('"').skip(1).step_by(2).map(PathBuf::from).collect();
    if let Some(mark) = strings.first().and_then(|path| path.to_str()?.strip_prefix(MARK)) {
        return Some(Call::Mark(mark.to_owned()));
    }
    if result.starts_with('-') {
        return None;
    }
    let descriptor = || Some(PathBuf::from(arguments.split_once('<')?.1.split_once('>')?.0));
    let string = |at: usize| strings.get(at).cloned();
    match name {
        "mkdir" | "mkdirat" => Some(Call::MakeDir(string(0)?)),
        "write" | "writev" | "pwrite64" | "pwritev" => Some(Call::Write(descriptor()?)),
        "fsync" | "fdatasync" => Some(Call::Sync(descriptor()?)),
        "link" | "linkat" | "rename" | "renameat" | "renameat2" => Some(Call::Name(string(0)?, string(1)?)),
        "unlink" | "unlinkat" | "rmdir" => Some(Call::Remove(string(0)?)),
        _ => None,
    }
}

/// The calls of each operation.
fn operations(calls: &[Call]) -> Vec<Vec<Call>> {
    let mut all = Vec::new();
    for call in calls {
        match (call, all.last_mut()) {
            (Call::Mark(name), _) if name == "begin" => all.push((true, Vec::new())),
            (Call::Mark(_), Some((is_open, _))) => *is_open = false,
            (call, Some((true, operation))) => operation.push(call.clone()),
            _ => {}
        }
    }
    all.into_iter().map(|(_, operation)| operation).collect()
}

/// What was done to an object.
#[derive(Clone, Copy, Debug)]
enum Done {
    Put,
    /// It was there, and nobody knew what of it was durable.
    Found,
    Deleted,
}

/// The fsyncs that have to be there for the object `path` below `root`; for each, the calls that do it.
fn required(calls: &[Call], done: Done, root: &Path, path: &Path) -> Result<Vec<Vec<usize>>, String> {
    let end = calls.len();
    let last = |wanted: &dyn Fn(&Call) -> bool| calls.iter().rposition(wanted);
    let mut syncs = Vec::new();
    let mut need = |path: &Path, after: usize, before: usize| {
        let found: Vec<usize> = (after..before)
            .filter(|&at| matches!(&calls[at], Call::Sync(synced) if synced == path))
            .collect();
        if found.is_empty() {
            return Err(format!("no fsync of '{}' between {after} and {before}: {calls:#?}", path.display()));
        }
        syncs.push(found);
        Ok(())
    };
    let directory = |path: &Path| path.parent().expect("it is in a directory").to_owned();
    if let Done::Deleted = done {
        let gone = last(&|call| matches!(call, Call::Remove(removed) if removed == path));
        let gone = gone.ok_or("the object was not removed")?;
        // The directory goes with its last object, and then that is what has to be durable.
        let mut removed = (gone, path.to_owned());
        while let Some(at) =
            last(&|call| matches!(call, Call::Remove(above) if *above == directory(&removed.1)))
        {
            removed = (at, directory(&removed.1));
        }
        need(&directory(&removed.1), removed.0, end)?;
        return Ok(syncs);
    }
    let named = last(&|call| matches!(call, Call::Name(_, to) if to == path));
    let named = named.ok_or_else(|| format!("'{}' got no name: {calls:#?}", path.display()))?;
    let Call::Name(temporary, _) = &calls[named] else { unreachable!("it was found as one") };
    let written = last(&|call| matches!(call, Call::Write(file) if file == temporary));
    need(temporary, written.ok_or("nothing was written")?, named)?;
    need(&directory(path), named, end)?;
    for (at, call) in calls.iter().enumerate() {
        if let Call::MakeDir(made) = call {
            need(&directory(made), at, end)?;
        }
    }
    if let Done::Found = done {
        // Whoever made these directories may not have come to it.
        for above in directory(path).ancestors().skip(1).take_while(|above| above.starts_with(root)) {
            need(above, 0, end)?;
        }
        need(&directory(root), 0, end)?;
    }
    Ok(syncs)
}

#[test]
fn what_storage_in_a_directory_answers_is_durable() {
    let mut campaign = Campaign::all("fsync mutation", "storage in a directory");
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("new");
    let trace = dir.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-s", "4096", "-e"])
        .arg("trace=mkdir,mkdirat,write,writev,pwrite64,pwritev,fsync,fdatasync,link,linkat,rename,renameat,renameat2,unlink,unlinkat,rmdir")
        .arg("-o")
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "system_calls::child_process", "--test-threads=1"])
        .env("VWAL_TEST_ROOT", &root)
        .stdout(Stdio::null())
        .status();
    match status {
        Ok(status) => assert!(status.success(), "strace cannot trace: {status}"),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "strace cannot be started: {error}");
            eprintln!("SKIPPED: strace cannot be started: {error}");
            return;
        }
    }
    let all = operations(&parse(&fs::read_to_string(trace).unwrap()));
    let expected = [
        // The temporary file, its directory, and of three new directories the ones above.
        (Done::Put, "a/b/one", 5),
        (Done::Put, "a/b/two", 2),
        (Done::Put, "a/c/one", 3),
        // The directories up to the root, and the one above it.
        (Done::Found, "a/b/one", 5),
        (Done::Deleted, "a/b/two", 1),
        // Its directory is gone too.
        (Done::Deleted, "a/c/one", 1),
    ];
    assert_eq!(all.len(), expected.len());
    for (calls, (done, key, count)) in all.iter().zip(expected) {
        let path = root.join(key);
        let syncs =
            required(calls, done, &root, &path).unwrap_or_else(|what| panic!("{done:?} {key}: {what}"));
        assert_eq!(syncs.len(), count, "{done:?} {key}: {calls:#?}");
        for sync in syncs {
            // Neither without it nor behind the answer would be right.
            let mut without = calls.clone();
            for &at in &sync {
                without[at] = Call::Mark("taken out".into());
            }
            assert!(required(&without, done, &root, &path).is_err(), "{sync:?} is not missed: {calls:#?}");
            campaign.count(1);
        }
    }
}
