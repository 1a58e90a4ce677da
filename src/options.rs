//! The options of a database, and of the process: a builder for applications, URI parameters (`vwal_*`) and
//! environment variables (`VWAL_*`) for everybody else. One table ([`KEYS`]) holds the names of both.
//!
//! A wrong name or value is always an error. An option that is silently ignored is found out on the day it matters.

mod retention;
mod shipping;
mod storage_url;
mod swap;

use std::time::Duration;

pub use retention::{Retention, RetentionRule};
pub(crate) use shipping::Shipping;
pub use shipping::{Ack, BacklogFull, WhenFenced};
pub(crate) use storage_url::Scheme;
pub use storage_url::StorageUrl;
pub use swap::SwapPolicy;
use swap::{Bytes, size_unit};

use crate::error::{Error, Result};
use crate::types::LogId;

/// Options of the databases that this process opens.
///
/// The defaults suit most applications. What is set here holds for every database of the process that does not say
/// otherwise in its URI (`file:app.db?vfs=vwal&vwal_sync_interval_ms=100`).
///
/// ```
/// use std::time::Duration;
///
/// let options = vwal::Options::new()
///     .sync_interval(Duration::from_millis(100))
///     .swap("size>=16MiB or age>=1m".parse()?);
/// # Ok::<(), vwal::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) group_commit: bool,
    /// Zero: never.
    pub(crate) sync_interval: Duration,
    pub(crate) swap: SwapPolicy,
    /// Bytes.
    pub(crate) checkpoint_size: u64,
    /// Zero: never by age.
    pub(crate) checkpoint_age: Duration,
    /// Bytes. Zero: commits do not wait for the checkpointer.
    pub(crate) log_size: u64,
    /// Zero: no queue.
    pub(crate) queue_wait: Duration,
    /// Bytes; process wide. Zero: no cache.
    pub(crate) cache_size: usize,
    pub(crate) read_only: bool,
    /// Process wide.
    pub(crate) default_vfs: bool,
    pub(crate) shipping: Shipping,
    /// The parameters that [`Options::set_param`] gave, a bit for each of [`KEYS`].
    given: u32,
}

/// No interval is longer. It is as good as for ever, and a time this far ahead can still be computed with.
const INTERVAL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    GroupCommit,
    SyncInterval,
    Swap,
    CheckpointSize,
    CheckpointAge,
    LogSize,
    QueueWait,
    Storage,
    ShipInterval,
    Ack,
    StorageTimeout,
    CloseTimeout,
    BacklogSize,
    BacklogFull,
    Fenced,
    SnapshotInterval,
    Retention,
    TakeOver,
    ReadOnly,
    CacheSize,
    DefaultVfs,
}

/// Each option: its URI parameter (`None`: one value for the whole process) and its environment variable.
const KEYS: [(Key, Option<&str>, &str); 21] = [
    (Key::GroupCommit, Some("vwal_group_commit"), "VWAL_GROUP_COMMIT"),
    (Key::SyncInterval, Some("vwal_sync_interval_ms"), "VWAL_SYNC_INTERVAL_MS"),
    (Key::Swap, Some("vwal_swap"), "VWAL_SWAP"),
    (Key::CheckpointSize, Some("vwal_checkpoint_size"), "VWAL_CHECKPOINT_SIZE"),
    (Key::CheckpointAge, Some("vwal_checkpoint_age_ms"), "VWAL_CHECKPOINT_AGE_MS"),
    (Key::LogSize, Some("vwal_log_size"), "VWAL_LOG_SIZE"),
    (Key::QueueWait, Some("vwal_queue_ms"), "VWAL_QUEUE_MS"),
    (Key::Storage, Some("vwal_storage"), "VWAL_STORAGE"),
    (Key::ShipInterval, Some("vwal_ship_interval_ms"), "VWAL_SHIP_INTERVAL_MS"),
    (Key::Ack, Some("vwal_ack"), "VWAL_ACK"),
    (Key::StorageTimeout, Some("vwal_storage_timeout_ms"), "VWAL_STORAGE_TIMEOUT_MS"),
    (Key::CloseTimeout, Some("vwal_close_timeout_ms"), "VWAL_CLOSE_TIMEOUT_MS"),
    (Key::BacklogSize, Some("vwal_backlog_size"), "VWAL_BACKLOG_SIZE"),
    (Key::BacklogFull, Some("vwal_backlog_full"), "VWAL_BACKLOG_FULL"),
    (Key::Fenced, Some("vwal_fenced"), "VWAL_FENCED"),
    (Key::SnapshotInterval, Some("vwal_snapshot_interval_ms"), "VWAL_SNAPSHOT_INTERVAL_MS"),
    (Key::Retention, Some("vwal_retention"), "VWAL_RETENTION"),
    (Key::TakeOver, Some("vwal_take_over"), "VWAL_TAKE_OVER"),
    (Key::ReadOnly, Some("vwal_read_only"), "VWAL_READ_ONLY"),
    (Key::CacheSize, None, "VWAL_CACHE_SIZE"),
    (Key::DefaultVfs, None, "VWAL_DEFAULT"),
];

