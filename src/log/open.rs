//! Opening a log: the directory, the lock, and the decision what to do with what is found.
//!
//! | directory | metadata | base file | frames beyond it | then |
//! |---|---|---|---|---|
//! | missing | | | | make it, if the database is in WAL mode |
//! | there | never written | | no segments | a fresh log; it goes on where a valid footer ends |
//! | there | never written | | segments | refuse: without metadata they cannot be placed |
//! | there | valid | matches, or a pass was under way | any | recover |
//! | there | valid | in rollback mode, or empty | none | not ours (now); a new log once it is in WAL mode again |
//! | there | valid | changed by something else | none | a new log id, with the base file as it is |
//! | there | valid | changed, in rollback mode, or empty | some | refuse, and touch nothing |

use std::path::PathBuf;
use std::sync::Arc;

use super::recover::{self, Found};
use super::{Log, MetaFile, read_meta};
use crate::cache::FrameCache;
use crate::error::{Error, Result};
use crate::format::database_header::{DATABASE_HEADER_SIZE, DatabaseHeader};
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::meta::Meta;
use crate::io::{File, Io, LockFile, PathKind, SyncSite, parent_dir};
use crate::options::Options;
use crate::types::{LogId, PageSize, Parent};

/// The name of the lock file in the log directory.
pub const LOCK_NAME: &str = "lock";
/// The name of the wal-index in the log directory.
pub const SHM_NAME: &str = "shm";

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

/// What the base file looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct BaseState {
    pub(super) size: u64,
    pub(super) header: Option<DatabaseHeader>,
    pub(super) footer: Option<Footer>,
}

impl BaseState {
    fn read(base: &dyn File) -> Result<BaseState> {
        let size = base.size()?;
        let mut head = [0; DATABASE_HEADER_SIZE];
        let got = base.read_to_end_at(&mut head, 0)?;
        let header = DatabaseHeader::parse(&head[..got]);
        let mut footer = None;
        if let (Some(header), Some(pages_end)) = (header, size.checked_sub(FOOTER_SIZE as u64))
            && pages_end % u64::from(header.page_size.get()) == 0
        {
            let mut bytes = [0; FOOTER_SIZE];
            base.read_exact_at(&mut bytes, pages_end)?;
            footer = Footer::decode(&bytes).ok();
        }
        Ok(BaseState { size, header, footer })
    }

    /// Whole pages in the file; the footer is none.
    pub(super) fn whole_pages(&self, page_size: PageSize) -> u32 {
        u32::try_from(self.size / u64::from(page_size.get())).unwrap_or(u32::MAX)
    }

    /// Pages of the database, as SQLite reckons them: what the header says when that can be trusted, else the file size
    /// (<https://sqlite.org/fileformat2.html#in_header_database_size>).
    fn db_size_pages(&self, page_size: PageSize) -> u32 {
        match self.header {
            Some(header) if header.db_size_pages > 0 && header.change_counter == header.version_valid_for => {
                header.db_size_pages
            }
            _ => self.whole_pages(page_size),
        }
    }

    /// Whether this is the base file that `meta` speaks of, and nothing else has written to it since. `drained`: no frame
    /// of the log is missing from it, so a new log can take its place without loss, and doubt is reason enough.
    fn matches(&self, meta: &Meta, drained: bool, found: &Found) -> bool {
        let Some(header) = self.header else {
            // A power loss in a pass that writes page 1 may leave anything in its place. It is not read before it is written again:
            // the log has it.
            return meta.has_intent()
                && found.has_page_1(meta.checkpointed_frame_no + 1..=meta.intent_frame_no);
        };
        if header.page_size != meta.page_size || !header.is_wal {
            return false;
        }
        match self.footer {
            // A whole footer names the log and the state of the file.
            Some(footer) if footer.log_id != meta.log_id => return false,
            // Between the two states of a pass it may also be that of an earlier pass, which went farther than this metadata
            // and was repeated after a crash: everything from the checkpointed frame on is in the log.
            Some(footer)
                if !(meta.checkpointed_frame_no..=meta.intent_frame_no).contains(&footer.frame_no) =>
            {
                return false;
            }
            Some(_) => {}
            // SQLite's own checkpoint cuts it off, and may leave the change counter as it was. But a footer can also be
            // torn, and must not be what keeps committed frames from being read.
            None if meta.has_footer && !meta.has_intent() && drained => return false,
            None => {}
        }
        if meta.has_intent() {
            // A pass was writing: pages, the counters and the size may be of either state, and the log has them all.
            return true;
        }
        header.change_counter == meta.change_counter
            && header.version_valid_for == meta.version_valid_for
            && self.whole_pages(meta.page_size) >= meta.db_size_pages
    }
}

