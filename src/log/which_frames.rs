//! The table "Which frames" of `docs/design.md`, as data: what becomes of what is found in the segments (`judge.rs` asks it).

/// What is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A segment with the whole head of another log, or of another version of vwal.
    Foreign,
    /// A segment whose head is bad. Shown: that it was fsynced.
    BadHead,
    /// The oldest segment begins after the first frame that is needed.
    Missing,
    /// A seal that is not whole. Shown: that it was fsynced, since a later segment is sealed.
    BadSeal,
    /// The index of a sealed segment is not whole.
    BadIndex,
    /// A frame that is not whole, or does not follow the one before it. Shown: that it was fsynced, by the seal or by a later
    /// frame of the segment.
    BadFrame,
    /// The checkpointed frame is bad, and nothing in it shows that the next one, which is whole, follows it. Shown: that this was
    /// written after the other had been fsynced, by the seal or by a later frame.
    Untied,
    /// A segment does not continue the one before it. Shown: that the frames between were fsynced, by a later frame or seal.
    Unlinked,
    /// Whole frames at the end, without a commit mark.
    Uncommitted,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing is touched: an error.
    Refuse,
    /// The segment is removed.
    Remove,
    /// As if it were not so.
    GoOn,
    /// The same, and it is reported.
    Report,
    /// The frames are read and verified, and it is reported.
    ReadFrames,
    /// The next frame that is needed is looked for after it, and it is reported.
    StepOver,
    /// The log ends at the last commit before it. Later segments are removed.
    End,
}

struct Row {
    found: Found,
    /// The base file does not have all of the frames that it is about.
    needed: &'static [bool],
    /// Something shows that what should be there had been fsynced.
    durable: &'static [bool],
    then: Then,
}

const ANY: &[bool] = &[false, true];
const NO: &[bool] = &[false];
const YES: &[bool] = &[true];

const WHICH_FRAMES: &[Row] = &[
    row(Found::Foreign, ANY, ANY, Then::Refuse),
    row(Found::BadHead, NO, ANY, Then::Remove),
    row(Found::BadHead, YES, YES, Then::Refuse),
    row(Found::BadHead, YES, NO, Then::Remove),
    row(Found::Missing, NO, ANY, Then::GoOn),
    row(Found::Missing, YES, YES, Then::Refuse),
    row(Found::Missing, YES, NO, Then::End),
    row(Found::BadSeal, ANY, YES, Then::Report),
    row(Found::BadSeal, ANY, NO, Then::GoOn),
    row(Found::BadIndex, ANY, ANY, Then::ReadFrames),
    row(Found::BadFrame, NO, ANY, Then::StepOver),
    row(Found::BadFrame, YES, YES, Then::Refuse),
    row(Found::BadFrame, YES, NO, Then::End),
    row(Found::Untied, NO, ANY, Then::GoOn),
    row(Found::Untied, YES, YES, Then::GoOn),
    row(Found::Untied, YES, NO, Then::Refuse),
    row(Found::Unlinked, NO, ANY, Then::GoOn),
    row(Found::Unlinked, YES, YES, Then::Refuse),
    row(Found::Unlinked, YES, NO, Then::End),
    row(Found::Uncommitted, ANY, ANY, Then::End),
];

const fn row(found: Found, needed: &'static [bool], durable: &'static [bool], then: Then) -> Row {
    Row { found, needed, durable, then }
}

impl Row {
    fn is_of(&self, found: Found, needed: bool, durable: bool) -> bool {
        self.found == found && self.needed.contains(&needed) && self.durable.contains(&durable)
    }
}

/// What is done with what is found. `needed`: it is about frames that the base file does not have; `durable`: something shows that
/// what should be there had been fsynced.
pub(super) fn which_frames(found: Found, needed: bool, durable: bool) -> Then {
    let row = WHICH_FRAMES.iter().find(|row| row.is_of(found, needed, durable));
    row.map_or(Then::Refuse, |row| row.then)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: [(Found, &str); 9] = [
        (Found::Foreign, "a segment of another log, or of another version of vwal"),
        (Found::BadHead, "a segment whose head is bad"),
        (Found::Missing, "the oldest segment begins after the first frame that is looked for"),
        (Found::BadSeal, "a seal that is not whole"),
        (Found::BadIndex, "a sealed segment whose index is not whole"),
        (Found::BadFrame, "a bad frame"),
        (
            Found::Untied,
            "the checkpointed frame is bad, and nothing in it shows that the next one, which is whole, follows it",
        ),
        (Found::Unlinked, "a segment does not continue the one before it"),
        (Found::Uncommitted, "whole frames without a commit mark at the end"),
    ];
    const THEN: [(Then, &str); 7] = [
        (Then::Refuse, "refuse"),
        (Then::Remove, "the segment is removed"),
        (Then::GoOn, "go on"),
        (Then::Report, "go on; this is reported"),
        (Then::ReadFrames, "its frames are read and verified; this is reported"),
        (Then::StepOver, "go on at the first frame that is needed; this is reported"),
        (Then::End, "the log ends at the last commit before it; later segments are removed"),
    ];

    fn name<T: PartialEq>(names: &[(T, &'static str)], of: &T) -> &'static str {
        names.iter().find(|(value, _)| value == of).expect("each has a name").1
    }

    #[test]
    fn exactly_one_row_is_of_each_combination() {
        for (found, _) in FOUND {
            for needed in [false, true] {
                for durable in [false, true] {
                    let rows = WHICH_FRAMES.iter().filter(|row| row.is_of(found, needed, durable)).count();
                    assert_eq!(rows, 1, "{found:?}, needed: {needed}, durable: {durable}");
                }
            }
        }
    }

    #[test]
    fn no_row_gives_up_what_is_needed_and_was_fsynced() {
        for row in WHICH_FRAMES.iter().filter(|row| row.needed.contains(&true) && row.durable.contains(&true))
        {
            // Frames without a commit mark are of no commit, durable or not.
            let is_kept = !matches!(row.then, Then::End | Then::Remove) || row.found == Found::Uncommitted;
            assert!(is_kept, "{:?}: {:?}", row.found, row.then);
        }
    }

    #[test]
    fn nothing_that_is_not_needed_ends_the_log_or_keeps_it_from_being_opened() {
        for row in WHICH_FRAMES.iter().filter(|row| row.needed.contains(&false)) {
            let is_in_the_way = matches!(row.then, Then::End | Then::Refuse);
            // What is another log's is not ours to remove; the other row is of the end of the log.
            let may_be = matches!(row.found, Found::Foreign | Found::Uncommitted);
            assert!(!is_in_the_way || may_be, "{:?}: {:?}", row.found, row.then);
        }
    }

    #[test]
    fn the_table_in_the_documentation_is_this_one() {
        let yes_or_no = |values: &[bool], words: [&'static str; 2]| match values {
            [false] => words[0],
            [true] => words[1],
            _ => "any",
        };
        let rows = WHICH_FRAMES.iter().map(|row| {
            format!(
                "| {} | {} | {} | {} |",
                name(&FOUND, &row.found),
                yes_or_no(row.needed, ["no", "yes"]),
                yes_or_no(row.durable, ["no", "yes"]),
                name(&THEN, &row.then)
            )
        });
        let rows: Vec<String> = rows.collect();
        let design = include_str!("../../docs/design.md");
        let section = design.split("### Which frames\n").nth(1).expect("the section");
        let table = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        let table: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
        assert_eq!(table, rows);
    }
}
