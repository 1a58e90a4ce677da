//! What a part of this process' life cost: CPU, memory, bytes written. Set-up before the mark is not counted.

use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::child::Job;
use crate::disk::Disk;
use crate::engine::Lab;

/// The cost between a [`Mark`] and the end of the measured part.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Usage {
    /// CPU seconds of all threads of the process, also of those that have ended.
    pub cpu_seconds: f64,
    /// The most memory that the process had (VmHWM), and what it had at the mark (VmRSS), in bytes.
    pub peak_memory: u64,
    pub memory_before: u64,
    /// Bytes given to `write` and the like.
    pub write_bytes: u64,
    /// Bytes of the page cache that became dirty. A part of a large folio makes all of it dirty here, though only the part
    /// goes to the disk.
    pub dirty_bytes: u64,
    /// Bytes that went to the disk until all of it was there, from anybody and with what the file system adds.
    pub disk_bytes: Option<u64>,
    /// Commits, and the fsyncs that made them durable, where somebody counts them.
    pub grouped: Option<[u64; 2]>,
}

/// The beginning of the measured part.
pub struct Mark {
    cpu_seconds: f64,
    memory: u64,
    io: Io,
    disk: Disk,
    disk_bytes: Option<u64>,
    grouped: Option<[u64; 2]>,
}

impl Mark {
    /// Bring to the disk what is not there yet, so that this run does not pay for what was before it, and begin. `log`: a
    /// database and a connection to it, to count fsyncs of its log.
    pub fn set(job: &Job, log: Option<(&Lab, &Connection)>) -> Mark {
        rustix::fs::sync();
        std::fs::write("/proc/self/clear_refs", "5").expect("the peak of memory can be reset");
        let disk = Disk::of(&job.dir);
        Mark {
            grouped: log.and_then(|(lab, conn)| lab.commits_and_fsyncs(conn)),
            disk_bytes: disk.written(),
            disk,
            cpu_seconds: cpu_seconds(),
            memory: memory("VmRSS:"),
            io: Io::now(),
        }
    }

    /// The end of the measured part of what writes: closing the database is a part of it.
    pub fn close(self, lab: &Lab, conns: Vec<Connection>) -> Usage {
        let after = conns.first().and_then(|conn| lab.commits_and_fsyncs(conn));
        for conn in conns {
            conn.close().expect("the database is closed");
        }
        let grouped = after.zip(self.grouped).map(|(after, before)| [0, 1].map(|at| after[at] - before[at]));
        Usage { grouped, ..self.end() }
    }

    /// The end of the measured part, where closing is no part of it.
    pub fn end(self) -> Usage {
        let io = Io::now();
        let mut usage = Usage {
            cpu_seconds: cpu_seconds() - self.cpu_seconds,
            peak_memory: memory("VmHWM:"),
            memory_before: self.memory,
            write_bytes: io.write_bytes - self.io.write_bytes,
            dirty_bytes: io.dirty_bytes.saturating_sub(self.io.dirty_bytes),
            disk_bytes: None,
            grouped: None,
        };
        rustix::fs::sync();
        usage.disk_bytes = self.disk.written().zip(self.disk_bytes).map(|(after, before)| after - before);
        usage
    }
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Bytes that `/proc/self/status` gives in a line.
pub fn memory(field: &str) -> u64 {
    1024 * number("/proc/self/status", field)
}

struct Io {
    write_bytes: u64,
    dirty_bytes: u64,
}

impl Io {
    fn now() -> Io {
        let of = |field| number("/proc/self/io", field);
        Io {
            write_bytes: of("wchar:"),
            dirty_bytes: of("write_bytes:").saturating_sub(of("cancelled_write_bytes:")),
        }
    }
}

/// The number behind the word `field` at the beginning of a line.
fn number(file: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let word = line.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{file} has no {field}"))
}
