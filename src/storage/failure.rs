//! What an error of the crate `object_store` means: whether trying again may help, and what people are told.
//!
//! The words of a store are not passed on as they are. An S3 server answers a wrong signature with the request that it
//! saw, session token included; so of the body of an answer only its `Code` and `Message` are shown, and whatever is in
//! the environment as a credential is blanked out of everything.

use std::error::Error as StdError;
use std::io;

use crate::error::{Error, StorageErrorKind};
use crate::storage::local::NO_LINK;

/// One failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    /// What can be done about it.
    pub kind: StorageErrorKind,
    /// Whether the same attempt may work a moment later. Its outcome may then be unknown.
    pub transient: bool,
    /// What happened, for people. Holds no secrets.
    pub message: String,
}

impl Failure {
    /// Something that may pass.
    pub fn passing(message: impl Into<String>) -> Self {
        Self { kind: StorageErrorKind::Unavailable, transient: true, message: message.into() }
    }

    /// The client library panicked.
    pub fn panicked() -> Self {
        let message = "the client library cannot go on (a panic): are the settings in the environment right?";
        Self::lasting(StorageErrorKind::Other, message)
    }

    fn lasting(kind: StorageErrorKind, message: impl Into<String>) -> Self {
        Self { kind, transient: false, message: message.into() }
    }

    /// What `error` means.
    pub fn of(error: &object_store::Error) -> Self {
        let mut failure = Self::of_chain(error);
        failure.kind = match error {
            object_store::Error::NotFound { .. } => StorageErrorKind::NotFound,
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                StorageErrorKind::Denied
            }
            object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
                StorageErrorKind::Unsuitable
            }
            _ => failure.kind,
        };
        if let object_store::Error::InvalidPath { .. } = error {
            failure
                .message
                .push_str(" (an object with such a key keeps all others from being listed: delete it)");
        }
        failure.transient &= matches!(failure.kind, StorageErrorKind::Unavailable);
        failure.message = clean(&failure.message);
        failure
    }

    /// From the first link of the chain that says something definite.
    fn of_chain(error: &object_store::Error) -> Self {
        let mut link: &(dyn StdError + 'static) = error;
        loop {
            if let Some(answer) = Answer::of(&link.to_string()) {
                return answer.failure();
            }
            #[cfg(feature = "https")]
            if let Some(http) = link.downcast_ref::<object_store::client::HttpError>() {
                return of_http(http, &error.to_string());
            }
            if let Some(io) = link.downcast_ref::<io::Error>() {
                return of_io(io, &error.to_string());
            }
            match link.source() {
                Some(next) => link = next,
                None => return Self::lasting(StorageErrorKind::Other, link.to_string()),
            }
        }
    }

    /// The error that the caller of the operation gets, after so many attempts.
    pub fn error(self, op: &'static str, object: String, attempts: u32) -> Error {
        let message = match attempts {
            0 | 1 => self.message,
            attempts => format!("{} (after {attempts} attempts)", self.message),
        };
        Error::Storage { op, object, kind: self.kind, message }
    }
}

/// An answer of a server that is an error.
struct Answer {
    /// "503 Service Unavailable", empty when the error came with a success.
    status: String,
    code: String,
    message: String,
}

