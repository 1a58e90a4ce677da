//! What the real S3 client and the layer above it make of a server's answers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::child::{self, Told};
use crate::s3::environment_for;
use crate::stub::{Bucket, Reply, Request, Stub, list_of, part_of};

const URL: &str = "s3://bucket/prefix";
const PATIENT: Duration = Duration::from_secs(60);

/// Runs `operations` against a server that answers like this; also: what it was asked.
fn with(
    operations: &str,
    deadline: Duration,
    answer: impl FnMut(&mut Bucket, usize, &Request) -> Reply + Send + 'static,
) -> (Told, Vec<String>) {
    let stub = Stub::start(answer);
    let mut environment = environment_for(&stub.endpoint).to_vec();
    // Silence is the only thing that takes longer than this.
    environment.push(("STORAGE_TIMEOUT", "2000".into()));
    let told = child::run_on(URL, &environment, operations, deadline);
    (told, stub.requests())
}

#[test]
fn a_server_that_behaves() {
    let operations = "put get head list put other get delete head probe probe";
    let (told, requests) = with(operations, PATIENT, |bucket, _, request| bucket.serve(request));
    assert_eq!(
        told.lines,
        [
            "put: Ok(Created)",
            "get: Ok(b\"content\")",
            "head: Ok(Some(7))",
            "list: Ok(1)",
            "put: Ok(Created)",
            "other: Ok(Taken)",
            "get: Ok(b\"content\")",
            "delete: Ok(())",
            "head: Ok(None)",
            "probe: Ok(true)",
            "probe: Ok(true)"
        ]
    );
    // One request each; a conflict costs one more to look at what is there. The first probe puts twice and looks three
    // times at five ranges and the head; the second one meets a conflict.
    assert_eq!(requests[..4].iter().filter(|request| request.starts_with("PUT")).count(), 1);
    assert_eq!(requests[..10].len(), 1 + 1 + 1 + 1 + 2 + 2 + 1 + 1);
    let last: Vec<&str> = requests[requests.len() - 2..].iter().map(String::as_str).collect();
    assert_eq!(last, ["PUT /bucket/prefix/put-if-absent", "GET /bucket/prefix/put-if-absent"]);
}

#[test]
fn a_server_that_sends_no_etag() {
    let operations = "put put other get head list names probe probe check delete";
    let (told, _) = with(operations, PATIENT, |bucket, _, request| {
        bucket.sends_no_etag = true;
        bucket.serve(request)
    });
    assert_eq!(
        told.lines[..9],
        [
            "put: Ok(Created)",
            "put: Ok(Created)",
            "other: Ok(Taken)",
            "get: Ok(b\"content\")",
            "head: Ok(Some(7))",
            "list: Ok(1)",
            "names: Ok([\"0\"])",
            "probe: Ok(true)",
            "probe: Ok(true)",
        ]
    );
    assert!(told.lines[9].starts_with("check: Ok("), "not called unfit: {:?}", told.lines);
    assert_eq!(told.lines[10], "delete: Ok(())");
}

#[test]
fn what_may_pass_is_tried_again() {
    let failures: [fn() -> Reply; 8] = [
        || Reply::error(503, "SlowDown"),
        || Reply::error(500, "InternalError"),
        || Reply::status(502),
        || Reply::error(429, "TooManyRequests"),
        || Reply::error(400, "RequestTimeout"),
        || Reply::error(409, "OperationAborted"),
        || Reply::HangUp,
        || Reply::Cut(Box::new(Reply::error(500, "InternalError")), 10),
    ];
    for (at, failure) in failures.into_iter().enumerate() {
        let mut seen = Counts::default();
        let (told, requests) = with("put get head list names delete", PATIENT, move |bucket, _, request| {
            // Every kind of request fails twice. What a 400 means cannot be told without the body, which HEAD has not.
            if seen.next(request) <= 2 && (at != 4 || request.method != "HEAD") {
                failure()
            } else {
                bucket.serve(request)
            }
        });
        let expected = [
            "put: Ok(Created)",
            "get: Ok(b\"content\")",
            "head: Ok(Some(7))",
            "list: Ok(1)",
            "names: Ok([\"0\"])",
            "delete: Ok(())",
        ];
        assert_eq!(told.lines, expected, "failure {at}");
        assert!(requests.len() >= 6 + 4 * 2, "failure {at}: {requests:#?}");
    }
}

