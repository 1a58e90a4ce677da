//! Where it was measured, and with what.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    /// The file system of the databases, and whether its disk writes back or through.
    pub file_system: String,
    pub write_cache: String,
    pub sqlite: String,
    pub vwal: String,
    pub release: bool,
}

impl Machine {
    /// This one. `dir`: where the databases are.
    pub fn here(dir: &Path) -> Machine {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let kib: f64 = field("/proc/meminfo", "MemTotal")
            .split(' ')
            .next()
            .map_or(0.0, |number| number.parse().unwrap_or_default());
        let (file_system, device) = mounted(dir);
        let disk = device.strip_prefix("/dev/").unwrap_or_default();
        Machine {
            cpu: field("/proc/cpuinfo", "model name"),
            cores,
            memory_gib: (kib / f64::from(1 << 20) * 10.0).round() / 10.0,
            kernel: line("/proc/sys/kernel/osrelease"),
            file_system,
            write_cache: line(&format!("/sys/block/{disk}/queue/write_cache")),
            sqlite: rusqlite::version().to_owned(),
            vwal: vwal::VERSION.to_owned(),
            release: !cfg!(debug_assertions),
        }
    }

    /// In a line.
    pub fn in_short(&self) -> String {
        format!(
            "vwal {}, SQLite {}, {} cores ({}), {} GiB, Linux {}, {}",
            self.vwal, self.sqlite, self.cores, self.cpu, self.memory_gib, self.kernel, self.file_system
        )
    }
}

const UNKNOWN: &str = "unknown";

fn line(file: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let text = text.trim();
    if text.is_empty() { UNKNOWN.to_owned() } else { text.to_owned() }
}

/// What stands behind `name` and a colon.
fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let value = fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned());
    value.unwrap_or_else(|| UNKNOWN.to_owned())
}

/// The type of the file system that `dir` is on, and its device.
fn mounted(dir: &Path) -> (String, String) {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()?))
    });
    // Of several at one place the last one counts.
    let longest = mounts.filter(|(_, at, _)| dir.starts_with(at)).max_by_key(|(_, at, _)| at.len());
    longest
        .map_or((UNKNOWN.to_owned(), String::new()), |(device, _, kind)| (kind.to_owned(), device.to_owned()))
}
