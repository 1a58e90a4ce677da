//! The table "Which log" of `docs/design.md`, as data: what becomes of a log directory and a base file that are found together.

/// What is found of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metadata {
    /// There is no log directory.
    NoDirectory,
    /// A directory, and neither slot was ever written.
    NeverWritten,
    /// A slot that counts.
    Valid,
    /// No slot is whole, and one at least was written.
    Damaged,
}

/// What the base file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BaseIs {
    /// The file that belongs to the log ([`super::base::BaseState::difference`]); without metadata, one with the footer of a log
    /// to which nothing has written since.
    Fitting,
    /// In WAL mode, or to be: another file, or changed by something else.
    Other,
    /// The same, in rollback mode, or no database at all.
    NotWal,
    /// Without a byte: SQLite makes the file so when there is none.
    Empty,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The log of the metadata is recovered.
    Recover,
    /// A new log that continues log id and number of the footer.
    GoOn,
    /// A new log id, with the base file as it is.
    Begin,
    /// The database has no log.
    NotVirtual,
    /// The same, and the log that is there gets out of the way.
    MoveAside,
    /// Nothing is touched.
    Refuse,
}

struct Row {
    metadata: Metadata,
    base: &'static [BaseIs],
    /// Frames that the base file does not have, or segments that nothing places.
    frames: &'static [bool],
    then: Which,
}

const ANY_BASE: &[BaseIs] = &[BaseIs::Fitting, BaseIs::Other, BaseIs::NotWal, BaseIs::Empty];
const NO_DATABASE: &[BaseIs] = &[BaseIs::NotWal, BaseIs::Empty];
const ANY: &[bool] = &[false, true];
const NONE: &[bool] = &[false];
const SOME: &[bool] = &[true];

const WHICH_LOG: &[Row] = &[
    row(Metadata::NoDirectory, &[BaseIs::Fitting], NONE, Which::GoOn),
    row(Metadata::NoDirectory, &[BaseIs::Other], NONE, Which::Begin),
    row(Metadata::NoDirectory, NO_DATABASE, NONE, Which::NotVirtual),
    row(Metadata::NeverWritten, ANY_BASE, SOME, Which::Refuse),
    row(Metadata::NeverWritten, &[BaseIs::Fitting], NONE, Which::GoOn),
    row(Metadata::NeverWritten, &[BaseIs::Other], NONE, Which::Begin),
    row(Metadata::NeverWritten, NO_DATABASE, NONE, Which::NotVirtual),
    row(Metadata::Valid, &[BaseIs::Fitting], ANY, Which::Recover),
    row(Metadata::Valid, &[BaseIs::Other, BaseIs::NotWal], SOME, Which::Refuse),
    row(Metadata::Valid, &[BaseIs::Empty], SOME, Which::MoveAside),
    row(Metadata::Valid, &[BaseIs::Other], NONE, Which::Begin),
    row(Metadata::Valid, NO_DATABASE, NONE, Which::NotVirtual),
    row(Metadata::Damaged, ANY_BASE, ANY, Which::Refuse),
];

const fn row(metadata: Metadata, base: &'static [BaseIs], frames: &'static [bool], then: Which) -> Row {
    Row { metadata, base, frames, then }
}

impl Row {
    fn is_of(&self, metadata: Metadata, base: BaseIs, frames: bool) -> bool {
        self.metadata == metadata && self.base.contains(&base) && self.frames.contains(&frames)
    }
}

/// What is done with what is found. `frames`: there are some that the base file does not have.
pub(super) fn which_log(metadata: Metadata, base: BaseIs, frames: bool) -> Which {
    let row = WHICH_LOG.iter().find(|row| row.is_of(metadata, base, frames));
    row.map_or(Which::Refuse, |row| row.then)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: [(Metadata, &str); 4] = [
        (Metadata::NoDirectory, "no directory"),
        (Metadata::NeverWritten, "never written"),
        (Metadata::Valid, "valid"),
        (Metadata::Damaged, "damaged in both slots"),
    ];
    const BASE: [(BaseIs, &str); 4] = [
        (BaseIs::Fitting, "fits"),
        (BaseIs::Other, "does not fit"),
        (BaseIs::NotWal, "not in WAL mode, or no database"),
        (BaseIs::Empty, "missing, or empty"),
    ];
    const THEN: [(Which, &str); 6] = [
        (Which::Recover, "recover"),
        (Which::GoOn, "a new log that continues log id and number of the footer"),
        (Which::Begin, "a new log id, starting with the base file as it is"),
        (Which::NotVirtual, "no log; a new one once it is in WAL mode"),
        (Which::MoveAside, "move the log aside; a new one once it is in WAL mode"),
        (Which::Refuse, "refuse, touch nothing, say what can be done"),
    ];

    fn name<T: PartialEq>(names: &[(T, &'static str)], of: &T) -> &'static str {
        names.iter().find(|(value, _)| value == of).expect("each has a name").1
    }

    #[test]
    fn exactly_one_row_is_of_each_combination() {
        for (metadata, _) in METADATA {
            for (base, _) in BASE {
                for frames in [false, true] {
                    let rows = WHICH_LOG.iter().filter(|row| row.is_of(metadata, base, frames)).count();
                    // Without a directory there are no frames.
                    let expected = usize::from(metadata != Metadata::NoDirectory || !frames);
                    assert_eq!(rows, expected, "{metadata:?}, {base:?}, frames: {frames}");
                }
            }
        }
    }

    #[test]
    fn no_row_gives_frames_up() {
        for row in WHICH_LOG.iter().filter(|row| row.frames.contains(&true)) {
            assert!(
                matches!(row.then, Which::Recover | Which::Refuse | Which::MoveAside),
                "{:?}, {:?}",
                row.metadata,
                row.base
            );
        }
    }

    #[test]
    fn the_table_in_the_documentation_is_this_one() {
        let rows = WHICH_LOG.iter().map(|row| {
            let base = match row.base.len() {
                4 => "any".to_owned(),
                _ => row.base.iter().map(|base| name(&BASE, base)).collect::<Vec<_>>().join("; or "),
            };
            let frames = match row.frames {
                [false] => "none",
                [true] => "some",
                _ => "any",
            };
            format!("| {} | {base} | {frames} | {} |", name(&METADATA, &row.metadata), name(&THEN, &row.then))
        });
        let rows: Vec<String> = rows.collect();
        let design = include_str!("../../docs/design.md");
        let section = design.split("### Which log\n").nth(1).expect("the section");
        let table = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        let table: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
        assert_eq!(table, rows);
    }
}
