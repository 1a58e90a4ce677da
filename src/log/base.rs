//! What the base file looks like, and whether it is the one that a log belongs to.
//!
//! A base file has its identity from the first moment of its log: the footer after its last page names the log. SQLite without
//! vwal cuts the footer off at its own checkpoint, and a file that it makes has none. A file that vwal left always has one, whole
//! or damaged: a pass keeps it at the end of the file at every moment (`checkpointer/pass.rs`).

use std::fmt;
use std::path::Path;

use crate::error::Result;
use crate::format::database_header::{DATABASE_HEADER_SIZE, DatabaseHeader};
use crate::format::footer::{FOOTER_SIZE, Footer};
use crate::format::frame::{FRAME_HEADER_SIZE, FrameLayout, commit_time};
use crate::format::meta::Meta;
use crate::io::File;
use crate::segment::Scan;
use crate::types::PageSize;

/// What the log holds of the pass that was under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Pages of the database after each commit that the pass covers, each number once.
    sizes: Vec<u32>,
    /// A frame of it is of page 1.
    has_page_1: bool,
}

impl Pass {
    /// What these segments hold of it.
    pub(crate) fn of<'a>(meta: &Meta, segments: impl Iterator<Item = &'a Scan>) -> Pass {
        let mut pass = Pass::default();
        for scan in segments {
            for (frame_no, mark) in (scan.first_frame_no..).zip(&scan.marks) {
                if frame_no <= meta.checkpointed_frame_no || frame_no > meta.intent_frame_no {
                    continue;
                }
                pass.has_page_1 |= mark.page_no == 1;
                if mark.db_size_pages != 0 && !pass.sizes.contains(&mark.db_size_pages) {
                    pass.sizes.push(mark.db_size_pages);
                }
            }
        }
        pass
    }

    /// Whether a file between two states may end after so many pages.
    fn is_end(&self, pages: u32, meta: &Meta) -> bool {
        pages == meta.db_size_pages || self.sizes.contains(&pages)
    }
}

/// When the frame was committed, if it ends a commit: from the first of these segments that has it. Each is its first frame and
/// its file.
pub(crate) fn commit_us_of<'a>(
    segments: impl DoubleEndedIterator<Item = (u64, &'a dyn File)>,
    page_size: PageSize,
    frame_no: u64,
) -> Option<u64> {
    let (start, file) = segments.rev().find(|&(start, _)| start <= frame_no)?;
    let mut header = [0; FRAME_HEADER_SIZE];
    file.read_exact_at(&mut header, FrameLayout::new(page_size).offset(frame_no - start)).ok()?;
    commit_time(&header)
}

/// What is after the last whole page of a base file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tail {
    /// Nothing, or more than a footer.
    Missing,
    /// As many bytes as a footer has, or fewer, that are none. What is wrong with them.
    Damaged(String),
    /// A footer.
    Whole(Footer),
}

impl Tail {
    /// A footer counts at the end of the file only: SQLite without vwal leaves it where it is, and the file goes on to the end of
    /// a page.
    fn read(base: &dyn File, size: u64, page_size: PageSize) -> Result<Tail> {
        let length = (size % u64::from(page_size.get())) as usize;
        if length == 0 || length > FOOTER_SIZE {
            return Ok(Tail::Missing);
        }
        let mut bytes = vec![0; length];
        base.read_exact_at(&mut bytes, size - length as u64)?;
        Ok(Footer::decode(&bytes).map_or_else(Tail::Damaged, Tail::Whole))
    }
}

/// What the base file looks like.
#[derive(Clone, Debug)]
pub(crate) struct BaseState {
    size: u64,
    pub(crate) header: Option<DatabaseHeader>,
    tail: Tail,
}

impl BaseState {
    /// Look at the file.
    pub(crate) fn read(base: &dyn File, meta: Option<&Meta>) -> Result<BaseState> {
        let size = base.size()?;
        let mut head = [0; DATABASE_HEADER_SIZE];
        let got = base.read_to_end_at(&mut head, 0)?;
        let header = DatabaseHeader::parse(&head[..got]);
        let page_size = meta.map(|meta| meta.page_size).or(header.map(|header| header.page_size));
        let tail = page_size.map_or(Ok(Tail::Missing), |page_size| Tail::read(base, size, page_size))?;
        Ok(BaseState { size, header, tail })
    }

    /// There is not a byte in it: it was made anew, or cut to nothing. No crash leaves that of a base file: it has pages, which are
    /// fsynced with the footer and the name before the metadata of its log is written (`open_meta`), and no pass leaves less.
    pub(crate) fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Whole pages in the file; the footer is none.
    pub(crate) fn whole_pages(&self, page_size: PageSize) -> u32 {
        u32::try_from(self.size / u64::from(page_size.get())).unwrap_or(u32::MAX)
    }

