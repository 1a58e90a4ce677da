//! Who serves the databases of a test, and where they lie.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::extension;

/// The distribution's Python. One from pyenv is often built without `enable_load_extension`.
pub const PYTHON: &str = "/usr/bin/python3";

/// Which of the two serves the databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// SQLite's own WAL.
    Stock,
    /// The VFS `vwal`.
    Vwal,
}

impl Engine {
    /// Both: what is asked of vwal, SQLite's own WAL has to give as well.
    pub fn all() -> Vec<Engine> {
        vec![Engine::Stock, Engine::Vwal]
    }

    /// The VFS.
    pub fn vfs(self) -> &'static str {
        match self {
            Engine::Stock => "unix",
            Engine::Vwal => "vwal",
        }
    }

    /// What a member loads first. Nothing: an empty text.
    pub fn extension(self) -> PathBuf {
        match self {
            Engine::Stock => PathBuf::new(),
            Engine::Vwal => extension::path(),
        }
    }
}

/// A script of this directory under Python, in the directory `home`, with the engine as its first arguments.
pub fn python(script: &str, engine: Engine, home: &Path) -> Command {
    let mut command = Command::new(PYTHON);
    // Isolated, and without the packages of the machine: it starts in half the time.
    command.args(["-I", "-S"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/processes").join(script));
    command.arg(engine.vfs()).arg(engine.extension()).current_dir(home);
    bare(&mut command);
    command
}

/// Takes the options of vwal out of the environment of `command`.
pub fn bare(command: &mut Command) {
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("VWAL_") {
            command.env_remove(key);
        }
    }
}
