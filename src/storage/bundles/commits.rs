//! The commits of a bundle, over its parts, in either direction.

use std::collections::VecDeque;

use super::{Bundle, StoredObject};
use crate::error::Result;
use crate::format::bundle::{Commit, CommitBlockInfo, CommitReader, PartInfo, PartKind};

/// Gives the commits of a bundle, ascending. Holds one block of them (4096 at most) at a time.
pub struct CommitCursor {
    bundle: Bundle,
    /// Objects that have not been opened.
    objects: VecDeque<Source>,
    object: Option<StoredObject>,
    blocks: VecDeque<CommitBlockInfo>,
    commits: std::vec::IntoIter<Commit>,
    /// No commit may come at or before this frame any more.
    last_frame_no: Option<u64>,
}

/// An object with commits.
pub(super) enum Source {
    Part(PartInfo),
    Head,
}

impl Source {
    /// The objects of a bundle that hold its commits, in their order.
    pub(super) fn all(bundle: &Bundle) -> VecDeque<Source> {
        let parts = bundle.parts().iter().filter(|part| part.kind == PartKind::Commits);
        parts.copied().map(Source::Part).chain([Source::Head]).collect()
    }

    pub(super) async fn open(&self, bundle: &Bundle) -> Result<StoredObject> {
        match self {
            Source::Part(part) => bundle.open_part(part).await,
            Source::Head => Ok(bundle.object().clone()),
        }
    }
}

impl CommitCursor {
    pub(super) fn new(bundle: Bundle) -> CommitCursor {
        CommitCursor {
            objects: Source::all(&bundle),
            bundle,
            object: None,
            blocks: VecDeque::new(),
            commits: Vec::new().into_iter(),
            last_frame_no: None,
        }
    }

    /// The next commit. `None`: that was all.
    pub async fn next(&mut self) -> Result<Option<Commit>> {
        loop {
            if let Some(commit) = self.commits.next() {
                if self.last_frame_no.is_some_and(|last| commit.frame_no <= last) {
                    let what = format!("the commit at frame {} is out of order", commit.frame_no);
                    return Err(self.bundle.object().damaged(None, what));
                }
                self.last_frame_no = Some(commit.frame_no);
                return Ok(Some(commit));
            }
            if let (Some(object), Some(block)) = (&self.object, self.blocks.pop_front()) {
                self.commits = read_block(object, &block).await?.into_iter();
            } else if let Some(source) = self.objects.pop_front() {
                let object = source.open(&self.bundle).await?;
                self.blocks = object.commit_blocks().await?.into();
                self.object = Some(object);
            } else {
                return self.check_end().map(|()| None);
            }
        }
    }

    /// A bundle ends at a commit.
    fn check_end(&self) -> Result<()> {
        let trailer = self.bundle.trailer();
        if trailer.commit_count > 0 && self.last_frame_no != Some(trailer.end_frame_no) {
            let what =
                format!("its last commit is {:?}, expected {}", self.last_frame_no, trailer.end_frame_no);
            return Err(self.bundle.object().damaged(None, what));
        }
        Ok(())
    }
}

/// The commits of a block.
pub(super) async fn read_block(object: &StoredObject, block: &CommitBlockInfo) -> Result<Vec<Commit>> {
    let bytes = object.read(block.span.clone()).await?;
    let problem = |problem| object.damaged(block.span.start, problem);
    let mut reader = CommitReader::new(block, &bytes).map_err(problem)?;
    let mut commits = Vec::new();
    while let Some(commit) = reader.next_commit().map_err(problem)? {
        commits.push(commit);
    }
    Ok(commits)
}

impl Bundle {
    /// The commit with the highest frame, up to `up_to_frame_no`, that was made at `time_us` or before.
    pub(super) async fn last_commit_at(&self, time_us: u64, up_to_frame_no: u64) -> Result<Option<Commit>> {
        if self.trailer().commit_count == 0 || self.trailer().min_commit_us > time_us {
            return Ok(None);
        }
        for source in Source::all(self).iter().rev() {
            if matches!(source, Source::Part(part) if part.first_frame_no > up_to_frame_no) {
                continue;
            }
            let object = source.open(self).await?;
            let may_hold = |block: &&CommitBlockInfo| {
                block.min_commit_us <= time_us && block.first_frame_no <= up_to_frame_no
            };
            for block in object.commit_blocks().await?.iter().rev().filter(may_hold) {
                let commits = read_block(&object, block).await?;
                let is_it =
                    |commit: &&Commit| commit.commit_us <= time_us && commit.frame_no <= up_to_frame_no;
                if let Some(&commit) = commits.iter().rev().find(is_it) {
                    return Ok(Some(commit));
                }
            }
        }
        Ok(None)
    }

    /// The commit that ends with `frame_no`. `None`: no commit of the bundle does.
    pub async fn commit_at(&self, frame_no: u64) -> Result<Option<Commit>> {
        let found = self.last_commit_at(u64::MAX, frame_no).await?;
        Ok(found.filter(|commit| commit.frame_no == frame_no))
    }
}
