//! Restoring: bundles in, a database file out.
//!
//! Reading, decoding and merging go on while the file is written on a thread of its own; a few megabytes are in between.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::output::{self, Output};
use super::resolve::{self, Resolved, Target};
use crate::error::{Error, FileOp, Result};
use crate::format::database_header::DatabaseHeader;
use crate::format::footer::Footer;
use crate::format::restore_journal::Progress;
use crate::io::{Io, SystemIo};
use crate::log::new_log_id;
use crate::options::StorageUrl;
use crate::storage::bundles::Bundle;
use crate::storage::merge::{MERGE_MAX, Merge, MergeOptions};
use crate::storage::{self, RetryPolicy, Storage};
use crate::types::{LogId, Parent};

/// Pages go to the writing thread in pieces of about this many bytes,
const PIECE_BYTES: usize = 1 << 20;
/// and so many pieces may wait for it.
const PIECES: usize = 2;

/// About how many bytes are read and decoded ahead.
const READ_AHEAD: usize = 8 << 20;

/// A restore, described.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let url = format!("file://{}/backup", dir.path().display());
/// use vwal::restore::{Restore, Target};
///
/// let restore = Restore::new(&url.parse()?).target(Target::Latest);
/// match restore.run(&dir.path().join("app.db"), |_| ()) {
///     Ok(restored) => println!("restored to frame {}", restored.resolved.commit.frame_no),
///     Err(vwal::Error::NothingThere { .. }) => println!("there is nothing to restore"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Restore {
    url: StorageUrl,
    policy: RetryPolicy,
    log_id: Option<LogId>,
    target: Target,
    takes_over: bool,
    /// So many bundles are merged at once.
    merged: usize,
    /// Progress is noted after so many bytes, instead of what is best.
    #[cfg(test)]
    sync_bytes: Option<usize>,
}

/// How far a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Bytes that were read from storage.
    pub bytes: u64,
    /// Bytes of all objects that are wanted; pages that are not needed are not read.
    pub bytes_total: u64,
}

/// A restored database.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What was restored.
    pub resolved: Resolved,
    /// The log that the database belongs to: the one it was restored from, or a new one that takes over.
    pub log_id: LogId,
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes, without the footer.
    pub bytes: u64,
    /// Whether an earlier restore, which was interrupted, has been gone on with.
    pub continued: bool,
}

impl Restore {
    /// The newest state of what is at `url`.
    pub fn new(url: &StorageUrl) -> Restore {
        Restore {
            url: url.clone(),
            policy: RetryPolicy::default(),
            log_id: None,
            target: Target::Latest,
            takes_over: false,
            merged: MERGE_MAX,
            #[cfg(test)]
            sync_bytes: None,
        }
    }

    /// Note progress after every `bytes` bytes, which are written one such piece at a time, and merge so many bundles at once.
    #[cfg(test)]
    pub(crate) fn in_pieces(self, bytes: usize, merged: usize) -> Restore {
        Restore { sync_bytes: Some(bytes), merged, ..self }
    }

    /// This log, instead of the one that nothing took over.
    pub fn log(mut self, log_id: LogId) -> Restore {
        self.log_id = Some(log_id);
        self
    }

    /// This state, instead of the newest.
    pub fn target(mut self, target: Target) -> Restore {
        self.target = target;
        self
    }

    /// The restored database begins a new log, which takes over from the one in storage when it is shipped there.
    pub fn take_over(mut self) -> Restore {
        self.takes_over = true;
        self
    }

    /// How long operations on storage are tried.
    pub fn retry(mut self, policy: RetryPolicy) -> Restore {
        self.policy = policy;
        self
    }

    /// What would be restored, and from what. Blocks.
    ///
    /// [`Error::NothingThere`] says what storage has instead.
    pub fn plan(&self) -> Result<Resolved> {
        block_on(async {
            let storage = storage::open(&self.url, self.policy)?;
            resolve::resolve(&storage, self.log_id, self.target).await
        })
    }

    /// Restore to the file `path`, which must not exist. Blocks; `progress` is told from time to time how far it is.
    ///
    /// [`Error::Target`] when something is in the way. A restore that fails or is killed leaves nothing at `path`, and
    /// what it has done so far in [`leftovers`]: the next one of the same state goes on from there.
    pub fn run(&self, path: &Path, mut progress: impl FnMut(Advance)) -> Result<Restored> {
        block_on(async {
            let storage = storage::open(&self.url, self.policy)?;
            self.run_from(&storage, path, &mut progress).await
        })
    }

