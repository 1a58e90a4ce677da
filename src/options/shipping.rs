//! Options of shipping to storage.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{INTERVAL_MAX, Options, Retention, StorageUrl};
use crate::types::LogId;

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ack {
    /// When it is where `PRAGMA synchronous` says. Storage gets it later.
    #[default]
    Local,
    /// When storage has it: losing the machine loses nothing that was acknowledged.
    Remote,
}

/// What becomes of a commit when storage has fallen behind by as much as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BacklogFull {
    /// It fails at once, with `SQLITE_FULL`.
    #[default]
    Fail,
    /// It waits for room, for the storage timeout at most.
    Wait,
}

/// What becomes of commits when storage belongs to another primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenFenced {
    /// They fail, with `SQLITE_READONLY`.
    #[default]
    Fail,
    /// They go on, and stay on this machine.
    Local,
}

/// The options of shipping. See the methods of [`Options`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shipping {
    pub(crate) storage: Option<StorageUrl>,
    pub(crate) interval: Duration,
    pub(crate) ack: Ack,
    pub(crate) timeout: Duration,
    pub(crate) close_timeout: Duration,
    /// Bytes.
    pub(crate) backlog_size: u64,
    pub(crate) backlog_full: BacklogFull,
    pub(crate) fenced: WhenFenced,
    /// Zero: none after the first.
    pub(crate) snapshot_interval: Duration,
    pub(crate) retention: Retention,
    pub(crate) take_over: Option<LogId>,
}

impl Default for Shipping {
    fn default() -> Self {
        Shipping {
            storage: None,
            interval: Duration::from_millis(1000),
            ack: Ack::default(),
            timeout: Duration::from_millis(30_000),
            close_timeout: Duration::from_millis(5000),
            backlog_size: 8 << 30,
            backlog_full: BacklogFull::default(),
            fenced: WhenFenced::default(),
            snapshot_interval: Duration::from_millis(24 * 3600 * 1000),
            retention: Retention::default(),
            take_over: None,
        }
    }
}

impl Options {
    /// Ship every commit to this object storage. Each database needs a place of its own: `{name}` in the URL stands for the
    /// name of the database file. Credentials come from the environment. Default: nowhere.
    #[must_use]
    pub fn storage(mut self, url: StorageUrl) -> Self {
        self.shipping.storage = Some(url);
        self
    }

    /// Ship at most this often. A commit is in storage about this long after it was made, or sooner. Default: 1 s.
    #[must_use]
    pub fn ship_interval(mut self, interval: Duration) -> Self {
        self.shipping.interval = interval.min(INTERVAL_MAX);
        self
    }

    /// When a commit counts as done. Default: [`Ack::Local`].
    #[must_use]
    pub fn ack(mut self, ack: Ack) -> Self {
        self.shipping.ack = ack;
        self
    }

    /// How long a commit under [`Ack::Remote`], `vwal_sync()`, or a commit that waits for room in the backlog waits for
    /// storage before it fails. Default: 30 s.
    #[must_use]
    pub fn storage_timeout(mut self, timeout: Duration) -> Self {
        self.shipping.timeout = timeout.min(INTERVAL_MAX);
        self
    }

    /// How long the last close waits for the rest of the log to be shipped. What is not shipped then is kept, and shipped
    /// after the next open. Default: 5 s.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.shipping.close_timeout = timeout.min(INTERVAL_MAX);
        self
    }

    /// Bytes of commits that may wait for storage on this disk, and what becomes of a commit when there are as many.
    /// Default: 8 GiB, and [`BacklogFull::Fail`].
    #[must_use]
    pub fn backlog(mut self, bytes: u64, full: BacklogFull) -> Self {
        self.shipping.backlog_size = bytes;
        self.shipping.backlog_full = full;
        self
    }

    /// What becomes of commits when storage belongs to another primary. Default: [`WhenFenced::Fail`].
    #[must_use]
    pub fn when_fenced(mut self, when_fenced: WhenFenced) -> Self {
        self.shipping.fenced = when_fenced;
        self
    }

    /// How often a snapshot of the whole database goes to storage. Zero: only the first, with which a log begins. Default:
    /// 24 h.
    #[must_use]
    pub fn snapshot_interval(mut self, interval: Duration) -> Self {
        self.shipping.snapshot_interval = interval.min(INTERVAL_MAX);
        self
    }

    /// How long storage keeps what it has. Default: `0:24h,1:7d,2:30d,3:90d,snapshot:90d/2` ([`Retention`] is parsed from
    /// such text).
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.shipping.retention = retention;
        self
    }

    /// End the log of this id, which is live in storage, and let this database's log take its place. For a database that
    /// is to be the primary from now on although it does not continue what storage has. Default: none.
    #[must_use]
    pub fn take_over(mut self, log_id: LogId) -> Self {
        self.shipping.take_over = Some(log_id);
        self
    }
}

/// The words of an option that is one of a few.
macro_rules! words {
    ($name:ident: $($word:literal => $variant:ident),+) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($name::$variant => $word,)+
                })
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(format!("right are {}", [$($word),+].join(" and "))),
                }
            }
        }
    };
}

words!(Ack: "local" => Local, "remote" => Remote);
words!(BacklogFull: "fail" => Fail, "wait" => Wait);
words!(WhenFenced: "fail" => Fail, "local" => Local);