/// See the table above.
enum Decision {
    /// A log without frames: it goes on where a footer ends, or begins anew behind `parent`.
    Fresh {
        goes_on: Option<Footer>,
        parent: Option<Parent>,
    },
    Recover(Meta),
    NotOurs,
}

fn decide(source: &LogSource, meta: Option<Meta>, base: &BaseState, found: &Found) -> Result<Decision> {
    let Some(meta) = meta else {
        if let Some(path) = found.any_segment() {
            return Err(Error::corrupt(
                &source.dir.join(super::META_NAME),
                0,
                format!(
                    "it is empty, but there are segments ('{}'): restore it, or move the directory away",
                    path.display()
                ),
            ));
        }
        if !source.create && !base.header.is_some_and(|header| header.is_wal) {
            return Ok(Decision::NotOurs);
        }
        let page_and_counter = |footer: &Footer| {
            base.header.is_some_and(|header| {
                header.page_size == footer.page_size
                    && header.change_counter == footer.change_counter
                    && header.version_valid_for == footer.version_valid_for
                    && base.db_size_pages(footer.page_size) == footer.db_size_pages
            })
        };
        return Ok(match base.footer.filter(page_and_counter) {
            Some(footer) => Decision::Fresh { goes_on: Some(footer), parent: footer.parent },
            // SQLite without vwal wrote to it, and left the footer where it was.
            None => Decision::Fresh {
                goes_on: None,
                parent: base.footer.map(|footer| Parent { log_id: footer.log_id, frame_no: footer.frame_no }),
            },
        });
    };
    let drained = found.end() <= meta.checkpointed_frame_no;
    if base.matches(&meta, drained, found) {
        return Ok(Decision::Recover(meta));
    }
    if !drained {
        return Err(Error::Foreign {
            path: source.database.clone(),
            what: format!(
                "something other than vwal changed or replaced it, while frames {} to {} are only in '{}'. Put back the \
                 file that belongs to the log; or, to go on with this file and give those commits up, move that \
                 directory away",
                meta.checkpointed_frame_no + 1,
                found.end(),
                source.dir.display()
            ),
        });
    }
    if !source.create && !base.header.is_some_and(|header| header.is_wal) {
        return Ok(Decision::NotOurs);
    }
    let parent = Parent { log_id: meta.log_id, frame_no: meta.checkpointed_frame_no };
    Ok(Decision::Fresh { goes_on: None, parent: Some(parent) })
}

impl Log {
    /// Open the log of a database, or make it. `Ok(None)`: the database has no log (now), and none was asked for.
    ///
    /// Errors: [`Error::Busy`] when another process holds the log; [`Error::Corrupt`] and [`Error::Foreign`] as in the
    /// table in this file; nothing is changed then.
    pub fn open(mut source: LogSource) -> Result<Option<Log>> {
        let Some(lock) = take_lock(&mut source)? else { return Ok(None) };
        let mut meta = read_meta(&*source.io, &source.dir)?;
        let base = BaseState::read(&*source.base)?;
        let mut found = recover::find(&*source.io, &source.dir, meta.as_ref(), source.read_only)?;
        if let Some(before) = meta.filter(|meta| meta.has_intent() && found.end() < meta.intent_frame_no) {
            meta = Some(completed(&source, &before, &base)?);
            found = recover::find(&*source.io, &source.dir, meta.as_ref(), source.read_only)?;
        }
        let (meta, found) = match decide(&source, meta, &base, &found)? {
            Decision::NotOurs => return Ok(None),
            Decision::Recover(meta) => (meta, found),
            Decision::Fresh { goes_on, parent } => {
                let page_size = base.header.map(|header| header.page_size).ok_or_else(|| {
                    Error::corrupt(&source.database, 0, "this is not the start of an SQLite database")
                })?;
                (fresh_meta(&source, &base, page_size, goes_on, parent, meta), Found::nothing(found))
            }
        };
        let log = recover::build(source, lock, meta, &base, found)?;
        if !log.options.group_commit && !log.read_only {
            // Nothing is visible before it is durable. On a full disk, where recovered frames cannot be copied, reading goes on:
            // the next commit makes them durable before itself, or is told that the disk is full.
            match log.sync_to(log.published_frame_no(), SyncSite::RecoveredFrames) {
                Err(error @ Error::Full { .. }) if !error.is_failed_fsync() => log.note_error(&error),
                synced => synced?,
            }
        }
        Ok(Some(log))
    }
}

