//! `vwal status --prometheus`: what lies on disk, as text that Prometheus reads. The names are those of `vwal_metrics()`,
//! which knows more: it is asked in the process that has the database open.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use vwal::inspect::Inspection;

/// An inspection as metrics. What is not known is left out.
pub fn text(inspection: &Inspection) -> String {
    let path = inspection.path.to_string_lossy().into_owned();
    let mut labels = vec![("database".into(), path.into())];
    labels.extend(inspection.log_id().map(|id| ("log_id".into(), id.to_string().into())));
    let mut root = Registry::default();
    let registry = root.sub_registry_with_prefix("vwal").sub_registry_with_labels(labels.into_iter());
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
            meta.map(|meta| meta.stored_frame_no).filter(|&frame_no| frame_no > 0),
        ),
        ("segments", "Segments that hold frames", Some(inspection.segments.len() as u64)),
        ("database_pages", "Pages of the database", inspection.db_size_pages().map(u64::from)),
        ("findings", "Things that are not as they should be", Some(inspection.findings.len() as u64)),
        ("open", "1 while a process has the database open", Some(u64::from(inspection.holder.is_some()))),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
        }
    }
    let bytes = i64::try_from(inspection.log_bytes()).unwrap_or(i64::MAX);
    registry.register_with_unit("log", "Size of those segments", Unit::Bytes, ConstGauge::new(bytes));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &root);
    text
}