/// Environment variables that begin so are no options: the tests and the demonstration talk to their children with them.
const ENV_RESERVED: &str = "VWAL_TEST_";

impl Default for Options {
    fn default() -> Self {
        Options {
            group_commit: true,
            sync_interval: Duration::from_millis(1000),
            swap: SwapPolicy::Size(4 << 20),
            checkpoint_size: 64 << 20,
            checkpoint_age: Duration::from_millis(60_000),
            log_size: 512 << 20,
            queue_wait: Duration::from_millis(20),
            cache_size: 64 << 20,
            read_only: false,
            default_vfs: false,
            shipping: Shipping::default(),
            given: 0,
        }
    }
}

impl Options {
    /// The default options. The environment is not read: see [`Options::from_env`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The default options, changed by the variables `VWAL_*` of the environment.
    ///
    /// A variable of that name that is no option, or whose value is not right, is an error. (Names that begin with
    /// `VWAL_TEST_` are left alone.)
    pub fn from_env() -> Result<Self> {
        Self::from_vars(std::env::vars_os())
    }

    fn from_vars(vars: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>) -> Result<Self> {
        let mut options = Self::default();
        for (name, value) in vars {
            let name = name.to_string_lossy();
            if !name.starts_with("VWAL_") || name.starts_with(ENV_RESERVED) {
                continue;
            }
            let Some((key, ..)) = KEYS.iter().find(|(_, _, env)| *env == name) else {
                let names: Vec<&str> = KEYS.iter().map(|(_, _, env)| *env).collect();
                return Err(Error::Usage(format!(
                    "the environment variable {name} is no option of vwal: the variables are {}",
                    names.join(", ")
                )));
            };
            // A value that is not UTF-8 is not one of the right ones, so its replacement characters are refused too.
            let value = value.to_string_lossy();
            options.set(*key, &value).map_err(|right| {
                refused(&format!("the environment variable {name}"), *key, &value, &right)
            })?;
        }
        Ok(options)
    }

    /// Under `synchronous=FULL`, one fsync for all committers that wait, after the write lock is released (on, the
    /// default), or an fsync inside the write lock for each (off).
    ///
    /// With group commit another connection may read a commit a moment before it is durable; its own committer is told
    /// only afterwards.
    #[must_use]
    pub fn group_commit(mut self, on: bool) -> Self {
        self.group_commit = on;
        self
    }

    /// Change no file of a database that has a log: commits are refused, and what a crash left stays as it is, though all
    /// commits of the log can be read. For connections that are opened read-only (`mode=ro`). Default: off.
    #[must_use]
    pub fn read_only(mut self, on: bool) -> Self {
        self.read_only = on;
        self
    }

