//! Recovery: from the segments in the directory to a log in memory.
//!
//! Every committed transaction that is whole and continues the chain is kept, and absorbed, so that `wal.c` finds an
//! empty WAL and has nothing to recover. What was never fsynced may end anywhere; what was fsynced must be there, and if
//! it is not, the open fails and names the file and the offset.
//!
//! Of a sealed segment only the head and the index are read: its frames are durable, and each is verified when it is read.
//!
//! The frames of an unsealed segment may be there in the page cache alone, and their fsync may have failed in the process
//! before; a second one would not write them. Unless something shows that they are durable, they count as not durable
//! when the log is open, and what makes them so is a copy (`Log::renew`), which the syncer has made in a moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::base::{BaseState, Pass, commit_us_of};
use super::control::Recent;
use super::open::{LogSource, open_meta};
use super::segments::{COPY_SUFFIX, Names, SegmentSizes, replace_by_copy};
use super::tail::Tail;
use super::{Control, Log, MetaFile, Wakeup};
use crate::cache::LogCache;
use crate::error::{Error, Result};
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::format::meta::Meta;
use crate::format::segment_header::{SEGMENT_HEAD_SIZE, SegmentHeader};
use crate::io::{File, Io, LockFile, OpenMode, SyncSite};
use crate::page_index::PageIndex;
use crate::segment::{Scan, Segment, SpareFiles, headless_witness, load, parse_segment_name};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use crate::sync::{Mutex, RwLock};

/// What is in the log directory.
pub(super) struct Found {
    names: Vec<String>,
    /// The segments with frames behind the checkpointed one, a chain without gaps.
    chain: Vec<(Arc<dyn File>, PathBuf, Scan)>,
    /// Segment files whose frames are all checkpointed, or which never had one.
    stale: Vec<PathBuf>,
    /// Segment files behind a torn tail: they were not durable, and do not continue the log.
    torn: Vec<PathBuf>,
}

impl Found {
    /// The last committed frame; 0 when there is none.
    pub(super) fn end(&self) -> u64 {
        self.chain.last().map_or(0, |(_, _, scan)| scan.end_frame_no())
    }

    /// Every frame up to this one was fsynced by the process before: it said so in a frame behind it, sealed the segment, or
    /// began to bring it to the base file (invariant 6).
    fn durable(&self, meta: &Meta) -> u64 {
        let shown = self.chain.iter().map(|(_, _, scan)| scan.max_synced_frame_no);
        shown.fold(meta.intent_frame_no, u64::max)
    }

    /// Some segment file.
    pub(super) fn any_segment(&self) -> Option<&Path> {
        self.stale.first().map(PathBuf::as_path)
    }

    /// What the log holds of the pass that was under way.
    pub(super) fn pass(&self, meta: Option<&Meta>) -> Pass {
        let mut pass = Pass::default();
        for (meta, (_, _, scan)) in meta.iter().flat_map(|meta| self.chain.iter().map(move |one| (meta, one)))
        {
            pass.note(meta, scan.header.start_frame_no, &scan.marks);
        }
        pass
    }

    /// When a frame was committed, if it ends a commit.
    pub(super) fn commit_us(&self, meta: &Meta, frame_no: u64) -> Option<u64> {
        let segments = self.chain.iter().map(|(file, _, scan)| (scan.header.start_frame_no, &**file));
        commit_us_of(segments, meta.page_size, frame_no)
    }

    /// A new log begins: none of what is there belongs to it.
    pub(super) fn nothing(found: Found) -> Found {
        let chain = found.chain.into_iter().map(|(_, path, _)| path);
        let torn = chain.chain(found.stale).chain(found.torn).collect();
        Found { names: Vec::new(), chain: Vec::new(), stale: Vec::new(), torn }
    }
}