    /// Pages of the database, as SQLite reckons them: what the header says when that can be trusted, else the file size
    /// (<https://sqlite.org/fileformat2.html#in_header_database_size>).
    pub(crate) fn db_size_pages(&self, page_size: PageSize) -> u32 {
        match self.header {
            Some(header) if header.db_size_pages > 0 && header.change_counter == header.version_valid_for => {
                header.db_size_pages
            }
            _ => self.whole_pages(page_size),
        }
    }

    /// The header says that the database is in WAL mode.
    pub(crate) fn is_wal(&self) -> bool {
        self.header.is_some_and(|header| header.is_wal)
    }

    /// The footer, when it is whole.
    pub(crate) fn footer(&self) -> Option<Footer> {
        match self.tail {
            Tail::Whole(footer) => Some(footer),
            _ => None,
        }
    }

    /// Where the footer is that is damaged, and what is wrong with it.
    pub(crate) fn damaged_footer(&self, page_size: PageSize) -> Option<(u64, &str)> {
        match &self.tail {
            Tail::Damaged(problem) => Some((self.size - self.size % u64::from(page_size.get()), problem)),
            _ => None,
        }
    }

    /// Whether the footer is as it was written, and nothing wrote to the pages since.
    pub(crate) fn is_as_of(&self, footer: &Footer) -> bool {
        self.header.is_some_and(|header| {
            header.page_size == footer.page_size
                && header.change_counter == footer.change_counter
                && header.version_valid_for == footer.version_valid_for
                && self.db_size_pages(footer.page_size) == footer.db_size_pages
        })
    }

    /// Why this is not the base file that `meta` speaks of; `None`: it is, and nothing else has written to it since. `pass`: what
    /// the log holds of the pass that was under way; `commit_us` says when a frame of the pass was committed.
    ///
    /// `drained`: no frame of the log is missing from the file, so a new log can begin without loss, and doubt is reason enough.
    pub(crate) fn difference(
        &self,
        meta: &Meta,
        pass: &Pass,
        drained: bool,
        commit_us: impl Fn(u64) -> Option<u64>,
    ) -> Option<Difference> {
        // A power loss in a pass that writes page 1 may leave anything in its place. It is not read before it is written again: the
        // log has it.
        let is_torn = self.header.is_none() && pass.has_page_1;
        if let Some(later) = self.later_state(meta) {
            return Some(later);
        }
        let header = (!is_torn).then(|| self.header_difference(meta, pass)).flatten();
        header
            .or_else(|| self.size_difference(meta, pass))
            .or_else(|| self.footer_difference(meta, pass, drained, commit_us))
    }

    /// The file is of this log, and later than everything that the metadata knows of. That tells more than the header does, whose
    /// change counter differs then, too. It tells nothing of the pages: a pass that was interrupted leaves the footer of the state
    /// before it, and only the metadata that is missing here says that there was one.
    fn later_state(&self, meta: &Meta) -> Option<Difference> {
        let header = self.header.filter(|header| header.is_wal && header.page_size == meta.page_size)?;
        let footer = self.footer().filter(|footer| footer.page_size == header.page_size)?;
        let later = Difference::OtherState { is: footer, was: *meta };
        (footer.log_id == meta.log_id && later.is_later()).then_some(later)
    }

    fn header_difference(&self, meta: &Meta, pass: &Pass) -> Option<Difference> {
        let Some(header) = self.header else { return Some(Difference::NoDatabase) };
        if header.page_size != meta.page_size {
            return Some(Difference::PageSize { is: header.page_size, was: meta.page_size });
        }
        if !header.is_wal {
            return Some(Difference::NotWal);
        }
        let is = (header.change_counter, header.version_valid_for);
        // A pass that writes page 1 may have left either state's.
        (!pass.has_page_1 && is != (meta.change_counter, meta.version_valid_for))
            .then_some(Difference::ChangeCounter { is: header.change_counter, was: meta.change_counter })
    }

    fn size_difference(&self, meta: &Meta, pass: &Pass) -> Option<Difference> {
        let pages = self.whole_pages(meta.page_size);
        // A pass may have cut the file to any size that the database had on the way.
        let least = pass.sizes.iter().fold(meta.db_size_pages, |least, &size| least.min(size));
        if pages < least {
            return Some(Difference::TooShort { pages, least });
        }
        // Metadata of a log that has no footer yet took the size from the file as well.
        let pages = self.db_size_pages(meta.page_size);
        (!meta.has_footer && !meta.has_intent() && pages != meta.db_size_pages)
            .then_some(Difference::Pages { pages, was: meta.db_size_pages })
    }