/// A pass was begun, and frames that it was to bring to the base file are not in the log. They were all there when it began,
/// so it was completed, and the metadata that said so has been damaged since. If the footer says so too, that is as good.
fn completed(source: &LogSource, meta: &Meta, base: &BaseState) -> Result<Meta> {
    match base.footer {
        Some(footer)
            if footer.log_id == meta.log_id
                && footer.page_size == meta.page_size
                && footer.frame_no == meta.intent_frame_no =>
        {
            Ok(Meta {
                checkpointed_frame_no: footer.frame_no,
                db_size_pages: footer.db_size_pages,
                change_counter: footer.change_counter,
                version_valid_for: footer.version_valid_for,
                has_footer: true,
                commit_us: footer.commit_us,
                ..*meta
            })
        }
        _ => Err(Error::corrupt(
            &source.dir.join(super::META_NAME),
            None,
            format!(
                "it says that a checkpoint of frames {} to {} was begun, but those frames are not all in the log, and the \
                 footer of the database does not say that it was completed. The newer of its two slots is most likely \
                 damaged; nothing has been changed",
                meta.checkpointed_frame_no + 1,
                meta.intent_frame_no
            ),
        )),
    }
}

fn fresh_meta(
    source: &LogSource,
    base: &BaseState,
    page_size: PageSize,
    goes_on: Option<Footer>,
    parent: Option<Parent>,
    before: Option<Meta>,
) -> Meta {
    let frame_no = goes_on.map_or(0, |footer| footer.frame_no);
    Meta {
        sequence: before.map_or(0, |meta| meta.sequence),
        log_id: goes_on.map_or_else(|| new_log_id(&*source.io), |footer| footer.log_id),
        page_size,
        checkpointed_frame_no: frame_no,
        intent_frame_no: frame_no,
        db_size_pages: base.db_size_pages(page_size),
        change_counter: base.header.map_or(0, |header| header.change_counter),
        version_valid_for: base.header.map_or(0, |header| header.version_valid_for),
        has_footer: goes_on.is_some(),
        commit_us: goes_on.map_or_else(|| source.io.now_us(), |footer| footer.commit_us),
        parent,
        stored_frame_no: 0,
        stored_us: 0,
    }
}

/// An id that no other log has.
pub(crate) fn new_log_id(io: &dyn Io) -> LogId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&io.random_u64().to_be_bytes());
    random[8..].copy_from_slice(&io.random_u64().to_be_bytes()[..2]);
    LogId(uuid::Builder::from_unix_timestamp_millis(io.now_us() / 1000, &random).into_uuid())
}

/// Make the directory if that is wanted, and take the lock. A directory that cannot be written makes the source
/// read-only.
fn take_lock(source: &mut LogSource) -> Result<Option<LockFile>> {
    let io = Arc::clone(&source.io);
    let path = source.dir.join(LOCK_NAME);
    // The owner before may remove the directory between two of these steps; then they are taken again.
    for _ in 0..100 {
        match io.kind(&source.dir)? {
            PathKind::Directory => {}
            PathKind::Missing if !source.create => return Ok(None),
            PathKind::Missing if source.read_only => {
                return Err(Error::ReadOnly { path: source.database.clone() });
            }
            PathKind::Missing => match io.create_dir(&source.dir) {
                // Its name is made durable with the first metadata in it.
                Ok(()) => {}
                Err(_) if io.kind(&source.dir)? != PathKind::Missing => continue,
                Err(error) => return Err(error),
            },
            PathKind::File => {
                return Err(Error::InUse {
                    path: source.database.clone(),
                    what: "SQLite without vwal has it open in WAL mode (there is a -wal file)".into(),
                });
            }
            PathKind::Other => {
                return Err(Error::corrupt(
                    &source.dir,
                    None,
                    "the log directory is a symbolic link or a special file",
                ));
            }
        }
        let locked = match io.lock(&path, source.read_only) {
            Err(error) if !source.read_only && is_denied(&error) => {
                source.read_only = true;
                io.lock(&path, true)
            }
            other => other,
        };
        match locked {
            Ok(Ok(lock)) => return Ok(Some(lock)),
            Ok(Err(holder)) => {
                return Err(Error::Busy { path: source.database.clone(), holder: holder.to_string() });
            }
            Err(error) if error.is_not_found() && io.kind(&source.dir)? == PathKind::Missing => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::InUse {
        path: source.database.clone(),
        what: "its log directory keeps coming and going".into(),
    })
}

fn is_denied(error: &Error) -> bool {
    matches!(error, Error::ReadOnly { .. } | Error::Io { kind: std::io::ErrorKind::PermissionDenied, .. })
}

/// The metadata file of a log that has just been recovered or made.
pub(super) fn open_meta(source: &LogSource, meta: Meta, base: &BaseState, fresh: bool) -> Result<MetaFile> {
    if !fresh {
        return MetaFile::open(&*source.io, &source.dir, meta);
    }
    if !meta.has_footer && base.footer.is_some() {
        // The footer of a log that ended must not speak for this one.
        source.base.set_len(u64::from(meta.db_size_pages) * u64::from(meta.page_size.get()))?;
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
