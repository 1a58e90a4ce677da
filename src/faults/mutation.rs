//! Each fsync left out in turn: what it is for must then be lost in a crash.

use std::path::Path;

use super::rig::{HOME, Rig};
use crate::io::testing::{Op, announced_site, announcing};
use crate::io::{Io, OpenMode, SyncSite};

/// The sites in the trace, in order.
fn sites(rig: &Rig) -> Vec<Option<SyncSite>> {
    let sites = rig.io.trace().into_iter().filter_map(|record| match record.op {
        Op::Sync { site, .. } => Some(site),
        Op::SyncDir { site, .. } => Some(Some(site)),
        _ => None,
    });
    sites.collect()
}

#[test]
fn a_site_that_is_left_out_does_nothing_and_the_others_do() {
    let rig = Rig::new();
    let path = Path::new(HOME).join("file");
    let file = rig.io.open(&path, OpenMode::Create).unwrap();
    file.write_at(b"bytes", 0).unwrap();
    rig.io.skip_sync(SyncSite::Seal);
    rig.io.skip_sync(SyncSite::FreedSegments);
    file.sync(SyncSite::Seal).unwrap();
    rig.io.sync_dir(Path::new(HOME), SyncSite::FreedSegments).unwrap();
    assert_eq!((sites(&rig), rig.io.disks().open_units()), (vec![], 3));
    rig.io.sync_dir(Path::new(HOME), SyncSite::SpareName).unwrap();
    file.sync(SyncSite::SpareBlocks).unwrap();
    assert_eq!(sites(&rig), [Some(SyncSite::SpareName), Some(SyncSite::SpareBlocks)]);
    assert_eq!(rig.io.disks().crash_hard().read(&path), Some(&b"bytes"[..]));
}

#[test]
fn the_site_of_an_fsync_through_the_vfs_is_known_there() {
    let inside = announcing(SyncSite::BasePages, || {
        announcing(SyncSite::BaseFooter, || assert_eq!(announced_site(), Some(SyncSite::BaseFooter)));
        announced_site()
    });
    assert_eq!((inside, announced_site()), (Some(SyncSite::BasePages), None));
}
