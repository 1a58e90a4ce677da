//! The positions of a log: how far each step of a frame's way has come.
//!
//! They move in this order, and each is at most as far as the one before it:
//!
//! written ≥ published ≥ absorbed ≥ checkpointed, and written ≥ synced ≥ checkpointed.
//!
//! With storage, published ≥ stored ≥ checkpointed, with the exceptions of [`PassLimit`]. What is shipped has been fsynced, but after
//! a crash storage may have frames that nobody on this disk has proved durable.
//!
//! Each change is a method with a name, and there is no other store. A method says who may call it, and in debug builds asserts the
//! order. The fault programme asserts it in each state that it reaches ([`Positions::check`]).

use super::lines::Lines;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// The positions of a log. Plain memory without pointers: every process that has the log open sees it. Everything else can be derived
/// from the segments. Its default is that of a log without a page, and nobody's.
#[derive(Default)]
#[repr(C)]
pub struct Positions {
    committing: Lines<Committing>,
    synced: AtomicU64,
    absorbed: AtomicU64,
    checkpointed: AtomicU64,
    /// Storage has everything up to this frame, if [`STORED_IS_KNOWN`].
    stored: AtomicU64,
    /// Frames up to this one are needed by nobody who reads the WAL: the end of the generation before the current one.
    generation_base: AtomicU64,
    /// Pages of the database as of `absorbed`.
    view_pages: AtomicU32,
    /// Pages of the base file that reads may go to.
    base_pages: AtomicU32,
    flags: AtomicU32,
    /// Time of the oldest commit that is not checkpointed, microseconds since 1970; 0: none.
    oldest_us: AtomicU64,
}

/// What each commit changes. It has a cache line of its own, or each commit would take away the one that readers use.
#[derive(Default)]
#[repr(C)]
struct Committing {
    written: AtomicU64,
    published: AtomicU64,
    /// Pages of the database as of `published`.
    published_pages: AtomicU32,
}

#[cfg(not(all(test, shuttle)))]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Positions>() == 256);
    assert!(offset_of!(Committing, published) == 8 && offset_of!(Committing, published_pages) == 16);
    assert!(offset_of!(Positions, synced) == 128 && offset_of!(Positions, absorbed) == 136);
    assert!(offset_of!(Positions, checkpointed) == 144 && offset_of!(Positions, stored) == 152);
    assert!(offset_of!(Positions, generation_base) == 160 && offset_of!(Positions, view_pages) == 168);
    assert!(offset_of!(Positions, base_pages) == 172 && offset_of!(Positions, flags) == 176);
    assert!(offset_of!(Positions, oldest_us) == 184);
};

/// Where storage is has been found out.
const STORED_IS_KNOWN: u32 = 1;
/// Storage belongs to another log.
const FENCED: u32 = 2;

/// Why a pass may bring the base file to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassLimit {
    /// The log has no storage, or is fenced off from it.
    Unlimited,
    /// Storage has the frame.
    Stored,
    /// A crash interrupted a pass to that frame. Until it is completed the base file is of no single state.
    Interrupted,
    /// WAL mode ends, and there will be no log that could keep what storage lacks.
    Leaving,
}

/// Where a log begins that has just been recovered.
pub struct Start {
    /// The last committed frame.
    pub(crate) end: u64,
    /// The last frame that is proved to be durable.
    pub(crate) synced: u64,
    pub(crate) checkpointed: u64,
    /// Pages of the database as of `end`.
    pub(crate) pages: u32,
    /// Pages of the base file that reads may go to.
    pub(crate) base_pages: u32,
    /// Time of the oldest commit that is not checkpointed, microseconds since 1970; 0: none.
    pub(crate) oldest_us: u64,
}

