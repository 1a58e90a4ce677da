//! `vwal restore`: a database from storage.

use indicatif::HumanBytes;
use serde_json::{Value, json};
use vwal::restore::plan::Piece;
use vwal::restore::{Resolved, Restore, Target, leftovers};
use vwal::storage::StorageUrl;

use crate::cli::args::RestoreArgs;
use crate::cli::{Failure, Outcome, Report, text};

use super::{bar, parse_url, url_of_environment, when};

/// Restore, or say what would be restored.
pub fn run(args: &RestoreArgs) -> Result<Report, Failure> {
    let url = url(args)?;
    let target = match (args.frame, &args.timestamp) {
        (Some(frame_no), _) => Target::Frame(frame_no),
        (None, Some(time)) => Target::Time(when::parse(time)?),
        (None, None) => Target::Latest,
    };
    let mut restore = Restore::new(&url).target(target);
    if let Some(log_id) = args.log {
        restore = restore.log(log_id);
    }
    if args.take_over {
        restore = restore.take_over();
    }
    let output = match &args.output {
        Some(output) if !args.dry_run => output,
        _ => {
            let resolved = restore.plan()?;
            let mut shown = describe(&resolved);
            shown.push_str("Nothing has been restored (--dry-run).\n");
            return Ok(Report::new(shown, &data(&resolved), Outcome::Good));
        }
    };
    let bar = bar("{bar:32} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
    let restored = restore.run(output, |advance| {
        bar.set_length(advance.bytes_total);
        bar.set_position(advance.bytes);
    });
    bar.finish_and_clear();
    let restored = restored.map_err(|error| {
        let mut failure = Failure::from(error);
        if let Some(dir) = leftovers(output).filter(|_| !matches!(failure.code, 13 | 14)) {
            failure.message += &format!(
                ". What was restored so far is kept in '{}': the same command goes on from there",
                dir.display()
            );
        }
        failure
    })?;
    let mut shown = describe(&restored.resolved);
    shown += &format!("{} restored: {}.\n", output.display(), HumanBytes(restored.bytes));
    if args.take_over {
        shown += &format!("It begins log {}, which takes over when it is shipped.\n", restored.log_id);
    } else if restored.resolved.commit.frame_no < restored.resolved.end.end_frame_no {
        shown +=
            "It is older than its log in storage: to go on from it there, restore it with --take-over.\n";
    }
    let mut data = data(&restored.resolved);
    if let Value::Object(fields) = &mut data {
        fields.insert("path".into(), json!(restored.path));
        fields.insert("database_bytes".into(), json!(restored.bytes));
        fields.insert("new_log_id".into(), json!(args.take_over.then(|| restored.log_id.to_string())));
        fields.insert("continued".into(), json!(restored.continued));
    }
    Ok(Report::new(shown, &data, Outcome::Good))
}

/// The storage: of the argument, or of the environment, where the name of the new file may fill the placeholder.
fn url(args: &RestoreArgs) -> Result<StorageUrl, Failure> {
    if let Some(text) = &args.url {
        return parse_url(text);
    }
    let text = url_of_environment()?;
    match &args.output {
        Some(output) if text.contains("{name}") => {
            let url: StorageUrl =
                text.parse().map_err(|error: vwal::Error| Failure::usage(error.to_string()))?;
            Ok(url.for_database(output)?)
        }
        _ => parse_url(&text),
    }
}

fn describe(resolved: &Resolved) -> String {
    let commit = resolved.commit;
    let facts = [
        ("log", resolved.log_id.to_string()),
        ("frame", text::count(commit.frame_no)),
        ("committed", when::show(commit.commit_us)),
        (
            "size",
            format!(
                "{} of {} bytes",
                text::plural(u64::from(commit.db_size_pages), "page"),
                resolved.page_size.get()
            ),
        ),
        (
            "to read",
            format!(
                "{} in {}",
                text::bytes(resolved.plan.bytes()),
                text::plural(resolved.plan.pieces.len() as u64, "bundle")
            ),
        ),
    ];
    let mut shown = text::table(&[], &[], facts.map(|(name, value)| vec![name.to_owned(), value]));
    shown.push('\n');
    let rows = resolved.plan.pieces.iter().enumerate().map(|(number, piece)| row(resolved, number, piece));
    shown += &text::table(&["level", "frames", "pages", "size"], &[2, 3], rows);
    shown.push('\n');
    for note in &resolved.notes {
        shown += &format!("- {note}\n");
    }
    shown
}

fn row(resolved: &Resolved, number: usize, piece: &Piece) -> Vec<String> {
    let known = &piece.known;
    let is_last = number + 1 == resolved.plan.pieces.len();
    let frames = match (number, is_last && resolved.plan.is_cut()) {
        (0, _) => format!("all up to {}", known.end_frame_no),
        (_, true) => {
            format!("{} to {} of {}", known.start_frame_no, resolved.plan.end_frame_no, known.end_frame_no)
        }
        _ => format!("{} to {}", known.start_frame_no, known.end_frame_no),
    };
    vec![piece.level.to_string(), frames, text::count(known.image_count), text::bytes(known.bytes)]
}

fn data(resolved: &Resolved) -> Value {
    let commit = resolved.commit;
    let bundles: Vec<Value> = resolved
        .plan
        .pieces
        .iter()
        .map(|piece| {
            json!({
                "level": piece.level.to_string(), "start_frame_no": piece.known.start_frame_no,
                "end_frame_no": piece.known.end_frame_no, "images": piece.known.image_count,
                "bytes": piece.known.bytes,
            })
        })
        .collect();
    json!({
        "log_id": resolved.log_id.to_string(), "frame_no": commit.frame_no, "commit_us": commit.commit_us,
        "time": when::rfc3339(commit.commit_us), "db_size_pages": commit.db_size_pages,
        "page_size": resolved.page_size.get(), "end_frame_no": resolved.end.end_frame_no,
        "bytes": resolved.plan.bytes(), "bundles": bundles, "notes": resolved.notes,
    })
}
