//! No secret is ever shown: not in an error, not in its `Debug`, not in that of the storage.

use std::time::Duration;

use vwal::storage::StorageUrl;

use crate::child;
use crate::stub::{Reply, Stub};

const EVERYTHING: &str = "put get head list names delete probe check";

/// What must not be seen, and where it is.
const SECRETS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "CANARY-KEY-ID"),
    ("AWS_SECRET_ACCESS_KEY", "CANARY-SECRET-KEY"),
    ("AWS_SESSION_TOKEN", "CANARY-SESSION-TOKEN"),
];

fn assert_silent(what: &str, output: &str) {
    assert!(!output.to_ascii_uppercase().contains("CANARY"), "{what}:\n{output}");
}

/// The environment of an S3 client with the secrets.
fn environment(endpoint: &str) -> Vec<(&'static str, String)> {
    let mut all = vec![("AWS_ENDPOINT_URL", endpoint.to_owned()), ("AWS_ALLOW_HTTP", "true".to_owned())];
    all.extend(SECRETS.map(|(name, secret)| (name, secret.to_owned())));
    all.push(("STORAGE_TIMEOUT", "500".to_owned()));
    all
}

/// A server that gives back all that it was sent, and more.
fn gossip(
    status: u16,
    form: usize,
) -> impl FnMut(&mut crate::stub::Bucket, usize, &crate::stub::Request) -> Reply {
    move |_, _, request| {
        assert!(
            request.headers.values().any(|value| value.contains(SECRETS[2].1)),
            "the client sends its session token"
        );
        let seen = format!("{:?} {:?} {:?}", request.target, request.headers, SECRETS);
        let body = match form {
            0 => seen,
            1 => format!("<Error><Code>Odd</Code><Message>{seen}</Message></Error>"),
            2 => format!("<Error><Code>{seen}</Code><StringToSign>{seen}</StringToSign></Error>"),
            _ => format!("<ListBucketResult><Contents><Key>{seen}//</Key><Size>{seen}</Size></Contents>"),
        };
        let headers = vec![
            ("Location", format!("http://127.0.0.1:1/{}", SECRETS[1].1)),
            ("Content-Range", SECRETS[1].1.to_owned()),
            ("Last-Modified", SECRETS[1].1.to_owned()),
        ];
        Reply::Http { status, headers, body: body.into_bytes() }
    }
}

#[test]
fn answers_that_repeat_the_request() {
    for status in [200, 206, 301, 307, 400, 401, 403, 404, 409, 412, 416, 500, 501, 503] {
        for form in 0..4 {
            let stub = Stub::start(gossip(status, form));
            let told = child::run_on(
                "s3://bucket/prefix",
                &environment(&stub.endpoint),
                EVERYTHING,
                Duration::from_millis(3),
            );
            assert_silent(&format!("{status} in form {form}"), &told.output);
            // These are errors, and so there was something to tell.
            if status >= 400 && ![404, 409, 412].contains(&status) {
                assert!(told.lines.iter().all(|line| line.contains(": Err(")), "{status}: {:?}", told.lines);
            }
        }
    }
}

#[test]
fn no_answers() {
    let silent = Stub::start(|_, _, _| Reply::Silence(Duration::from_secs(2)));
    let gone = Stub::start(|_, _, _| Reply::HangUp);
    for (endpoint, told_so) in [
        (silent.endpoint.as_str(), "Err(Unavailable)"),
        (gone.endpoint.as_str(), "Err(Unavailable)"),
        // Secrets where they do not belong, and what no request can be made of.
        ("http://user:CANARY-PASSWORD@127.0.0.1:1", "AWS_ENDPOINT_URL in the environment is not of the form"),
        ("http://127.0.0.1:1/?x=CANARY-QUERY", "AWS_ENDPOINT_URL in the environment is not of the form"),
        ("CANARY-NONSENSE", "AWS_ENDPOINT_URL in the environment is not of the form"),
        ("https://", "AWS_ENDPOINT_URL in the environment is not of the form"),
        ("http://127.0.0.1:1/CANARY-PATH", "refused"),
    ] {
        let told = child::run_on("s3://bucket/x", &environment(endpoint), "put list", Duration::ZERO);
        for line in &told.lines {
            assert!(line.contains(": Err(") && line.contains(told_so), "{endpoint}: {line}");
        }
        assert_silent(endpoint, &told.output);
    }
    // A proxy with a password.
    let mut environment = environment("http://192.0.2.1:1");
    environment.push(("AWS_PROXY_URL", "http://user:CANARY-PASSWORD@127.0.0.1:1".into()));
    let told = child::run_on("s3://bucket/x", &environment, "put list", Duration::ZERO);
    assert!(told.lines.iter().all(|line| line.contains(": Err(")), "{:?}", told.lines);
    assert_silent("a proxy", &told.output);
}

