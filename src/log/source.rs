//! What the opener of a log knows, and how the metadata of a new one is made.

use std::path::PathBuf;
use std::sync::Arc;

use super::base::BaseState;
use super::meta_file::MetaFile;
use crate::cache::FrameCache;
use crate::error::{Error, Result};
use crate::format::footer::FOOTER_SIZE;
use crate::format::meta::Meta;
use crate::io::{File, Io, SyncSite, parent_dir};
use crate::options::Options;

/// The name of the lock file in the log directory.
pub const LOCK_NAME: &str = "lock";

/// Everything that is needed to open a log.
pub struct LogSource {
    /// Files.
    pub io: Arc<dyn Io>,
    /// The database file.
    pub database: PathBuf,
    /// The log directory: the database's name and "-wal".
    pub dir: PathBuf,
    /// The base file.
    pub base: Arc<dyn File>,
    /// The frame cache of the process.
    pub cache: Arc<FrameCache>,
    /// Options of this database.
    pub options: Options,
    /// Is told the errors of background tasks.
    pub report: fn(&Error),
    /// The database file cannot be written.
    pub read_only: bool,
    /// The database is in WAL mode: make a log when there is none.
    pub create: bool,
}

/// The metadata file of a log that begins.
pub(super) fn first_meta(source: &LogSource, meta: Meta, base: &BaseState) -> Result<MetaFile> {
    // Before the metadata: from the first frame on the file can be told from another one. The footer of a log that ended must
    // not speak for this one.
    if base.footer() != Some(meta.footer()) {
        let end = u64::from(meta.db_size_pages) * u64::from(meta.page_size.get());
        source.base.write_at(&meta.footer().encode(), end)?;
        let length = end + FOOTER_SIZE as u64;
        if source.base.size()? > length {
            source.base.set_len(length)?;
        }
    }
    // With synchronous=OFF nobody has made it durable yet, and the frames will be.
    source.base.sync(SyncSite::FirstBase)?;
    // Here and not where the directory is made: a process that ended in between left it without that.
    source.io.sync_dir(&parent_dir(&source.dir), SyncSite::LogDirectoryName)?;
    let file = if meta.sequence == 0 {
        MetaFile::create(&*source.io, &source.dir, meta)?
    } else {
        let mut file = MetaFile::open(&*source.io, &source.dir, meta)?;
        file.put(meta, SyncSite::ReplacedMeta, |_| {})?;
        file
    };
    source.io.sync_dir(&source.dir, SyncSite::FirstNames)?;
    Ok(file)
}
