//! What a function allocates: the allocator of the unit tests counts, for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn add(bytes: isize) {
    // A thread that is ending may have no counters any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

/// The system gave `new` bytes in the place of `old`, or nothing.
fn counted(pointer: *mut u8, new: usize, old: usize) -> *mut u8 {
    if !pointer.is_null() {
        add(new as isize - old as isize);
    }
    pointer
}

// SAFETY: everything is passed on to the system's allocator as it is, and what `add` does allocates nothing: its counters need
// neither initialization nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        counted(unsafe { System.alloc(layout) }, layout.size(), 0)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        counted(unsafe { System.alloc_zeroed(layout) }, layout.size(), 0)
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        counted(unsafe { System.realloc(pointer, layout, size) }, size, layout.size())
    }
}

/// The most bytes that this thread held at a time in `work`, beside what it held before.
pub fn peak_of(work: impl FnOnce()) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    work();
    usize::try_from(PEAK.get() - before).unwrap_or(0)
}

#[test]
fn the_peak_is_counted() {
    let peak = peak_of(|| {
        drop(std::hint::black_box(vec![0u8; 1 << 20]));
        drop(std::hint::black_box(vec![1u8; 1 << 16]));
    });
    assert!((1 << 20..(1 << 20) + (1 << 16)).contains(&peak), "{peak}");
}
