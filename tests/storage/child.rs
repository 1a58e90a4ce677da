//! A process with an environment of its own that uses storage by its URL.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use vwal::storage::{RetryPolicy, Storage, StorageUrl, check, open, probe};
use vwal::{Error, Result};

use crate::{conformance, run, spawn};

/// What a child printed: one line for each operation, and everything else that it said.
pub struct Told {
    /// `put: Ok(Created)` or `put: Err(Denied) message`.
    pub lines: Vec<String>,
    /// All of its standard output.
    pub output: String,
}

/// Runs `operations` (separated by blanks: `suite`, `put`, `get`, `head`, `list`, `names`, `delete`, `probe`, `check`) on the
/// storage `url`. `deadline` is for how long an operation is retried.
pub fn run_on(url: &str, environment: &[(&str, String)], operations: &str, deadline: Duration) -> Told {
    let deadline = deadline.as_millis().to_string();
    let mut all: Vec<(&str, &str)> =
        vec![("STORAGE_URL", url), ("STORAGE_OPERATIONS", operations), ("STORAGE_DEADLINE", &deadline)];
    // Nothing of the machine on which the test runs.
    let unset =
        ["AWS_SESSION_TOKEN", "AWS_PROFILE", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"];
    all.extend(unset.map(|name| (name, "")));
    all.push(("NO_PROXY", "127.0.0.1,localhost"));
    all.extend(environment.iter().map(|(key, value)| (*key, value.as_str())));
    let mut child = spawn::spawn(&all);
    drop(child.stdin.take());
    let mut output = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut output).expect("text");
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{operations} on {url}: {status}\n{output}");
    let lines: Vec<String> =
        output.lines().filter_map(|line| Some(line.split_once("> ")?.1.to_owned())).collect();
    assert_eq!(lines.len(), operations.split(' ').count(), "{output}");
    Told { lines, output }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

/// The child's side.
pub fn serve() {
    let policy = RetryPolicy {
        deadline: Duration::from_millis(variable("STORAGE_DEADLINE").parse().expect("a number")),
        first_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(20),
        // A server that is slow to answer is one of the things that are tested.
        request_timeout: Duration::from_millis(
            std::env::var("STORAGE_TIMEOUT").map_or(20_000, |text| text.parse().expect("a number")),
        ),
    };
    let url: StorageUrl = variable("STORAGE_URL").parse().expect("a URL");
    let operations = variable("STORAGE_OPERATIONS");
    let storage = match open(&url, policy) {
        Ok(storage) => storage,
        Err(error) => {
            for operation in operations.split(' ') {
                tell(operation, Err::<(), _>(error.clone()));
            }
            return;
        }
    };
    println!("opened {storage:?}");
    run(async {
        for operation in operations.split(' ') {
            perform(operation, &storage).await;
        }
    });
}

async fn perform(operation: &str, storage: &std::sync::Arc<dyn Storage>) {
    let key = "0/object";
    match operation {
        "suite" => {
            conformance::suite(std::sync::Arc::clone(storage)).await;
            tell(operation, Ok("passed"));
        }
        "put" => tell(operation, storage.put_new(key, &[Bytes::from_static(b"content")]).await),
        "other" => tell(operation, storage.put_new(key, &[Bytes::from_static(b"another")]).await),
        "get" => tell(operation, storage.get(key, 0..7).await),
        "head" => tell(operation, storage.head(key).await.map(|info| info.map(|info| info.size))),
        "list" => tell(operation, storage.list("0/", None, 10).await.map(|found| found.len())),
        "names" => tell(operation, storage.list_names("").await),
        "delete" => tell(operation, storage.delete(&[key.to_owned()]).await),
        "probe" => tell(operation, probe(&**storage).await.map(|report| report.is_ok())),
        "check" => {
            let report = check(&**storage).await;
            tell(operation, report.error().cloned().map_or(Ok(report.steps.len()), Err));
        }
        _ => panic!("{operation} is no operation"),
    }
}

/// Prints what came of an operation: in the form for people, and in full on a line that counts for nothing.
fn tell<T: std::fmt::Debug>(operation: &str, result: Result<T>) {
    match &result {
        // The harness may have begun a line of its own.
        Ok(value) => println!("\n> {operation}: Ok({value:?})"),
        Err(error) => {
            let kind = match error {
                Error::Storage { kind, .. } => format!("{kind:?}"),
                other => format!("{other:?}"),
            };
            println!("\n> {operation}: Err({kind}) {error}");
        }
    }
    println!("in full: {result:?}");
}