    /// Under `synchronous=NORMAL` and `OFF`, fsync in the background at least this often while there are commits that
    /// are not synced. Zero: never. Default: 1 s.
    #[must_use]
    pub fn sync_interval(mut self, interval: Duration) -> Self {
        self.sync_interval = interval.min(INTERVAL_MAX);
        self
    }

    /// When the current segment is sealed and the next one begun. Default: `size>=4MiB`.
    #[must_use]
    pub fn swap(mut self, policy: SwapPolicy) -> Self {
        self.swap = policy;
        self
    }

    /// Checkpoint in the background when the log holds more than `bytes` bytes. Default: 64 MiB.
    #[must_use]
    pub fn checkpoint_size(mut self, bytes: u64) -> Self {
        self.checkpoint_size = bytes;
        self
    }

    /// Checkpoint in the background when the oldest frame that is not in the database file is older than `age`. Zero:
    /// never by age. Default: 60 s.
    #[must_use]
    pub fn checkpoint_age(mut self, age: Duration) -> Self {
        self.checkpoint_age = age.min(INTERVAL_MAX);
        self
    }

    /// How far the database file may fall behind while nothing but the disk holds the checkpointer up: when half of this is
    /// exceeded, commits wait a little, and the longer the nearer it comes. Less than twice
    /// [`Options::checkpoint_size`] counts as that. Zero: they do not wait. Default: 512 MiB.
    #[must_use]
    pub fn log_size(mut self, bytes: u64) -> Self {
        self.log_size = bytes;
        self
    }

    /// How long a writer waits in the queue, at most, before `SQLITE_BUSY` goes to SQLite's busy handler. Zero: no
    /// queue. Default: 20 ms.
    #[must_use]
    pub fn queue_wait(mut self, wait: Duration) -> Self {
        self.queue_wait = wait.min(INTERVAL_MAX);
        self
    }

    /// Bytes of the frame cache, which all databases of the process share. Zero: none. Default: 64 MiB.
    #[must_use]
    pub fn cache_size(mut self, bytes: usize) -> Self {
        self.cache_size = bytes;
        self
    }

    /// Make vwal the default VFS of the process, for hosts that do not pass URIs on. Default: off.
    #[must_use]
    pub fn default_vfs(mut self, on: bool) -> Self {
        self.default_vfs = on;
        self
    }

    /// Set the option whose URI parameter is `key` ("vwal_swap", ...) to `value`, as a URI would give it.
    ///
    /// An option that is set so counts as explicitly given: a log that is already open with another value refuses the
    /// connection.
    pub fn set_param(&mut self, key: &str, value: &str) -> Result<()> {
        let Some(i) = KEYS.iter().position(|(_, param, _)| *param == Some(key)) else {
            return Err(Error::Usage(unknown_param(key)));
        };
        self.set(KEYS[i].0, value).map_err(|right| refused(key, KEYS[i].0, value, &right))?;
        self.given |= 1 << i;
        Ok(())
    }

    /// A copy to which the parameters of one database are then set: nothing counts as explicitly given yet.
    pub(crate) fn for_database(&self) -> Self {
        Options { given: 0, ..self.clone() }
    }

    /// The options that a database can have of its own, as a process has it open: a line for each.
    pub(crate) fn to_text(&self) -> String {
        let of_databases = KEYS.iter().filter_map(|&(key, param, _)| Some((key, param?)));
        let lines = of_databases.map(|(key, param)| format!("{param}={}\n", self.show(key)));
        lines.collect()
    }

    /// These options, but those of a database that another process has open.
    ///
    /// Errors: one that was given for this one differs, or the text is of another version of vwal.
    pub(crate) fn inherited(&self, open: &str) -> Result<Options> {
        let mut inherited = self.clone();
        for line in open.lines() {
            let (param, value) = line.split_once('=').unwrap_or((line, ""));
            inherited.set_param(param, value)?;
        }
        inherited.given = self.given;
        match self.conflicts_with(&inherited) {
            Some(conflict) => Err(Error::Usage(conflict)),
            None => Ok(inherited),
        }
    }

