//! What is inside of a bundle: its indexes, and with them every block.

use super::Depth;
use crate::error::{Error, Result};
use crate::format::bundle::{BlockInfo, BlockReader, CommitReader, Content, PartKind};
use crate::storage::bundles::{Bundle, StoredObject};

/// Blocks are read together up to this many bytes.
const READ_MAX: u64 = 4 << 20;

/// Everything that is wrong with the objects of a bundle.
pub(super) async fn check(bundle: &Bundle, depth: Depth) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut images = 0;
    let mut commits = 0;
    for part in bundle.parts() {
        let pages = match part.kind {
            PartKind::Pages => (part.first_page_no, part.last_page_no),
            PartKind::Commits => (u32::MAX, 0),
        };
        let checked = match bundle.open_part(part).await {
            Ok(object) => check_object(bundle, &object, pages, depth).await,
            Err(error) => Err(error),
        };
        add(checked, &mut images, &mut commits, &mut errors);
    }
    let checked = check_object(bundle, bundle.object(), (1, u32::MAX), depth).await;
    add(checked, &mut images, &mut commits, &mut errors);
    let trailer = bundle.trailer();
    if errors.is_empty() && (images, commits) != (trailer.image_count, trailer.commit_count) {
        let what = format!(
            "it has {images} images and {commits} commits, expected {} and {}",
            trailer.image_count, trailer.commit_count
        );
        errors.push(bundle.object().damaged(None, what));
    }
    errors
}

fn add(checked: Result<(u64, u64)>, images: &mut u64, commits: &mut u64, errors: &mut Vec<Error>) {
    match checked {
        Ok((more_images, more_commits)) => {
            *images += more_images;
            *commits += more_commits;
        }
        Err(error) => errors.push(error),
    }
}

/// Images and commits in an object whose pages must lie in `pages`.
async fn check_object(
    bundle: &Bundle,
    object: &StoredObject,
    pages: (u32, u32),
    depth: Depth,
) -> Result<(u64, u64)> {
    let blocks = object.page_blocks().await?;
    if let Some(block) =
        blocks.iter().find(|block| block.first_page_no < pages.0 || block.last_page_no > pages.1)
    {
        let what = format!(
            "it has pages {} to {}, and its bundle lists {} to {}",
            block.first_page_no, block.last_page_no, pages.0, pages.1
        );
        return Err(object.damaged(block.span.start, what));
    }
    let commit_blocks = object.commit_blocks().await?;
    if depth == Depth::Data {
        let mut rest = &blocks[..];
        while let [first, ..] = rest {
            let fits = |block: &BlockInfo| block.span.end - first.span.start <= READ_MAX;
            let count = rest.iter().take_while(|block| fits(block)).count().max(1);
            let (these, others) = rest.split_at(count);
            check_blocks(bundle, object, these).await?;
            rest = others;
        }
        for info in &commit_blocks {
            let bytes = object.read(info.span.clone()).await?;
            let problem = |problem| object.damaged(info.span.start, problem);
            let mut reader = CommitReader::new(info, &bytes).map_err(problem)?;
            while reader.next_commit().map_err(problem)?.is_some() {}
        }
    }
    let images = blocks.iter().map(|block| u64::from(block.image_count)).sum();
    let commits = commit_blocks.iter().map(|block| u64::from(block.commit_count)).sum();
    Ok((images, commits))
}

/// Decode blocks that lie one behind the other.
async fn check_blocks(bundle: &Bundle, object: &StoredObject, blocks: &[BlockInfo]) -> Result<()> {
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Ok(()) };
    let start = first.span.start;
    let bytes = object.read(start..last.span.end).await?;
    let trailer = bundle.trailer();
    // Images of a full image may be as old as the log.
    let oldest = if trailer.content == Content::FullImage { 0 } else { trailer.start_frame_no };
    for block in blocks {
        let problem = |problem| object.damaged(block.span.start, problem);
        let span = (block.span.start - start) as usize..(block.span.end - start) as usize;
        let stored = bytes.get(span).unwrap_or_default();
        let mut reader = BlockReader::new(block, stored, trailer.page_size).map_err(problem)?;
        while let Some((page_no, frame_no, _)) = reader.next_image().map_err(problem)? {
            if !(oldest..=trailer.end_frame_no).contains(&frame_no) {
                let what = format!("frame {frame_no} of page {page_no} is not of its range");
                return Err(object.damaged(block.span.start, what));
            }
        }
    }
    Ok(())
}
