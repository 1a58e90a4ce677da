//! Every place that makes something durable, by name.
//!
//! The name goes along with the call, so that a test can leave out one fsync at a time: a simulated power loss must then lose
//! what the fsync is for. `tests/tidy.rs` checks that each name stands for one place, and that there are no others.

macro_rules! sites {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What an fsync is for, and what a power loss could do without it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum SyncSite {
            $($(#[$doc])* $name,)*
        }

        impl SyncSite {
            /// All of them.
            pub const ALL: &'static [SyncSite] = &[$(SyncSite::$name,)*];

            /// The name, as it is written here.
            pub fn name(self) -> &'static str {
                match self {
                    $(SyncSite::$name => stringify!($name),)*
                }
            }
        }
    };
}

sites! {
    // A new log (`log/source.rs`, `log/meta_file.rs`).
    /// The names around a new database, behind its first commit, which SQLite made with a rollback journal. Without it the
    /// journal comes back and takes the commit along.
    CreatedDatabase,
    /// The base file that the log stands on. Without it pages are gone that SQLite wrote with `synchronous=OFF`, below frames that
    /// are durable; and the footer of a log that ended comes back, and speaks for the new one.
    FirstBase,
    /// The name of the log directory. Without it the whole log is gone, with what was acknowledged in it.
    LogDirectoryName,
    /// The first metadata, before the file gets its name. Without it segments stand there that nothing places.
    FirstMeta,
    /// The first metadata of a log in the directory of another one. Without it a power loss brings back the metadata of the log before,
    /// beside segments of the new one.
    ReplacedMeta,
    /// The names in a new log directory. Without it the metadata is gone, and segments stand there that nothing places.
    FirstNames,

    // Recovery (`log/recover.rs`, `log/open.rs`).
    /// The metadata that was read, written again. It may have been in the page cache alone; without it the state before it comes
    /// back when segments are gone that it needs.
    RecoveredMeta,
    /// The copy of a segment without the frames that a later one cut off. Without it the segment is empty under its name.
    CutSegment,
    /// The name of that copy. Without it the frames come back when what cut them off is gone.
    CutSegmentName,
    /// The names that recovery found. The process before may have been killed ahead of its own fsync; without it a segment with
    /// acknowledged frames is gone, or a spare comes back under the name that it had as a segment.
    RecoveredNames,
    /// The metadata of a log that was at rest when it was opened, before anything is written that relies on it. Without it the state before it
    /// comes back, which may be that of another log.
    MetaAtRest,
    /// The names of a log that was at rest when it was opened, before the first spare becomes a segment. Without it that spare comes back
    /// under the name that it had as a segment, with what was written into it since.
    NamesAtRest,
    /// The frames that were found, before anybody sees them, without group commit. Without it what was read is lost later.
    RecoveredFrames,

    // Commits (`wal/handle.rs`, `log/durability.rs`, `db/`).
    /// The frames of commits that wait for it, with group commit. Without it acknowledged commits are lost.
    CommittedFrames,
    /// The frames of a commit under the write lock, without group commit. Without it acknowledged commits are lost.
    LockedCommit,
    /// The frames of a commit that then waits for storage. Without it storage has a commit that this disk loses.
    RemoteCommit,
    /// The frames that an application asks to be durable. Without it what it was told is not so.
    RequestedFrames,
    /// The frames of commits that nobody waits for, at the interval. Without it they count as durable, and are lost.
    UnaskedFrames,
    /// The frames that are left when the database is closed. Without it an orderly end loses commits.
    LastFrames,
    /// The names of new segments, with the first frames that become durable in them. Without it those are gone.
    SegmentNames,
    /// The same ahead of need, by the syncer. Without it a commit relies on a name that is not durable.
    SegmentNamesAhead,

    // Segments (`log/writer/swap.rs`, `segment/`, `log/durability.rs`).
    /// The frames of a segment that is about to be sealed. Without it a seal promises frames that are lost.
    SealedFrames,
    /// The index and the seal. Without it a segment counts as sealed, and as durable, and is not.
    Seal,
    /// The copy of a segment of which an fsync would prove nothing. Without it the segment is empty under its name.
    RenewedSegment,
    /// The blocks of a spare file. Not for durability: without it the fsync of a commit queues behind all of them.
    SpareBlocks,
    /// The name of a new spare file.
    SpareName,

    // Checkpoints (`log/checkpointer/`).
    /// The frames that a pass brings to the base file. Without it the base file has frames that the log loses.
    PassFrames,
    /// The metadata that says that the base file is between two states. Without it nothing says so.
    Intent,
    /// The pages of a pass in the base file. Without it the footer vouches for pages that are not there.
    BasePages,
    /// The footer. Without it the metadata vouches for a footer that is not there.
    BaseFooter,
    /// The metadata that says that the pass is complete. Without it segments are gone that the state before it needs.
    CompletedPass,
    /// That the files of freed segments have other names, or none. Without it a spare with new content comes back under its old
    /// name.
    FreedSegments,

    // Leaving WAL mode (`log/checkpointer/leave.rs`).
    /// That the segments are gone, ahead of the metadata. Without it segments stand there that nothing places.
    LeftSegments,
    /// That the log directory is gone.
    LeftDirectory,

    // Shipping (`ship/shipper.rs`, `log/checkpointer/notes.rs`).
    /// The frames that go to storage. Without it storage has commits that this disk loses.
    ShippedFrames,
    /// How far storage is, in the metadata.
    StoredPosition,

    // Restore (`restore/output.rs`).
    /// The journal of a restore that begins. Without it the journal of another one comes back and vouches for pages of this.
    RestoreJournal,
    /// The names in the restore's directory. Without it what the journal vouches for is gone, and it begins anew.
    RestoreNames,
    /// The name of that directory. Without it all is gone that the restore had noted as done.
    RestoreDirectoryName,
    /// The pages that the journal is to vouch for. Without it a restore goes on behind pages that are not there.
    RestorePages,
    /// The journal's next slot. Without it a restore repeats what it had noted as done.
    RestoreProgress,
    /// The whole database, before it gets its name. Without it the name stands for a file that is not whole.
    RestoredFile,
    /// That the journal is gone, before the database has another name. Without it a later restore goes on in a database that may
    /// have been written to since.
    EndedJournal,
    /// The name of the database. Without it a restore that has succeeded is gone.
    RestoredName,
}

impl SyncSite {
    /// Whether the result says that the next open will find the frames. A pass, and the sealing of a segment, only read them
    /// through files that are open.
    pub(crate) fn promises(self) -> bool {
        !matches!(self, SyncSite::PassFrames | SyncSite::SealedFrames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_variants() {
        for site in SyncSite::ALL {
            assert_eq!(site.name(), format!("{site:?}"));
        }
    }
}
