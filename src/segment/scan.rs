//! Reading a segment back: which of its frames are whole, and what the first bad one means.

use zerocopy::FromBytes;

use super::load::read_index;
use crate::error::{Error, Result};
use crate::format::Problem;
use crate::format::frame::{FRAME_HEADER_SIZE, FrameHeader, verify};
use crate::format::segment_header::{SEAL_OFFSET, SEGMENT_HEAD_SIZE, Seal, SegmentHeader};
use crate::format::segment_index::FrameMark;
use crate::io::File;
use crate::types::PageSize;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// The transactions of a segment.
pub struct Scan {
    /// Its header.
    pub header: SegmentHeader,
    /// Its seal, if it is sealed.
    pub seal: Option<Seal>,
    /// The segment is sealed, and this is wrong with its seal or its index: a crash came while it was being sealed, or it was damaged
    /// since. The frames are all there.
    pub index_problem: Option<Error>,
    /// The frames up to the last commit.
    pub marks: Vec<FrameMark>,
    /// Checksum of the last of them; of the header when there is none.
    pub last_crc: u32,
    /// A later segment begins before the end of this one: commits behind `marks` were rolled back.
    pub cut: bool,
    /// Whole frames behind the last commit: a transaction that was not committed.
    pub uncommitted: u64,
    /// The highest frame that is known to have been fsynced: any whole frame says how far the log was when it was written,
    /// and a seal is written when all of its segment is.
    pub max_synced_frame_no: u64,
    /// The first frame that is not whole, or does not continue the chain, and its offset. In an unsealed segment the
    /// ordinary end: what is behind it was never fsynced.
    pub end: Option<(u64, String)>,
}

impl Scan {
    /// The last frame of the last commit; one less than the first frame number when there is none.
    pub fn end_frame_no(&self) -> u64 {
        self.header.start_frame_no + self.marks.len() as u64 - 1
    }
}

/// The header of a segment and its seal, if it is sealed.
pub(super) fn read_head(file: &dyn File) -> Result<(SegmentHeader, Option<Seal>)> {
    let mut head = vec![0; SEGMENT_HEAD_SIZE];
    let got = file.read_to_end_at(&mut head, 0)?;
    head.truncate(got);
    let header = SegmentHeader::decode(&head).map_err(|problem| Error::corrupt(file.path(), 0, problem))?;
    // A torn seal is what a crash while sealing leaves; the frames under it are verified all the same.
    let seal = Seal::decode(&head, &header).unwrap_or(None);
    Ok((header, seal))
}

/// Read all of a segment and verify every frame; and the index, if it is sealed. `visit` is called with the header of each
/// frame that ends a commit.
///
/// Errors: the head is damaged; a sealed segment has a bad frame; an unsealed one has a bad frame that had been fsynced,
/// which a later, whole frame proves. In every case nothing is changed.
pub fn scan(file: &dyn File, visit: impl FnMut(&FrameHeader)) -> Result<Scan> {
    let (header, seal) = read_head(file)?;
    let mut scan = scan_frames(file, header, seal, visit)?;
    scan.index_problem = seal.and_then(|seal| match read_index(file, &header, &seal) {
        _ if seal.last_crc != scan.last_crc => Some(Error::corrupt(
            file.path(),
            SEAL_OFFSET as u64,
            format!("the last frame has checksum {:08x}, the seal says {:08x}", scan.last_crc, seal.last_crc),
        )),
        Ok(marks) if marks == scan.marks => None,
        Ok(_) => {
            Some(Error::corrupt(file.path(), None, "the index of the segment is not that of its frames"))
        }
        Err(error) => Some(error),
    });
    Ok(scan)
}