impl Positions {
    /// A log has been recovered, and all that was committed is part of the view. Nobody else has these positions yet.
    pub(crate) fn begin(&self, found: &Start) {
        self.committing.written.store(found.end, Ordering::Relaxed);
        self.committing.published.store(found.end, Ordering::Relaxed);
        self.committing.published_pages.store(found.pages, Ordering::Relaxed);
        self.synced.store(found.synced, Ordering::Relaxed);
        self.absorbed.store(found.end, Ordering::Relaxed);
        self.checkpointed.store(found.checkpointed, Ordering::Relaxed);
        self.stored.store(0, Ordering::Relaxed);
        self.generation_base.store(found.end, Ordering::Relaxed);
        self.view_pages.store(found.pages, Ordering::Relaxed);
        self.base_pages.store(found.base_pages, Ordering::Relaxed);
        self.flags.store(0, Ordering::Relaxed);
        self.oldest_us.store(found.oldest_us, Ordering::Relaxed);
        self.assert_order();
    }

    /// The last frame that is in a segment, as part of a commit that may still be tentative.
    pub(crate) fn written(&self) -> u64 {
        self.committing.written.load(Ordering::Acquire)
    }

    /// The last frame that readers may see.
    pub(crate) fn published(&self) -> u64 {
        self.committing.published.load(Ordering::Acquire)
    }

    /// Pages of the database as of the last commit.
    pub(crate) fn published_pages(&self) -> u32 {
        self.committing.published_pages.load(Ordering::Acquire)
    }

    /// The last frame that survives a power loss.
    pub(crate) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// The last frame that is part of the view of the database file.
    pub(crate) fn absorbed(&self) -> u64 {
        self.absorbed.load(Ordering::Acquire)
    }

    /// The last frame that is in the base file, durably.
    pub(crate) fn checkpointed(&self) -> u64 {
        self.checkpointed.load(Ordering::Acquire)
    }

    /// The last frame that storage has. `None`: not known yet, or there is no storage.
    pub(crate) fn stored(&self) -> Option<u64> {
        self.has(STORED_IS_KNOWN).then(|| self.stored.load(Ordering::Acquire))
    }

    /// Frames up to this one are read by nobody through the WAL.
    pub(crate) fn generation_base(&self) -> u64 {
        self.generation_base.load(Ordering::Acquire)
    }

    /// Pages of the database as SQLite sees its file.
    pub(crate) fn view_pages(&self) -> u32 {
        self.view_pages.load(Ordering::Acquire)
    }

    /// Pages of the base file that reads may go to.
    pub(crate) fn base_pages(&self) -> u32 {
        self.base_pages.load(Ordering::Acquire)
    }

    /// Whether storage belongs to another log.
    pub(crate) fn is_fenced(&self) -> bool {
        self.has(FENCED)
    }

    /// When the oldest commit was made that is not checkpointed, microseconds since 1970; `None`: there is none.
    pub(crate) fn oldest_us(&self) -> Option<u64> {
        match self.oldest_us.load(Ordering::Acquire) {
            0 => None,
            oldest_us => (self.published() > self.checkpointed()).then_some(oldest_us),
        }
    }

    fn has(&self, flag: u32) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// A commit is in its segment, and can still be taken back. By the holder of the write lock.
    pub(crate) fn write(&self, to: u64) {
        debug_assert!(to > self.published(), "frame {to} is published");
        self.committing.written.store(to, Ordering::Release);
    }

    /// The tentative commit is none any more: other frames will get its numbers, so an fsync of it counts for nothing. By the holder
    /// of the write lock, under the lock `SyncState::inner`: nobody finishes an fsync meanwhile, or takes one for done.
    pub(crate) fn take_back(&self) {
        let published = self.published();
        self.synced.fetch_min(published, Ordering::AcqRel);
        self.committing.written.store(published, Ordering::Release);
    }

    /// The commit that ends at frame `to` can no longer be taken back: readers see it, and the database has `pages` pages now. The holder of
    /// the write lock calls this.
    pub(crate) fn publish(&self, to: u64, pages: Option<u32>) {
        debug_assert!(self.published() < to && to <= self.written(), "frame {to} is not written");
        if let Some(pages) = pages {
            self.committing.published_pages.store(pages, Ordering::Release);
        }
        self.committing.published.store(to, Ordering::Release);
    }