#[test]
fn credentials_that_cannot_be_read() {
    let cases: [(&str, &[(&str, &str)]); 6] = [
        (
            "az://container/x",
            &[("AZURE_STORAGE_ACCOUNT_NAME", "name"), ("AZURE_STORAGE_ACCOUNT_KEY", "CANARY!")],
        ),
        (
            "az://container/x",
            &[("AZURE_STORAGE_ACCOUNT_NAME", "name"), ("AZURE_STORAGE_SAS_KEY", "CANARY=1&%zz=CANARY")],
        ),
        ("gs://bucket/x", &[("GOOGLE_SERVICE_ACCOUNT_KEY", "{\"private_key\": \"CANARY\"")]),
        (
            "gs://bucket/x",
            &[(
                "GOOGLE_SERVICE_ACCOUNT_KEY",
                "{\"private_key\": \"CANARY-KEY\", \"private_key_id\": \"CANARY\", \"client_email\": \"a@b\", \
                 \"gcs_base_url\": \"http://127.0.0.1:1\", \"disable_oauth\": false}",
            )],
        ),
        ("s3://bucket/x", &[("AWS_SECRET_ACCESS_KEY", "CANARY-SECRET")]),
        (
            "s3://bucket/x",
            &[
                ("AWS_ACCESS_KEY_ID", "CANARY-ID"),
                ("AWS_SECRET_ACCESS_KEY", "CANARY\nSECRET"),
                ("AWS_SESSION_TOKEN", "CANARY\nTOKEN"),
            ],
        ),
    ];
    for (url, settings) in cases {
        let mut environment: Vec<(&str, String)> =
            settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        environment.push(("AWS_ENDPOINT_URL", "http://127.0.0.1:1".into()));
        environment.push(("AWS_ALLOW_HTTP", "true".into()));
        environment.push(("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1/name".into()));
        environment.push(("AZURE_STORAGE_ALLOW_HTTP", "true".into()));
        environment.push(("STORAGE_TIMEOUT", "500".into()));
        let told = child::run_on(url, &environment, "put list", Duration::ZERO);
        assert!(told.lines.iter().all(|line| line.contains(": Err(")), "{url}: {:?}", told.lines);
        assert_silent(&format!("{url} {settings:?}"), &told.output);
    }
}

#[test]
fn urls_with_credentials() {
    for url in [
        "s3://CANARY-ID:CANARY-SECRET@bucket/prefix",
        "s3://bucket/prefix?aws_secret_access_key=CANARY",
        "s3://bucket/prefix#CANARY",
        "s3://bucket:CANARY/prefix",
        "az://container/x?sig=CANARY",
        "https://bucket.example/x?X-Amz-Signature=CANARY",
        "CANARY://bucket/x",
        "CANARY",
    ] {
        let error = url.parse::<StorageUrl>().expect_err(url);
        assert_silent(url, &format!("{error} {error:?}"));
    }
}

#[test]
fn a_key_that_no_header_can_hold() {
    let mut environment = environment("http://127.0.0.1:1");
    environment.push(("AWS_SERVER_SIDE_ENCRYPTION", "sse-c".into()));
    environment.push(("AWS_SSE_CUSTOMER_KEY_BASE64", "CANARY\nKEY".into()));
    let told = child::run_on("s3://bucket/x", &environment, "put get", Duration::ZERO);
    assert!(told.lines.iter().all(|line| line.contains(": Err(Other)")), "{:?}", told.lines);
    assert_silent("encryption", &told.output);
}
