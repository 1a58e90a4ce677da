//! `vwal compact` and `vwal expire`: what the background does for a database with storage, by hand.

use std::time::Duration;

use serde_json::{Value, json};
use vwal::Retention;
use vwal::io::{Io, SystemIo};
use vwal::ship::compact::Compactor;
use vwal::ship::retain;
use vwal::storage::Put;
use vwal::storage::bundles;

use crate::cli::{Failure, Outcome, Report, text};

use super::{bar, with_storage};

/// Do every merge that is due.
pub fn compact(url: &str) -> Result<Report, Failure> {
    with_storage(url, async |storage| {
        let bar = bar("{spinner} {msg}");
        let io = SystemIo::private();
        let logs = bundles::logs(&*storage).await?;
        if logs.is_empty() {
            return Err(nothing(storage.url()));
        }
        let mut rows = Vec::new();
        let mut data: Vec<Value> = Vec::new();
        for log_id in logs {
            let mut compactor = Compactor::new(&storage, log_id);
            while let Some(merged) = compactor.step(io.random_u64()).await? {
                let (job, written) = (merged.job, merged.written);
                bar.set_message(format!(
                    "level {}, frames {} to {}",
                    job.level, job.start_frame_no, job.end_frame_no
                ));
                bar.tick();
                let taken = written.put == Put::Taken;
                rows.push(vec![
                    job.level.to_string(),
                    format!("{} to {}", job.start_frame_no, job.end_frame_no),
                    text::count(job.bundle_count as u64),
                    if taken { "made by another".to_owned() } else { text::bytes(written.stored_len) },
                ]);
                data.push(json!({
                    "log_id": log_id.to_string(), "level": job.level.to_string(),
                    "start_frame_no": job.start_frame_no, "end_frame_no": job.end_frame_no,
                    "merged": job.bundle_count, "bytes": written.stored_len, "made_by_another": taken,
                }));
            }
        }
        bar.finish_and_clear();
        let shown = match rows.is_empty() {
            true => "There is nothing to merge.".to_owned(),
            false => text::table(&["level", "frames", "merged", "size"], &[2, 3], rows),
        };
        Ok(Report::new(shown, &json!({ "url": storage.url(), "merges": data }), Outcome::Good))
    })
}

/// Delete what is older than `keep`, or say what that would be.
pub fn expire(url: &str, keep: &str, confirm: bool) -> Result<Report, Failure> {
    let retention = Retention::keep(age(keep)?);
    with_storage(url, async |storage| {
        let plans = retain::survey(&storage, &retention).await?;
        if plans.is_empty() {
            return Err(nothing(storage.url()));
        }
        let bar = bar("{bar:32} {pos}/{len} bundles");
        bar.set_length(plans.iter().map(|plan| plan.delete.len() as u64).sum());
        let mut shown = String::new();
        let mut data: Vec<Value> = Vec::new();
        let (mut count, mut bytes) = (0, 0u64);
        for plan in &plans {
            let own: u64 = plan.delete.iter().map(|expired| expired.stored_len).fold(0, u64::saturating_add);
            bytes = bytes.saturating_add(own);
            count += plan.delete.len() as u64;
            shown += &format!(
                "log {}: {} of {}, {} without a bundle",
                plan.log_id,
                text::plural(plan.delete.len() as u64, "bundle"),
                text::bytes(own),
                text::plural(plan.orphans.len() as u64, "part")
            );
            if let Some(frame_no) = plan.keep_from_frame_no {
                shown += &format!("; the earliest state is then frame {frame_no}");
            }
            shown.push('\n');
            for head in &plan.unreadable {
                shown += &format!("- '{}' cannot be read, and stays\n", head.key());
            }
            let keys: Vec<String> = plan.delete.iter().map(|expired| expired.head.key()).collect();
            data.push(json!({
                "log_id": plan.log_id.to_string(), "bundles": keys, "bytes": own, "orphans": plan.orphans,
                "keep_from_frame_no": plan.keep_from_frame_no,
                "unreadable": plan.unreadable.iter().map(|head| head.key()).collect::<Vec<_>>(),
            }));
            if confirm {
                retain::expire(&storage, plan, |_| bar.inc(1)).await?;
            }
        }
        bar.finish_and_clear();
        shown += &match confirm {
            true => format!("Deleted: {} of {}.\n", text::plural(count, "bundle"), text::bytes(bytes)),
            false => "Nothing has been deleted: --confirm does it.\n".to_owned(),
        };
        Ok(Report::new(
            shown,
            &json!({ "url": storage.url(), "deleted": confirm, "logs": data }),
            Outcome::Good,
        ))
    })
}

fn nothing(url: &str) -> Failure {
    vwal::Error::NothingThere { url: url.to_owned(), what: "holds no log of vwal".into() }.into()
}

/// "24h", "7 days".
fn age(text: &str) -> Result<Duration, Failure> {
    let wrong = || Failure::usage(format!("'{text}' is no age: write 90m, 24h, 7d, '2 weeks'"));
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let relative = jiff::SpanRelativeTo::days_are_24_hours();
    let duration = span.to_duration(relative).map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_and_never_negative() {
        let hours = |count: u64| Duration::from_secs(count * 3600);
        for (text, expected) in
            [("24h", hours(24)), ("7d", hours(168)), ("2 weeks", hours(336)), ("0s", hours(0))]
        {
            assert_eq!(age(text).unwrap(), expected, "{text}");
        }
        for wrong in ["", "24", "forever", "2h ago", "-1h", "1 month"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