    /// An fsync that covers everything up to `to` has succeeded. By the thread that led it.
    pub(crate) fn sync(&self, to: u64) {
        debug_assert!(to <= self.written(), "frame {to} is not written");
        self.synced.fetch_max(to, Ordering::AcqRel);
    }

    /// The page index has every frame up to `to`, the end of a commit: they are part of the view. One thread at a time.
    pub(crate) fn absorb(&self, to: u64, pages: u32) {
        debug_assert!(self.absorbed() <= to && to <= self.published(), "frame {to} is not published");
        self.view_pages.store(pages, Ordering::Release);
        self.absorbed.store(to, Ordering::Release);
    }

    /// After a commit: note its time if it is the oldest one that is not checkpointed. True: it is.
    pub(crate) fn note_commit(&self, now_us: impl FnOnce() -> u64) -> bool {
        let is_oldest = self.oldest_us.load(Ordering::Relaxed) == 0;
        if is_oldest {
            self.oldest_us.store(now_us(), Ordering::Relaxed);
        }
        is_oldest
    }

    /// A pass is about to make the base file `pages` pages long: reads after its end would find what the pass is just writing, or
    /// nothing. By the checkpointer.
    pub(crate) fn limit_base(&self, pages: u32) {
        self.base_pages.fetch_min(pages, Ordering::AcqRel);
    }

    /// Reads may go to `pages` pages of the base file. By the checkpointer.
    pub(crate) fn open_base(&self, pages: u32) {
        self.base_pages.store(pages, Ordering::Release);
    }

    /// The base file, and the metadata, are at frame `to`, durably. By the checkpointer.
    pub(crate) fn checkpoint(&self, to: u64, limit: PassLimit, now_us: impl FnOnce() -> u64) {
        debug_assert!(self.checkpointed() <= to && to <= self.absorbed(), "frame {to} is not absorbed");
        debug_assert!(to <= self.synced(), "frame {to} is not durable");
        debug_assert!(
            limit != PassLimit::Stored || to == self.checkpointed() || self.stored() >= Some(to),
            "storage does not have frame {to}"
        );
        self.checkpointed.store(to, Ordering::Release);
        self.oldest_us.store(0, Ordering::Release);
        // A commit that is published now has found the time of an older one, and did not note its own (`note_commit`).
        fence(Ordering::SeqCst);
        if self.published() > to {
            self.oldest_us.store(now_us(), Ordering::Release);
        }
    }

    /// Storage has confirmed everything up to `to`. By the shipper, which fsynced it before.
    pub(crate) fn ship(&self, to: u64) {
        debug_assert!(to <= self.synced(), "frame {to} was shipped before it was durable");
        self.find_stored(to);
    }

    /// Storage was asked, and has everything up to `to`. By the shipper. When that is less than was known, what was known has been
    /// forgotten before ([`Positions::forget_stored`]).
    pub(crate) fn find_stored(&self, to: u64) {
        debug_assert!(to <= self.published(), "frame {to} is not of this log");
        debug_assert!(
            self.stored() <= Some(to),
            "storage had more than frame {to}, and a pass may rely on that"
        );
        self.stored.store(to, Ordering::Release);
        self.flags.fetch_or(STORED_IS_KNOWN, Ordering::AcqRel);
    }

    /// Storage may have less than was known: nothing is known of it until it is asked. By the shipper, which holds the lock `pass`:
    /// a pass relies on what was known when it began until its end.
    pub(crate) fn forget_stored(&self) {
        self.flags.fetch_and(!STORED_IS_KNOWN, Ordering::AcqRel);
    }

    /// Storage belongs to another log. By the shipper.
    pub(crate) fn fence(&self) {
        self.flags.fetch_or(FENCED, Ordering::AcqRel);
    }

    /// A generation of `wal.c` begins after frame `base`. By the holder of the write lock.
    pub(crate) fn begin_generation(&self, base: u64) {
        debug_assert!(base <= self.written(), "frame {base} is not written");
        self.generation_base.store(base, Ordering::Release);
    }

