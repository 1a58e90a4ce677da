//! Reading a segment back: which of its frames are whole, and what the first bad one means.

use zerocopy::FromBytes;

use super::load::read_index;
use crate::error::{Error, Result};
use crate::format::Problem;
use crate::format::frame::{FrameHeader, FrameLayout, checksums, verify};
use crate::format::segment_header::{SEAL_OFFSET, SEGMENT_HEAD_SIZE, Seal, SegmentHeader};
use crate::format::segment_index::FrameMark;
use crate::io::File;
use crate::memory;
use crate::types::PageSize;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// What memory is taken for.
const MARKS: &str = "the list of a segment's frames";

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Where, in the segment's file.
    pub offset: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// Where the frames of a segment end before its file does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The first frame that is not whole, or does not continue the chain.
    pub bad: Bad,
    /// What shows that this frame had been fsynced. `None`: it is the ordinary end, or a torn tail.
    pub proof: Option<String>,
}

/// The transactions of a segment.
pub struct Scan {
    /// Its header.
    pub header: SegmentHeader,
    /// Its seal, if it is sealed.
    pub seal: Option<Seal>,
    /// A seal that is not whole, and counts as none.
    pub bad_seal: Option<Bad>,
    /// The segment is sealed, and this is wrong with its seal or its index: a crash came while it was being sealed, or it was damaged
    /// since. The frames are all there.
    pub index_problem: Option<Error>,
    /// The first frame that `marks` tells of: the first one of the segment, or the one after those that were stepped over.
    pub first_frame_no: u64,
    /// The frames up to the last commit.
    pub marks: Vec<FrameMark>,
    /// Checksums of these frames, in a segment that is not sealed.
    pub crcs: Vec<u32>,
    /// Checksum of the last of them; of the header when there is none.
    pub last_crc: u32,
    /// A later segment begins before the end of this one: commits behind `marks` were rolled back.
    pub cut: bool,
    /// Whole frames behind the last commit: a transaction that was not committed.
    pub uncommitted: u64,
    /// The highest frame that is known to have been fsynced: any whole frame says how far the log was when it was written,
    /// and a seal is written when all of its segment is.
    pub max_synced_frame_no: u64,
    /// The first bad frame of those that the base file has. All of those were stepped over.
    pub skipped: Option<Bad>,
    /// The last frame that the base file has is so damaged that nothing in it shows that the next one, which is whole, was
    /// written after it: this is the next one.
    pub untied: Option<Bad>,
    /// The first bad frame of those that the base file does not have.
    pub end: Option<End>,
}

impl Scan {
    pub(super) fn begin(header: SegmentHeader, seal: Option<Seal>) -> Scan {
        Scan {
            header,
            seal,
            bad_seal: None,
            index_problem: None,
            first_frame_no: header.start_frame_no,
            marks: Vec::new(),
            crcs: Vec::new(),
            last_crc: header.crc(),
            cut: false,
            uncommitted: 0,
            max_synced_frame_no: seal.map_or(0, |seal| seal.end_frame_no),
            skipped: None,
            untied: None,
            end: None,
        }
    }

    /// The last frame of the last commit; one less than the first frame number when there is none.
    pub fn end_frame_no(&self) -> u64 {
        self.first_frame_no + self.marks.len() as u64 - 1
    }

    /// The checksum that a segment which starts at `start` must continue: of the frame before it. `None`: this one has no such
    /// frame, or is sealed and goes on.
    pub fn crc_before(&self, start: u64) -> Option<u32> {
        if start == self.end_frame_no() + 1 {
            return Some(self.last_crc);
        }
        if start == self.header.start_frame_no {
            return Some(self.header.previous_crc);
        }
        let at = usize::try_from(start.checked_sub(self.first_frame_no + 1)?).ok()?;
        self.crcs.get(at).copied()
    }

    /// Give up the commits from frame `start` on: a later segment begins there.
    pub fn cut_before(&mut self, start: u64, crc: u32) {
        let keep = usize::try_from(start.saturating_sub(self.first_frame_no)).unwrap_or(usize::MAX);
        self.cut = self.marks.len() > keep;
        self.marks.truncate(keep);
        self.crcs.truncate(keep);
        self.last_crc = crc;
    }
}

/// The header of a segment, its seal if it is sealed, and what is wrong with a seal that is not whole.
pub(super) fn read_head(file: &dyn File) -> Result<(SegmentHeader, Option<Seal>, Option<Bad>)> {
    let mut head = vec![0; SEGMENT_HEAD_SIZE];
    let got = file.read_to_end_at(&mut head, 0)?;
    head.truncate(got);
    let header = SegmentHeader::decode(&head).map_err(|problem| Error::corrupt(file.path(), 0, problem))?;
    // A torn seal is what a crash while sealing leaves; the frames under it are verified all the same.
    Ok(match Seal::decode(&head, &header) {
        Ok(seal) => (header, seal, None),
        Err(problem) => (header, None, Some(Bad { offset: SEAL_OFFSET as u64, problem })),
    })
}

