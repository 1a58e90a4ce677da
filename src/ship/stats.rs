//! What shipping has done so far, for `vwal_status` and metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the database was opened.
#[derive(Debug, Default)]
pub struct Stats {
    bundles: AtomicU64,
    objects: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    merges: AtomicU64,
    snapshots: AtomicU64,
    expired: AtomicU64,
    last_shipped_us: AtomicU64,
    pub(super) image_pages_done: AtomicU64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+) => {
        impl Stats {
            $($(#[$doc])*
            pub fn $name(&self) -> u64 {
                self.$name.load(Ordering::Relaxed)
            })+
        }
    };
}

counters! {
    /// Bundles of level 0 that have been shipped.
    bundles,
    /// Objects that have been put.
    objects,
    /// Frames in those bundles.
    frames,
    /// Bytes of all objects that have been put.
    bytes,
    /// Operations that failed, and will be tried again.
    failures,
    /// Merges of bundles.
    merges,
    /// Snapshots.
    snapshots,
    /// Bundles that were deleted since they had expired.
    expired,
    /// Pages of the latest full image that have been read so far.
    image_pages_done,
    /// When a bundle was last shipped, microseconds since 1970; 0: not yet.
    last_shipped_us
}

impl Stats {
    pub(super) fn shipped(&self, frames: u64, objects: u64, bytes: u64, now_us: u64) {
        self.bundles.fetch_add(1, Ordering::Relaxed);
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.put(objects, bytes);
        self.last_shipped_us.store(now_us, Ordering::Relaxed);
    }

    pub(super) fn put(&self, objects: u64, bytes: u64) {
        self.objects.fetch_add(objects, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn merged(&self) {
        self.merges.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn took_snapshot(&self) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn deleted(&self, bundles: u64) {
        self.expired.fetch_add(bundles, Ordering::Relaxed);
    }
}