    /// What is wrong with the order of the positions. No other thread may move them meanwhile.
    pub(crate) fn check(&self) -> Result<(), String> {
        let order = [
            (self.written(), "written", self.published(), "published"),
            (self.published(), "published", self.absorbed(), "absorbed"),
            (self.absorbed(), "absorbed", self.checkpointed(), "checkpointed"),
            (self.written(), "written", self.synced(), "synced"),
            (self.synced(), "synced", self.checkpointed(), "checkpointed"),
            (self.published(), "published", self.stored().unwrap_or(0), "stored"),
        ];
        match order.into_iter().find(|(before, _, after, _)| before < after) {
            None => Ok(()),
            Some((before, this, after, that)) => {
                Err(format!("{this} is at frame {before}, but {that} at frame {after}"))
            }
        }
    }

    fn assert_order(&self) {
        if cfg!(debug_assertions)
            && let Err(problem) = self.check()
        {
            panic!("{problem}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions() -> Positions {
        let positions = Positions::default();
        positions.begin(&Start {
            end: 20,
            synced: 15,
            checkpointed: 10,
            pages: 3,
            base_pages: 3,
            oldest_us: 5,
        });
        positions
    }

    #[test]
    fn a_commit_goes_its_way() {
        let positions = positions();
        positions.write(25);
        positions.sync(25);
        positions.take_back();
        assert_eq!((positions.written(), positions.synced()), (20, 20));
        positions.write(24);
        positions.publish(24, Some(4));
        positions.sync(24);
        positions.absorb(24, 4);
        positions.ship(24);
        positions.checkpoint(24, PassLimit::Stored, || 1);
        positions.begin_generation(24);
        assert_eq!(positions.check(), Ok(()));
        assert_eq!((positions.checkpointed(), positions.stored(), positions.view_pages()), (24, Some(24), 4));
    }

    #[test]
    fn a_wrong_order_is_named() {
        let positions = positions();
        positions.absorbed.store(9, Ordering::Relaxed);
        let wrong = positions.check().expect_err("the base file is ahead of the view");
        assert_eq!(wrong, "absorbed is at frame 9, but checkpointed at frame 10");
    }

    #[test]
    fn storage_goes_back_only_when_what_was_known_is_forgotten_first() {
        let positions = positions();
        positions.find_stored(15);
        positions.forget_stored();
        assert_eq!(positions.stored(), None);
        positions.find_stored(12);
        assert_eq!(positions.stored(), Some(12));
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| positions.find_stored(11)));
        assert_eq!(said.is_err(), cfg!(debug_assertions));
    }

    /// Each transition that a fault could take, and what it says.
    #[test]
    #[cfg(debug_assertions)]
    fn no_transition_breaks_the_order() {
        type Transition = fn(&Positions);
        let transitions: [(Transition, &str); 9] = [
            (|positions| positions.write(20), "frame 20 is published"),
            (|positions| positions.publish(21, None), "frame 21 is not written"),
            (|positions| positions.sync(21), "frame 21 is not written"),
            (|positions| positions.absorb(21, 3), "frame 21 is not published"),
            (|positions| positions.checkpoint(16, PassLimit::Unlimited, || 1), "frame 16 is not durable"),
            (|positions| positions.checkpoint(15, PassLimit::Stored, || 1), "storage does not have frame 15"),
            (|positions| positions.ship(16), "frame 16 was shipped before it was durable"),
            (|positions| positions.find_stored(21), "frame 21 is not of this log"),
            (|positions| positions.begin_generation(21), "frame 21 is not written"),
        ];
        for (transition, words) in transitions {
            let positions = positions();
            let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| transition(&positions)));
            let said = taken.expect_err(words);
            assert_eq!(said.downcast_ref::<String>().map(String::as_str), Some(words));
            assert_eq!(positions.check(), Ok(()));
        }
    }

    #[test]
    fn what_may_pass_storage_does() {
        let positions = positions();
        for limit in [PassLimit::Interrupted, PassLimit::Leaving, PassLimit::Unlimited] {
            positions.checkpoint(12, limit, || 1);
        }
        assert_eq!((positions.checkpointed(), positions.stored()), (12, None));
    }
}
