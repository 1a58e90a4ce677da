//! `vwal check`: whether a store can do what vwal needs.

use serde_json::json;
use vwal::{StorageErrorKind as Kind, storage};

use crate::cli::{Failure, Outcome, Report, text};

use super::{parse_url, with_storage};

/// Try everything, and say how long it took.
pub fn run(url: &str) -> Result<Report, Failure> {
    if let Some(directory) = parse_url(url)?.missing_directory() {
        return Err(Failure::new(format!(
            "the directory '{}' does not exist, so it cannot be tried (is a disk not mounted?); shipping makes it, when the \
             one above it exists",
            directory.display()
        )));
    }
    with_storage(url, async |storage| {
        let report = storage::check(&*storage).await;
        // A store that could not be reached, or that let nobody in, has not been tried: nothing is known of it.
        if let Some(error @ vwal::Error::Storage { kind, .. }) = report.error()
            && matches!(kind, Kind::Denied | Kind::Unavailable | Kind::NotFound)
        {
            return Err(error.clone().into());
        }
        let rows = report.steps.iter().map(|step| {
            let verdict = step.error.as_ref().map_or_else(|| "ok".to_owned(), ToString::to_string);
            vec![step.name.to_owned(), format!("{:.1} ms", step.took.as_secs_f64() * 1000.0), verdict]
        });
        let mut shown = text::table(&["operation", "time", ""], &[1], rows);
        shown.push_str(if report.is_ok() {
            "\nThe store can do all that vwal needs.\n"
        } else {
            "\nThis store is NOT fit for vwal.\n"
        });
        let steps: Vec<_> = report
            .steps
            .iter()
            .map(|step| {
                json!({
                    "name": step.name, "ms": step.took.as_secs_f64() * 1000.0,
                    "error": step.error.as_ref().map(ToString::to_string),
                })
            })
            .collect();
        let data = json!({ "url": storage.url(), "ok": report.is_ok(), "steps": steps });
        let outcome = if report.is_ok() { Outcome::Good } else { Outcome::Findings };
        Ok(Report::new(shown, &data, outcome))
    })
}
