//! One object of a bundle: its head, or a part.

use std::sync::Arc;

use bytes::Bytes;

use super::damaged;
use crate::error::{Error, Result};
use crate::format::Problem;
use crate::format::bundle::{
    BlockInfo, CommitBlockInfo, FRONT_SIZE, OBJECT_SIZE_MAX, PartInfo, Span, TRAILER_SIZE, Trailer,
    check_front,
};
use crate::storage::Storage;

/// Bytes at the end of an object that are read first. They hold the indexes of all but the largest objects, and all of
/// a small one, so that nothing is read twice.
const TAIL_LEN: u64 = 64 << 10;

/// An object whose trailer has been read and checked.
#[derive(Clone, Debug)]
pub struct StoredObject {
    storage: Arc<dyn Storage>,
    key: String,
    size: u64,
    tail: Bytes,
    trailer: Trailer,
}

impl StoredObject {
    /// Read the end of the object `key` of `size` bytes: one request.
    pub async fn open(storage: &Arc<dyn Storage>, key: String, size: u64) -> Result<StoredObject> {
        if size < (FRONT_SIZE + TRAILER_SIZE) as u64 || size > OBJECT_SIZE_MAX {
            return Err(damaged(&**storage, &key, None, format!("{size} bytes cannot be a bundle")));
        }
        let tail = read(&**storage, &key, size - size.min(TAIL_LEN)..size).await?;
        let trailer = Trailer::decode(&tail, size)
            .map_err(|problem| damaged(&**storage, &key, size - TRAILER_SIZE as u64, problem))?;
        let object = StoredObject { storage: Arc::clone(storage), key, size, tail, trailer };
        if object.tail_start() == 0 {
            check_front(&object.tail).map_err(|problem| object.damaged(0, problem))?;
        }
        Ok(object)
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What it is.
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// The storage that it is in.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// An error that names this object.
    pub fn damaged(&self, offset: impl Into<Option<u64>>, problem: Problem) -> Error {
        damaged(&*self.storage, &self.key, offset, problem)
    }

    /// Let go of the end that has been read, unless that is all of a small object: the indexes are not needed again.
    pub(in crate::storage) fn without_tail(mut self) -> StoredObject {
        if self.tail_start() > 0 {
            self.tail = Bytes::new();
        }
        self
    }

    /// Read a range of it: no request when it lies in what has been read already, otherwise one.
    pub async fn read(&self, span: Span) -> Result<Bytes> {
        match self.kept(&span) {
            Some(bytes) => Ok(bytes),
            None => read(&*self.storage, &self.key, span).await,
        }
    }

    /// The records of its page blocks.
    pub async fn page_blocks(&self) -> Result<Vec<BlockInfo>> {
        let span = self.trailer.page_index_span();
        let index = self.read(span.clone()).await?;
        self.trailer.page_blocks(&index).map_err(|problem| self.damaged(span.start, problem))
    }

    /// The records of its commit blocks.
    pub async fn commit_blocks(&self) -> Result<Vec<CommitBlockInfo>> {
        let span = self.trailer.commit_index_span();
        let index = self.read(span.clone()).await?;
        self.trailer.commit_blocks(&index).map_err(|problem| self.damaged(span.start, problem))
    }

    /// The list of parts in it.
    pub(super) async fn parts(&self) -> Result<Vec<PartInfo>> {
        let span = self.trailer.parts_span();
        let list = self.read(span.clone()).await?;
        self.trailer.parts(&list).map_err(|problem| self.damaged(span.start, problem))
    }

    fn tail_start(&self) -> u64 {
        self.size - self.tail.len() as u64
    }

    fn kept(&self, span: &Span) -> Option<Bytes> {
        let start = usize::try_from(span.start.checked_sub(self.tail_start())?).ok()?;
        let end = usize::try_from(span.end.checked_sub(self.tail_start())?).ok()?;
        (start <= end && end <= self.tail.len()).then(|| self.tail.slice(start..end))
    }
}

async fn read(storage: &dyn Storage, key: &str, span: Span) -> Result<Bytes> {
    if span.is_empty() {
        return Ok(Bytes::new());
    }
    let bytes = storage.get(key, span.clone()).await?;
    if bytes.len() as u64 != span.end - span.start {
        let what = format!("{} bytes were read, expected {}", bytes.len(), span.end - span.start);
        return Err(damaged(storage, key, span.start, what));
    }
    Ok(bytes)
}
