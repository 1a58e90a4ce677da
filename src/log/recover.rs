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
//! when the log is open, and what makes them so is a copy (`Durability::renew`), which the syncer has made in a moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::base::{BaseState, Pass, commit_us_of};
use super::copy::{COPY_SUFFIX, replace_by_copy};
use super::judge::{Depth, Fate, judge, read};
use super::meta_file::MetaFile;
use super::shared::Shared;
use super::source::{LogSource, first_meta};
use super::trouble::Trouble;
use super::wakeup::Wakeup;
use super::which_frames::Then;
use super::writer::SegmentSizes;
use crate::cache::LogCache;
use crate::error::{Error, Result};
use crate::format::frame::FrameLayout;
use crate::format::meta::Meta;
use crate::io::{File, Io, LockFile, OpenMode, SyncSite};
use crate::page_index::PageIndex;
use crate::segment::{Scan, Segment, SpareFiles, parse_segment_name, segment_name};
use crate::shm::{Liveness, SharedMemory, SharedPositions, Start, TailState};
use crate::sync::atomic::AtomicBool;

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
    /// The metadata that this goes with is not in the file: it was made of the footer.
    pub(super) has_made_meta: bool,
}

impl Found {
    /// The log was left as a last close leaves it: everything is in the base file, which says so, and there is no file that would have to go.
    fn is_at_rest(&self, meta: &Meta, base: &BaseState) -> bool {
        let has_segments = !(self.chain.is_empty() && self.stale.is_empty() && self.torn.is_empty());
        let has_copies = self.names.iter().any(|name| name.ends_with(COPY_SUFFIX));
        !self.names.is_empty()
            && !self.has_made_meta
            && !has_segments
            && !has_copies
            && !meta.has_intent()
            && base.footer() == Some(meta.footer())
    }

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

