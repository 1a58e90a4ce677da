//! Opening a log: the directory, the lock, and what is done with what is found (`which.rs` decides).

use std::path::Path;
use std::sync::Arc;

use super::base::{BaseState, Difference, at_footer};
use super::durability::Durability;
use super::join::join;
use super::meta_file::{META_NAME, read_meta};
use super::place::{aside_name, move_aside};
use super::recover::{self, Found, Recovered};
use super::shared::Shared;
use super::source::{LOCK_NAME, LogSource};
use super::which::{BaseIs, Metadata, Which, which_log};
use crate::error::{Error, Result};
use crate::format::footer::Footer;
use crate::format::meta::Meta;
use crate::io::{Holder, Io, LockFile, PathKind, SyncSite};
use crate::segment::parse_segment_name;
use crate::types::{LogId, PageSize, Parent};

/// What becomes of a directory that is there.
enum Decision {
    /// A log without frames: it goes on where a footer ends, or begins anew after `parent`.
    Fresh {
        goes_on: Option<Footer>,
        parent: Option<Parent>,
    },
    Recover(Meta),
    NotOurs,
    /// A log with frames, of a file that is not there any more.
    Orphaned(Meta),
}

fn decide(source: &LogSource, meta: Option<Meta>, base: &BaseState, found: &Found) -> Result<Decision> {
    let own_footer = base.footer().filter(|footer| base.is_as_of(footer));
    let drained = meta.is_none_or(|meta| found.end() <= meta.checkpointed_frame_no);
    let difference = meta.and_then(|meta| {
        let commit_us = |frame_no| found.commit_us(&meta, frame_no);
        base.difference(&meta, &found.pass(Some(&meta)), drained, commit_us)
    });
    let fits = if meta.is_some() { difference.is_none() } else { own_footer.is_some() };
    let state = match (fits, source.create || base.is_wal()) {
        (true, _) => BaseIs::Fitting,
        (false, true) => BaseIs::Other,
        (false, false) if base.is_empty() => BaseIs::Empty,
        (false, false) => BaseIs::NotWal,
    };
    let metadata = if meta.is_some() { Metadata::Valid } else { Metadata::NeverWritten };
    let parent = match meta {
        Some(meta) => Some(Parent { log_id: meta.log_id, frame_no: meta.checkpointed_frame_no }),
        // SQLite without vwal wrote to it, and left the footer where it was.
        None => base.footer().map(|footer| Parent { log_id: footer.log_id, frame_no: footer.frame_no }),
    };
    match (which_log(metadata, state, !drained || meta.is_none() && found.any_segment().is_some()), meta) {
        (Which::Recover, Some(meta)) => Ok(Decision::Recover(meta)),
        (Which::GoOn, _) => {
            Ok(Decision::Fresh { goes_on: own_footer, parent: own_footer.and_then(|footer| footer.parent) })
        }
        (Which::Begin, _) => Ok(Decision::Fresh { goes_on: None, parent }),
        (Which::NotVirtual, _) => Ok(Decision::NotOurs),
        (Which::MoveAside, Some(meta)) if !source.read_only => Ok(Decision::Orphaned(meta)),
        (Which::Recover | Which::MoveAside | Which::Refuse, meta) => {
            Err(refusal(source, meta, difference, found))
        }
    }
}

fn refusal(source: &LogSource, meta: Option<Meta>, difference: Option<Difference>, found: &Found) -> Error {
    let Some((meta, difference)) = meta.zip(difference) else {
        let segment = found.any_segment().map_or_else(String::new, |path| path.display().to_string());
        return Error::corrupt(
            &source.dir.join(META_NAME),
            0,
            format!(
                "it is empty, but there are segments ('{segment}'): restore it, or move the directory away"
            ),
        );
    };
    let what = difference.with_frames(meta.checkpointed_frame_no + 1, found.end());
    let advice = difference.advice(&source.dir);
    Error::Foreign { path: source.database.clone(), what: format!("{what}. {advice}") }
}

/// Open the log of a database, or make it. `Ok(None)`: the database has no log (now), and none was asked for.
pub(super) fn open(mut source: LogSource) -> Result<Option<Recovered>> {
    let Some(lock) = take_lock(&mut source)? else { return Ok(None) };
    if lock.has_others() {
        return join(source, lock).map(Some);
    }
    let mut meta = read_meta(&*source.io, &source.dir)?;
    let mut found = recover::find(&*source.io, &source.dir, meta.as_ref(), source.read_only)?;
    let mut base = BaseState::read(&*source.base, meta.as_ref())?;
    if let Some(before) = meta.filter(|meta| meta.has_intent() && found.end() < meta.intent_frame_no) {
        meta = Some(completed(&source.dir, &before, &base)?);
        found = recover::find(&*source.io, &source.dir, meta.as_ref(), source.read_only)?;
        found.has_made_meta = true;
        base = BaseState::read(&*source.base, meta.as_ref())?;
    }
    let (meta, found) = match decide(&source, meta, &base, &found)? {
        Decision::NotOurs => return Ok(None),
        Decision::Orphaned(meta) => {
            move_orphan(&source, &meta, &found)?;
            return Ok(None);
        }
        Decision::Recover(meta) => (meta, found),
        // SQLite opens the WAL with the SHARED lock held, after it has played back a journal. Before that a transaction of
        // rollback mode may be under way in the file, which a footer would spoil.
        Decision::Fresh { .. } if !source.create => return Ok(None),
        Decision::Fresh { goes_on, parent } => {
            check_aside(&source, &base)?;
            let page_size = base.header.map(|header| header.page_size);
            let page_size = page_size.filter(|&size| base.db_size_pages(size) > 0).ok_or_else(|| {
                Error::corrupt(&source.database, 0, "this is not the start of an SQLite database")
            })?;
            // As SQLite does without vwal. A footer where the header says that the file ends would hide what is missing.
            let (pages, expected) = (base.whole_pages(page_size), base.db_size_pages(page_size));
            if pages < expected {
                let what =
                    format!("the file has {pages} whole pages, its header says {expected}: it was cut");
                return Err(Error::corrupt(&source.database, None, what));
            }
            (fresh_meta(&source, &base, page_size, goes_on, parent, meta), Found::nothing(found))
        }
    };
    recover::build(source, lock, meta, &base, found).map(Some)
}