    /// The same, from a storage that is open.
    pub async fn run_from(
        &self,
        storage: &Arc<dyn Storage>,
        path: &Path,
        progress: &mut dyn FnMut(Advance),
    ) -> Result<Restored> {
        self.run_over(Arc::new(SystemIo::private()), storage, path, progress).await
    }

    /// The same, to the files of `io`.
    pub(crate) async fn run_over(
        &self,
        io: Arc<dyn Io>,
        storage: &Arc<dyn Storage>,
        path: &Path,
        progress: &mut dyn FnMut(Advance),
    ) -> Result<Restored> {
        output::check_free(&*io, path)?;
        let mut resolved = resolve::resolve(storage, self.log_id, self.target).await?;
        let (log_id, parent) = match self.takes_over {
            false => (resolved.log_id, None),
            true => (new_log_id(&*io), Some(parent(storage, &resolved)?)),
        };
        let output = Output::begin(Arc::clone(&io), path, description(&resolved), resolved.page_size)?;
        #[cfg(test)]
        let output = match self.sync_bytes {
            Some(bytes) => output.in_pieces(bytes),
            None => output,
        };
        let done = output.done();
        let continued = done.sequence > 0;
        if continued {
            resolved
                .notes
                .push("an earlier restore of this state was interrupted, and is gone on with".into());
        }
        let (mut output, first) = copy(&resolved, self.merged, output, done, progress).await?;
        let first = match first {
            Some(first) => first,
            None => output.read(1)?,
        };
        let header = check_first_page(storage, &resolved, &first)?;
        let commit = resolved.commit;
        let footer = Footer {
            frame_no: commit.frame_no,
            log_id,
            page_size: resolved.page_size,
            db_size_pages: commit.db_size_pages,
            change_counter: header.change_counter,
            version_valid_for: header.version_valid_for,
            commit_us: commit.commit_us,
            parent,
        };
        output.finish(commit.db_size_pages, &footer.encode())?;
        let bytes = u64::from(commit.db_size_pages) * u64::from(resolved.page_size.get());
        Ok(Restored { log_id, path: path.to_owned(), bytes, continued, resolved })
    }
}

/// What an interrupted restore to `path` has left behind: a directory that the next one goes on with, and that may be
/// removed otherwise.
pub fn leftovers(path: &Path) -> Option<PathBuf> {
    Some(output::directory(path)).filter(|dir| dir.is_dir())
}

/// Run `work` on a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = storage::runtime()?;
    runtime.block_on(work)
}

fn parent(storage: &Arc<dyn Storage>, resolved: &Resolved) -> Result<Parent> {
    let end = resolved.end;
    if let Some(successor) = end.successor {
        return Err(Error::Fenced {
            url: storage.url().to_owned(),
            what: format!("log {} was taken over by log {successor} already", end.log_id),
        });
    }
    if end.is_damaged {
        return Err(Error::DamagedObject {
            object: storage.url().to_owned(),
            offset: None,
            what: format!("where log {} ends is not known, so nothing can take it over", end.log_id),
        });
    }
    Ok(Parent { log_id: end.log_id, frame_no: end.end_frame_no })
}

/// What is restored, to the byte: the nonce of a bundle is random.
fn description(resolved: &Resolved) -> String {
    let mut text = format!(
        "frame {} of log {}, {} pages of {} bytes\n",
        resolved.commit.frame_no,
        resolved.log_id,
        resolved.commit.db_size_pages,
        resolved.page_size.get()
    );
    for bundle in &resolved.bundles {
        let trailer = bundle.trailer();
        text += &format!(
            "{} {} {} {:016x}\n",
            trailer.level, trailer.start_frame_no, trailer.end_frame_no, trailer.nonce
        );
    }
    text
}

/// Images of pages on their way to the file: each piece of them follows each other in number.
struct Pieces {
    group: u32,
    firsts: Vec<(u32, usize)>,
    images: Vec<u8>,
}

impl Pieces {
    fn new(group: u32) -> Pieces {
        Pieces { group, firsts: Vec::new(), images: Vec::with_capacity(PIECE_BYTES) }
    }

    fn push(&mut self, page_no: u32, images: &[u8]) {
        if !images.is_empty() {
            self.firsts.push((page_no, images.len()));
            self.images.extend_from_slice(images);
        }
    }

    fn write(&self, output: &mut Output) -> Result<()> {
        output.enter(self.group)?;
        let mut images = &self.images[..];
        for &(page_no, len) in &self.firsts {
            let (piece, rest) = images.split_at(len.min(images.len()));
            output.write(page_no, piece)?;
            images = rest;
        }
        Ok(())
    }
}