/// The frames of a segment with this head, each of them read and verified.
pub(super) fn scan_frames(
    file: &dyn File,
    header: SegmentHeader,
    seal: Option<Seal>,
    mut visit: impl FnMut(&FrameHeader),
) -> Result<Scan> {
    let path = file.path();
    let seed = header.crc();
    let mut scan = Scan {
        header,
        seal,
        index_problem: None,
        cut: false,
        marks: Vec::new(),
        last_crc: seed,
        uncommitted: 0,
        max_synced_frame_no: seal.map_or(0, |seal| seal.end_frame_no),
        end: None,
    };
    let limit = seal.map_or(u64::MAX, |seal| seal.end_frame_no - header.start_frame_no + 1);
    let mut frames = Frames::new(file, &header);
    let mut chain = seed;
    let mut open = Vec::new();
    let mut at = 0;
    while at < limit {
        let frame_no = header.start_frame_no + at;
        let offset = frames.offset(at);
        let problem = match frames.get(at)? {
            None => format!("the file ends before frame {frame_no}"),
            Some(frame) => match verify_next(frame, frame_no, seed, chain) {
                Ok(frame) => {
                    chain = frame.crc.get();
                    let mark =
                        FrameMark { page_no: frame.page_no.get(), db_size_pages: frame.db_size_pages.get() };
                    open.push(mark);
                    scan.max_synced_frame_no = scan.max_synced_frame_no.max(frame.synced_frame_no.get());
                    if mark.db_size_pages != 0 {
                        visit(frame);
                        scan.marks.append(&mut open);
                        scan.last_crc = chain;
                    }
                    at += 1;
                    continue;
                }
                Err(problem) => problem,
            },
        };
        scan.end = Some((offset, problem));
        break;
    }
    scan.uncommitted = open.len() as u64;
    if let (Some((offset, problem)), Some(seal)) = (&scan.end, &seal) {
        return Err(Error::corrupt(
            path,
            *offset,
            format!(
                "{problem}; the segment is sealed up to frame {}, so this is not a torn tail",
                seal.end_frame_no
            ),
        ));
    }
    if let Some((offset, problem)) = &scan.end
        && let Some(witness) = durable_witness(&mut frames, &header, at)?
    {
        return Err(Error::corrupt(
            path,
            *offset,
            format!(
                "{problem}; frame {witness} behind it is whole and says that this one had been fsynced, so this is \
                 not a torn tail"
            ),
        ));
    }
    Ok(scan)
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

/// A segment whose head is damaged: proof that it had been fsynced, if there is one. `start` is the frame number in its
/// name.
///
/// Without proof the head is one that a crash kept from the disk, and so is everything behind it as far as anybody was
/// told. The frames can be verified without the head: the first one carries its checksum.
pub fn headless_witness(file: &dyn File, start: u64, page_size: PageSize) -> Result<Option<String>> {
    let mut head = vec![0; SEGMENT_HEAD_SIZE];
    if file.read_to_end_at(&mut head, 0)? < head.len() {
        return Ok(None);
    }
    let mut frames = Frames::of_size(file, FRAME_HEADER_SIZE + page_size.bytes());
    let mut at = 0;
    let mut seed = None;
    while let Some(next) = frames.next_written(at)? {
        at = next;
        let Some(frame) = frames.get(at)? else { break };
        let seed = match seed {
            Some(seed) => seed,
            None => {
                let Ok(header) = FrameHeader::ref_from_bytes(&frame[..FRAME_HEADER_SIZE]) else {
                    return Ok(None);
                };
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
        let frame_no = start + at;
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
    frame_size: usize,
    buffer: Vec<u8>,
    /// Index of the first frame in the buffer, and how many whole ones there are.
    first: u64,
    count: u64,
}

impl<'a> Frames<'a> {
    pub(super) fn new(file: &'a dyn File, header: &SegmentHeader) -> Self {
        Self::of_size(file, FRAME_HEADER_SIZE + header.page_size.bytes())
    }

    fn of_size(file: &'a dyn File, frame_size: usize) -> Self {
        let frames = (CHUNK / frame_size).max(1);
        Frames { file, frame_size, buffer: vec![0; frames * frame_size], first: 0, count: 0 }
    }

    pub(super) fn offset(&self, index: u64) -> u64 {
        SEGMENT_HEAD_SIZE as u64 + index * self.frame_size as u64
    }

    /// The first frame from `index` on of which something was written. A hole, which may be far longer than the disk, is not
    /// read: no frame in it is whole.
    fn next_written(&self, index: u64) -> Result<Option<u64>> {
        if (self.first..self.first + self.count).contains(&index) {
            return Ok(Some(index));
        }
        let data = self.file.next_data(self.offset(index))?;
        Ok(data.map(|data| (data - SEGMENT_HEAD_SIZE as u64) / self.frame_size as u64))
    }

    /// The frame, or `None` behind the end of the file.
    pub(super) fn get(&mut self, index: u64) -> Result<Option<&[u8]>> {
        if index < self.first || index >= self.first + self.count {
            let offset = self.offset(index);
            let got = self.file.read_to_end_at(&mut self.buffer, offset)?;
            self.first = index;
            self.count = (got / self.frame_size) as u64;
            if self.count == 0 {
                return Ok(None);
            }
        }
        let at = (index - self.first) as usize * self.frame_size;
        Ok(Some(&self.buffer[at..at + self.frame_size]))
    }
}
