//! Writing a bundle: one create-only object when it is small; otherwise parts first, and the head that lists them last.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::{Task, object_name};
use crate::error::{Error, Result, StorageErrorKind};
use crate::format::bundle::{Commit, ObjectBuilder, PartInfo, PartKind, Summary, Trailer};
use crate::storage::keys;
use crate::storage::{Put, Storage};
use crate::types::{Level, PageSize};

/// An object that has about this many bytes is complete, and the next one begins.
pub const OBJECT_LEN_TARGET: usize = 4 << 20;

/// Parts that are on their way at a time.
const PUTS_MAX: usize = 2;

/// How a bundle was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// [`Put::Taken`]: there is another bundle of this level that begins (snapshots: ends) at the same frame. Nothing
    /// of this one is left behind.
    pub put: Put,
    /// What was written.
    pub trailer: Trailer,
    /// Bytes of all objects.
    pub stored_len: u64,
    /// Objects.
    pub object_count: u32,
}

/// Writes one bundle: images ascending by page and frame, then commits ascending, then [`BundleWriter::finish`].
///
/// Memory stays bounded whatever the size: some objects of [`OBJECT_LEN_TARGET`] bytes. After an error of the storage, the
/// call may be repeated; or the writer is dropped, and [`BundleWriter::abort`] removes what it wrote (otherwise
/// compaction finds it some day).
pub struct BundleWriter {
    storage: Arc<dyn Storage>,
    summary: Summary,
    page_size: PageSize,
    object_len_target: usize,
    builder: ObjectBuilder,
    /// Pages and commits in `builder`: first and last.
    pages: Option<(u32, u32)>,
    commits: Option<(u64, u64)>,
    parts: Vec<(PartInfo, Trailer)>,
    puts: VecDeque<PartPut>,
    parts_len: u64,
    /// The head, once it is complete.
    head: Option<(Bytes, Trailer)>,
}

struct PartPut {
    key: String,
    bytes: Bytes,
    task: Option<Task<Put>>,
}

impl BundleWriter {
    /// A bundle that will be what `summary` says. Its nonce must be random: it makes the names of the parts.
    pub fn new(storage: &Arc<dyn Storage>, summary: Summary, page_size: PageSize) -> BundleWriter {
        BundleWriter {
            storage: Arc::clone(storage),
            summary,
            page_size,
            object_len_target: OBJECT_LEN_TARGET,
            builder: ObjectBuilder::new(page_size),
            pages: None,
            commits: None,
            parts: Vec::new(),
            puts: VecDeque::new(),
            parts_len: 0,
            head: None,
        }
    }

    /// Let objects end at about `bytes` bytes instead of [`OBJECT_LEN_TARGET`].
    pub fn object_len_target(mut self, bytes: usize) -> BundleWriter {
        self.object_len_target = bytes;
        self
    }

    /// Add the image of a page as of a frame. After an error it has not been added.
    pub async fn push_image(&mut self, page_no: u32, frame_no: u64, image: &[u8]) -> Result<()> {
        let in_order = self.pages.is_none_or(|(_, last)| page_no >= last) && !self.builder.has_commits();
        if !in_order || image.len() != self.page_size.bytes() || page_no == 0 {
            return Err(self.misused(&format!("an image of {} bytes of page {page_no}", image.len())));
        }
        if self.builder.stored_len() >= self.object_len_target {
            self.cut(PartKind::Pages).await?;
        }
        self.builder.reserve_image()?;
        self.builder.push_image(page_no, frame_no, image);
        self.pages = Some((self.pages.map_or(page_no, |(first, _)| first), page_no));
        Ok(())
    }

    /// Add a commit. After an error it has not been added.
    pub async fn push_commit(&mut self, commit: Commit) -> Result<()> {
        if self.commits.is_some_and(|(_, last)| commit.frame_no <= last) {
            return Err(self.misused(&format!("a commit at frame {}", commit.frame_no)));
        }
        if self.builder.stored_len() >= self.object_len_target {
            let kind = if self.builder.has_images() { PartKind::Pages } else { PartKind::Commits };
            self.cut(kind).await?;
        }
        self.builder.reserve_commit()?;
        self.builder.push_commit(commit);
        let first = self.commits.map_or(commit.frame_no, |(first, _)| first);
        self.commits = Some((first, commit.frame_no));
        Ok(())
    }

