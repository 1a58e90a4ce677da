//! The suite of [`conformance`](crate::conformance) on every backend.

use std::sync::Arc;
use std::time::Duration;

use object_store::local::LocalFileSystem;
use vwal::storage::{ObjectStorage, RetryPolicy, Storage, open};

use crate::{child, conformance, run, s3};

fn opened(url: &str) -> Arc<dyn Storage> {
    open(&url.parse().expect("a URL"), RetryPolicy::default()).expect("storage")
}

#[test]
fn memory() {
    run(conformance::suite(opened("memory://conformance")));
    run(conformance::suite(opened("memory://conformance-below/a/b")));
}

#[test]
fn directory() {
    let home = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}/my%20backup%25%3Ax", home.path().display());
    run(conformance::suite(opened(&url)));
    assert!(home.path().join("my backup%:x").is_dir());
}

#[test]
fn a_store_of_the_application_that_lists_in_no_order() {
    let home = tempfile::tempdir().expect("a directory");
    let store = LocalFileSystem::new_with_prefix(home.path()).expect("a store").with_automatic_cleanup(true);
    run(conformance::suite(Arc::new(ObjectStorage::new(
        Arc::new(store),
        "own://store",
        RetryPolicy::default(),
    ))));
}

#[test]
fn seaweedfs() {
    let Some(server) = s3::seaweedfs() else { return };
    let told = child::run_on(&server.fresh_url(), &server.environment(), "suite", Duration::from_secs(60));
    assert_eq!(told.lines, ["suite: Ok(\"passed\")"]);
}

#[test]
fn seaweedfs_refuses_wrong_credentials() {
    let Some(server) = s3::seaweedfs() else { return };
    for (name, value) in [("AWS_SECRET_ACCESS_KEY", "wrong-secret"), ("AWS_ACCESS_KEY_ID", "wrong-key")] {
        let mut environment = server.environment().to_vec();
        environment.push((name, value.to_owned()));
        let told = child::run_on(
            &server.fresh_url(),
            &environment,
            "put get head list names delete probe check",
            Duration::from_secs(60),
        );
        for line in &told.lines {
            assert!(line.contains(": Err(Denied) "), "{line}");
        }
        assert!(!told.output.contains(value), "{}", told.output);
    }
}

#[test]
fn moto() {
    let Some(server) = s3::moto() else { return };
    let told = child::run_on(&server.fresh_url(), &server.environment(), "suite", Duration::from_secs(60));
    assert_eq!(told.lines, ["suite: Ok(\"passed\")"]);
}

#[test]
fn a_bucket_that_is_not_there() {
    // SeaweedFS would make it.
    let Some(server) = s3::moto() else { return };
    let operations = "put get list names probe";
    let told =
        child::run_on("s3://no-such-bucket/x", &server.environment(), operations, Duration::from_secs(60));
    for line in &told.lines {
        assert!(line.contains(": Err(NotFound) ") && line.contains("s3://no-such-bucket/x"), "{line}");
    }
}
