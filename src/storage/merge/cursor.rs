//! The pages of one bundle, ascending, over its parts. Reads and decodes ahead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::MergeOptions;
use super::decoded::Decoded;
use crate::error::Result;
use crate::format::bundle::{BlockInfo, Content, PartInfo, PartKind};
use crate::storage::bundles::{Bundle, StoredObject, Task, compute};

/// A window has at most about this many bytes,
const WINDOW_MAX: usize = 1 << 20;
/// and this many of them are on their way.
const WINDOWS: usize = 4;
/// Less than this is decoded at once; more on a thread of its own.
const COMPUTE_MIN: u64 = 32 << 10;

pub(super) struct Cursor {
    bundle: Bundle,
    options: MergeOptions,
    /// Bytes of a window, and how many are read ahead.
    window_len: usize,
    window_count: usize,
    /// What has not been opened: parts, and then the head itself.
    parts: VecDeque<PartInfo>,
    head: Option<StoredObject>,
    /// The next object, on its way.
    opening: Option<Task<Opened>>,
    object: Option<StoredObject>,
    /// Blocks of `object` that no window has yet.
    blocks: VecDeque<BlockInfo>,
    windows: VecDeque<Task<Vec<Decoded>>>,
    /// What is here; the first `at` pages of its front have been given out.
    ready: VecDeque<Decoded>,
    at: usize,
    /// The last page that has been decoded.
    last_page_no: u32,
    common: Common,
}

/// What the cursors of a merge share.
#[derive(Clone)]
pub(super) struct Common {
    /// Bytes that have been read.
    pub fetched: Arc<AtomicU64>,
    /// A permit for each window that is read or decoded at the moment: so many buffers, and so many threads.
    pub permits: Arc<Semaphore>,
    /// What decoded blocks leave behind, to be used again: the system gives and takes memory slowly.
    pub used: Arc<Mutex<Vec<Decoded>>>,
}

type Opened = (StoredObject, Vec<BlockInfo>);

impl Cursor {
    pub(super) fn new(bundle: Bundle, options: &MergeOptions, share: usize, common: Common) -> Cursor {
        let is_wanted = |part: &&PartInfo| {
            part.kind == PartKind::Pages
                && part.first_page_no <= options.last_page_no
                && part.last_page_no >= options.first_page_no
        };
        // A small share is for one window on its way, and one that is being used.
        let (window_len, window_count) = match share / WINDOWS {
            len if len < WINDOW_MAX / 8 => (share / 2, 1),
            len => (len.min(WINDOW_MAX), WINDOWS),
        };
        Cursor {
            parts: bundle.parts().iter().filter(is_wanted).copied().collect(),
            head: Some(bundle.object().clone()),
            bundle,
            options: options.clone(),
            window_len,
            window_count,
            opening: None,
            object: None,
            blocks: VecDeque::new(),
            windows: VecDeque::new(),
            ready: VecDeque::new(),
            at: 0,
            last_page_no: 0,
            common,
        }
    }

    /// Page and frame of the next image.
    pub(super) fn peek(&self) -> Option<(u32, u64)> {
        self.ready.front().and_then(|block| block.pages.get(self.at)).copied()
    }

    /// How many of the next images, within one block, are of pages below `limit` and certainly the last of their page
    /// here.
    pub(super) fn count_below(&self, limit: u64) -> usize {
        let Some(block) = self.ready.front() else { return 0 };
        let mut pages = block.pages.get(self.at..).unwrap_or_default();
        if self.bundle.trailer().content == Content::EveryFrame
            && let [first @ .., _] = pages
        {
            // The images of the last page may go on in the next block.
            pages = first;
        }
        pages.partition_point(|&(page_no, _)| u64::from(page_no) < limit)
    }

    /// The next `count` images, which are in one block.
    pub(super) fn take(&self, count: usize) -> (&[(u32, u64)], &[u8]) {
        let page_size = self.bundle.trailer().page_size.bytes();
        let Some(block) = self.ready.front() else { return (&[], &[]) };
        let to = self.at + count;
        (&block.pages[self.at..to], &block.images[self.at * page_size..to * page_size])
    }

    /// Go on behind the next `count` images, which are in one block.
    pub(super) async fn advance(&mut self, count: usize) -> Result<()> {
        self.at += count;
        self.load().await
    }

    /// Make the next image available, if there is one.
    pub(super) async fn load(&mut self) -> Result<()> {
        while self.peek().is_none() {
            self.at = 0;
            self.common.used.lock().extend(self.ready.pop_front());
            if !self.ready.is_empty() {
                continue;
            }
            self.fill().await?;
            let Some(window) = self.windows.front_mut() else { return Ok(()) };
            let blocks = window.wait().await?;
            self.windows.pop_front();
            self.fill().await?;
            self.check_order(&blocks)?;
            self.ready = blocks.into();
        }
        Ok(())
    }