/// Counts the requests of each kind.
#[derive(Default)]
struct Counts(BTreeMap<(String, bool), usize>);

impl Counts {
    fn next(&mut self, request: &Request) -> usize {
        let count = self.0.entry((request.method.clone(), request.is_list())).or_default();
        *count += 1;
        *count
    }
}

#[test]
fn an_outage_ends_in_an_error_that_says_what_it_was() {
    let (told, requests) =
        with("put list", Duration::from_millis(200), |_, _, _| Reply::error(503, "SlowDown"));
    assert!(
        told.lines[0].starts_with(
            "put: Err(Unavailable) put 's3://bucket/prefix/0/object' in storage failed: 503 Service Unavailable: SlowDown: In words."
        ),
        "{:?}",
        told.lines
    );
    assert!(told.lines[0].ends_with(" attempts)") && requests.len() > 4, "{:?} {requests:?}", told.lines);
    // Without a deadline there is one attempt.
    let (told, requests) = with("put", Duration::ZERO, |_, _, _| Reply::error(503, "SlowDown"));
    assert!(told.lines[0].ends_with("In words.") && requests.len() == 1, "{:?} {requests:?}", told.lines);
}

#[test]
fn what_cannot_pass_is_not_tried_again() {
    for (status, code, kind) in [
        (403, "AccessDenied", "Denied"),
        (403, "RequestTimeTooSkewed", "Denied"),
        (401, "", "Denied"),
        (400, "ExpiredToken", "Denied"),
        (404, "NoSuchBucket", "NotFound"),
        (400, "InvalidArgument", "Other"),
        (301, "PermanentRedirect", "Other"),
        (501, "NotImplemented", "Unsuitable"),
    ] {
        let (told, requests) = with("put list", PATIENT, move |_, _, _| Reply::error(status, code));
        assert_eq!(requests.len(), 2, "{status} {code}: {requests:?}");
        for line in &told.lines {
            assert!(line.contains(&format!("Err({kind})")), "{status} {code}: {line}");
        }
    }
}

#[test]
fn a_write_whose_answer_is_lost_is_settled() {
    // It is applied, and then: an error, nothing, silence.
    let losses: [fn() -> Reply; 3] =
        [|| Reply::error(500, "InternalError"), || Reply::HangUp, || Reply::Silence(Duration::from_secs(4))];
    for (at, loss) in losses.into_iter().enumerate() {
        let (told, requests) = with("put get", PATIENT, move |bucket, number, request| {
            let reply = bucket.serve(request);
            if number == 0 { loss() } else { reply }
        });
        assert_eq!(told.lines, ["put: Ok(Created)", "get: Ok(b\"content\")"], "loss {at}");
        let kinds: Vec<&str> = requests.iter().map(|request| &request[..3]).collect();
        assert_eq!(kinds, ["PUT", "PUT", "GET", "GET"], "loss {at}");
    }
}

#[test]
fn a_conflict_with_somebody_elses_write_is_told() {
    // Somebody else's bytes are there after the first attempt, which failed.
    let (told, _) = with("put", PATIENT, |bucket, number, request| {
        if number == 0 {
            let theirs = Request {
                method: "PUT".into(),
                target: request.target.clone(),
                headers: Default::default(),
                body: b"theirs!".to_vec(),
            };
            bucket.serve(&theirs);
            return Reply::error(500, "InternalError");
        }
        bucket.serve(request)
    });
    assert_eq!(told.lines, ["put: Ok(Taken)"]);
    // A conflict with a write that is under way and then fails: there is nothing to compare with.
    let (told, _) = with("put", PATIENT, |bucket, number, request| match number {
        0 => Reply::error(409, "ConditionalRequestConflict"),
        _ => bucket.serve(request),
    });
    assert_eq!(told.lines, ["put: Ok(Created)"]);
}