    /// Whether these options explicitly give a parameter another value than the log was opened with (`open`), and
    /// which. What is not given follows the open log.
    pub(crate) fn conflicts_with(&self, open: &Options) -> Option<String> {
        let mut conflicts = Vec::new();
        for (i, (key, param, _)) in KEYS.iter().enumerate() {
            let (mine, theirs) = (self.show(*key), open.show(*key));
            if let Some(param) = param
                && self.given & (1 << i) != 0
                && mine != theirs
            {
                conflicts.push(format!("{param}='{mine}', but it is open with '{theirs}'"));
            }
        }
        let conflicts = conflicts.join("; ");
        (!conflicts.is_empty()).then(|| {
            format!("the database is already open with other options: {conflicts}; give the same or none")
        })
    }

    /// Set one option from text; the error says what is right.
    fn set(&mut self, key: Key, value: &str) -> Result<(), String> {
        match key {
            Key::GroupCommit => self.group_commit = switch(value)?,
            Key::SyncInterval => self.sync_interval = interval(value, "never")?,
            Key::Swap => self.swap = value.parse().map_err(|error: Error| error.to_string())?,
            Key::CheckpointSize => self.checkpoint_size = bytes(value)?,
            Key::CheckpointAge => self.checkpoint_age = interval(value, "never by age")?,
            Key::LogSize => self.log_size = bytes(value)?,
            Key::QueueWait => self.queue_wait = interval(value, "no queue")?,
            Key::Storage => self.shipping.storage = storage(value)?,
            Key::ShipInterval => self.shipping.interval = interval(value, "as often as there are commits")?,
            Key::Ack => self.shipping.ack = value.parse()?,
            Key::StorageTimeout => self.shipping.timeout = interval(value, "do not wait")?,
            Key::CloseTimeout => self.shipping.close_timeout = interval(value, "do not wait")?,
            Key::BacklogSize => self.shipping.backlog_size = bytes(value)?,
            Key::BacklogFull => self.shipping.backlog_full = value.parse()?,
            Key::Fenced => self.shipping.fenced = value.parse()?,
            Key::SnapshotInterval => self.shipping.snapshot_interval = interval(value, "only the first")?,
            Key::Retention => self.shipping.retention = retention(value)?,
            Key::TakeOver => self.shipping.take_over = take_over(value)?,
            Key::ReadOnly => self.read_only = switch(value)?,
            Key::CacheSize => {
                self.cache_size = usize::try_from(bytes(value)?).map_err(|_| SIZE_RIGHT.to_owned())?;
            }
            Key::DefaultVfs => self.default_vfs = switch(value)?,
        }
        Ok(())
    }

    /// One option as text that [`Options::set`] takes.
    fn show(&self, key: Key) -> String {
        let on_off = |on| if on { "on" } else { "off" }.to_owned();
        match key {
            Key::GroupCommit => on_off(self.group_commit),
            Key::SyncInterval => self.sync_interval.as_millis().to_string(),
            Key::Swap => self.swap.to_string(),
            Key::CheckpointSize => Bytes(self.checkpoint_size).to_string(),
            Key::CheckpointAge => self.checkpoint_age.as_millis().to_string(),
            Key::LogSize => Bytes(self.log_size).to_string(),
            Key::QueueWait => self.queue_wait.as_millis().to_string(),
            Key::Storage => {
                self.shipping.storage.as_ref().map_or_else(|| "off".to_owned(), StorageUrl::to_string)
            }
            Key::ShipInterval => self.shipping.interval.as_millis().to_string(),
            Key::Ack => self.shipping.ack.to_string(),
            Key::StorageTimeout => self.shipping.timeout.as_millis().to_string(),
            Key::CloseTimeout => self.shipping.close_timeout.as_millis().to_string(),
            Key::BacklogSize => Bytes(self.shipping.backlog_size).to_string(),
            Key::BacklogFull => self.shipping.backlog_full.to_string(),
            Key::Fenced => self.shipping.fenced.to_string(),
            Key::SnapshotInterval => self.shipping.snapshot_interval.as_millis().to_string(),
            Key::Retention => self.shipping.retention.to_string(),
            Key::ReadOnly => on_off(self.read_only),
            Key::TakeOver => self.shipping.take_over.map_or_else(|| "off".to_owned(), |id| id.to_string()),
            Key::CacheSize => Bytes(self.cache_size as u64).to_string(),
            Key::DefaultVfs => on_off(self.default_vfs),
        }
    }
}

