//! The rows.

use crate::scene::Told;
use crate::{in_command, in_sql};

/// Where the words of a refusal are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the message of the statement or of the open.
    Message,
    /// From `PRAGMA vwal_last_error`, and in SQLite's error log.
    LastError,
    /// In SQLite's error log alone.
    Log,
}

/// How a refusal is heard on one of the two ways.
pub enum Heard {
    /// It cannot be met there.
    Not,
    /// In SQL.
    Sql { code: &'static str, place: Place, words: &'static str, provoke: fn() -> Told },
    /// From the command.
    Command { exit: i32, words: &'static str, provoke: fn() -> Told },
    /// Another test provokes it.
    Elsewhere { cell: &'static str, file: &'static str, test: &'static str },
}

impl Heard {
    fn cell(&self) -> String {
        match self {
            Heard::Not => "–".into(),
            Heard::Sql { code, place, words, .. } => {
                let place = match place {
                    Place::Message => "message",
                    Place::LastError => "`PRAGMA vwal_last_error`",
                    Place::Log => "error log",
                };
                format!("`{code}`, {place}: \"{words}\"")
            }
            Heard::Command { exit, words, .. } => format!("exit {exit}: \"{words}\""),
            Heard::Elsewhere { cell, .. } => (*cell).into(),
        }
    }
}

/// A row of `docs/errors.md`.
pub struct Row {
    /// What happens.
    pub name: &'static str,
    /// The variant of `vwal::Error`.
    pub error: &'static str,
    pub sql: Heard,
    pub command: Heard,
}

impl Row {
    /// The cells of the document, but the last one.
    pub fn cells(&self) -> Vec<String> {
        let error = if self.error == "–" { "–".into() } else { format!("`{}`", self.error) };
        vec![self.name.into(), error, self.sql.cell(), self.command.cell()]
    }
}

const fn message(code: &'static str, words: &'static str, provoke: fn() -> Told) -> Heard {
    Heard::Sql { code, place: Place::Message, words, provoke }
}

const fn last_error(code: &'static str, words: &'static str, provoke: fn() -> Told) -> Heard {
    Heard::Sql { code, place: Place::LastError, words, provoke }
}

const fn log(code: &'static str, words: &'static str, provoke: fn() -> Told) -> Heard {
    Heard::Sql { code, place: Place::Log, words, provoke }
}

const fn exit(exit: i32, words: &'static str, provoke: fn() -> Told) -> Heard {
    Heard::Command { exit, words, provoke }
}

const fn elsewhere(cell: &'static str, file: &'static str, test: &'static str) -> Heard {
    Heard::Elsewhere { cell, file, test }
}

use Heard::Not;

pub const ROWS: &[Row] = &[
    // Opening.
    Row {
        name: "Another process has the database open, and one of the two cannot share it",
        error: "Busy",
        sql: message("SQLITE_BUSY", "which cannot share it", in_sql::another_process),
        command: exit(1, "which cannot share it", in_command::another_process),
    },
    Row {
        name: "The same, of a database that is attached",
        error: "Busy",
        sql: log("SQLITE_BUSY", "which cannot share it", in_sql::another_process_has_the_attached),
        command: Not,
    },
    Row {
        name: "SQLite without vwal has the database open in WAL mode",
        error: "–",
        sql: message("SQLITE_BUSY", "in use by SQLite without vwal", in_sql::stock_has_it),
        command: exit(1, "in use by SQLite without vwal", in_command::stock_has_it),
    },
    Row {
        name: "SQLite without vwal has made a `-wal` file while a connection waited",
        error: "–",
        sql: last_error("SQLITE_BUSY", "in use by SQLite without vwal", in_sql::stock_came),
        command: Not,
    },
    Row {
        name: "The database file was replaced or changed, and commits are in the log alone",
        error: "Foreign",
        sql: message("SQLITE_CANTOPEN", "does not belong to its log", in_sql::foreign),
        command: exit(1, "does not belong to its log", in_command::foreign),
    },
    Row {
        name: "The database file is empty, and commits are in the log alone",
        error: "–",
        sql: log("SQLITE_OK", "with everything in it", in_sql::emptied),
        command: exit(1, "are only in the log", in_command::emptied),
    },
    Row {
        name: "The database file is missing, and its log is there",
        error: "–",
        sql: Not,
        command: exit(1, "there is a log of it", in_command::removed_beside_its_log),
    },
    Row {
        name: "The database file was replaced since the connection was opened",
        error: "–",
        sql: last_error("SQLITE_READONLY_DBMOVED", "has been replaced by another file", in_sql::replaced),
        command: Not,
    },
    Row {
        name: "The log is damaged",
        error: "Corrupt",
        sql: message("SQLITE_CORRUPT", "is damaged", in_sql::damaged_log),
        command: exit(1, "is damaged", in_command::damaged_log),
    },
    Row {
        name: "A frame is damaged, which is found when it is read",
        error: "Corrupt",
        sql: last_error("SQLITE_CORRUPT", "is damaged at offset", in_sql::damaged_frame),
        command: exit(1, "is damaged at offset", in_command::damaged_frame),
    },
    Row {
        name: "The log directory is a symbolic link or a special file",
        error: "Corrupt",
        sql: message("SQLITE_CORRUPT", "a symbolic link or a special file", in_sql::linked_directory),
        command: exit(1, "a symbolic link or a special file", in_command::linked_directory),
    },
    Row {
        name: "The system refuses an operation on a file or directory (a name that is too long, no permission)",
        error: "Io",
        sql: message("SQLITE_IOERR", "look at", in_sql::no_directory),
        command: exit(1, "look at", in_command::no_directory),
    },
    Row {
        name: "An option is wrong",
        error: "Usage",
        sql: message("SQLITE_ERROR", "is not a swap policy", in_sql::wrong_option),
        command: exit(1, "VWAL_SWOP is no option of vwal", in_command::wrong_option),
    },
    Row {
        name: "Other options than those that the database is open with",
        error: "Usage",
        sql: message("SQLITE_ERROR", "vwal_swap", in_sql::other_options),
        command: Not,
    },
    Row {
        name: "A VFS stands above vwal",
        error: "–",
        sql: elsewhere(
            "`SQLITE_CANTOPEN`, message: \"vwal has to be the uppermost one\"",
            "tests/hosts.rs",
            "fn another_vfs_above_vwal_is_refused",
        ),
        command: Not,
    },
    Row {
        name: "A key of SQLite3 Multiple Ciphers",
        error: "–",
        sql: elsewhere(
            "`SQLITE_CANTOPEN`, message: \"encryption is not supported by vwal\"",
            "tests/hosts.rs",
            "fn sqlite3_multiple_ciphers",
        ),
        command: Not,
    },
    Row {
        name: "The extension cannot be registered (wrong variables, an old SQLite, a second copy of it)",
        error: "Register",
        sql: elsewhere(
            "the load fails, message: \"VWAL_SWOP is no option of vwal\"",
            "tests/extension_errors.rs",
            "fn a_wrong_variable_of_the_environment_is_an_error_and_not_a_crash",
        ),
        command: Not,
    },
    Row {
        name: "A process that was forked while a database was open",
        error: "Forked",
        sql: elsewhere(
            "`SQLITE_IOERR`, message: \"this process was forked\"; `SQLITE_IOERR` alone from connections of its parent",
            "tests/features/fork.rs",
            "fn invariant_12_a_forked_child_opens_nothing_while_its_parent_has_something_open",
        ),
        command: Not,
    },
    Row {
        name: "There is no memory",
        error: "NoMemory",
        sql: elsewhere(
            "`SQLITE_NOMEM`, message: \"out of memory\"",
            "tests/memory.rs",
            "fn each_refused_request_is_an_error_and_the_next_commit_works",
        ),
        command: Not,
    },
    // Not virtual.
    Row {
        name: "A function or command that needs a log, and the database has none",
        error: "NotVirtual",
        sql: message("SQLITE_ERROR", "is not", in_sql::not_virtual),
        command: exit(1, "is empty", in_command::empty_file),
    },
    Row {
        name: "WAL mode is to end, and a file of somebody else is in the log directory",
        error: "InUse",
        sql: message("SQLITE_BUSY", "which is not a file of vwal", in_sql::stranger),
        command: exit(1, "which is not a file of vwal", in_command::stranger),
    },
    // Committing.
    Row {
        name: "An fsync has failed",
        error: "Poisoned",
        sql: elsewhere(
            "`SQLITE_IOERR_FSYNC`, `PRAGMA vwal_last_error`: \"no commit can rely on\"",
            "src/testing/faults/io_errors.rs",
            "last_error().is_some()",
        ),
        command: Not,
    },
    Row {
        name: "The log directory was removed, renamed or replaced while it was open",
        error: "Io",
        sql: last_error("SQLITE_IOERR", "removed, renamed or replaced", in_sql::directory_gone),
        command: Not,
    },
    Row {
        name: "The disk is full",
        error: "Full",
        sql: elsewhere(
            "`SQLITE_FULL`, message: \"database or disk is full\"",
            "tests/disk_full.rs",
            "fn commits_on_a_full_disk_fail_one_by_one_and_lose_nothing",
        ),
        command: Not,
    },
    Row {
        name: "The VFS below refuses an operation on the database file",
        error: "Vfs",
        sql: elsewhere(
            "its own code, in `PRAGMA vwal_last_error` with the operation",
            "tests/hosts.rs",
            "fn a_vfs_below_vwal_gets_pages_one_by_one",
        ),
        command: Not,
    },
    Row {
        name: "The log directory or its file system is read-only",
        error: "ReadOnly",
        sql: elsewhere(
            "`SQLITE_READONLY`, message: \"attempt to write a readonly database\"",
            "tests/features/readonly.rs",
            "fn after_a_crash_shows_what_was_committed",
        ),
        command: Not,
    },
    // Storage.
    Row {
        name: "Storage is behind by more than `vwal_backlog_size`",
        error: "Backlog",
        sql: last_error("SQLITE_FULL", "commits that storage does not have yet", in_sql::backlog),
        command: Not,
    },
    Row {
        name: "Storage has not confirmed a commit (`vwal_ack=remote`)",
        error: "NotStored",
        sql: last_error("SQLITE_IOERR", "but storage does not have it", in_sql::not_stored),
        command: exit(1, "in storage failed", in_command::not_stored),
    },
    Row {
        name: "The same, from `vwal_sync()`",
        error: "NotStored",
        sql: message("SQLITE_IOERR", "but storage does not have it", in_sql::not_stored_by_sync),
        command: Not,
    },
    Row {
        name: "The directory of storage is not there, without the log that was shipped there, or an older copy of it",
        error: "NotStored",
        sql: message("SQLITE_IOERR", "has shipped log", in_sql::storage_emptied),
        command: exit(1, "has shipped log", in_command::storage_emptied),
    },
    Row {
        name: "Storage belongs to another primary",
        error: "Fenced",
        sql: last_error("SQLITE_READONLY", "fenced off from", in_sql::fenced),
        command: exit(11, "fenced off from", in_command::fenced),
    },
    Row {
        name: "Storage cannot be reached, or its place is missing",
        error: "Storage",
        sql: Not,
        command: exit(1, "in storage failed", in_command::storage_missing),
    },
    Row {
        name: "Storage does not accept the credentials",
        error: "Storage",
        sql: Not,
        command: elsewhere(
            "exit 12: \"in storage failed\"",
            "tests/cli/s3.rs",
            "denied.output().unwrap()).code, 12",
        ),
    },
    Row {
        name: "There is no log in storage",
        error: "NothingThere",
        sql: Not,
        command: exit(10, "holds no log", in_command::nothing_there),
    },
    Row {
        name: "Storage does not have the state that is to be restored",
        error: "NotRestorable",
        sql: Not,
        command: exit(13, "frame 4711", in_command::not_restorable),
    },
    Row {
        name: "Something is in the way of the restored file",
        error: "Target",
        sql: Not,
        command: exit(14, "never replaces anything", in_command::in_the_way),
    },
    Row {
        name: "An object in storage is damaged",
        error: "DamagedObject",
        sql: Not,
        command: exit(1, "in storage is damaged", in_command::damaged_object),
    },
    Row {
        name: "A wait of a Rust application has ended (`Database::wait_durable`)",
        error: "Timeout",
        sql: Not,
        command: elsewhere("–", "tests/api.rs", "fn wait_durable_waits_for_a_commit_and_makes_it_durable"),
    },
];