impl Answer {
    /// The answer that a link of a chain of errors speaks of. The type is private to `object_store`, its words are not.
    fn of(text: &str) -> Option<Self> {
        let (status, body) = if let Some(rest) = text.strip_prefix("Server returned non-2xx status code: ") {
            rest.split_once(": ").unwrap_or((rest, ""))
        } else if let Some(body) = text.strip_prefix("Server returned error response: ") {
            ("", body)
        } else if let Some(rest) = text.strip_prefix("DeleteObjects request failed for key ") {
            let code = rest.rsplit_once("(code: ").map_or("", |(_, code)| code.trim_end_matches(')'));
            return Some(Self { status: String::new(), code: code.to_owned(), message: String::new() });
        } else {
            return None;
        };
        let element = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>"))?;
            Some(rest.split_once('<')?.0.trim().to_owned())
        };
        Some(Self {
            status: status.trim().to_owned(),
            code: element("Code").unwrap_or_default(),
            message: element("Message").unwrap_or_default(),
        })
    }

    fn failure(self) -> Failure {
        let number = self.status.get(..3).and_then(|digits| digits.parse::<u16>().ok()).unwrap_or(200);
        let code = self.code.as_str();
        let kind = match (number, code) {
            (_, "NotImplemented") | (405 | 501, _) => StorageErrorKind::Unsuitable,
            (
                _,
                "SlowDown"
                | "InternalError"
                | "RequestTimeout"
                | "ServiceUnavailable"
                | "Throttling"
                | "ThrottlingException"
                | "OperationAborted"
                | "ConditionalRequestConflict",
            ) => StorageErrorKind::Unavailable,
            (
                _,
                "ExpiredToken"
                | "InvalidToken"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "AccessDenied"
                | "AuthorizationHeaderMalformed",
            )
            | (401 | 403 | 407, _) => StorageErrorKind::Denied,
            (404, _) => StorageErrorKind::NotFound,
            (408 | 409 | 425 | 429 | 500.., _) => StorageErrorKind::Unavailable,
            _ => StorageErrorKind::Other,
        };
        let mut message = if self.status.is_empty() { "the answer is an error".into() } else { self.status };
        for part in [self.code, self.message] {
            if !part.is_empty() {
                message.push_str(": ");
                message.push_str(&part);
            }
        }
        if (300..400).contains(&number) {
            message.push_str(" (is it another region? See AWS_REGION)");
        }
        Failure { kind, transient: kind == StorageErrorKind::Unavailable, message }
    }
}

/// A request that got no answer. `whole` names the address, from which the service of credentials is told apart.
#[cfg(feature = "https")]
fn of_http(error: &object_store::client::HttpError, whole: &str) -> Failure {
    let words = chain_of(error);
    // The metadata services of the clouds, which are asked when the environment has no credentials: by their addresses,
    // and by the path that Amazon's has wherever it is.
    let services = ["//169.254.", "//metadata.google.internal", "//[fd00:ec2::254]", "/latest/api/token"];
    if services.iter().any(|service| whole.contains(service)) {
        return Failure::lasting(
            StorageErrorKind::Denied,
            format!(
                "there are no credentials in the environment, and none from the machine's metadata service: {words}"
            ),
        );
    }
    if words.contains("URL scheme is not allowed") {
        return Failure::lasting(
            StorageErrorKind::Other,
            "the endpoint is http:// and not https://; AWS_ALLOW_HTTP=true allows that",
        );
    }
    // An endpoint that shows the wrong certificate will do so again.
    if words.contains("certificate") {
        return Failure::lasting(StorageErrorKind::Other, words);
    }
    Failure::passing(words)
}

/// An error of the file system under a local directory.
fn of_io(error: &io::Error, whole: &str) -> Failure {
    use io::ErrorKind as Io;
    // Creating is done with a hard link.
    let linking = whole.contains(NO_LINK);
    match error.kind() {
        Io::Unsupported | Io::PermissionDenied | Io::CrossesDevices if linking => Failure::lasting(
            StorageErrorKind::Unsuitable,
            format!(
                "{error}: the file system must have hard links, which create a file only when it is not there"
            ),
        ),
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            Failure::lasting(StorageErrorKind::Denied, error.to_string())
        }
        Io::NotFound => Failure::lasting(StorageErrorKind::NotFound, error.to_string()),
        Io::Interrupted | Io::WouldBlock | Io::TimedOut | Io::StaleNetworkFileHandle => {
            Failure::passing(error.to_string())
        }
        // It may work when somebody has made room or has mounted a disk, which is not a matter of moments.
        Io::StorageFull | Io::QuotaExceeded | Io::NotConnected => {
            Failure::lasting(StorageErrorKind::Unavailable, error.to_string())
        }
        _ => Failure::lasting(StorageErrorKind::Other, error.to_string()),
    }
}

/// The words of an error and of what caused it, each once.
#[cfg(feature = "https")]
fn chain_of(error: &(dyn StdError + 'static)) -> String {
    let mut words = error.to_string();
    let mut link = error;
    while let Some(cause) = link.source() {
        let text = cause.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        link = cause;
    }
    words
}

/// The environment variables that hold credentials.
const CREDENTIALS: [&str; 12] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_TOKEN",
    "AWS_SSE_CUSTOMER_KEY_BASE64",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_CLIENT_SECRET",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
];

