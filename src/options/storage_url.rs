//! The URL that says where storage is: `file:///srv/backup/app`, `s3://bucket/prefix`.
//!
//! It is checked without the network, and holds no credentials: those come from the environment. An error about a URL
//! does not repeat it, since what is wrong with it may be that there is a secret inside.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Result};

/// The placeholder for the name of the database file.
const NAME: &str = "{name}";

/// What kind of store a URL names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    File,
    Memory,
    S3,
    Gcs,
    Azure,
}

impl Scheme {
    const ALL: [(&'static str, Scheme); 5] = [
        ("file", Scheme::File),
        ("memory", Scheme::Memory),
        ("s3", Scheme::S3),
        ("gs", Scheme::Gcs),
        ("az", Scheme::Azure),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, scheme)| *scheme == self).map_or("", |(name, _)| name)
    }

    /// Whether this build has the backend; otherwise the cargo feature that would bring it.
    fn missing_feature(self) -> Option<&'static str> {
        match self {
            Scheme::S3 if !cfg!(feature = "s3") => Some("s3"),
            Scheme::Gcs if !cfg!(feature = "gcs") => Some("gcs"),
            Scheme::Azure if !cfg!(feature = "azure") => Some("azure"),
            _ => None,
        }
    }
}

/// Where storage is.
///
/// | URL | what it is |
/// |---|---|
/// | `file:///directory` | a local directory, made when the first object is put there, if the one above it exists |
/// | `s3://bucket/prefix` | Amazon S3 or a server that speaks its protocol (`AWS_ENDPOINT_URL`) |
/// | `gs://bucket/prefix` | Google Cloud Storage |
/// | `az://container/prefix` | Azure Blob Storage (`AZURE_STORAGE_ACCOUNT_NAME`) |
/// | `memory://name` | objects in this process's memory, for tests and demonstrations; gone when it ends |
///
/// `{name}` in it stands for the name of the database file. Other characters may be percent-encoded. Displaying it gives a
/// URL again; there are no secrets in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StorageUrl {
    scheme: Scheme,
    /// Bucket, container or name; empty for a directory.
    bucket: String,
    /// The parts of the path, decoded. None is empty, `.` or `..`.
    prefix: Vec<String>,
}

impl StorageUrl {
    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The key that all keys are below, without slashes at its ends.
    pub(crate) fn prefix(&self) -> String {
        self.prefix.join("/")
    }

    /// The directory of a `file:` URL.
    pub(crate) fn directory(&self) -> PathBuf {
        PathBuf::from(format!("/{}", self.prefix()))
    }

    /// The directory of a `file:` URL, when it does not exist. Shipping makes it, if the one above it exists.
    pub fn missing_directory(&self) -> Option<PathBuf> {
        let directory = (self.scheme == Scheme::File).then(|| self.directory())?;
        let is_missing =
            std::fs::metadata(&directory).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        is_missing.then_some(directory)
    }

    /// Whether `{name}` is still in it.
    pub fn has_placeholder(&self) -> bool {
        self.bucket.contains(NAME) || self.prefix.iter().any(|part| part.contains(NAME))
    }

    /// This URL with `{name}` replaced by the name of the file `database`. What cannot stand in a key is percent-encoded.
    pub fn for_database(&self, database: &Path) -> Result<Self> {
        if !self.has_placeholder() {
            return Ok(self.clone());
        }
        let name = database.file_name().ok_or_else(|| {
            Error::Usage(format!("'{}' has no file name to put for {NAME}", database.display()))
        })?;
        let name = encode(name.as_encoded_bytes(), is_plain);
        Ok(Self {
            scheme: self.scheme,
            bucket: self.bucket.replace(NAME, &name),
            prefix: self.prefix.iter().map(|part| part.replace(NAME, &name)).collect(),
        })
    }
}

impl FromStr for StorageUrl {
    type Err = Error;

    /// Checks everything that can be checked without the network. [`Error::Usage`] says what is wrong.
    fn from_str(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
        let scheme = match Scheme::ALL.iter().find(|(name, _)| *name == scheme) {
            Some(&(_, scheme)) => scheme,
            None if matches!(scheme, "http" | "https") => {
                return Err(wrong(
                    "names a web server: a server that speaks the protocol of S3 goes into \
                                  AWS_ENDPOINT_URL, and the URL is s3://bucket/prefix",
                ));
            }
            None => return Err(wrong("has an unknown scheme")),
        };
        if let Some(feature) = scheme.missing_feature() {
            return Err(Error::Usage(format!(
                "this build of vwal has no {}:// (it was compiled without the feature `{feature}`)",
                scheme.name()
            )));
        }
        // Before anything else is looked at, so that nothing of a secret gets into another message.
        if rest.contains(['?', '#', '@']) {
            return Err(wrong(
                "has a user, a query or a fragment: credentials and settings come from the environment \
                 (`?`, `#` and `@` in a name are written %3F, %23 and %40)",
            ));
        }
        let (bucket, path) = match rest.split_once('/') {
            Some((bucket, path)) => (bucket, path),
            None => (rest, ""),
        };
        let prefix: Vec<String> = match path.strip_suffix('/').unwrap_or(path) {
            "" => Vec::new(),
            path => path.split('/').map(decode).collect::<Result<_>>()?,
        };
        match scheme {
            Scheme::File if !bucket.is_empty() => {
                return Err(wrong(
                    "is not absolute: a directory is written file:///directory, with three slashes",
                ));
            }
            Scheme::File if prefix.is_empty() => return Err(wrong("names no directory")),
            Scheme::File => {}
            Scheme::Memory if bucket.replace(NAME, "x").chars().all(is_bucket_char) && !bucket.is_empty() => {
            }
            _ if bucket.chars().all(is_bucket_char) && (3..=255).contains(&bucket.len()) => {}
            _ => {
                return Err(wrong(
                    "has no proper name for its bucket (letters, digits, `-`, `.` and `_`, after the two slashes)",
                ));
            }
        }
        Ok(Self { scheme, bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.bucket)?;
        for part in &self.prefix {
            // The braces of the placeholder, and nothing else that a URL cannot have.
            let shown = encode(part.as_bytes(), |byte| is_plain(byte) || b"{}+=,:;!$&'()*".contains(&byte));
            write!(f, "/{shown}")?;
        }
        Ok(())
    }
}

fn wrong(what: &str) -> Error {
    Error::Usage(format!(
        "the storage URL {what}; it is one of file:///directory, s3://bucket/prefix, gs://bucket/prefix, \
         az://container/prefix, memory://name"
    ))
}

fn is_bucket_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._".contains(c)
}

