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
use super::judge::{Depth, Fate, judge, read};
use super::open::{LogSource, open_meta};
use super::positions::Recovered;
use super::segments::{COPY_SUFFIX, Names, SegmentSizes, replace_by_copy};
use super::tail::Tail;
use super::which_frames::Then;
use super::{Log, MetaFile, Positions, Wakeup};
use crate::cache::LogCache;
use crate::error::{Error, Result};
use crate::format::frame::FRAME_HEADER_SIZE;
use crate::format::meta::Meta;
use crate::io::{File, Io, LockFile, OpenMode, SyncSite};
use crate::page_index::PageIndex;
use crate::segment::{Scan, Segment, SpareFiles, parse_segment_name, segment_name};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use crate::sync::{Mutex, RwLock};

/// What is in the log directory.
#[derive(Default)]
pub(super) struct Found {
    names: Vec<String>,
    /// The segments with frames behind the checkpointed one, a chain without gaps.
    chain: Vec<(Arc<dyn File>, PathBuf, Scan)>,
    /// Segment files whose frames are all checkpointed, or which never had one.
    stale: Vec<PathBuf>,
    /// Segment files behind a torn tail: they were not durable, and do not continue the log.
    torn: Vec<PathBuf>,
    /// Damage that nothing of the log is lost by.
    harmless: Vec<Error>,
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
        meta.map_or_else(Pass::default, |meta| Pass::of(meta, self.chain.iter().map(|(_, _, scan)| scan)))
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
        Found { torn, ..Found::default() }
    }
}

/// Read the directory. Nothing is changed. Errors: what is found cannot be opened (`judge.rs`).
pub(super) fn find(io: &dyn Io, dir: &Path, meta: Option<&Meta>, read_only: bool) -> Result<Found> {
    let names = io.list(dir)?;
    let mut starts: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    starts.sort_unstable();
    let path_of = |start: u64| dir.join(segment_name(start));
    let mut found = Found { names, ..Found::default() };
    let Some(meta) = meta else {
        found.stale = starts.into_iter().map(path_of).collect();
        return Ok(found);
    };
    let mode = if read_only { OpenMode::Read } else { OpenMode::ReadWrite };
    let open = |start| Ok((start, io.open(&path_of(start), mode)?));
    let files = starts.into_iter().map(open).collect::<Result<_>>()?;
    let verdict = judge(read(files, meta, Depth::Needed), meta, dir);
    for finding in verdict.findings {
        match finding.then {
            Then::Refuse => return Err(finding.error),
            _ => found.harmless.push(finding.error),
        }
    }
    for judged in verdict.segments {
        // Not the file's own idea of it: the name is used.
        let path = path_of(judged.start);
        match (judged.fate, judged.scan) {
            (Fate::Kept, Some(scan)) => found.chain.push((judged.file, path, scan)),
            (Fate::Torn(_), _) => found.torn.push(path),
            _ => found.stale.push(path),
        }
    }
    Ok(found)
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
            let segment = Segment::existing(Arc::clone(file), path, scan.header, marks, false)
                .from_frame(scan.first_frame_no);
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
    found.harmless.iter().for_each(source.report);
    let last_error = found.harmless.last().map(ToString::to_string);
    for (file, path, scan) in found.chain {
        let segment_end = scan.end_frame_no();
        let is_sealed = scan.seal.is_some_and(|seal| seal.end_frame_no == segment_end);
        last_crc = scan.last_crc;
        let segment =
            Segment::existing(file, path, scan.header, scan.marks, is_sealed).from_frame(scan.first_frame_no);
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
        positions: Positions::new(&Recovered {
            end,
            synced: durable,
            checkpointed: meta.checkpointed_frame_no,
            pages: view_pages,
            base_pages,
        }),
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