/// `text` in one line of sensible length, without anything that the environment holds as a credential.
pub(super) fn clean(text: &str) -> String {
    let secrets = CREDENTIALS.iter().filter_map(|name| std::env::var(name).ok());
    clean_of(text, secrets.collect())
}

fn clean_of(text: &str, mut secrets: Vec<String>) -> String {
    const LONGEST: usize = 500;
    // The longest first, so that a part of one does not leave the rest of it standing.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut text = text.to_owned();
    for secret in secrets.iter().map(|secret| secret.trim()).filter(|secret| secret.len() >= 4) {
        text = text.replace(secret, "***");
    }
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    if line.len() < text.len() && line.chars().count() == LONGEST {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Failure {
        Answer::of(text).expect("it is an answer").failure()
    }

    #[test]
    fn answers_are_told_apart() {
        use StorageErrorKind::{Denied, NotFound, Other, Unavailable, Unsuitable};
        let xml = |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
        for (status, code, kind) in [
            ("503 Service Unavailable", "SlowDown", Unavailable),
            ("500 Internal Server Error", "", Unavailable),
            ("429 Too Many Requests", "", Unavailable),
            ("409 Conflict", "ConditionalRequestConflict", Unavailable),
            ("400 Bad Request", "RequestTimeout", Unavailable),
            ("400 Bad Request", "ExpiredToken", Denied),
            ("403 Forbidden", "SignatureDoesNotMatch", Denied),
            ("401 Unauthorized", "", Denied),
            ("404 Not Found", "NoSuchBucket", NotFound),
            ("501 Not Implemented", "NotImplemented", Unsuitable),
            ("400 Bad Request", "InvalidArgument", Other),
            ("301 Moved Permanently", "PermanentRedirect", Other),
        ] {
            let found = answer(&format!("Server returned non-2xx status code: {status}: {}", xml(code)));
            assert_eq!(found.kind, kind, "{status} {code}");
            assert_eq!(found.transient, kind == Unavailable, "{status} {code}");
            assert!(found.message.starts_with(status) && found.message.contains(code), "{}", found.message);
        }
        assert!(answer(&format!("Server returned error response: {}", xml("SlowDown"))).transient);
        let denied = answer("DeleteObjects request failed for key a/b: no (code: AccessDenied)");
        assert_eq!(denied.kind, Denied);
        assert!(Answer::of("something else").is_none());
    }

    #[test]
    fn only_code_and_message_of_an_answer_are_shown() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>Check it.</Message>\
                    <CanonicalRequest>x-amz-security-token:CANARY</CanonicalRequest></Error>";
        let failure = answer(&format!("Server returned non-2xx status code: 403 Forbidden: {body}"));
        assert_eq!(failure.message, "403 Forbidden: SignatureDoesNotMatch: Check it.");
        let plain = answer("Server returned non-2xx status code: 500 Internal Server Error: CANARY");
        assert_eq!(plain.message, "500 Internal Server Error");
    }

    #[test]
    fn credentials_are_blanked_out() {
        let secrets = vec!["abcd".to_owned(), "abcd-and-more".to_owned(), "e".to_owned(), String::new()];
        assert_eq!(clean_of("see abcd-and-more\nabcd here", secrets), "see *** *** here");
        let long = clean_of(&"é".repeat(600), Vec::new());
        assert_eq!((long.chars().count(), long.ends_with('…')), (501, true));
        assert_eq!(clean_of(&"é".repeat(500), Vec::new()), "é".repeat(500));
    }

    #[test]
    fn errors_of_the_file_system() {
        let wrap = |kind: io::ErrorKind| object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from(kind)),
        };
        assert!(Failure::of(&wrap(io::ErrorKind::TimedOut)).transient);
        let full = Failure::of(&wrap(io::ErrorKind::StorageFull));
        assert_eq!((full.kind, full.transient), (StorageErrorKind::Unavailable, false));
        assert_eq!(Failure::of(&wrap(io::ErrorKind::PermissionDenied)).kind, StorageErrorKind::Denied);
    }
}