    /// The segments of the log. Frames after `durable` may be in the page cache alone.
    fn into_segments(self, durable: u64) -> Vec<Arc<Segment>> {
        let segment = |(file, path, scan): (Arc<dyn File>, PathBuf, Scan)| {
            let end = scan.end_frame_no();
            let is_sealed = scan.seal.is_some_and(|seal| seal.end_frame_no == end);
            let segment = Segment::existing(file, path, scan.header, scan.marks, is_sealed)
                .from_frame(scan.first_frame_no);
            Arc::new(if end > durable { segment.doubted() } else { segment })
        };
        self.chain.into_iter().map(segment).collect()
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

/// The result of recovery: what the parts of an open log are made of.
pub(super) struct Recovered {
    pub(super) shared: Shared,
    /// `None`: other processes have the log open, and what is needed is looked up.
    pub(super) segments: Option<Vec<Arc<Segment>>>,
    pub(super) index: PageIndex,
    pub(super) cache: LogCache,
    pub(super) spares: SpareFiles,
    pub(super) sizes: SegmentSizes,
    /// `None`: the log is open read-only.
    pub(super) meta: Option<MetaFile>,
    /// The base file carries a footer of this log.
    pub(super) has_footer: bool,
    pub(super) lock: Arc<LockFile>,
}

/// What a process has of its own for an open log.
pub(super) struct Tools {
    pub(super) memory: Arc<SharedMemory>,
    pub(super) lock: Arc<LockFile>,
    pub(super) spares: SpareFiles,
    pub(super) sizes: SegmentSizes,
    /// What recovery has found.
    pub(super) last_error: Option<String>,
}

impl Recovered {
    pub(super) fn of(
        source: LogSource,
        meta: &Meta,
        tools: Tools,
        segments: Option<Vec<Arc<Segment>>>,
        index: PageIndex,
        meta_file: Option<MetaFile>,
        has_footer: bool,
    ) -> Recovered {
        let shared = Shared {
            log_id: meta.log_id,
            parent: meta.parent,
            page_size: meta.page_size,
            positions: SharedPositions(Arc::clone(&tools.memory)),
            memory: tools.memory,
            syncer: Wakeup::default(),
            checkpointer: Wakeup::default(),
            shipper: Wakeup::default(),
            trouble: Trouble::new(tools.last_error, source.report),
            closed: AtomicBool::new(false),
            io: source.io,
            dir: source.dir,
            database: source.database,
            base: source.base,
            options: source.options,
            read_only: source.read_only,
        };
        Recovered {
            shared,
            segments,
            index,
            cache: LogCache::new(source.cache, meta.page_size),
            spares: tools.spares,
            sizes: tools.sizes,
            meta: meta_file,
            has_footer,
            lock: tools.lock,
        }
    }
}

/// Recover the log. From here on the directory is changed.
pub(super) fn build(
    source: LogSource,
    lock: LockFile,
    meta: Meta,
    base: &BaseState,
    mut found: Found,
) -> Result<Recovered> {
    let io = Arc::clone(&source.io);
    let end = found.end().max(meta.checkpointed_frame_no);
    let fresh = found.names.is_empty();
    let is_at_rest = found.is_at_rest(&meta, base);
    let sizes = SegmentSizes::new(&source.options.swap, FrameLayout::new(meta.page_size));
    let spares = spare_files(&source, &sizes, 0);
    // Before the files go that it is about.
    found.harmless.iter().for_each(source.report);
    let meta_file = match is_at_rest {
        _ if source.read_only => None,
        true => Some(leave_at_rest(&source, meta, &found, &spares)?),
        false => Some(tidy(&source, meta, base, &mut found, &spares)?),
    };
    // Whoever cannot write can do nothing about it.
    let durable = if source.read_only { end } else { found.durable(&meta).min(end) };
    let last_error = found.harmless.last().map(ToString::to_string);
    let crc = found.chain.last().map_or(0, |(_, _, scan)| scan.last_crc);
    let segments = found.into_segments(durable);
    let (index, pages) = index_of(&segments, &meta, end)?;
    let lock = Arc::new(lock);
    let liveness = Arc::clone(&lock) as Arc<dyn Liveness>;
    let memory = Arc::new(SharedMemory::create(&*io, &source.dir, liveness, source.read_only)?);
    let positions = SharedPositions(Arc::clone(&memory));
    positions.begin(&Start {
        end,
        synced: durable,
        checkpointed: meta.checkpointed_frame_no,
        pages,
        // What a pass that was interrupted left beyond the old end is of no state.
        base_pages: base.whole_pages(meta.page_size).min(meta.db_size_pages),
        oldest_us: if end > meta.checkpointed_frame_no { io.now_us() } else { 0 },
    });
    let state = memory.state();
    state.set_tail(TailState { start: None, seed: 0, crc });
    state.set_complete_before(end + 1);
    state.doubt(end);
    state.set_base(io.identity(&source.database)?);
    state.set_meta_sequence(meta_file.as_ref().map_or(0, |file| file.get().sequence));
    if !is_at_rest {
        state.settle();
    }
    let fits = state.set_options(&source.options.to_text());
    memory.complete();
    if !fits || !memory.is_shared() {
        // Another process could not find out what it has to know.
        lock.make_exclusive()?;
    }
    let has_footer = fresh || base.footer() == Some(meta.footer());
    let tools = Tools { memory, lock, spares, sizes, last_error };
    Ok(Recovered::of(source, &meta, tools, Some(segments), index, meta_file, has_footer))
}

/// The pool of files for segments to come.
pub(super) fn spare_files(source: &LogSource, sizes: &SegmentSizes, slot: usize) -> SpareFiles {
    // A log that is written to at full speed is a few times as large as it should be when a pass ends, and larger still when
    // passes wait for storage.
    let times = if source.options.shipping.storage.is_some() { 8 } else { 4 };
    SpareFiles::new(
        &source.dir,
        source.options.checkpoint_size.saturating_mul(times) / sizes.spare_bytes() + 2,
        slot,
    )
}

/// A session that writes nothing makes no fsync. What relies on this metadata and on these names is written later, and makes them durable
/// before that (`Durability::settle`).
fn leave_at_rest(source: &LogSource, meta: Meta, found: &Found, spares: &SpareFiles) -> Result<MetaFile> {
    spares.adopt(&*source.io, &found.names)?;
    MetaFile::open(&*source.io, &source.dir, meta)
}

/// Make what was found durable, and remove what may not come back. Returns the metadata file.
fn tidy(
    source: &LogSource,
    meta: Meta,
    base: &BaseState,
    found: &mut Found,
    spares: &SpareFiles,
) -> Result<MetaFile> {
    let io = &*source.io;
    let fresh = found.names.is_empty();
    let mut meta_file = None;
    if !fresh {
        // What was read may only be in the page cache: the process before was killed before its fsync, or the fsync
        // failed. The state before it would do, but there may be none, and segments go now because this one says that
        // they are checkpointed (invariant 9). So it is written again first.
        let mut file = MetaFile::open(io, &source.dir, meta)?;
        file.put(meta, SyncSite::RecoveredMeta, |_| {})?;
        meta_file = Some(file);
    }
    // Copies that a process before has not completed, first of all: new ones have the same names.
    for name in io.list(&source.dir)?.iter().filter(|name| name.ends_with(COPY_SUFFIX)) {
        io.remove_file(&source.dir.join(name))?;
    }
    copy_cut_segments(source, found)?;
    // Newest first. Any of them that a power loss brings back is torn again; the fsync of the names below comes before
    // anything older is sealed, since a seal with a segment after it that does not continue it is damage.
    for path in found.torn.iter().rev() {
        io.remove_file(path)?;
    }
    if fresh {
        for name in io.list(&source.dir)?.iter().filter(|name| crate::segment::is_spare_name(name)) {
            io.remove_file(&source.dir.join(name))?;
        }
    } else {
        spares.adopt(io, &found.names)?;
        for path in &found.stale {
            io.remove_file(path)?;
        }
    }
    // The last process may have died before its directory fsync. After this one, the names of durable segments survive, a renamed
    // spare cannot reappear under its old name, and a removed torn segment cannot reappear.
    io.sync_dir(&source.dir, SyncSite::RecoveredNames)?;
    meta_file.map_or_else(|| first_meta(source, meta, base), Ok)
}

/// The frames after a cut must not come back when the segment that shows the cut is gone: it may be empty, and is removed then.
fn copy_cut_segments(source: &LogSource, found: &mut Found) -> Result<()> {
    let mut is_cut = false;
    for (file, path, scan) in found.chain.iter_mut().filter(|(_, _, scan)| scan.cut) {
        let (marks, path) = (scan.marks.clone(), path.clone());
        let segment = Segment::existing(Arc::clone(file), path, scan.header, marks, false)
            .from_frame(scan.first_frame_no);
        *file = replace_by_copy(&*source.io, &segment, SyncSite::CutSegment)?;
        is_cut = true;
    }
    if is_cut { source.io.sync_dir(&source.dir, SyncSite::CutSegmentName) } else { Ok(()) }
}

/// The page index of a log whose frames are all absorbed, and pages of the database as of its last commit.
fn index_of(segments: &[Arc<Segment>], meta: &Meta, end: u64) -> Result<(PageIndex, u32)> {
    let checkpointed = meta.checkpointed_frame_no;
    let index = PageIndex::new(checkpointed, meta.db_size_pages)?;
    let mut absorption = index.absorb(end, checkpointed, meta.db_size_pages, meta.db_size_pages);
    for segment in segments {
        let mut has_memory = Ok(());
        segment.for_each_mark(checkpointed + 1, end, |frame_no, mark| {
            if has_memory.is_ok() {
                has_memory = index.prepare(mark.page_no);
            }
            if has_memory.is_ok() {
                absorption.frame(frame_no, mark.page_no, mark.db_size_pages);
            }
        });
        has_memory?;
    }
    let pages = absorption.pages();
    Ok((index, pages))
}
