//! Several processes on one database.
//!
//! The members of a group are real processes: Python with its own SQLite, and the `sqlite3` shell. This program starts them,
//! stops and kills them, and checks what they say. Everything runs on stock SQLite first (the VFS `unix`, in WAL mode), which
//! shows that the tests ask for nothing that SQLite does not give; then on vwal. Scripts of steps run on vwal once more with all connections in one process.

#[path = "processes/calls.rs"]
mod calls;
#[path = "processes/calm.rs"]
mod calm;
#[path = "common/campaign.rs"]
mod campaign;
#[path = "processes/child.rs"]
mod child;
#[path = "common/extension.rs"]
mod extension;
#[path = "processes/fatal_calls.rs"]
mod fatal_calls;
#[path = "processes/group.rs"]
mod group;
#[path = "processes/kills.rs"]
mod kills;
#[path = "processes/member.rs"]
mod member;
#[path = "processes/planted.rs"]
mod planted;
#[path = "common/random.rs"]
mod random;
#[path = "processes/semantics.rs"]
mod semantics;
#[path = "processes/setting.rs"]
mod setting;
#[path = "processes/shell.rs"]
mod shell;
#[path = "processes/short.rs"]
mod short;
#[path = "processes/steps.rs"]
mod steps;
#[path = "processes/stopped.rs"]
mod stopped;
#[path = "processes/told.rs"]
mod told;
#[path = "processes/worker.rs"]
mod worker;
