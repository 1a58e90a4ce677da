//! `vwal compact`, `vwal expire` and `vwal check`: looking after what is in storage.

use serde_json::json;
use vwal::Retention;
use vwal::ship::{compact, retain};
use vwal::storage;

use super::args::{CompactArgs, ExpireArgs};
use super::{Failure, Outcome, Report, remote, text};

/// Merge what is due.
pub fn compact(args: &CompactArgs) -> Result<Report, Failure> {
    let url = remote::url(&args.url)?;
    let spinner = remote::spinner("merging");
    let (log_id, merges) = remote::block_on(async {
        let storage = remote::open(&url)?;
        let log_id = remote::choose_log(&storage, args.log).await?;
        let mut compactor = compact::Compactor::new(&storage, log_id);
        let mut merges = Vec::new();
        while let Some(merged) = compactor.step(random()).await? {
            let job = merged.job;
            spinner.set_message(format!("merged frames {} to {}", job.start_frame_no, job.end_frame_no));
            if merged.written.put == storage::Put::Created {
                merges.push(merged);
            }
        }
        Ok((log_id, merges))
    })?;
    spinner.finish_and_clear();
    let rows: Vec<serde_json::Value> = merges
        .iter()
        .map(|merged| {
            json!({
                "level": merged.job.level.to_string(), "bundles": merged.job.bundle_count,
                "start_frame_no": merged.job.start_frame_no, "end_frame_no": merged.job.end_frame_no,
                "bytes": merged.written.stored_len,
            })
        })
        .collect();
    let text = if merges.is_empty() {
        "There is nothing to merge.\n".to_owned()
    } else {
        let lines = merges.iter().map(|merged| {
            vec![
                merged.job.level.to_string(),
                format!("{} to {}", merged.job.start_frame_no, merged.job.end_frame_no),
                merged.job.bundle_count.to_string(),
                text::bytes(merged.written.stored_len),
            ]
        });
        text::table(&["level", "frames", "bundles", "size"], &[2, 3], lines) + "\n"
    };
    Ok(Report::new(text, &json!({ "log_id": log_id.to_string(), "merges": rows }), Outcome::Good))
}

/// Delete what is older than that, or say what would be deleted.
pub fn expire(args: &ExpireArgs) -> Result<Report, Failure> {
    let url = remote::url(&args.url)?;
    let retention = Retention::keep(args.keep);
    let plans = remote::block_on(async {
        let storage = remote::open(&url)?;
        let spinner = remote::spinner("looking at what there is");
        let plans = retain::survey(&storage, &retention).await?;
        spinner.finish_and_clear();
        if plans.is_empty() {
            let url = storage.url().to_owned();
            return Err(vwal::Error::NothingThere { url, what: "holds no log of vwal".into() }.into());
        }
        if args.confirm {
            let total = plans.iter().map(|plan| plan.delete.len() as u64).sum();
            let bar = remote::bar(total, "{bar:32} {pos} of {len} bundles deleted");
            for plan in &plans {
                retain::expire(&storage, plan, |_| bar.inc(1)).await?;
            }
            bar.finish_and_clear();
        }
        Ok(plans)
    })?;
    let (mut bundles, mut bytes, mut parts) = (0, 0, 0);
    let mut logs = Vec::new();
    let mut lines = Vec::new();
    for plan in &plans {
        let plan_bytes: u64 = plan.delete.iter().map(|expired| expired.stored_len).sum();
        bundles += plan.delete.len() as u64;
        bytes += plan_bytes;
        parts += plan.orphans.len() as u64;
        let keep_from =
            plan.keep_from_frame_no.map_or_else(|| "all".to_owned(), |frame_no| frame_no.to_string());
        lines.push(vec![
            plan.log_id.to_string(),
            text::count(plan.delete.len() as u64),
            text::bytes(plan_bytes),
            text::count(plan.orphans.len() as u64),
            keep_from,
        ]);
        logs.push(json!({
            "log_id": plan.log_id.to_string(), "bundles": plan.delete.len(), "bytes": plan_bytes,
            "orphaned_parts": plan.orphans.len(), "keep_from_frame_no": plan.keep_from_frame_no,
            "keys": plan.delete.iter().map(|expired| expired.head.key()).collect::<Vec<_>>(),
        }));
    }
    let heading = ["log", "bundles", "size", "orphaned parts", "restorable from frame"];
    let mut text = text::table(&heading, &[1, 2, 3, 4], lines);
    text.push_str(&format!(
        "\n{} {}, {}, and {}.\n",
        if args.confirm { "Deleted:" } else { "Would delete:" },
        text::plural(bundles, "bundle"),
        text::bytes(bytes),
        text::plural(parts, "orphaned part")
    ));
    if !args.confirm {
        text.push_str("Nothing has been deleted: --confirm does it.\n");
    }
    let data = json!({ "deleted": args.confirm, "bundles": bundles, "bytes": bytes, "orphaned_parts": parts, "logs": logs });
    Ok(Report::new(text, &data, Outcome::Good))
}

/// Try out whether a store can do what vwal needs.
pub fn check(url: &str) -> Result<Report, Failure> {
    let url = remote::url(url)?;
    let report = remote::block_on(async { Ok(storage::check(&*remote::open(&url)?).await) })?;
    let rows = report.steps.iter().map(|step| {
        let result = step.error.as_ref().map_or_else(|| "ok".to_owned(), ToString::to_string);
        vec![step.name.to_owned(), format!("{:.1} ms", step.took.as_secs_f64() * 1000.0), result]
    });
    let text = text::table(&["step", "took", "result"], &[1], rows);
    if let Some(error) = report.error() {
        eprintln!("{text}");
        return Err(error.clone().into());
    }
    let steps: Vec<serde_json::Value> = report
        .steps
        .iter()
        .map(|step| json!({ "step": step.name, "ms": step.took.as_secs_f64() * 1000.0, "ok": step.error.is_none() }))
        .collect();
    let text = format!("{text}\n'{url}' can do what vwal needs.\n");
    Ok(Report::new(text, &json!({ "storage": url.to_string(), "ok": true, "steps": steps }), Outcome::Good))
}

/// For the names of parts.
fn random() -> u64 {
    vwal::io::Io::random_u64(&vwal::io::SystemIo::like(std::path::Path::new(".")))
}