fn refused(name: &str, key: Key, value: &str, right: &str) -> Error {
    if key == Key::Storage {
        // What is wrong with it may be that it has a password in it.
        return Error::Usage(format!("{name}: {right}"));
    }
    Error::Usage(format!("{name}='{value}': {right}"))
}

fn unknown_param(key: &str) -> String {
    let process_wide = KEYS.iter().find(|(_, _, env)| env.eq_ignore_ascii_case(key));
    if let Some((_, None, env)) = process_wide {
        return format!(
            "{key} holds for the whole process and cannot be given for one database: set the environment variable \
             {env}, or the option when vwal is registered"
        );
    }
    let names: Vec<&str> = KEYS.iter().filter_map(|(_, param, _)| *param).collect();
    format!("{key} is no parameter of vwal: the parameters are {}", names.join(", "))
}

/// As SQLite reads the switches in a URI (<https://sqlite.org/uri.html>).
fn switch(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "1" | "true" | "yes" => Ok(true),
        "off" | "0" | "false" | "no" => Ok(false),
        _ => Err("right are on and off (or 1 and 0, true and false, yes and no)".to_owned()),
    }
}

fn storage(value: &str) -> Result<Option<StorageUrl>, String> {
    if value == "off" {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|error: Error| error.to_string())
}

fn retention(value: &str) -> Result<Retention, String> {
    value.parse().map_err(|error: Error| error.to_string())
}

fn take_over(value: &str) -> Result<Option<LogId>, String> {
    if value == "off" {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| "right is the id of a log (a UUID), or off".to_owned())
}

/// Milliseconds.
fn interval(value: &str, zero: &str) -> Result<Duration, String> {
    decimal(value).map(Duration::from_millis).filter(|interval| *interval <= INTERVAL_MAX).ok_or_else(|| {
        format!("right is a whole number of milliseconds up to {} (0: {zero})", INTERVAL_MAX.as_millis())
    })
}

const SIZE_RIGHT: &str =
    "right is a whole number of bytes, or one with the unit KiB, MiB or GiB, such as 64MiB";

fn bytes(value: &str) -> Result<u64, String> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    decimal(number)
        .zip(size_unit(unit.trim_start()))
        .and_then(|(number, unit)| number.checked_mul(unit))
        .ok_or_else(|| SIZE_RIGHT.to_owned())
}

