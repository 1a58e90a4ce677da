//! The handle that an application has on an open database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::OpenFlags;

use super::metrics;
use super::registry::OpenDatabase;
use crate::error::{Error, Result};
use crate::io::SyncSite;
use crate::log::Log;
use crate::shm::Process;
use crate::types::{LogId, SegmentState};

/// Nobody waits longer: ten years.
const TIMEOUT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// An open virtual database. It keeps nothing open by itself: it is of use for as long as a connection is open.
#[derive(Clone)]
pub struct Database {
    inner: Arc<OpenDatabase>,
}

/// The state of an open database: a row of `vwal_status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The database file.
    pub path: PathBuf,
    /// Its log.
    pub log_id: LogId,
    /// The last committed frame.
    pub frame_no: u64,
    /// Up to here everything is durable.
    pub durable_frame_no: u64,
    /// The base file holds everything up to here; its footer says so.
    pub checkpointed_frame_no: u64,
    /// Bytes.
    pub page_size: u32,
    /// Pages of the database as of the last commit.
    pub db_size_pages: u32,
    /// Segments that hold frames.
    pub segment_count: u64,
    /// Bytes of those segments.
    pub log_bytes: u64,
    /// Where the log is shipped to; `None`: nowhere.
    pub storage: Option<String>,
    /// The last error of a background task, until the task succeeds again.
    pub last_error: Option<String>,
}

/// A segment: a row of `vwal_segments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its first frame.
    pub start_frame_no: u64,
    /// Its last frame; one less than the first when it is empty.
    pub end_frame_no: u64,
    /// Whether frames are still appended.
    pub state: SegmentState,
    /// Bytes of its head and frames.
    pub bytes: u64,
    /// Its file.
    pub path: PathBuf,
}

impl Database {
    pub(crate) fn new(inner: Arc<OpenDatabase>) -> Database {
        Database { inner }
    }

    #[cfg(test)]
    pub(crate) fn wal(&self) -> &Arc<crate::wal::Wal> {
        self.inner.wal()
    }

    fn log(&self) -> &Log {
        self.inner.wal().log()
    }

    /// The lineage of the frame numbers.
    pub fn log_id(&self) -> LogId {
        self.log().log_id()
    }

    /// The last committed frame.
    pub fn frame_no(&self) -> u64 {
        self.log().published_frame_no()
    }

    /// Up to this frame everything is durable: in storage if the database has one, else on this disk. Zero: not known yet.
    ///
    /// Before storage has been asked, and while it does not answer, it is what storage confirmed when it was last asked.
    pub fn durable_frame_no(&self) -> u64 {
        let log = self.log();
        if !log.has_storage() || log.stored_frame_no().is_some() {
            return log.durable_frame_no();
        }
        self.inner.shipping().map_or(0, |shipping| shipping.last_known(log))
    }

    /// The base file holds everything up to this frame.
    pub fn checkpointed_frame_no(&self) -> u64 {
        self.log().checkpointed_frame_no()
    }