    fn footer_difference(
        &self,
        meta: &Meta,
        pass: &Pass,
        drained: bool,
        commit_us: impl Fn(u64) -> Option<u64>,
    ) -> Option<Difference> {
        let footer = match &self.tail {
            Tail::Whole(footer) => footer,
            _ if !meta.has_footer => return None,
            // Damage must not be what keeps committed frames from being read, and a pass that was interrupted may have torn it.
            Tail::Damaged(_) if !drained && pass.is_end(self.whole_pages(meta.page_size), meta) => {
                return None;
            }
            _ => return Some(Difference::NoFooter),
        };
        if footer.log_id != meta.log_id {
            return Some(Difference::OtherLog { is: *footer, was: *meta });
        }
        let in_pass = footer.frame_no > meta.checkpointed_frame_no && footer.frame_no <= meta.intent_frame_no;
        // While a pass is under way the footer may also be that of an earlier attempt at the pass, which a crash interrupted after
        // its footer. That does no harm: everything after the checkpointed frame is in the log.
        let fits =
            names_state(footer, meta) || (in_pass && commit_us(footer.frame_no) == Some(footer.commit_us));
        (!fits).then_some(Difference::OtherState { is: *footer, was: *meta })
    }
}

/// The metadata of the state that a footer names.
pub(super) fn at_footer(meta: &Meta, footer: &Footer) -> Meta {
    Meta {
        checkpointed_frame_no: footer.frame_no,
        intent_frame_no: footer.frame_no,
        db_size_pages: footer.db_size_pages,
        change_counter: footer.change_counter,
        version_valid_for: footer.version_valid_for,
        has_footer: true,
        commit_us: footer.commit_us,
        ..*meta
    }
}

/// Whether a footer is that of the checkpointed state. The time tells two copies apart that went different ways: they have the
/// same log id, and may have a commit at the same frame.
fn names_state(footer: &Footer, meta: &Meta) -> bool {
    (footer.log_id, footer.frame_no, footer.commit_us)
        == (meta.log_id, meta.checkpointed_frame_no, meta.commit_us)
}

/// What tells a base file from the one that the log left. It is named in words in messages, and by row in `docs/design.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// It does not begin as a database does.
    NoDatabase,
    /// Another page size.
    PageSize { is: PageSize, was: PageSize },
    /// In rollback mode.
    NotWal,
    /// SQLite without vwal has written to page 1.
    ChangeCounter { is: u32, was: u32 },
    /// Pages are missing at its end.
    TooShort { pages: u32, least: u32 },
    /// It has not as many pages as before.
    Pages { pages: u32, was: u32 },
    /// There is no footer where one has to be.
    NoFooter,
    /// The footer is that of another log.
    OtherLog { is: Footer, was: Meta },
    /// The footer is of this log, of another state.
    OtherState { is: Footer, was: Meta },
}

impl Difference {
    /// What is wrong when the log has frames `from` to `end`, which this file should not have yet.
    pub(crate) fn with_frames(&self, from: u64, end: u64) -> String {
        if let Some((is, was)) = self.later() {
            return format!(
                "it is at frame {is} of this very log, which is later than frame {was}, where the metadata of the log directory is \
                 ({self}): either an older copy of the log directory has its place, or the file is of a copy of the database that went \
                 another way"
            );
        }
        format!(
            "something other than vwal changed or replaced it ({self}), while frames {from} to {end} are only in the log"
        )
    }

    /// What can be done about it, of the log in `dir`.
    pub(crate) fn advice(&self, dir: &Path) -> String {
        let dir = dir.display();
        if self.is_later() {
            return format!(
                "Put the directory back that belongs to the file, or the file that belongs to '{dir}'. If there is no such directory, and \
                 the database was last closed in order (or drained, as 'last_error' said), the file has all of its commits: move \
                 '{dir}' away"
            );
        }
        format!(
            "Put back the file that belongs to the log; or, to go on with this file and give those commits up, move '{dir}' away"
        )
    }

    /// The file is of this log, and of a frame after those that the metadata knows of.
    fn is_later(&self) -> bool {
        self.later().is_some()
    }

    /// If the file is later than the metadata: the frame of each.
    fn later(&self) -> Option<(u64, u64)> {
        match self {
            Difference::OtherState { is, was } => {
                let known = was.checkpointed_frame_no.max(was.intent_frame_no);
                (is.frame_no > known).then_some((is.frame_no, known))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::NoDatabase => write!(f, "it is not a database"),
            Difference::PageSize { is, was } => {
                write!(f, "its page size is {}, the log's is {}", is.get(), was.get())
            }
            Difference::NotWal => write!(f, "it is not in WAL mode any more"),
            Difference::ChangeCounter { is, was } if is == was => {
                write!(f, "its version-valid-for number is not the one that the log left")
            }
            Difference::ChangeCounter { is, was } => {
                write!(f, "its change counter is {is}, the log left it at {was}")
            }
            Difference::TooShort { pages, least } => {
                write!(f, "it has {pages} pages, the log left it with {least} at least")
            }
            Difference::Pages { pages, was } => write!(f, "it has {pages} pages, the log left it with {was}"),
            Difference::NoFooter => {
                write!(f, "its footer is gone, which SQLite without vwal cuts off, or it never had one")
            }
            Difference::OtherLog { is, was } | Difference::OtherState { is, was } => write!(
                f,
                "its footer says frame {} of log {}, committed at {} µs, the log's metadata frame {} of log {}, at {} µs",
                is.frame_no, is.log_id, is.commit_us, was.checkpointed_frame_no, was.log_id, was.commit_us
            ),
        }
    }
}
