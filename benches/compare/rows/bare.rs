//! What the disk gives: a frame written over what was there before, and fdatasync, over and over.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::child::{Job, Run};
use crate::measure::Mark;
use crate::samples::Series;

/// A frame of vwal: its header and a page.
const FRAME: usize = 56 + 4096;

/// The frames that the file has room for. They are written one behind the other, as a log is, and then from the start.
const FRAMES: u64 = 16_384;

pub fn work(job: &Job) -> Run {
    let file = File::options().create_new(true).write(true).open(job.dir.join("bare")).expect("a file");
    let mut frame = [0x5a; FRAME];
    for at in 0..FRAMES {
        file.write_all_at(&frame, at * FRAME as u64).expect("a frame");
    }
    file.sync_all().expect("an fsync");
    let mut at: u64 = 0;
    let mut overwrite = || {
        frame[..8].copy_from_slice(&at.to_be_bytes());
        file.write_all_at(&frame, at % FRAMES * FRAME as u64).expect("a frame");
        file.sync_data().expect("an fdatasync");
        at += 1;
    };
    Series::measure("", job.warm_up(), &mut overwrite);
    let mark = Mark::set(job, None);
    let series = Series::measure("", job.length(), &mut overwrite);
    Run::new(vec![series], mark.end())
}
