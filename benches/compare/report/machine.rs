//! Where it was measured, and with what.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::disk::Disk;

#[derive(Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_gib: f64,
    pub kernel: String,
    /// Of the databases.
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
        let disk = Disk::of(dir);
        Machine {
            cpu: field("/proc/cpuinfo", "model name"),
            cores,
            memory_gib: (kib / f64::from(1 << 20) * 10.0).round() / 10.0,
            kernel: line("/proc/sys/kernel/osrelease"),
            write_cache: disk.write_cache().unwrap_or_else(|| UNKNOWN.to_owned()),
            file_system: disk.file_system,
            sqlite: rusqlite::version().to_owned(),
            vwal: vwal::VERSION.to_owned(),
            release: !cfg!(debug_assertions),
        }
    }

    /// In a line.
    pub fn in_short(&self) -> String {
        let disk = match self.write_cache.as_str() {
            UNKNOWN => String::new(),
            cache => format!(" on a {} disk", cache.replace(' ', "-")),
        };
        format!(
            "vwal {}, SQLite {}, {} cores ({}), {} GiB, Linux {}, {}{disk}",
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
