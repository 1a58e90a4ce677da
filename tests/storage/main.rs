//! The object layer: one suite over every backend, failures over the real S3 client, faults by seed, and no secrets.
//!
//! Some tests start this binary again (`child_process`), since the settings of S3 come from the environment of a process.

#[path = "../common/campaign.rs"]
mod campaign;
#[path = "../common/faulty.rs"]
mod faulty;
#[path = "../common/random.rs"]
mod random;
#[path = "../common/s3.rs"]
mod s3;
#[path = "../common/spawn.rs"]
mod spawn;

mod answers;
mod backends;
mod child;
mod conformance;
mod directory;
mod secrets;
mod seeds;
mod stub;
mod system_calls;
mod tls;

/// Runs `future` on a runtime as vwal's threads have one.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
#[ignore = "started by other tests, as a process of its own"]
fn child_process() {
    child::serve();
}