/// With group commit off nothing is visible before it is durable, and what was recovered is visible now.
pub(super) fn make_durable(shared: &Shared, durability: &Durability) -> Result<()> {
    if shared.options.group_commit || shared.read_only {
        return Ok(());
    }
    // On a full disk, where recovered frames cannot be copied, reading goes on: the next commit makes them durable before itself, or
    // is told that the disk is full.
    match durability.sync_to(shared.positions.published(), SyncSite::RecoveredFrames) {
        Err(error @ Error::Full { .. }) if !error.is_failed_fsync() => {
            shared.trouble.note_error(&error);
            Ok(())
        }
        synced => synced,
    }
}

/// The database file was removed, or cut to nothing, while commits are only in the log. Nobody has the log open, since the caller has
/// its lock. It is kept under another name, out of the way of the next database.
fn move_orphan(source: &LogSource, meta: &Meta, found: &Found) -> Result<()> {
    let aside = move_aside(&*source.io, &source.dir, meta.log_id)?;
    (source.report)(&Error::Foreign {
        path: source.database.clone(),
        what: format!(
            "the file is missing or empty, while frames {} to {} of a database that was there are only in '{}'. That directory is \
             '{}' now, with everything in it, and this file gets a log of its own",
            meta.checkpointed_frame_no + 1,
            found.end(),
            source.dir.display(),
            aside.display()
        ),
    });
    Ok(())
}

/// A log that stepped aside belongs to a file with its id in the footer. If such a file has its name again, it may not get another
/// log while that one has commits for it.
fn check_aside(source: &LogSource, base: &BaseState) -> Result<()> {
    let Some(footer) = base.footer() else { return Ok(()) };
    let aside = aside_name(&source.dir, footer.log_id);
    if source.io.kind(&aside)? != PathKind::Directory {
        return Ok(());
    }
    let mut names = source.io.list(&aside)?;
    names.retain(|name| parse_segment_name(name).is_some());
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::Foreign {
        path: source.database.clone(),
        what: format!(
            "it was renamed while it was open and has its name back, and its log is in '{}', with commits that the file may not have: \
             close it everywhere; if that directory is still there then, give it the name '{}', in the place of what has that name",
            aside.display(),
            source.dir.display()
        ),
    })
}

/// A pass was begun, and frames that it was to bring to the base file are not in the log. They were all there when it began,
/// so it was completed, and the metadata that said so has been damaged since. If the footer says so too, that is as good.
pub(crate) fn completed(dir: &Path, meta: &Meta, base: &BaseState) -> Result<Meta> {
    let says_so = |footer: &Footer| {
        (footer.log_id, footer.page_size, footer.frame_no)
            == (meta.log_id, meta.page_size, meta.intent_frame_no)
    };
    match base.footer().filter(says_so) {
        Some(footer) => Ok(at_footer(meta, &footer)),
        _ => Err(Error::corrupt(
            &dir.join(META_NAME),
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
        has_footer: true,
        commit_us: goes_on.map_or_else(|| source.io.now_us(), |footer| footer.commit_us),
        parent,
        stored: Default::default(),
        places: Default::default(),
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
            PathKind::Directory => match io.anchor(&source.dir) {
                Ok(()) => {}
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            },
            PathKind::Missing if !source.create => return Ok(None),
            PathKind::Missing if source.read_only => {
                return Err(Error::ReadOnly { path: source.database.clone() });
            }
            PathKind::Missing => match io.create_dir(&source.dir) {
                // Its name is made durable with the first metadata in it.
                Ok(()) => continue,
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
            // The lock is in a directory that has no name any more, and another process may have made the next one.
            Ok(Ok(_)) if io.anchor_is_removed() => {}
            Ok(Ok(lock)) => {
                // The files may be written, and none can be made: there would be no segment for a commit.
                source.read_only |= !io.anchor_takes_files();
                return Ok(Some(lock));
            }
            Ok(Err(holder)) => return Err(held(source, &holder)?),
            // It may have been moved aside, too, and another one be there.
            Err(error) if error.is_not_found() && !source.read_only => {}
            Err(error) if error.is_not_found() && io.kind(&source.dir)? == PathKind::Missing => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::InUse {
        path: source.database.clone(),
        what: "its log directory keeps coming and going".into(),
    })
}

/// Another process holds the log.
pub(super) fn held(source: &LogSource, holder: &Holder) -> Result<Error> {
    let holder = match source.base.size()? {
        // Its base file was never without a page.
        0 => format!(
            "{holder}, which has the file open that had this name before; that was removed or renamed, and this one is new or empty"
        ),
        _ => holder.to_string(),
    };
    Ok(Error::Busy { path: source.database.clone(), holder })
}

fn is_denied(error: &Error) -> bool {
    matches!(error, Error::ReadOnly { .. } | Error::Io { kind: std::io::ErrorKind::PermissionDenied, .. })
}