/// Read the directory. Nothing is changed.
pub(super) fn find(io: &dyn Io, dir: &Path, meta: Option<&Meta>, read_only: bool) -> Result<Found> {
    let names = io.list(dir)?;
    let mut starts: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    starts.sort_unstable();
    let mut found = Found { names, chain: Vec::new(), stale: Vec::new(), torn: Vec::new() };
    let path_of = |start: u64| dir.join(crate::segment::segment_name(start));
    let Some(meta) = meta else {
        found.stale = starts.into_iter().map(path_of).collect();
        return Ok(found);
    };
    let mode = if read_only { OpenMode::Read } else { OpenMode::ReadWrite };
    let mut live = Vec::new();
    for start in starts {
        let path = path_of(start);
        let file = io.open(&path, mode)?;
        match check_head(&*file, start, meta)? {
            true => live.push((start, path, file)),
            false => found.stale.push(path),
        }
    }
    let next_starts: Vec<u64> = live.iter().skip(1).map(|&(start, ..)| start).collect();
    for (at, (_, path, file)) in live.into_iter().enumerate() {
        if next_starts.get(at).is_some_and(|&next| next <= meta.checkpointed_frame_no + 1) {
            found.stale.push(path);
            continue;
        }
        let scan = load(&*file)?;
        if scan.end_frame_no() < meta.checkpointed_frame_no {
            // Freed by a pass, and a power loss brought its name back, though not the names of those behind it.
            found.stale.push(path);
            continue;
        }
        found.chain.push((file, path, scan));
    }
    link(&mut found, dir, meta)?;
    Ok(found)
}

/// Whether a segment file has a head of this log. False: a crash came before the head was durable, and so before anything
/// in the file was.
fn check_head(file: &dyn File, start: u64, meta: &Meta) -> Result<bool> {
    let path = file.path();
    let mut head = vec![0; SEGMENT_HEAD_SIZE];
    let got = file.read_to_end_at(&mut head, 0)?;
    head.truncate(got);
    let problem = match SegmentHeader::decode(&head) {
        Err(problem) => problem,
        // The head of the file's former life, most likely.
        Ok(header) if header.start_frame_no != start => {
            format!(
                "the header says that the segment starts at frame {}, its name {start}",
                header.start_frame_no
            )
        }
        Ok(header) if header.log_id != meta.log_id => {
            return Err(Error::corrupt(
                path,
                0,
                format!(
                    "the segment belongs to log {}, this is log {}: it was copied here, and does not belong here",
                    header.log_id, meta.log_id
                ),
            ));
        }
        Ok(header) if header.page_size != meta.page_size => {
            format!("page size {}, the log has {}", header.page_size.get(), meta.page_size.get())
        }
        Ok(_) => return Ok(true),
    };
    if SegmentHeader::is_of_another_version(&head, start) {
        return Err(Error::corrupt(path, 0, problem));
    }
    match headless_witness(file, start, meta.page_size)? {
        None => Ok(false),
        Some(witness) => Err(Error::corrupt(
            path,
            0,
            format!("{problem}; {witness} shows that the segment had been fsynced, so this is no torn write"),
        )),
    }
}

/// Check that the segments continue each other; cut off what is behind a torn tail.
fn link(found: &mut Found, dir: &Path, meta: &Meta) -> Result<()> {
    let checkpointed = meta.checkpointed_frame_no;
    if let Some((_, path, scan)) = found.chain.first()
        && scan.header.start_frame_no > checkpointed + 1
        && scan.end_frame_no() > checkpointed
    {
        if shows_durable(&found.chain, checkpointed) {
            return Err(Error::corrupt(
                path,
                None,
                format!(
                    "this is the oldest segment, and it starts at frame {}, but the base file has only the frames up to \
                     {}: the segments between are missing from '{}'",
                    scan.header.start_frame_no,
                    checkpointed,
                    dir.display()
                ),
            ));
        }
        // Until the directory is fsynced a crash may lose any of the names in it.
        found.torn.extend(found.chain.drain(..).map(|(_, path, _)| path));
    }
    let mut at = 1;
    while at < found.chain.len() {
        let (_, next_path, next) = &found.chain[at];
        let start = next.header.start_frame_no;
        let (file, path, previous) = &found.chain[at - 1];
        let end = previous.end_frame_no();
        // Frames that had been fsynced when a later one was written were published, and are never rolled back.
        let is_durable = previous.seal.is_some() || previous.max_synced_frame_no >= start;
        let goes_on = start == end + 1 || (start <= end && !is_durable);
        if goes_on && crc_before(&**file, previous, start)? == next.header.previous_crc {
            // A tentative commit that was rolled back may stand behind the last published one. The segment ends before
            // it, and should the next one turn out to be empty, the log goes on from there.
            let keep = (start - previous.header.start_frame_no) as usize;
            let last_crc = next.header.previous_crc;
            let scan = &mut found.chain[at - 1].2;
            scan.cut = scan.marks.len() > keep;
            scan.marks.truncate(keep);
            scan.last_crc = last_crc;
            at += 1;
            continue;
        }
        // A seal says where its segment ends, but nothing about whether another one followed durably.
        let branches = is_durable && start <= end + 1;
        if branches || shows_durable(&found.chain[at..], end) {
            let (offset, problem) = previous.end.clone().unwrap_or((0, format!("it ends at frame {end}")));
            return Err(Error::corrupt(
                path,
                offset,
                format!(
                    "{problem}; '{}' goes on at frame {start} and shows that frames between had been fsynced",
                    next_path.display()
                ),
            ));
        }
        found.torn.extend(found.chain.drain(at..).map(|(_, path, _)| path));
    }
    // Empty ones, and those that a checkpoint pass did not get around to free.
    let mut chain = Vec::new();
    for (file, path, scan) in found.chain.drain(..) {
        if scan.end_frame_no() <= checkpointed || scan.marks.is_empty() {
            found.stale.push(path);
        } else {
            chain.push((file, path, scan));
        }
    }
    found.chain = chain;
    Ok(())
}