/// Read all of a segment and verify every frame; and the index, if it is sealed. The base file has the frames up to `in_base`:
/// bad ones of them are stepped over. `visit` is called with the header of each frame that ends a commit.
///
/// What is found is data. Errors: the head is damaged, or something that is needed cannot be read.
pub fn scan(file: &dyn File, in_base: u64, visit: impl FnMut(&FrameHeader)) -> Result<Scan> {
    let (header, seal, bad_seal) = read_head(file)?;
    let mut scan = scan_frames(file, header, seal, in_base, visit)?;
    scan.bad_seal = bad_seal;
    if scan.end.is_none() {
        scan.index_problem = match seal {
            Some(seal) => index_problem(file, &scan, &seal)?,
            None => None,
        };
    }
    Ok(scan)
}

/// What is wrong with the seal or the index of a segment whose frames have been read to the end.
fn index_problem(file: &dyn File, scan: &Scan, seal: &Seal) -> Result<Option<Error>> {
    let corrupt = |offset: Option<u64>, what: String| Ok(Some(Error::corrupt(file.path(), offset, what)));
    if scan.uncommitted > 0 {
        let what = format!(
            "the seal says that the segment ends with frame {}, its last commit does with frame {}",
            seal.end_frame_no,
            scan.end_frame_no()
        );
        return corrupt(Some(SEAL_OFFSET as u64), what);
    }
    if !scan.marks.is_empty() && seal.last_crc != scan.last_crc {
        let what =
            format!("the last frame has checksum {:08x}, the seal says {:08x}", scan.last_crc, seal.last_crc);
        return corrupt(Some(SEAL_OFFSET as u64), what);
    }
    let skipped = (scan.first_frame_no - scan.header.start_frame_no) as usize;
    match read_index(file, &scan.header, seal) {
        Ok(marks) if marks.get(skipped..) == Some(&scan.marks) => Ok(None),
        Ok(_) => corrupt(None, "the index of the segment is not that of its frames".into()),
        Err(error @ Error::NoMemory { .. }) => Err(error),
        Err(error) => Ok(Some(error)),
    }
}

/// The frames of a segment with this head, each of them read and verified.
pub(super) fn scan_frames(
    file: &dyn File,
    header: SegmentHeader,
    seal: Option<Seal>,
    in_base: u64,
    mut visit: impl FnMut(&FrameHeader),
) -> Result<Scan> {
    let (start, seed) = (header.start_frame_no, header.crc());
    let mut scan = Scan::begin(header, seal);
    let in_base = seal.map_or(in_base, |seal| in_base.min(seal.end_frame_no));
    let limit = seal.map_or(u64::MAX, |seal| seal.end_frame_no - start + 1);
    let mut frames = Frames::new(file, &header)?;
    let mut chain = seed;
    let mut open = Vec::new();
    let mut crcs = Vec::new();
    let mut at = 0;
    while at < limit {
        let frame_no = start + at;
        let problem = match frames.next(at, frame_no, seed, chain) {
            Ok(Ok(frame)) => {
                chain = frame.crc.get();
                let mark =
                    FrameMark { page_no: frame.page_no.get(), db_size_pages: frame.db_size_pages.get() };
                memory::reserve(&mut open, 1, MARKS)?;
                open.push(mark);
                if seal.is_none() {
                    memory::reserve(&mut crcs, 1, MARKS)?;
                    crcs.push(chain);
                }
                scan.max_synced_frame_no = scan.max_synced_frame_no.max(frame.synced_frame_no.get());
                if mark.db_size_pages != 0 {
                    visit(frame);
                    memory::reserve(&mut scan.marks, open.len(), MARKS)?;
                    memory::reserve(&mut scan.crcs, crcs.len(), MARKS)?;
                    scan.marks.append(&mut open);
                    scan.crcs.append(&mut crcs);
                    scan.last_crc = chain;
                }
                at += 1;
                continue;
            }
            Ok(Err(problem)) => problem,
            // A sector that cannot be read is no reason to give up what is after it.
            Err(error @ Error::Io { .. }) if frame_no <= in_base => error.to_string(),
            Err(error) => return Err(error),
        };
        let bad = Bad { offset: frames.offset(at), problem };
        if frame_no <= in_base
            && let Some(over) = step_over(&mut frames, &header, in_base)?
        {
            scan.skipped = Some(bad);
            scan.first_frame_no = in_base + 1;
            scan.marks.clear();
            scan.crcs.clear();
            open.clear();
            crcs.clear();
            chain = over.chain;
            scan.last_crc = chain;
            scan.untied = over.untied;
            at = in_base + 1 - start;
            continue;
        }
        let proof = match &seal {
            Some(seal) => Some(format!("the segment is sealed up to frame {}", seal.end_frame_no)),
            None => durable_witness(&mut frames, &header, at)?.map(|witness| {
                format!("frame {witness} behind it is whole and says that this one had been fsynced")
            }),
        };
        scan.end = Some(End { bad, proof });
        break;
    }
    scan.uncommitted = open.len() as u64;
    Ok(scan)
}

