//! A log on the simulated disk, where an fsync takes no time.

use std::path::Path;
use std::sync::Arc;

use super::{Log, LogSource, PAGE};
use crate::cache::FrameCache;
use crate::options::Options;
use crate::testing::io::{Disks, Image, Node, TestIo};

/// A database of two pages, in WAL mode.
pub(super) fn two_pages() -> Vec<u8> {
    let mut base = vec![0; 2 * PAGE];
    base[..16].copy_from_slice(b"SQLite format 3\0");
    base[16..20].copy_from_slice(&[2, 0, 2, 2]);
    base[28..32].copy_from_slice(&2u32.to_be_bytes());
    base
}

/// A log of such a database on the simulated disk, with so many bytes for the frame cache.
pub(super) fn simulated(cache: usize) -> Log {
    let mut image = Image::default();
    image.names.insert("/db".into(), Node::Directory);
    image.put(Path::new("/db/a.db"), two_pages());
    let io = TestIo::after(Disks::new(image));
    let source = LogSource {
        base: io.file(Path::new("/db/a.db")),
        io: Arc::new(io),
        database: "/db/a.db".into(),
        dir: "/db/a.db-wal".into(),
        cache: Arc::new(FrameCache::new(cache)),
        options: Options::new(),
        report: |_| {},
        read_only: false,
        create: true,
    };
    Log::open(source).unwrap().unwrap()
}
