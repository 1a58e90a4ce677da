//! The `sqlite3` shell as a process that opens a database, does one thing, and ends.

use std::path::Path;
use std::process::Command;

use crate::child::Child;
use crate::member::LIMIT;
use crate::setting::{Engine, bare};

/// The rows that a shell prints which runs `sql` on `app.db` in the directory `home`, or its error behind them.
pub fn run(engine: Engine, home: &Path, sql: &str) -> Vec<String> {
    let mut command = Command::new("sqlite3");
    command.args(["-batch", "-bail", "-nullvalue", "NULL"]).current_dir(home);
    bare(&mut command);
    let mut shell = Child::start("the shell", command);
    if engine == Engine::Vwal {
        shell.tell(&format!(".load {}", engine.extension().display()));
    }
    shell.tell(&format!(".open file:app.db?vfs={}", engine.vfs()));
    shell.tell(sql);
    shell.tell(".exit");
    let Some(status) = shell.ended(LIMIT) else { panic!("a shell hangs\n{}", shell.portrait()) };
    let mut lines = Vec::new();
    while let Ok(line) = shell.line(LIMIT) {
        lines.push(line);
    }
    if !status.success() {
        lines.push(format!("! the shell ended with {status}\n{}", shell.portrait()));
    }
    lines
}
