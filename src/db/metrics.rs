//! Metrics as text for Prometheus: of an open database, and, as far as they can be told from outside, of its files.

use std::path::Path;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::inspect::Inspection;
use crate::log::Log;
use crate::ship::Stats;
use crate::types::LogId;

/// All metrics. `stats`: of the shipping, if the database has storage.
/// `durable_frame_no`: up to here everything is durable.
pub(super) fn text(log: &Log, durable_frame_no: u64, stats: Option<&Stats>) -> String {
    render(log.database(), Some(log.log_id()), |registry| {
        log_metrics(registry, log, durable_frame_no);
        if let Some(stats) = stats {
            shipping_metrics(registry, log, stats);
        }
    })
}

/// An inspection as text that Prometheus reads. The names are those of [`Database::metrics`](crate::Database::metrics),
/// which knows more. What is not known is left out.
pub fn of_inspection(inspection: &Inspection) -> String {
    let meta = inspection.meta();
    let gauges = [
        ("frame_no", "Number of the last committed frame", inspection.frame_no()),
        (
            "checkpointed_frame_no",
            "Up to here everything is in the database file",
            meta.map(|meta| meta.checkpointed_frame_no),
        ),
        (
            "noted_durable_frame_no",
            "Up to here everything was in storage when the log last wrote that down",
            meta.map(|meta| meta.stored.frame_no).filter(|&frame_no| frame_no > 0),
        ),
        ("segments", "Segments that hold frames", Some(inspection.segments.len() as u64)),
        ("database_pages", "Pages of the database", inspection.db_size_pages().map(u64::from)),
        ("findings", "Things that are not as they should be", Some(inspection.findings.len() as u64)),
        ("open", "1 while a process has the database open", Some(u64::from(inspection.holder.is_some()))),
    ];
    render(&inspection.path, inspection.log_id(), |registry| {
        for (name, help, value) in gauges {
            if let Some(value) = value {
                registry.register(name, help, gauge(value));
            }
        }
        register_log_size(registry, inspection.log_bytes());
    })
}

/// The metrics that `fill` registers, labelled with what they are of.
fn render(database: &Path, log_id: Option<LogId>, fill: impl FnOnce(&mut Registry)) -> String {
    let mut labels = vec![("database".into(), database.to_string_lossy().into_owned().into())];
    labels.extend(log_id.map(|id| ("log_id".into(), id.to_string().into())));
    let mut root = Registry::default();
    fill(root.sub_registry_with_prefix("vwal").sub_registry_with_labels(labels.into_iter()));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &root);
    text
}

fn gauge(number: u64) -> ConstGauge<i64> {
    // As Prometheus has them.
    ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX))
}

fn register_log_size(registry: &mut Registry, bytes: u64) {
    registry.register_with_unit("log", "Size of those segments", Unit::Bytes, gauge(bytes));
}

fn log_metrics(registry: &mut Registry, log: &Log, durable_frame_no: u64) {
    let (log_bytes, segments) = log.view().size();
    for (name, help, value) in [
        ("frame_no", "Number of the last committed frame", log.published_frame_no()),
        ("synced_frame_no", "Up to here everything is on this disk", log.synced_frame_no()),
        (
            "durable_frame_no",
            "Up to here everything is durable: in storage, if there is one",
            durable_frame_no,
        ),
        (
            "checkpointed_frame_no",
            "Up to here everything is in the database file",
            log.checkpointed_frame_no(),
        ),
        ("segments", "Segments that hold frames", segments),
        ("database_pages", "Pages of the database", u64::from(log.database_pages())),
        ("failing", "1 while a background task fails", u64::from(log.last_error().is_some())),
    ] {
        registry.register(name, help, gauge(value));
    }
    register_log_size(registry, log_bytes);
    for (name, help, value) in [
        ("commits", "Commits since the database was opened", log.writer().commit_count()),
        (
            "commit_fsyncs",
            "Fsyncs of segments since then that made commits durable",
            log.durability().sync_count(),
        ),
    ] {
        registry.register(name, help, ConstCounter::new(value));
    }
}

fn shipping_metrics(registry: &mut Registry, log: &Log, stats: &Stats) {
    let fenced = u64::from(log.remote().fence().is_some());
    registry.register("fenced", "1 when storage belongs to another primary", gauge(fenced));
    let unshipped = log.unshipped_bytes();
    let help = "Frames that storage does not have yet";
    registry.register_with_unit("unshipped", help, Unit::Bytes, gauge(unshipped));
    #[expect(clippy::cast_precision_loss, reason = "a time in seconds needs no more")]
    let last_shipped = stats.last_shipped_us() as f64 / 1e6;
    let help = "When a bundle was last shipped, since 1970; 0: not since the database was opened";
    registry.register_with_unit("last_shipped", help, Unit::Seconds, ConstGauge::new(last_shipped));
    for (name, help, value) in [
        ("shipped_bundles", "Bundles of frames that were shipped", stats.bundles()),
        ("shipped_frames", "Frames in those bundles", stats.frames()),
        ("stored_objects", "Objects that were put into storage", stats.objects()),
        (
            "storage_failures",
            "Operations on storage that failed and were, or will be, tried again",
            stats.failures(),
        ),
        ("merges", "Merges of bundles", stats.merges()),
        ("snapshots", "Full images that were put into storage", stats.snapshots()),
        ("expired_bundles", "Bundles that were deleted", stats.expired()),
    ] {
        registry.register(name, help, ConstCounter::new(value));
    }
    let help = "Size of the objects that were put into storage";
    registry.register_with_unit("stored", help, Unit::Bytes, ConstCounter::new(stats.bytes()));
}