/// Merge everything into the file. Also the newest image of page 1, unless it was in the file before.
async fn copy(
    resolved: &Resolved,
    merged: usize,
    mut output: Output,
    done: Progress,
    progress: &mut dyn FnMut(Advance),
) -> Result<(Output, Option<Vec<u8>>)> {
    // Waited for when this is called off, too: it has the lock of the directory. It ends when its sender does, which goes first.
    let mut writer = Writer(None);
    let (sender, mut receiver) = mpsc::channel::<Pieces>(PIECES);
    let (tell, told) = oneshot::channel();
    let work = move || {
        while let Some(pieces) = receiver.blocking_recv() {
            pieces.write(&mut output)?;
        }
        Ok::<_, Error>(output)
    };
    // Not on the runtime: there may be no thread but one, which reads what is written here.
    let thread = std::thread::Builder::new().name("vwal-write".into()).spawn(move || {
        // Nobody listens when the restore was called off.
        let _ = tell.send(work());
    });
    writer.0 =
        Some(thread.map_err(|error| Error::io(FileOp::StartThread, Path::new("a restore"), None, &error))?);
    let first_page = merge(resolved, merged, done, &sender, progress).await;
    drop(sender);
    let Ok(output) = told.await else {
        return match writer.0.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => Err(Error::Timeout("the restore was called off".into())),
        };
    };
    // When writing failed, merging failed too, and only says that nobody listens.
    let output = output?;
    Ok((output, first_page?))
}

/// The thread that writes the file.
struct Writer(Option<JoinHandle<()>>);

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // Its panic was told, or nobody listens.
            let _ = thread.join();
        }
    }
}

async fn merge(
    resolved: &Resolved,
    merged: usize,
    done: Progress,
    sender: &mpsc::Sender<Pieces>,
    progress: &mut dyn FnMut(Advance),
) -> Result<Option<Vec<u8>>> {
    let bytes_total = resolved.plan.bytes();
    let mut bytes_before = 0;
    let mut first_page = None;
    let page_size = resolved.page_size.bytes();
    let skipped = output::lock_byte_page_no(resolved.page_size);
    for (group, bundles) in (0u32..).zip(resolved.bundles.chunks(merged)) {
        if group < done.group {
            bytes_before += bundles.iter().map(Bundle::stored_len).sum::<u64>();
            continue;
        }
        let first_page_no = if group == done.group { done.done_page_no.saturating_add(1) } else { 1 };
        let options = MergeOptions {
            up_to_frame_no: resolved.commit.frame_no,
            first_page_no,
            last_page_no: resolved.commit.db_size_pages,
            budget: READ_AHEAD,
        };
        let mut merge = Merge::new(bundles.to_vec(), &options).await?;
        let mut pieces = Pieces::new(group);
        while let Some(run) = merge.next_run().await? {
            for (page_no, images) in run.contiguous() {
                if page_no == 1 {
                    first_page = images.get(..page_size).map(<[u8]>::to_vec);
                }
                let Some(split) = skipped.checked_sub(u64::from(page_no)) else {
                    pieces.push(page_no, images);
                    continue;
                };
                // Nothing is ever in the lock-byte page.
                let split = usize::try_from(split).unwrap_or(usize::MAX).saturating_mul(page_size);
                let (before, rest) = images.split_at(split.min(images.len()));
                pieces.push(page_no, before);
                if let (Some(rest), Ok(next)) = (rest.get(page_size..), u32::try_from(skipped + 1)) {
                    pieces.push(next, rest);
                }
            }
            if pieces.images.len() >= PIECE_BYTES {
                send(sender, std::mem::replace(&mut pieces, Pieces::new(group))).await?;
                progress(Advance { bytes: bytes_before + merge.fetched_len(), bytes_total });
            }
        }
        send(sender, pieces).await?;
        bytes_before += merge.fetched_len();
        progress(Advance { bytes: bytes_before, bytes_total });
    }
    Ok(first_page)
}

async fn send(sender: &mpsc::Sender<Pieces>, pieces: Pieces) -> Result<()> {
    let gone = |_| Error::Timeout("the file is not written any more".into());
    sender.send(pieces).await.map_err(gone)
}

/// Page 1 must be that of a database with the page size of the bundles.
fn check_first_page(storage: &Arc<dyn Storage>, resolved: &Resolved, image: &[u8]) -> Result<DatabaseHeader> {
    let found = DatabaseHeader::parse(image);
    match found.filter(|header| header.page_size == resolved.page_size) {
        Some(header) => Ok(header),
        None => Err(Error::DamagedObject {
            object: storage.url().to_owned(),
            offset: None,
            what: format!(
                "page 1 at frame {} of log {} is not the first page of a database with pages of {} bytes",
                resolved.commit.frame_no,
                resolved.log_id,
                resolved.page_size.get()
            ),
        }),
    }
}