    /// Write the head. Only now the bundle is there.
    pub async fn finish(&mut self) -> Result<Written> {
        while !self.puts.is_empty() {
            self.wait_for_put().await?;
        }
        let (bytes, trailer) = match &self.head {
            Some(head) => head.clone(),
            None => {
                self.builder.reserve_end(self.parts.len())?;
                let mut builder = std::mem::replace(&mut self.builder, ObjectBuilder::new(self.page_size));
                for (info, trailer) in &self.parts {
                    builder.push_part(info, trailer);
                }
                let (bytes, trailer) = builder.finish(&self.summary, 0);
                // Whatever a reader would refuse is not written.
                Trailer::decode(&bytes, bytes.len() as u64).map_err(|problem| self.misused(&problem))?;
                self.head.insert((bytes.into(), trailer)).clone()
            }
        };
        let put = self.storage.put_new(&self.head_key(), std::slice::from_ref(&bytes)).await?;
        if put == Put::Taken {
            self.delete_parts().await?;
        }
        Ok(Written {
            put,
            trailer,
            stored_len: self.parts_len + bytes.len() as u64,
            object_count: self.parts.len() as u32 + 1,
        })
    }

    /// Give up: delete the parts. Not for a bundle whose [`BundleWriter::finish`] failed: its head may be there.
    pub async fn abort(mut self) -> Result<()> {
        self.puts.clear();
        self.delete_parts().await
    }

    fn head_key(&self) -> String {
        let Summary { log_id, level, .. } = self.summary;
        keys::head_key(log_id, level, self.frame_no())
    }

    /// What its key is made of.
    fn frame_no(&self) -> u64 {
        match self.summary.level {
            Level::SNAPSHOT => self.summary.end_frame_no,
            _ => self.summary.start_frame_no,
        }
    }

    fn part_key(&self, number: u32) -> String {
        let Summary { log_id, level, nonce, .. } = self.summary;
        keys::part_key(log_id, level, self.frame_no(), nonce, number)
    }

    /// Make a part of what has been collected.
    async fn cut(&mut self, kind: PartKind) -> Result<()> {
        while self.puts.len() >= PUTS_MAX {
            self.wait_for_put().await?;
        }
        self.builder.reserve_end(0)?;
        let builder = match kind {
            PartKind::Pages => self.builder.split_images(),
            PartKind::Commits => std::mem::replace(&mut self.builder, ObjectBuilder::new(self.page_size)),
        };
        let number = self.parts.len() as u32 + 1;
        let (bytes, trailer) = builder.finish(&self.summary, number);
        let (first_page_no, last_page_no) = match kind {
            PartKind::Pages => self.pages.take().unwrap_or_default(),
            PartKind::Commits => (0, 0),
        };
        let (first_frame_no, last_frame_no) = match kind {
            PartKind::Pages => (0, 0),
            PartKind::Commits => self.commits.take().unwrap_or_default(),
        };
        let info = PartInfo {
            number,
            kind,
            first_page_no,
            last_page_no,
            first_frame_no,
            last_frame_no,
            size: bytes.len() as u64,
            trailer_crc: trailer.checksum(),
        };
        self.parts_len += info.size;
        self.parts.push((info, trailer));
        let mut put = PartPut { key: self.part_key(number), bytes: bytes.into(), task: None };
        put.start(&self.storage);
        self.puts.push_back(put);
        Ok(())
    }

    /// Wait for the part that was sent first.
    async fn wait_for_put(&mut self) -> Result<()> {
        let Some(first) = self.puts.front_mut() else { return Ok(()) };
        // When it failed, and the caller tries again, so does it.
        let outcome = first.start(&self.storage).wait().await;
        first.task = None;
        if outcome? == Put::Taken {
            return Err(Error::Storage {
                op: "put",
                object: object_name(&*self.storage, &first.key),
                kind: StorageErrorKind::Other,
                message: "there is another object of that name, which was made at random".into(),
            });
        }
        self.puts.pop_front();
        Ok(())
    }

    async fn delete_parts(&self) -> Result<()> {
        let keys: Vec<String> = self.parts.iter().map(|(info, _)| self.part_key(info.number)).collect();
        for keys in keys.chunks(1000) {
            self.storage.delete(keys).await?;
        }
        Ok(())
    }

    fn misused(&self, what: &str) -> Error {
        let Summary { level, start_frame_no, end_frame_no, .. } = self.summary;
        Error::Usage(format!(
            "the bundle of level {level} of frames {start_frame_no} to {end_frame_no} cannot be written: {what}"
        ))
    }
}

impl PartPut {
    fn start(&mut self, storage: &Arc<dyn Storage>) -> &mut Task<Put> {
        self.task.get_or_insert_with(|| {
            let (storage, key, bytes) = (Arc::clone(storage), self.key.clone(), self.bytes.clone());
            Task::spawn(async move { storage.put_new(&key, &[bytes]).await })
        })
    }
}
