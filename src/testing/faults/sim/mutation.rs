//! Fsyncs left out in turn, below a real SQLite: those that made-up pages do not come to.

use super::power_loss::recorded;
use crate::io::SyncSite;
use crate::testing::faults::mutation::gate;

/// The sites, and the seed of a life that needs each, which is tried first.
///
/// `RecoveredFrames` is nowhere: its fsync finds nothing left to do, since recovered frames become durable by a copy
/// (`RenewedSegment`). `CreatedDatabase` is only needed where the log of a new database cannot be begun at its first commit:
/// otherwise `LogDirectoryName` fsyncs the same directory before that commit returns. `RemoteCommit` comes before a commit waits
/// for storage, where no thread ships in a simulation. `MetaAtRest` is in `invariants/rest.rs`. Nothing that these lives do is
/// lost without `RecoveredNames` since a log at rest has its own fsync of the names.
const SITES: &[(SyncSite, u64)] = &[
    (SyncSite::RequestedFrames, 15),
    (SyncSite::LastFrames, 3),
    (SyncSite::StoredPosition, 2),
    (SyncSite::NamesAtRest, 2),
];

#[test]
fn without_any_of_these_fsyncs_a_power_loss_loses_something() {
    gate("a real SQLite", SITES, 20, recorded);
}