    /// Return when every frame up to `frame_no` is durable: in storage if the database has one, else on this disk.
    ///
    /// `timeout` bounds the wait for frames that are not committed yet, and the wait for storage. The fsync on this disk is
    /// not interrupted.
    ///
    /// Errors: [`Error::Timeout`], [`Error::NotStored`], and [`Error::Poisoned`] after a failed fsync.
    pub fn wait_durable(&self, frame_no: u64, timeout: Duration) -> Result<()> {
        // Not beyond what the clock can count.
        let deadline = std::time::Instant::now() + timeout.min(TIMEOUT_MAX);
        while self.frame_no() < frame_no {
            if std::time::Instant::now() >= deadline {
                return Err(Error::Timeout(format!(
                    "frame {frame_no} is not committed yet; the last one is frame {}",
                    self.frame_no()
                )));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // All may have been fsynced before the log directory went away.
        self.log().place().look();
        self.log().durability().sync_to(frame_no, SyncSite::RequestedFrames)?;
        if self.log().has_storage() {
            self.log()
                .remote()
                .wait_stored(frame_no, deadline.saturating_duration_since(std::time::Instant::now()))?;
        }
        Ok(())
    }

    /// Make everything committed so far durable, whatever `PRAGMA synchronous` says: on this disk, and in storage if the
    /// database has one. Returns the last durable frame.
    ///
    /// Errors: [`Error::NotStored`] when storage does not have it within the storage timeout.
    pub fn sync(&self) -> Result<u64> {
        let frame_no = self.frame_no();
        self.wait_durable(frame_no, self.log().options().shipping.timeout)?;
        Ok(frame_no)
    }

    /// Put a snapshot of the whole database into its storage, so that restoring needs nothing older. Returns the frame that
    /// it ends with: the last one that storage had, as far as open read transactions allow.
    pub fn snapshot(&self) -> Result<u64> {
        let shipping = self.inner.shipping().ok_or_else(|| {
            Error::Usage(format!(
                "'{}' has no storage: open it with vwal_storage",
                self.log().database().display()
            ))
        })?;
        let log = self.log();
        if let Some(other) = log.memory().other_shipper() {
            return Err(Error::Usage(format!(
                "process {} ({}) ships '{}' to its storage: take the snapshot there",
                other.pid,
                other.program,
                log.database().display()
            )));
        }
        if log.stored_frame_no().is_none() && shipping.noted(log).is_some() {
            // Nothing was written since the open, so storage was not asked yet.
            let asked = log.remote().wait_stored(log.published_frame_no(), log.options().shipping.timeout);
            asked.map_err(|error| self.fence().unwrap_or(error))?;
        }
        shipping.snapshot().map_err(|error| self.fence().unwrap_or(error))
    }

    /// The state and what shipping has done, as text that Prometheus reads
    /// (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).
    pub fn metrics(&self) -> String {
        metrics::text(
            self.log(),
            self.durable_frame_no(),
            self.inner.shipping().as_ref().map(|shipping| shipping.stats()),
        )
    }

    /// Why storage does not get on just now; shipping goes on trying.
    pub fn shipping_trouble(&self) -> Option<Error> {
        self.log().remote().shipping_trouble()
    }

    /// Pages of the latest full image that have been read for shipping so far.
    pub fn image_pages_done(&self) -> u64 {
        self.inner.shipping().map_or(0, |shipping| shipping.stats().image_pages_done())
    }

    /// The error that keeps the log from being shipped for good: storage belongs to another primary.
    pub fn fence(&self) -> Option<Error> {
        self.log().remote().fence()
    }

    /// Bring the base file forward now, as far as open read transactions allow; with none and no writer, the base file
    /// then holds everything. With storage it goes no farther than that is, and not at all while a snapshot is being
    /// shipped. Returns the checkpointed frame number.
    pub fn checkpoint(&self) -> Result<u64> {
        // What readers allow is for wal.c to decide, so SQLite is asked to checkpoint first.
        let path = self.log().database();
        if !self.log().place().is_in_place() {
            // Another database may be there.
            self.inner.wal().absorb_passively();
            return self.log().checkpointer().checkpoint();
        }
        let asked =
            rusqlite::Connection::open_with_flags_and_vfs(path, OpenFlags::SQLITE_OPEN_READ_WRITE, c"vwal")
                .and_then(|db| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        if let Err(error) = asked {
            return Err(Error::InUse { path: path.to_owned(), what: error.to_string() });
        }
        self.log().checkpointer().checkpoint()
    }

    /// The current state.
    pub fn status(&self) -> Status {
        let log = self.log();
        self.know_all_segments();
        let (log_bytes, segment_count) = log.view().size();
        Status {
            path: log.database().to_owned(),
            log_id: log.log_id(),
            frame_no: self.frame_no(),
            durable_frame_no: self.durable_frame_no(),
            checkpointed_frame_no: self.checkpointed_frame_no(),
            page_size: log.page_size().get(),
            db_size_pages: log.database_pages(),
            segment_count,
            log_bytes,
            storage: self.inner.shipping().map(|shipping| shipping.url().to_string()),
            last_error: log.last_error(),
        }
    }

    /// The processes that have the database open, this one included, by their slots.
    pub fn processes(&self) -> Vec<Process> {
        self.log().memory().processes()
    }

    /// A process that shares the log with others knows of the segments that it needed.
    fn know_all_segments(&self) {
        let log = self.log();
        if log.memory().was_shared()
            && let Err(error) = log.view().look()
        {
            log.note_error(&error);
        }
    }

    /// The segments that hold frames, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.know_all_segments();
        let current = self.log().writer().current_start();
        let segments = self.log().view().segments();
        segments
            .iter()
            .filter(|segment| segment.end() >= segment.start())
            .map(|segment| SegmentInfo {
                start_frame_no: segment.start(),
                end_frame_no: segment.end(),
                state: segment.state(current == Some(segment.start())),
                bytes: segment.used_bytes(),
                path: self.log().place().path_now(segment.path()),
            })
            .collect()
    }
}