/// What stands for itself in every key and file name.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn encode(bytes: &[u8], plain: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// One part of the path of a URL.
fn decode(part: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).ok_or_else(|| wrong("has a `%` without two digits"))?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (digit(digits[0]), digit(digits[1])) {
            (Some(high), Some(low)) => bytes.push(high * 16 + low),
            _ => return Err(wrong("has a `%` without two digits")),
        }
        rest = tail;
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8"))?;
    if text.is_empty() || text == "." || text == ".." {
        return Err(wrong("has an empty part, `.` or `..` in its path"));
    }
    if text.contains('/') || text.chars().any(char::is_control) {
        return Err(wrong("has a control character or an encoded slash in its path"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> StorageUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn urls_are_read_and_shown() {
        for text in
            ["file:///srv/backup", "memory://demo", "memory://demo/below", "file:///srv/%7E%25/{name}"]
        {
            assert_eq!(url(&url(text).to_string()), url(text), "{text}");
        }
        assert_eq!(url("file:///srv/my%20backup/").directory(), Path::new("/srv/my backup"));
        assert_eq!(url("file:///srv/my%20backup/").to_string(), "file:///srv/my%20backup");
        #[cfg(feature = "s3")]
        {
            let s3 = url("s3://my-bucket/a/b/");
            assert_eq!((s3.scheme(), s3.bucket(), s3.prefix().as_str()), (Scheme::S3, "my-bucket", "a/b"));
            assert_eq!(url("s3://my-bucket").to_string(), "s3://my-bucket");
        }
    }

    #[test]
    fn wrong_urls_are_refused_without_being_repeated() {
        for text in [
            "",
            "SECRET",
            "SECRET://bucket/x",
            "ftp://SECRET/x",
            "https://bucket.example/SECRET",
            "s3://AKIA:SECRET@bucket/prefix",
            "s3://bucket/prefix?secret=SECRET",
            "s3://bucket/prefix#SECRET",
            "s3://",
            "s3:///SECRET",
            "s3://b:SECRET/x",
            "s3://bucket//SECRET",
            "s3://bucket/../SECRET",
            "s3://bucket/%2e%2e/SECRET",
            "s3://bucket/%2F/SECRET",
            "s3://bucket/%0A/SECRET",
            "s3://bucket/SECRET%4",
            "s3://bucket/SECRET%zz",
            "s3://bucket/SECRET%FF",
            "file://SECRET/x",
            "file://SECRET",
            "file:///",
            "memory://",
            "memory:///SECRET",
        ] {
            let error = text.parse::<StorageUrl>().expect_err(text);
            assert!(matches!(error, Error::Usage(_)), "{text}: {error:?}");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn a_build_without_a_backend_says_so() {
        for (text, feature) in [("s3://bucket", "s3"), ("gs://bucket", "gcs"), ("az://bucket", "azure")] {
            let there = match feature {
                "s3" => cfg!(feature = "s3"),
                "gcs" => cfg!(feature = "gcs"),
                _ => cfg!(feature = "azure"),
            };
            match text.parse::<StorageUrl>() {
                Ok(_) => assert!(there, "{text}"),
                Err(error) => {
                    assert!(!there && error.to_string().contains(&format!("feature `{feature}`")), "{error}");
                }
            }
        }
    }

    #[test]
    fn the_name_of_the_database_is_put_in() {
        let template = url("file:///srv/{name}/x-{name}");
        assert!(template.has_placeholder());
        let filled = template.for_database(Path::new("/data/my app?.db")).expect("it has a name");
        assert!(!filled.has_placeholder());
        assert_eq!(filled.directory(), Path::new("/srv/my%20app%3F.db/x-my%20app%3F.db"));
        assert_eq!(url(&filled.to_string()), filled);
        // A name with the placeholder in it is not replaced again.
        let odd = template.for_database(Path::new("/data/{name}")).expect("it has a name");
        assert_eq!(odd.directory(), Path::new("/srv/%7Bname%7D/x-%7Bname%7D"));
        assert!(template.for_database(Path::new("/")).is_err());
        assert_eq!(
            url("memory://{name}").for_database(Path::new("a.db")).expect("a name").to_string(),
            "memory://a.db"
        );
    }
}
