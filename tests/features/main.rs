//! Every feature of SQLite that touches the log, under vwal as under stock SQLite: one file, one behaviour.
//!
//! Most tests are scenarios that run on both engines and must record the same (`common/compare.rs`). What stock SQLite
//! has no counterpart for (the log directory, the second process, the way back) is asserted on vwal alone.

#[path = "../common/compare.rs"]
mod compare;
#[path = "../common/lab.rs"]
mod lab;
#[path = "../common/remote.rs"]
mod remote;
#[path = "../common/spawn.rs"]
mod spawn;
#[path = "../common/text.rs"]
mod text;

mod adoption;
mod attach;
mod auto_vacuum;
mod autocheckpoint;
mod backup;
mod base_file;
mod busy;
mod checkpoint_modes;
mod closing;
mod copied_log;
mod directory_gone;
mod engine;
mod exclusive;
mod file_controls;
mod first_write;
mod footer;
mod foreign;
mod fork;
mod group_commit;
mod guard;
mod hostile_directory;
mod journal_modes;
mod memory_temp;
mod mmap;
mod no_new_files;
mod opening;
mod page_sizes;
mod paths;
mod persist;
mod readonly;
mod removed;
mod savepoints;
mod sealing;
mod second_process;
mod shared_cache;
mod size_limit;
mod strangers;
mod swapped_base;
mod unlinked;
mod vacuum;
mod wal_hook;

#[test]
#[ignore = "the entry point of child processes"]
fn child_process() {
    remote::serve(fork::in_child);
}
