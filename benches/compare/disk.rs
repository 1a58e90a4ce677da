//! The file system and the disk under a directory.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of a sector in the kernel's statistics, whatever the disk has.
const SECTOR: u64 = 512;

/// What a directory is on.
pub struct Disk {
    /// The type of the file system.
    pub file_system: String,
    /// Its block device in `/sys`, when it has one of its own.
    device: Option<PathBuf>,
}

impl Disk {
    pub fn of(dir: &Path) -> Disk {
        let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mounts = text.lines().filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?, words.next()?))
        });
        // Of several at one place the last one counts.
        let longest = mounts.filter(|(_, at, _)| dir.starts_with(at)).max_by_key(|(_, at, _)| at.len());
        let Some((device, _, kind)) = longest else {
            return Disk { file_system: "unknown".to_owned(), device: None };
        };
        // `/dev/mapper/x` is a link to `/dev/dm-0`.
        let device = fs::canonicalize(device).ok();
        let name = device.as_deref().and_then(|device| device.strip_prefix("/dev/").ok());
        let device = name.map(|name| Path::new("/sys/class/block").join(name)).filter(|path| path.exists());
        Disk { file_system: kind.to_owned(), device }
    }

    /// Bytes that the disk has been given to write since the machine began, by anybody.
    pub fn written(&self) -> Option<u64> {
        let text = fs::read_to_string(self.device.as_ref()?.join("stat")).ok()?;
        let sectors: u64 = text.split_whitespace().nth(6)?.parse().ok()?;
        Some(sectors * SECTOR)
    }

    /// "write back" or "write through": whether an fsync has a cache of the disk to flush.
    pub fn write_cache(&self) -> Option<String> {
        let text = fs::read_to_string(self.device.as_ref()?.join("queue/write_cache")).ok()?;
        Some(text.trim().to_owned())
    }
}