/// How the frames go on after the last one that the base file has.
struct Over {
    /// The checksum that the next frame follows.
    chain: u32,
    untied: Option<Bad>,
}

/// Go to the frame after the ones that the base file has, `last` being the last of these. `None`: neither is there, so the frames
/// ended before.
///
/// The next frame must follow that one. A transaction that was written and rolled back can stand behind the last commit, whole, in
/// the same life of the file. So the next frame's `previous_crc` has to be the checksum that the last one has in its header, or
/// the one that its bytes have: if one of them is damaged the other one is not.
fn step_over(frames: &mut Frames<'_>, header: &SegmentHeader, last: u64) -> Result<Option<Over>> {
    let (start, seed) = (header.start_frame_no, header.crc());
    let Some(at) = last.checked_sub(start) else { return Ok(None) };
    let mut crcs = None;
    let mut is_there = false;
    // By itself: what is in the way of reading it must not be in the way of reading the next one.
    if let Some(offset) = frames.checked_offset(at) {
        let mut frame = Vec::new();
        memory::resize(&mut frame, frames.frame_size(), "a frame")?;
        match frames.file.read_to_end_at(&mut frame, offset) {
            Ok(got) if got == frame.len() => {
                let (stored, computed) = checksums(&frame, seed);
                is_there = FrameHeader::ref_from_prefix(&frame)
                    .is_ok_and(|(header, _)| header.frame_no.get() == last || stored == computed);
                crcs = Some((stored, computed));
            }
            Ok(_) | Err(Error::Io { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let offset = frames.checked_offset(at + 1);
    let next = match offset {
        Some(_) => frames.get(at + 1)?.and_then(|frame| verify(frame, last + 1, seed).ok()),
        None => None,
    };
    let follows = next.map(|next| next.previous_crc.get());
    Ok(match (crcs, follows) {
        (Some((stored, computed)), Some(follows)) if follows == stored || follows == computed => {
            Some(Over { chain: follows, untied: None })
        }
        // It is whole, and the next frame does not follow it: rolled back, or left from before.
        (Some((stored, computed)), _) if is_there && stored == computed => {
            Some(Over { chain: stored, untied: None })
        }
        (_, Some(follows)) => {
            let problem = format!(
                "frame {last} before it is damaged, and so it cannot be told whether frame {} followed it",
                last + 1
            );
            Some(Over { chain: follows, untied: offset.map(|offset| Bad { offset, problem }) })
        }
        (Some((stored, _)), None) if is_there => Some(Over { chain: stored, untied: None }),
        (_, None) => None,
    })
}

/// Check that `frame` is frame `frame_no` of the segment with this `seed`, and follows a frame with the checksum `chain`.
pub(super) fn verify_next(
    frame: &[u8],
    frame_no: u64,
    seed: u32,
    chain: u32,
) -> Result<&FrameHeader, Problem> {
    let header = verify(frame, frame_no, seed)?;
    if header.previous_crc.get() != chain {
        return Err(format!(
            "frame {frame_no} follows a frame with checksum {:08x}, expected {chain:08x}",
            header.previous_crc
        ));
    }
    Ok(header)
}

/// A whole frame behind the bad one (index `bad`) that was written after the bad one had been fsynced.
fn durable_witness(frames: &mut Frames<'_>, header: &SegmentHeader, bad: u64) -> Result<Option<u64>> {
    let bad_frame_no = header.start_frame_no + bad;
    let seed = header.crc();
    let mut at = bad + 1;
    while let Some(next) = frames.next_written(at)? {
        at = next;
        let Some(frame) = frames.get(at)? else { break };
        let frame_no = header.start_frame_no + at;
        if verify(frame, frame_no, seed).is_ok_and(|frame| frame.synced_frame_no.get() >= bad_frame_no) {
            return Ok(Some(frame_no));
        }
        at += 1;
    }
    Ok(None)
}

/// A segment whose head is damaged: proof that it had been fsynced and holds frames that the base file does not have, if there is
/// one. `start` is the frame number in its name.
///
/// A segment that begins with a frame that is in the base file was fsynced, head and all. So it is enough that it has a frame
/// that is not. Otherwise the head is, without proof, one that a crash kept from the disk, and so is everything behind it as
/// far as anybody was told. The frames can be verified without the head: the first one carries its checksum.
pub fn headless_witness(
    file: &dyn File,
    start: u64,
    page_size: PageSize,
    in_base: u64,
) -> Result<Option<String>> {
    let mut head = vec![0; SEGMENT_HEAD_SIZE];
    if file.read_to_end_at(&mut head, 0)? < head.len() {
        return Ok(None);
    }
    let mut frames = Frames::of(file, FrameLayout::new(page_size))?;
    let is_in_base = start <= in_base;
    let mut at = in_base.saturating_add(1).saturating_sub(start);
    let mut seed = None;
    while let Some(next) = frames.next_written(at)? {
        at = next;
        let Some(frame) = frames.get(at)? else { break };
        let Ok((header, _)) = FrameHeader::ref_from_prefix(frame) else { return Ok(None) };
        let frame_no = start.saturating_add(at);
        if is_in_base {
            // A frame of a former life of the file has a lower number at the same place.
            if header.frame_no.get() == frame_no {
                return Ok(Some(format!("frame {frame_no}, which the database file does not have,")));
            }
            at += 1;
            continue;
        }
        let seed = match seed {
            Some(seed) => seed,
            None => {
                let first = header.previous_crc.get();
                if verify(frame, start, first).is_err() {
                    return Ok(None);
                }
                if Seal::is_whole(&head, first) {
                    return Ok(Some("its seal".into()));
                }
                *seed.insert(first)
            }
        };
        if verify(frame, frame_no, seed).is_ok_and(|frame| frame.synced_frame_no.get() >= start) {
            return Ok(Some(format!("frame {frame_no}")));
        }
        at += 1;
    }
    Ok(None)
}

/// Frames by index, read in large pieces.
pub(super) struct Frames<'a> {
    file: &'a dyn File,
    layout: FrameLayout,
    buffer: Vec<u8>,
    /// Index of the first frame in the buffer, and how many whole ones there are.
    first: u64,
    count: u64,
}

impl<'a> Frames<'a> {
    /// Errors: [`Error::NoMemory`].
    pub(super) fn new(file: &'a dyn File, header: &SegmentHeader) -> Result<Self> {
        Self::of(file, FrameLayout::new(header.page_size))
    }

    fn of(file: &'a dyn File, layout: FrameLayout) -> Result<Self> {
        let frames = (CHUNK / layout.frame_size()).max(1);
        let mut buffer = Vec::new();
        memory::resize(&mut buffer, frames * layout.frame_size(), "the frames of a segment")?;
        Ok(Frames { file, layout, buffer, first: 0, count: 0 })
    }

    pub(super) fn offset(&self, index: u64) -> u64 {
        self.layout.offset(index)
    }

    fn checked_offset(&self, index: u64) -> Option<u64> {
        self.layout.checked_offset(index)
    }

    pub(super) fn frame_size(&self) -> usize {
        self.layout.frame_size()
    }

    /// The frame at `index`, if it is whole and follows a frame with the checksum `chain`.
    fn next(
        &mut self,
        index: u64,
        frame_no: u64,
        seed: u32,
        chain: u32,
    ) -> Result<Result<&FrameHeader, Problem>> {
        Ok(match self.get(index)? {
            None => Err(format!("the file ends before frame {frame_no}")),
            Some(frame) => verify_next(frame, frame_no, seed, chain),
        })
    }

    /// The first frame from `index` on of which something was written. A hole, which may be far longer than the disk, is not
    /// read: no frame in it is whole.
    fn next_written(&self, index: u64) -> Result<Option<u64>> {
        if (self.first..self.first + self.count).contains(&index) {
            return Ok(Some(index));
        }
        let Some(offset) = self.checked_offset(index) else { return Ok(None) };
        let data = self.file.next_data(offset)?;
        Ok(data.map(|data| self.layout.index_at(data)))
    }

    /// The frame, or `None` behind the end of the file.
    pub(super) fn get(&mut self, index: u64) -> Result<Option<&[u8]>> {
        if index < self.first || index >= self.first + self.count {
            let offset = self.offset(index);
            let got = self.file.read_to_end_at(&mut self.buffer, offset)?;
            self.first = index;
            self.count = (got / self.frame_size()) as u64;
            if self.count == 0 {
                return Ok(None);
            }
        }
        let at = (index - self.first) as usize * self.frame_size();
        Ok(Some(&self.buffer[at..at + self.frame_size()]))
    }
}
