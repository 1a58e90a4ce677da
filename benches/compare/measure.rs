//! What a part of this process' life cost: CPU, memory, bytes written. Set-up before the mark is not counted.

use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::engine::Lab;

/// The cost between a [`Mark`] and the end of the measured part.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Usage {
    /// CPU seconds of all threads of the process, also of those that have ended.
    pub cpu_seconds: f64,
    /// The most memory that the process had (VmHWM), and what it had at the mark (VmRSS), in bytes.
    pub peak_memory: u64,
    pub memory_before: u64,
    /// Bytes that the kernel was left to bring to the disk. What is overwritten before it gets there counts once.
    pub disk_bytes: u64,
    /// Bytes given to `write` and the like.
    pub write_bytes: u64,
    /// Fsyncs of the log, where somebody counts them.
    pub log_fsyncs: Option<u64>,
}

/// The beginning of the measured part.
pub struct Mark {
    cpu_seconds: f64,
    memory: u64,
    io: Io,
    log_fsyncs: Option<u64>,
}

impl Mark {
    /// Bring to the disk what is not there yet, so that this run does not pay for what was before it, and begin. `log`: a
    /// database and a connection to it, to count fsyncs of its log.
    pub fn set(log: Option<(&Lab, &Connection)>) -> Mark {
        rustix::fs::sync();
        std::fs::write("/proc/self/clear_refs", "5").expect("the peak of memory can be reset");
        Mark {
            log_fsyncs: log.and_then(|(lab, conn)| lab.log_fsyncs(conn)),
            cpu_seconds: cpu_seconds(),
            memory: memory("VmRSS:"),
            io: Io::now(),
        }
    }

    /// The end of the measured part of what writes: closing the database is a part of it.
    pub fn close(self, lab: &Lab, conns: Vec<Connection>) -> Usage {
        let fsyncs = conns.first().and_then(|conn| lab.log_fsyncs(conn));
        for conn in conns {
            conn.close().expect("the database is closed");
        }
        let log_fsyncs = fsyncs.zip(self.log_fsyncs).map(|(after, before)| after - before);
        Usage { log_fsyncs, ..self.end() }
    }

    /// The end of the measured part, where closing is no part of it.
    pub fn end(self) -> Usage {
        let io = Io::now();
        Usage {
            cpu_seconds: cpu_seconds() - self.cpu_seconds,
            peak_memory: memory("VmHWM:"),
            memory_before: self.memory,
            disk_bytes: io.disk_bytes.saturating_sub(self.io.disk_bytes),
            write_bytes: io.write_bytes - self.io.write_bytes,
            log_fsyncs: None,
        }
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
    disk_bytes: u64,
    write_bytes: u64,
}

impl Io {
    fn now() -> Io {
        let of = |field| number("/proc/self/io", field);
        Io {
            disk_bytes: of("write_bytes:").saturating_sub(of("cancelled_write_bytes:")),
            write_bytes: of("wchar:"),
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