/// Whether one of these segments shows that frames behind `frame_no` had been fsynced.
fn shows_durable(segments: &[(Arc<dyn File>, PathBuf, Scan)], frame_no: u64) -> bool {
    segments.iter().any(|(_, _, scan)| scan.seal.is_some() || scan.max_synced_frame_no > frame_no)
}

/// The checksum that a segment which starts at `start` must continue: of the frame before it in `scan`'s segment.
fn crc_before(file: &dyn File, scan: &Scan, start: u64) -> Result<u32> {
    if start == scan.end_frame_no() + 1 {
        return Ok(scan.last_crc);
    }
    if start <= scan.header.start_frame_no {
        return Ok(scan.header.previous_crc);
    }
    let frame_size = (FRAME_HEADER_SIZE + scan.header.page_size.bytes()) as u64;
    let index = start - 1 - scan.header.start_frame_no;
    let offset = SEGMENT_HEAD_SIZE as u64 + index * frame_size + FRAME_HEADER_SIZE as u64 - 4;
    let mut crc = [0; 4];
    file.read_exact_at(&mut crc, offset)?;
    Ok(u32::from_be_bytes(crc))
}

/// Make the log. From here on the directory is changed.
pub(super) fn build(
    source: LogSource,
    lock: LockFile,
    meta: Meta,
    base: &BaseState,
    mut found: Found,
) -> Result<Log> {
    let io = Arc::clone(&source.io);
    let end = found.end().max(meta.checkpointed_frame_no);
    let fresh = found.names.is_empty();
    let segment_sizes = SegmentSizes::new(&source.options.swap, FRAME_HEADER_SIZE + meta.page_size.bytes());
    let spare_size = segment_sizes.spare_bytes();
    // A log that is written to at full speed is a few times as large as it should be when a pass ends, and larger still when
    // passes wait for storage.
    let times = if source.options.shipping.storage.is_some() { 8 } else { 4 };
    let spares =
        SpareFiles::new(&source.dir, source.options.checkpoint_size.saturating_mul(times) / spare_size + 2);
    let mut meta_file = None;
    if !source.read_only {
        if !fresh {
            // What was read may only be in the page cache: the process before was killed ahead of the fsync, or the fsync
            // failed. The state before it would do, but there may be none, and segments go now because this one says that
            // they are checkpointed (invariant 9). So it is written again first.
            let mut file = MetaFile::open(&*io, &source.dir, meta)?;
            file.put(meta, SyncSite::RecoveredMeta, |_| {})?;
            meta_file = Some(file);
        }
        // Copies that a process before has not completed, first of all: new ones have the same names.
        for name in io.list(&source.dir)?.iter().filter(|name| name.ends_with(COPY_SUFFIX)) {
            io.remove_file(&source.dir.join(name))?;
        }
        // The frames behind a cut must not come back when the segment that shows the cut is gone: it may be empty, and go below.
        let mut is_cut = false;
        for (file, path, scan) in found.chain.iter_mut().filter(|(_, _, scan)| scan.cut) {
            let (marks, path) = (scan.marks.clone(), path.clone());
            let segment = Segment::existing(Arc::clone(file), path, scan.header, marks, false);
            *file = replace_by_copy(&*io, &segment, SyncSite::CutSegment)?;
            is_cut = true;
        }
        if is_cut {
            io.sync_dir(&source.dir, SyncSite::CutSegmentName)?;
        }
        // Newest first. Any of them that a power loss brings back is torn again; the fsync of the names below comes before
        // anything in front of them is sealed, since a seal with a segment behind it that does not continue it is damage.
        for path in found.torn.iter().rev() {
            io.remove_file(path)?;
        }
        if fresh {
            for name in io.list(&source.dir)?.iter().filter(|name| crate::segment::is_spare_name(name)) {
                io.remove_file(&source.dir.join(name))?;
            }
        } else {
            spares.adopt(&*io, &found.names)?;
            for path in &found.stale {
                io.remove_file(path)?;
            }
        }
    }
    // Whoever cannot write can do nothing about it.
    let durable = if source.read_only { end } else { found.durable(&meta).min(end) };
    let mut segments = Vec::new();
    let mut last_crc = 0;
    let mut last_error = None;
    for (file, path, scan) in found.chain {
        if let Some(problem) = &scan.index_problem {
            (source.report)(problem);
            last_error = Some(problem.to_string());
        }
        let segment_end = scan.end_frame_no();
        let is_sealed = scan.seal.is_some_and(|seal| seal.end_frame_no == segment_end);
        last_crc = scan.last_crc;
        let segment = Segment::existing(file, path, scan.header, scan.marks, is_sealed);
        segments.push(Arc::new(if segment_end > durable { segment.doubted() } else { segment }));
    }
    if !source.read_only {
        // The process before may have been killed ahead of it. What is durable needs its name, a spare may not come back under
        // another one, and what was torn may not come back at all.
        io.sync_dir(&source.dir, SyncSite::RecoveredNames)?;
    }
    if !source.read_only && meta_file.is_none() {
        meta_file = Some(open_meta(&source, meta, base, fresh)?);
    }

    let index = PageIndex::new()?;
    index.advance(end);
    let mut view_pages = meta.db_size_pages;
    for segment in &segments {
        let mut has_memory = Ok(());
        segment.for_each_mark(meta.checkpointed_frame_no + 1, end, |frame_no, mark| {
            if has_memory.is_ok() {
                has_memory = index.prepare(mark.page_no);
            }
            if has_memory.is_ok() {
                index.set(mark.page_no, frame_no);
            }
            if mark.db_size_pages != 0 {
                view_pages = mark.db_size_pages;
            }
        });
        has_memory?;
    }
    // What a pass that was interrupted left beyond the old end is of no state.
    let base_pages = base.whole_pages(meta.page_size).min(meta.db_size_pages);
    let frame_size = FRAME_HEADER_SIZE + meta.page_size.bytes();
    Ok(Log {
        control: Control {
            recent: CachePadded::new(Recent {
                written: AtomicU64::new(end),
                published: AtomicU64::new(end),
                published_pages: AtomicU32::new(view_pages),
            }),
            synced: AtomicU64::new(durable),
            absorbed: AtomicU64::new(end),
            checkpointed: AtomicU64::new(meta.checkpointed_frame_no),
            view_pages: AtomicU32::new(view_pages),
            base_pages: AtomicU32::new(base_pages),
            generation_base: AtomicU64::new(end),
        },
        oldest_us: AtomicU64::new(if end > meta.checkpointed_frame_no { io.now_us() } else { 0 }),
        tail: CachePadded::new(Mutex::new(Tail::new(end, last_crc, frame_size))),
        log_id: meta.log_id,
        page_size: meta.page_size,
        segments: RwLock::new(segments),
        spares,
        index,
        meta: Mutex::new(meta_file),
        cache: LogCache::new(source.cache, meta.page_size),
        sync: Default::default(),
        stats: Default::default(),
        absorbing: Mutex::new(()),
        has_footer: AtomicBool::new(fresh || base.footer() == Some(meta.footer())),
        segment_sizes,
        names: Names::default(),
        syncer_wanted_at: AtomicU64::new(u64::MAX),
        syncer: Wakeup::default(),
        pace: Default::default(),
        place: Default::default(),
        refusal: Default::default(),
        remote: Default::default(),
        checkpointer: Wakeup::default(),
        pass: Mutex::new(()),
        base_pins: AtomicU32::new(0),
        parent: meta.parent,
        last_error: Mutex::new(last_error),
        report: source.report,
        io: source.io,
        dir: source.dir,
        database: source.database,
        base: source.base,
        options: source.options,
        read_only: source.read_only,
        lock: Mutex::new(Some(lock)),
        closed: AtomicBool::new(false),
    })
}
