//! Metrics of an open database, as text for Prometheus.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::log::Log;
use crate::ship::Stats;

/// All metrics. `stats`: of the shipping, if the database has storage.
pub(super) fn text(log: &Log, stats: Option<&Stats>) -> String {
    let database = log.database().to_string_lossy().into_owned();
    let labels = [("database".into(), database.into()), ("log_id".into(), log.log_id().to_string().into())];
    let mut root = Registry::default();
    let registry = root.sub_registry_with_prefix("vwal").sub_registry_with_labels(labels.into_iter());
    log_metrics(registry, log);
    if let Some(stats) = stats {
        shipping_metrics(registry, log, stats);
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &root);
    text
}

/// A number as Prometheus has them.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn log_metrics(registry: &mut Registry, log: &Log) {
    let (log_bytes, segments) = log.size();
    for (name, help, value) in [
        ("frame_no", "Number of the last committed frame", log.published_frame_no()),
        ("synced_frame_no", "Up to here everything is on this disk", log.synced_frame_no()),
        (
            "durable_frame_no",
            "Up to here everything is durable: in storage, if there is one",
            log.durable_frame_no(),
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
        registry.register(name, help, ConstGauge::new(signed(value)));
    }
    registry.register_with_unit(
        "log",
        "Size of those segments",
        Unit::Bytes,
        ConstGauge::new(signed(log_bytes)),
    );
}

fn shipping_metrics(registry: &mut Registry, log: &Log, stats: &Stats) {
    let fenced = u64::from(log.fence().is_some());
    registry.register("fenced", "1 when storage belongs to another primary", ConstGauge::new(signed(fenced)));
    let unshipped = log.unshipped_bytes();
    let help = "Frames that storage does not have yet";
    registry.register_with_unit("unshipped", help, Unit::Bytes, ConstGauge::new(signed(unshipped)));
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
