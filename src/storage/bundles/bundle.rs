//! A bundle: its head, and its parts when it has any.

use std::sync::Arc;

use super::heads::Head;
use super::{CommitCursor, StoredObject};
use crate::error::{Error, Result, StorageErrorKind};
use crate::format::bundle::{BlockInfo, BlockReader, PartInfo, PartKind, Trailer};
use crate::storage::Storage;
use crate::storage::keys;
use crate::types::Level;

/// A bundle whose head has been opened and fits its key.
#[derive(Clone, Debug)]
pub struct Bundle {
    head: Head,
    object: StoredObject,
    parts: Arc<[PartInfo]>,
}

impl Bundle {
    /// Open a bundle that a listing showed: one request (two, when it has more than a thousand parts).
    pub async fn open(storage: &Arc<dyn Storage>, head: &Head) -> Result<Bundle> {
        let object = StoredObject::open(storage, head.key(), head.size).await?;
        let trailer = object.trailer();
        let frame_no =
            if head.level == Level::SNAPSHOT { trailer.end_frame_no } else { trailer.start_frame_no };
        if (trailer.log_id, trailer.level, frame_no, trailer.part)
            != (head.log_id, head.level, head.frame_no, 0)
        {
            let what = format!(
                "it holds part {} of the bundle of level {} at frame {frame_no} of log {}: another object is in its place",
                trailer.part, trailer.level, trailer.log_id
            );
            return Err(object.damaged(None, what));
        }
        let parts = object.parts().await?.into();
        Ok(Bundle { head: *head, object, parts })
    }

    /// What the listing showed.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What it is.
    pub fn trailer(&self) -> &Trailer {
        self.object.trailer()
    }

    /// The object of its head.
    pub fn object(&self) -> &StoredObject {
        &self.object
    }

    /// Its parts. Those with pages come first.
    pub fn parts(&self) -> &[PartInfo] {
        &self.parts
    }

    /// Bytes of all its objects.
    pub fn stored_len(&self) -> u64 {
        self.parts.iter().fold(self.object.size(), |sum, part| sum.saturating_add(part.size))
    }

    /// The key of a part.
    pub fn part_key(&self, part: &PartInfo) -> String {
        keys::part_key(
            self.head.log_id,
            self.head.level,
            self.head.frame_no,
            self.trailer().nonce,
            part.number,
        )
    }

    /// Open a part: one request.
    pub async fn open_part(&self, part: &PartInfo) -> Result<StoredObject> {
        let object = StoredObject::open(self.object.storage(), self.part_key(part), part.size).await?;
        let (own, head) = (object.trailer(), self.trailer());
        if own.checksum() != part.trailer_crc || own.part != part.number || own.page_size != head.page_size {
            let what = format!(
                "it is not the part that {} lists: part {} with trailer checksum {:08x}, expected part {} and {:08x}",
                self.object.key(),
                own.part,
                own.checksum(),
                part.number,
                part.trailer_crc
            );
            return Err(object.damaged(None, what));
        }
        Ok(object)
    }

    /// The page index of the head itself; parts have indexes of their own.
    pub async fn page_index(&self) -> Result<Vec<BlockInfo>> {
        self.object.page_blocks().await
    }

    /// Its commits, ascending.
    pub fn commits(&self) -> CommitCursor {
        CommitCursor::new(self.clone())
    }

    /// The newest image of a page up to a frame, and its frame: one request for a block, and one for each part that may
    /// hold the page. `None`: the bundle has none.
    pub async fn fetch_page(&self, page_no: u32, up_to_frame_no: u64) -> Result<Option<(u64, Vec<u8>)>> {
        // What stands behind is newer, as far as it is of the same page.
        if let Some(found) = fetch_from(&self.object, page_no, up_to_frame_no).await? {
            return Ok(Some(found));
        }
        let may_hold = |part: &&PartInfo| {
            part.kind == PartKind::Pages && (part.first_page_no..=part.last_page_no).contains(&page_no)
        };
        for part in self.parts.iter().rev().filter(may_hold) {
            let part = self.open_part(part).await?;
            if let Some(found) = fetch_from(&part, page_no, up_to_frame_no).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

async fn fetch_from(
    object: &StoredObject,
    page_no: u32,
    up_to_frame_no: u64,
) -> Result<Option<(u64, Vec<u8>)>> {
    let blocks = object.page_blocks().await?;
    let end = blocks.partition_point(|block| block.first_page_no <= page_no);
    for block in blocks[..end].iter().rev().take_while(|block| block.last_page_no >= page_no) {
        let bytes = object.read(block.span.clone()).await?;
        let problem = |problem| object.damaged(block.span.start, problem);
        let mut reader = BlockReader::new(block, &bytes, object.trailer().page_size).map_err(problem)?;
        let mut found = None;
        while let Some((page, frame_no, image)) = reader.next_image().map_err(problem)? {
            if page == page_no && frame_no <= up_to_frame_no {
                found = Some((frame_no, image.to_vec()));
            }
        }
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Delete a bundle: the head first, so that no head is ever seen whose parts are gone; then its parts.
///
/// A crash in between leaves parts without a head, which a listing of parts finds.
pub async fn delete_bundle(storage: &Arc<dyn Storage>, head: &Head) -> Result<()> {
    let opened = Bundle::open(storage, head).await;
    // A head that is damaged can be deleted all the same; its parts are left to the search for orphans.
    let parts: Vec<String> = match &opened {
        Ok(bundle) => bundle.parts().iter().map(|part| bundle.part_key(part)).collect(),
        Err(Error::DamagedObject { .. }) => Vec::new(),
        Err(Error::Storage { kind: StorageErrorKind::NotFound, .. }) => {
            return Ok(());
        }
        Err(error) => return Err(error.clone()),
    };
    storage.delete(&[head.key()]).await?;
    for keys in parts.chunks(1000) {
        storage.delete(keys).await?;
    }
    Ok(())
}