    /// Let as many windows be read as there may be.
    pub(super) async fn fill(&mut self) -> Result<()> {
        while self.windows.len() < self.window_count {
            let Some(object) = self.object.as_ref().filter(|_| !self.blocks.is_empty()) else {
                if !self.next_object().await? {
                    return Ok(());
                }
                continue;
            };
            let blocks = next_window(&mut self.blocks, self.window_len, object);
            self.windows.push_back(read_window(object.clone(), blocks, &self.options, &self.common));
        }
        Ok(())
    }

    /// Go to the next object. False: there is none.
    async fn next_object(&mut self) -> Result<bool> {
        let task = self.opening.take().or_else(|| self.open_next());
        let Some(mut task) = task else { return Ok(false) };
        let (object, blocks) = task.wait().await?;
        self.opening = self.open_next();
        self.object = Some(object);
        self.blocks = blocks.into();
        Ok(true)
    }

    fn open_next(&mut self) -> Option<Task<Opened>> {
        let (first, last) = (self.options.first_page_no, self.options.last_page_no);
        let part = self.parts.pop_front();
        let head = if part.is_none() { self.head.take() } else { None };
        let bundle = self.bundle.clone();
        (part.is_some() || head.is_some()).then(|| {
            Task::spawn(async move {
                let object = match (&part, head) {
                    (Some(part), _) => bundle.open_part(part).await?,
                    (None, Some(head)) => head,
                    (None, None) => bundle.object().clone(),
                };
                let mut blocks = object.page_blocks().await?;
                let object = object.without_tail();
                let limits = part.map_or((1, u32::MAX), |part| (part.first_page_no, part.last_page_no));
                let is_within =
                    |block: &BlockInfo| block.first_page_no >= limits.0 && block.last_page_no <= limits.1;
                if !blocks.iter().all(is_within) {
                    return Err(
                        object.damaged(None, "it has pages that its bundle does not list for it".into())
                    );
                }
                blocks.retain(|block| block.first_page_no <= last && block.last_page_no >= first);
                Ok((object, blocks))
            })
        })
    }

    /// Pages ascend within a block; here it is checked that they also do from block to block, whatever object they are in.
    fn check_order(&mut self, blocks: &[Decoded]) -> Result<()> {
        let may_repeat = self.bundle.trailer().content == Content::EveryFrame;
        for block in blocks {
            let (Some(first), Some(last)) = (block.pages.first(), block.pages.last()) else { continue };
            if first.0 < self.last_page_no || (first.0 == self.last_page_no && !may_repeat) {
                let what = format!("page {} comes after page {}", first.0, self.last_page_no);
                return Err(self.bundle.object().damaged(None, what));
            }
            self.last_page_no = last.0;
        }
        Ok(())
    }
}

/// Blocks that are read together: they lie one behind the other.
fn next_window(blocks: &mut VecDeque<BlockInfo>, window_len: usize, object: &StoredObject) -> Vec<BlockInfo> {
    let page_size = object.trailer().page_size;
    let mut len = 0;
    let mut window = Vec::new();
    while let Some(block) = blocks.front() {
        len += (block.span.end - block.span.start) as usize + block.decoded_len_max(page_size);
        // Both are there while a block is decoded; then its stored form is dropped.
        if !window.is_empty() && len / 2 > window_len {
            break;
        }
        window.extend(blocks.pop_front());
    }
    window
}

fn read_window(
    object: StoredObject,
    blocks: Vec<BlockInfo>,
    options: &MergeOptions,
    common: &Common,
) -> Task<Vec<Decoded>> {
    let (up_to, wanted) = (options.up_to_frame_no, options.first_page_no..=options.last_page_no);
    let Common { fetched, permits, used } = common.clone();
    Task::spawn(async move {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Ok(Vec::new()) };
        let span = first.span.start..last.span.end;
        let len = span.end - span.start;
        let start = span.start;
        // Nobody closes the semaphore.
        let _permit = permits.acquire_owned().await.ok();
        let bytes = object.read(span).await?;
        fetched.fetch_add(len, Ordering::Relaxed);
        let page_size = object.trailer().page_size;
        let room = blocks
            .iter()
            .map(|block| Decoded::for_block(block, page_size, used.lock().pop()))
            .collect::<Result<Vec<_>>>()?;
        let decode = move || {
            let decode = |(block, room): (&BlockInfo, Decoded)| {
                let stored = &bytes[(block.span.start - start) as usize..(block.span.end - start) as usize];
                room.fill(block, stored, page_size, up_to, wanted.clone())
                    .map_err(|problem| object.damaged(block.span.start, problem))
            };
            blocks.iter().zip(room).map(decode).collect()
        };
        if len < COMPUTE_MIN { decode() } else { compute(decode).await }
    })
}
