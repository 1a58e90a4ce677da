//! Which log is meant, when storage has several.
//!
//! Logs follow each other: a restored database that takes over begins a new log, and a terminator at the end of the old one
//! names it. The log that no terminator ends is the live one.

use std::collections::BTreeMap;

use crate::types::LogId;

/// The end of a log in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The log.
    pub log_id: LogId,
    /// Its last frame.
    pub end_frame_no: u64,
    /// Time of the commit at its end, microseconds since 1970, as far as it is known.
    pub last_commit_us: Option<u64>,
    /// The log that goes on from there.
    pub successor: Option<LogId>,
    /// The newest bundle cannot be read: the log goes on, or ends, with what is in it.
    pub is_damaged: bool,
}

/// The log to restore from, and those that it goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The log, and behind it its predecessors, the newest first.
    pub logs: Vec<LogEnd>,
    /// A log that took over and has nothing in storage yet.
    pub awaited: Option<LogId>,
}

/// Why no log can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoLog {
    /// Storage has no log.
    Empty,
    /// It does not have this one.
    Unknown(LogId),
    /// There is more than one that nothing took over.
    Several(Vec<LogEnd>),
    /// Each log names one that took it over, in a circle.
    Circle,
}

impl std::fmt::Display for NoLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoLog::Empty => f.write_str("holds no log of vwal"),
            NoLog::Unknown(log_id) => write!(f, "holds no log {log_id}"),
            NoLog::Several(ends) => {
                f.write_str("holds several logs, and which one is meant has to be said (--log ID):")?;
                for end in ends {
                    write!(f, " {} (to frame {})", end.log_id, end.end_frame_no)?;
                }
                Ok(())
            }
            NoLog::Circle => f.write_str("holds logs that took over from each other in a circle"),
        }
    }
}

/// Choose the log `wanted`, or else the live one.
pub fn choose(ends: &[LogEnd], wanted: Option<LogId>) -> Result<Lineage, NoLog> {
    let known: BTreeMap<LogId, LogEnd> = ends.iter().map(|end| (end.log_id, *end)).collect();
    let is_live = |end: &LogEnd| end.successor.is_none_or(|successor| !known.contains_key(&successor));
    let first = match wanted {
        Some(log_id) => *known.get(&log_id).ok_or(NoLog::Unknown(log_id))?,
        None => {
            let live: Vec<LogEnd> = known.values().copied().filter(is_live).collect();
            match live[..] {
                [one] => one,
                [] if known.is_empty() => return Err(NoLog::Empty),
                [] => return Err(NoLog::Circle),
                _ => return Err(NoLog::Several(live)),
            }
        }
    };
    let mut logs = vec![first];
    while let Some(end) = logs.last() {
        let mut before = known.values().filter(|other| other.successor == Some(end.log_id));
        // Only one log can have named it: a new log has one parent. Two are a riddle, and so is a circle; what is before
        // them is reached by name.
        match (before.next(), before.next()) {
            (Some(&one), None) if logs.iter().all(|log| log.log_id != one.log_id) => logs.push(one),
            _ => break,
        }
    }
    let awaited = first.successor.filter(|_| is_live(&first));
    Ok(Lineage { logs, awaited })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(number: u128, successor: Option<u128>) -> LogEnd {
        let id = |number| LogId(uuid::Uuid::from_u128(number));
        LogEnd {
            log_id: id(number),
            end_frame_no: 7,
            last_commit_us: Some(1),
            successor: successor.map(id),
            is_damaged: false,
        }
    }

    fn numbers(lineage: &Lineage) -> Vec<u128> {
        lineage.logs.iter().map(|log| log.log_id.0.as_u128()).collect()
    }

    #[test]
    fn the_live_log_is_meant_and_the_ones_before_it_are_known() {
        let ends = [log(3, None), log(1, Some(2)), log(2, Some(3))];
        let lineage = choose(&ends, None).unwrap();
        assert_eq!((numbers(&lineage), lineage.awaited), (vec![3, 2, 1], None));
        let old = choose(&ends, Some(ends[2].log_id)).unwrap();
        assert_eq!((numbers(&old), old.awaited), (vec![2, 1], None));
    }

    #[test]
    fn a_successor_without_anything_is_awaited() {
        let lineage = choose(&[log(1, Some(2))], None).unwrap();
        assert_eq!((numbers(&lineage), lineage.awaited), (vec![1], Some(log(2, None).log_id)));
    }

    #[test]
    fn what_cannot_be_chosen_is_said() {
        assert_eq!(choose(&[], None), Err(NoLog::Empty));
        let several = choose(&[log(1, None), log(2, None), log(3, Some(2))], None).unwrap_err();
        assert!(matches!(&several, NoLog::Several(ends) if ends.len() == 2), "{several}");
        let unknown = log(9, None).log_id;
        assert_eq!(choose(&[log(1, None)], Some(unknown)), Err(NoLog::Unknown(unknown)));
        assert_eq!(choose(&[log(1, Some(2)), log(2, Some(1))], None), Err(NoLog::Circle));
        assert_eq!(numbers(&choose(&[log(1, Some(1))], Some(log(1, None).log_id)).unwrap()), [1]);
    }
}
