//! When a segment has grown enough.

use crate::format::frame::FrameLayout;
use crate::format::segment_index::{index_offset, index_size};
use crate::options::SwapPolicy;

/// Sizes of segments, in frames, as the policy has them.
pub(crate) struct SegmentSizes {
    /// The syncer swaps a segment of this size. `u64::MAX`: whatever its size is.
    pub(super) due: u64,
    /// At this size the writer swaps the segment itself, because the syncer did not get to it. `due` plus an eighth for large segments;
    /// equal to `due` for small ones.
    pub(super) late: u64,
    /// The next segment is begun soon, so there should be a spare file for it.
    pub(super) half: u64,
    /// The policy looks at the age, which may make a segment due at any size.
    pub(super) by_age: bool,
    /// Bytes of a spare file: room for the frames of a segment, and its index.
    spare_bytes: u64,
}

impl SegmentSizes {
    pub(crate) fn new(policy: &SwapPolicy, layout: FrameLayout) -> SegmentSizes {
        const DEFAULT: u64 = 4 << 20;
        let (head, frame_size) = (layout.offset(0), layout.frame_size() as u64);
        let due = policy.due_frames(head, frame_size);
        let slack = |frames: u64| frames / 64 * 8;
        let bytes = due.map_or(DEFAULT, |frames| frames.saturating_mul(frame_size));
        let frames = bytes.clamp(64 << 10, 64 << 20) / frame_size;
        // The transaction that makes it due has some frames more.
        let room = frames + slack(frames) + 4;
        let spare_bytes = index_offset(layout.offset(room)) + index_size(room);
        SegmentSizes {
            due: due.unwrap_or(u64::MAX),
            late: due.map_or(u64::MAX, |frames| frames.saturating_add(slack(frames))),
            half: frames / 2,
            by_age: policy.looks_at_age(),
            spare_bytes,
        }
    }

    /// Bytes of a spare file.
    pub(crate) fn spare_bytes(&self) -> u64 {
        self.spare_bytes
    }
}