/// Digits only: `str::parse` would also take a plus sign.
fn decimal(value: &str) -> Option<u64> {
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each option two right values, and wrong ones.
    const VALUES: [(&str, [&str; 2], &[&str]); 21] = [
        ("VWAL_GROUP_COMMIT", ["on", "off"], &["", "maybe", "2", "on "]),
        (
            "VWAL_SYNC_INTERVAL_MS",
            ["0", "250"],
            &["", "-1", "+1", "1s", "1.5", "31536000001", "99999999999999999999"],
        ),
        ("VWAL_SWAP", ["frames>=7", "size>=1MiB or age>=5s"], &["", "size", "size>=0", "4MiB"]),
        (
            "VWAL_CHECKPOINT_SIZE",
            ["4096", "1GiB"],
            &["", "-1", "64MB", "MiB", "1e3", "18446744073709551615KiB"],
        ),
        ("VWAL_CHECKPOINT_AGE_MS", ["0", "86400000"], &["", "1h", "-5"]),
        ("VWAL_LOG_SIZE", ["0", "1GiB"], &["", "all"]),
        ("VWAL_QUEUE_MS", ["0", "100"], &["", "soon"]),
        ("VWAL_STORAGE", ["file:///backup/app", "s3://bucket/{name}"], &["", "backup", "ftp://host/x"]),
        ("VWAL_SHIP_INTERVAL_MS", ["0", "250"], &["", "1s", "-1"]),
        ("VWAL_ACK", ["local", "remote"], &["", "all", "Remote"]),
        ("VWAL_STORAGE_TIMEOUT_MS", ["0", "250"], &["", "1s"]),
        ("VWAL_CLOSE_TIMEOUT_MS", ["0", "250"], &["", "1s"]),
        ("VWAL_BACKLOG_SIZE", ["1MiB", "1GiB"], &["", "all"]),
        ("VWAL_BACKLOG_FULL", ["fail", "wait"], &["", "drop"]),
        ("VWAL_FENCED", ["fail", "local"], &["", "on"]),
        ("VWAL_SNAPSHOT_INTERVAL_MS", ["0", "3600000"], &["", "1d"]),
        ("VWAL_RETENTION", ["off", "0:1h,snapshot:7d/2"], &["", "24h", "0", "9:1h"]),
        ("VWAL_TAKE_OVER", ["off", "0192aaaa-bbbb-7ccc-8ddd-eeeeffff0123"], &["", "on", "all"]),
        ("VWAL_READ_ONLY", ["on", "off"], &["", "ro"]),
        ("VWAL_CACHE_SIZE", ["0", "16MiB"], &["", "all", "-1"]),
        ("VWAL_DEFAULT", ["1", "0"], &["", "vwal"]),
    ];

    fn env(name: &str, value: &str) -> Result<Options> {
        Options::from_vars([(name.into(), value.into())].into_iter())
    }

    #[test]
    fn the_values_cover_every_key() {
        let names: Vec<&str> = KEYS.iter().map(|(_, _, env)| *env).collect();
        assert_eq!(names, VALUES.map(|(name, ..)| name));
    }

    #[test]
    fn a_wrong_value_is_an_error_that_names_key_and_value_and_what_is_right() {
        for ((key, param, name), (_, _, wrong)) in KEYS.iter().zip(VALUES) {
            for value in wrong {
                let is_url = *key == Key::Storage;
                let shown =
                    |name: &str| if is_url { format!("{name}: ") } else { format!("{name}='{value}'") };
                let message = env(name, value).unwrap_err().to_string();
                assert!(message.contains(&shown(name)), "{message}");
                assert!(message.contains("right ") || is_url, "{message}");
                let Some(param) = param else { continue };
                let mut options = Options::new();
                let message = options.set_param(param, value).unwrap_err().to_string();
                assert!(message.starts_with(&shown(param)), "{message}");
                assert!(message.contains("right ") || is_url, "{message}");
                assert_eq!(options, Options::new(), "a refused value changes nothing");
            }
        }
    }

    #[test]
    fn a_right_value_is_taken_from_the_environment_and_from_a_uri_alike() {
        for ((key, param, name), (_, right, _)) in KEYS.iter().zip(VALUES) {
            let shown = right.map(|value| env(name, value).unwrap().show(*key));
            assert_ne!(shown[0], shown[1], "{name}");
            for (value, shown) in right.iter().zip(shown) {
                assert_eq!(env(name, &shown).unwrap().show(*key), shown, "what is shown can be given");
                if let Some(param) = param {
                    let mut options = Options::new();
                    options.set_param(param, value).unwrap();
                    assert_eq!(options.show(*key), shown);
                }
            }
        }
    }

    #[test]
    fn a_secret_in_a_url_is_not_repeated() {
        for url in ["s3://AKIA:canary@bucket/x", "s3://bucket/x?secret=canary", "canary", "ftp://canary"] {
            for message in [
                Options::new().set_param("vwal_storage", url).unwrap_err().to_string(),
                env("VWAL_STORAGE", url).unwrap_err().to_string(),
            ] {
                assert!(!message.contains("canary"), "{message}");
            }
        }
    }

    #[test]
    fn the_fields_hold_what_was_given() {
        let mut by_param = Options::new();
        for (key, value) in [
            ("vwal_group_commit", "off"),
            ("vwal_sync_interval_ms", "250"),
            ("vwal_swap", "frames>=9"),
            ("vwal_checkpoint_size", "3MiB"),
            ("vwal_checkpoint_age_ms", "7000"),
            ("vwal_queue_ms", "11"),
            ("vwal_read_only", "on"),
        ] {
            by_param.set_param(key, value).unwrap();
        }
        let built = Options::new()
            .group_commit(false)
            .sync_interval(Duration::from_millis(250))
            .swap(SwapPolicy::Frames(9))
            .checkpoint_size(3 << 20)
            .checkpoint_age(Duration::from_secs(7))
            .queue_wait(Duration::from_millis(11))
            .read_only(true);
        assert_eq!(by_param.for_database(), built);
        assert_eq!(env("VWAL_CACHE_SIZE", "1KiB").unwrap(), Options::new().cache_size(1024));
        assert_eq!(env("VWAL_DEFAULT", "1").unwrap(), Options::new().default_vfs(true));
        assert_eq!(Options::new().queue_wait(Duration::MAX).queue_wait, INTERVAL_MAX);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_right_ones() {
        for key in ["vwal_swp", "vwal_", "VWAL_SWAP", "swap"] {
            let message = Options::new().set_param(key, "1").unwrap_err().to_string();
            assert!(message.contains(&format!("{key} is no parameter")), "{message}");
            assert!(message.contains("vwal_swap, vwal_checkpoint_size"), "{message}");
        }
        for key in ["vwal_cache_size", "vwal_default"] {
            let message = Options::new().set_param(key, "1").unwrap_err().to_string();
            assert!(message.contains("whole process"), "{message}");
        }
        let message = env("VWAL_SWP", "1").unwrap_err().to_string();
        assert!(message.contains("VWAL_SWP") && message.contains("VWAL_SWAP, "), "{message}");
        assert_eq!(env("VWAL_TEST_SEED", "1").unwrap(), Options::new());
        assert_eq!(env("HOME", "vwal").unwrap(), Options::new());
    }

    #[cfg(unix)]
    #[test]
    fn an_environment_that_is_not_utf8_is_an_error_or_ignored() {
        use std::os::unix::ffi::OsStringExt;
        let garbage = || std::ffi::OsString::from_vec(vec![b'o', b'n', 0xff]);
        let message =
            Options::from_vars([("VWAL_DEFAULT".into(), garbage())].into_iter()).unwrap_err().to_string();
        assert!(message.contains("VWAL_DEFAULT"), "{message}");
        assert_eq!(Options::from_vars([(garbage(), "1".into())].into_iter()).unwrap(), Options::new());
    }

    #[test]
    fn only_what_is_given_explicitly_conflicts() {
        let mut open = Options::new();
        open.set_param("vwal_swap", "frames>=9").unwrap();
        // Other defaults of the process, and nothing given.
        let plain = Options::new().swap(SwapPolicy::Frames(3)).for_database();
        assert_eq!(plain.conflicts_with(&open), None);
        let mut same = Options::new();
        same.set_param("vwal_swap", "frames >= 9").unwrap();
        assert_eq!(same.conflicts_with(&open), None);
        let mut other = Options::new();
        other.set_param("vwal_swap", "frames>=10").unwrap();
        other.set_param("vwal_queue_ms", "0").unwrap();
        other.set_param("vwal_checkpoint_size", "64MiB").unwrap();
        let message = other.conflicts_with(&open).unwrap();
        assert!(message.contains("vwal_swap='frames>=10', but it is open with 'frames>=9'"), "{message}");
        assert!(message.contains("vwal_queue_ms='0', but it is open with '20'"), "{message}");
        assert!(!message.contains("vwal_checkpoint_size"), "{message}");
        assert_eq!(other.for_database().conflicts_with(&open), None);
    }
}