#[test]
fn a_server_that_ignores_the_condition_is_refused() {
    let (told, _) = with("probe check", PATIENT, |bucket, _, request| {
        bucket.ignores_conditions = true;
        bucket.serve(request)
    });
    assert!(
        told.lines[0].contains("probe: Err(Unsuitable)") && told.lines[0].contains("overwrites an object"),
        "{:?}",
        told.lines
    );
    assert!(told.lines[1].contains("check: Err("), "{:?}", told.lines);
}

#[test]
fn reads_are_whole_or_errors() {
    // The connection breaks in the middle of the body, twice.
    let (told, requests) = with("put get", PATIENT, |bucket, number, request| match number {
        1 | 2 => Reply::Cut(Box::new(bucket.serve(request)), 3),
        _ => bucket.serve(request),
    });
    assert_eq!(told.lines[1], "get: Ok(b\"content\")");
    assert!(requests.len() >= 4, "{requests:?}");
    // The object is shorter than it was.
    let (told, _) = with("get", PATIENT, |_, _, request| {
        part_of(b"cont", request.headers.get("range").map(String::as_str))
    });
    assert!(
        told.lines[0].contains("DamagedObject") && told.lines[0].contains("offset 4"),
        "{:?}",
        told.lines
    );
    // The range is not looked at.
    let (told, _) = with("get", Duration::ZERO, |_, _, _| part_of(b"content and more", None));
    assert!(told.lines[0].starts_with("get: Err("), "{:?}", told.lines);
    // Another range comes.
    let (told, _) = with("get", Duration::ZERO, |_, _, _| part_of(b"content and more", Some("bytes=3-9")));
    assert!(told.lines[0].starts_with("get: Err("), "{:?}", told.lines);
}

#[test]
fn listings_are_whole_or_errors() {
    for keys in [&["prefix/0/a", "prefix/0//b"][..], &["prefix/0/a", "prefix/0/../b"]] {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let (told, _) = with("list", PATIENT, move |_, _, _| {
            list_of(&keys.iter().map(String::as_str).collect::<Vec<_>>())
        });
        assert!(
            told.lines[0].contains("Err(Other)") && told.lines[0].contains("delete it"),
            "{:?}",
            told.lines
        );
    }
    // What lies elsewhere is not shown, whatever the server says; nor is the mark of a directory.
    let (told, _) = with("list", PATIENT, |_, _, _| list_of(&["prefix/0/", "prefix/0/a", "prefix2/0/a"]));
    assert_eq!(told.lines, ["list: Ok(1)"]);
    let (told, _) = with("list", PATIENT, |_, _, _| Reply::Http {
        status: 200,
        headers: Vec::new(),
        body: b"<ListBucketResult><Contents>".to_vec(),
    });
    assert!(told.lines[0].starts_with("list: Err("), "{:?}", told.lines);
}

#[test]
fn nobody_is_there() {
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let endpoint = format!("http://{}", closed.local_addr().expect("its address"));
    drop(closed);
    let deadline = Duration::from_millis(50);
    let told = child::run_on(URL, &environment_for(&endpoint), "put", deadline);
    assert!(
        told.lines[0].contains("Err(Unavailable)") && told.lines[0].contains("refused"),
        "{:?}",
        told.lines
    );

    let mut environment = environment_for(&endpoint).to_vec();
    environment.push(("AWS_ALLOW_HTTP", "false".into()));
    let told = child::run_on(URL, &environment, "put", PATIENT);
    assert!(
        told.lines[0].contains("Err(Other)") && told.lines[0].contains("AWS_ALLOW_HTTP"),
        "{:?}",
        told.lines
    );

    // No credentials, and the machine is none of a cloud.
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint.clone()),
        ("AWS_ALLOW_HTTP", "true".into()),
        ("AWS_METADATA_ENDPOINT", endpoint),
    ];
    let told = child::run_on(URL, &environment, "put", PATIENT);
    assert!(
        told.lines[0].contains("Err(Denied)") && told.lines[0].contains("no credentials in the environment"),
        "{:?}",
        told.lines
    );
}
