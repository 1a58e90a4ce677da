//! What storage has, held against what the log on this disk has: may this log ship there, and from where on?
//!
//! Create-only keys alone keep two primaries from extending one log at the same place. What they cannot tell is whether a
//! log *is* the one in storage: a copy of a database has the same log id. So before anything is shipped, the last commit
//! in storage must be one that this log has too, of the same frame number and the same microsecond.
//!
//! The first row that fits counts. *Has shipped there*: the place is a directory, and by the metadata this log
//! has shipped to it. *Is told to*: `vwal_take_over` names this log, or one that is there.
//!
//! | storage has of this log | this log | then |
//! |---|---|---|
//! | nothing | has shipped there, and is not told to begin | wait until the right directory is back |
//! | nothing, and no live log of another id | | begin: base snapshot |
//! | nothing, and logs that were ended, one of them for a log that is not there yet | is not told to begin | refuse |
//! | nothing, and a live log that this one continues, as far as this one has it | | end that one, then begin |
//! | nothing, and a live log that this one is told to take over from | | end that one, then begin |
//! | nothing, and another live log | | refuse |
//! | a terminator | | refuse: another log has taken over |
//! | frames up to D | has shipped there farther than D, and is not told to take over | wait until the right directory is back |
//! | frames up to D | ends before D | refuse: an old copy |
//! | frames up to D | has the same commit at D | go on |
//! | frames up to D | has another commit at D | refuse: another branch |
//! | frames up to D | has frame D in the base file only, and shipped exactly up to D before | bridge the gap with a full image |
//! | frames up to D | has frame D in the base file only, and is told to take over | bridge the gap with a full image |
//! | frames up to D | has frame D in the base file only, otherwise | refuse |

use std::sync::Arc;

use crate::error::{Error, Result, StorageErrorKind};
use crate::format::frame::commit_time;
use crate::format::meta::PLACES;
use crate::log::Log;
use crate::storage::bundles::{self, Durable};
use crate::storage::{Place, Storage, StorageUrl};
use crate::types::{CommitId, LogId, Parent};

/// What the log on this disk has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local {
    pub(super) log_id: LogId,
    pub(super) parent: Option<Parent>,
    /// The last commit.
    pub(super) published: u64,
    /// The base file holds everything up to this commit.
    pub(super) checkpointed: CommitId,
    /// The last frame that this directory is known to have confirmed.
    pub(super) noted: u64,
    /// This log has shipped to a directory of this name.
    pub(super) was_here: bool,
    /// The commits that storage, wherever it was, is known to have confirmed: each is one of this log's.
    pub(super) shipped: [CommitId; PLACES + 1],
    pub(super) take_over: Option<LogId>,
}

/// How far a log is in storage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) log_id: LogId,
    pub(super) end_frame_no: u64,
    pub(super) last_commit_us: Option<u64>,
    pub(super) terminator: Option<LogId>,
}

impl Stored {
    fn of(log_id: LogId, durable: Durable) -> Stored {
        Stored {
            log_id,
            end_frame_no: durable.end_frame_no,
            last_commit_us: durable.last_commit_us,
            terminator: durable.terminator,
        }
    }
}

/// See the table in this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Put a base snapshot of this log there; first end another one.
    Begin { end: Option<Parent> },
    /// Ship what comes after this commit.
    Continue(CommitId),
    /// Put a full image there that covers everything after this frame.
    Bridge { frame_no: u64 },
}

/// Ask storage, and decide.
///
/// Errors: [`Error::Fenced`] as in the table; errors of the storage, after which it may be asked again.
pub(super) async fn reconcile(storage: &Arc<dyn Storage>, log: &Log, url: &StorageUrl) -> Result<Decision> {
    let own = bundles::durable_frame_no(storage, log.log_id()).await?;
    let mut others = Vec::new();
    if own.is_none() {
        for log_id in bundles::logs(&**storage).await? {
            if let Some(durable) = bundles::durable_frame_no(storage, log_id).await? {
                others.push(Stored::of(log_id, durable));
            }
        }
    }
    let place = Place::number(url);
    let noted = log.checkpointer().noted_stored(place)?.filter(|_| Place::is_directory(place));
    let local = Local {
        log_id: log.log_id(),
        parent: log.parent(),
        published: log.published_frame_no(),
        checkpointed: log.checkpointer().checkpointed_commit()?,
        noted: noted.map_or(0, |noted| noted.commit.frame_no),
        was_here: noted.is_some(),
        shipped: log.checkpointer().noted_commits()?,
        take_over: log.options().shipping.take_over,
    };
    let own = own.map(|durable| Stored::of(local.log_id, durable));
    let commit_us = |frame_no| log.view().with_frame(frame_no, commit_time);
    decide(&local, own, &others, commit_us).map_err(|refusal| match refusal {
        Refusal::Fenced(what) => Error::Fenced { url: storage.url().to_owned(), what },
        Refusal::Gone(what) => gone(what, log.log_id(), url),
        Refusal::Failed(error) => error,
    })
}

fn gone(what: Gone, log_id: LogId, url: &StorageUrl) -> Error {
    let message = match what {
        Gone::All => {
            let found = match url.missing_directory() {
                Some(_) => "the directory is not there",
                None => "nothing of this log is there",
            };
            format!(
                "{found}, and this database has shipped log {log_id} there before: is a disk not mounted, or was the directory renamed, \
                 emptied or replaced? Bring it back, and shipping goes on. To begin anew there, open the database with \
                 vwal_take_over={log_id}, once"
            )
        }
        Gone::Newest { end, noted } => format!(
            "the frames there end at {end}, and this database has shipped log {log_id} there up to frame {noted} before: has an older \
             copy of the directory its place? Bring the right one back, and shipping goes on. To go on from frame {end}, open the \
             database with vwal_take_over={log_id}, once"
        ),
    };
    Error::Storage { op: "list", object: url.to_string(), kind: StorageErrorKind::Unavailable, message }
}

#[derive(Debug)]
pub(super) enum Refusal {
    Fenced(String),
    /// What was shipped is not there, and may come back.
    Gone(Gone),
    Failed(Error),
}

/// What of a log is not in the directory to which it was shipped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gone {
    All,
    /// Storage has confirmed frame `noted`, and has those up to `end`.
    Newest {
        end: u64,
        noted: u64,
    },
}

impl From<String> for Refusal {
    fn from(what: String) -> Self {
        Refusal::Fenced(what)
    }
}

pub(super) fn decide(
    local: &Local,
    own: Option<Stored>,
    others: &[Stored],
    local_commit_us: impl Fn(u64) -> Result<Option<u64>>,
) -> Result<Decision, Refusal> {
    let Some(own) = own else {
        // What is put there now would be missing when the right directory is back. And what is in a wrong directory is no reason to
        // fence the log off, which lasts until the database is opened again.
        if local.was_here && !is_told_to_begin(local, others) {
            return Err(Refusal::Gone(Gone::All));
        }
        return decide_new(local, others);
    };
    if let Some(successor) = own.terminator {
        return Err(format!(
            "log {} was ended there at frame {}, and log {successor} goes on: another copy of this database is the primary now. \
             Restore that one, or ship this one somewhere else",
            own.log_id, own.end_frame_no
        )
        .into());
    }
    let checkpointed = local.checkpointed.frame_no;
    let (end, noted) = (own.end_frame_no, local.noted);
    // What storage has confirmed was noted, and nothing in storage goes back.
    if local.was_here && end < noted && local.take_over != Some(own.log_id) {
        return Err(Refusal::Gone(Gone::Newest { end, noted }));
    }
    if end > local.published {
        return Err(format!(
            "it has frames up to {end} of log {}, and this database only those up to {}: this is an old copy. Restore the \
             newest state from storage; or, to go on from this older one, restore it with --take-over",
            own.log_id, local.published
        )
        .into());
    }
    let mine = if end > checkpointed {
        local_commit_us(end).map_err(Refusal::Failed)?
    } else if end == checkpointed {
        Some(local.checkpointed.commit_us)
    } else if local
        .shipped
        .contains(&CommitId { frame_no: end, commit_us: own.last_commit_us.unwrap_or_default() })
        || local.take_over == Some(own.log_id)
    {
        return Ok(Decision::Bridge { frame_no: end });
    } else {
        return Err(format!(
            "it has frames up to {end} of log {}, and this database has been checkpointed up to frame {checkpointed} without \
             it, so that it cannot be told whether both are of one history. If this is the database that counts, open it with \
             vwal_take_over={}",
            own.log_id, own.log_id
        )
        .into());
    };
    match mine {
        Some(commit_us) if own.last_commit_us.is_none_or(|theirs| theirs == commit_us) => {
            Ok(Decision::Continue(CommitId { frame_no: end, commit_us }))
        }
        _ => Err(format!(
            "its frame {end} of log {} is not the one that this database has: two copies of the database have been written \
             to, and the other one was shipped first. Restore that one, or ship this one somewhere else",
            own.log_id
        )
        .into()),
    }
}

/// `vwal_take_over` names this log, a live one that is there, or one for which another was ended.
fn is_told_to_begin(local: &Local, others: &[Stored]) -> bool {
    local.take_over.is_some_and(|told| {
        told == local.log_id || others.iter().any(|other| other.terminator.unwrap_or(other.log_id) == told)
    })
}

/// Storage has nothing of this log.
fn decide_new(local: &Local, others: &[Stored]) -> Result<Decision, Refusal> {
    let live: Vec<&Stored> = others.iter().filter(|other| other.terminator.is_none()).collect();
    match live[..] {
        [] => {
            // All were ended. If it was for this log, it is our turn; otherwise the successor has not come that far yet.
            let successor = others.iter().filter_map(|other| other.terminator).find(|&successor| {
                successor != local.log_id && !others.iter().any(|other| other.log_id == successor)
            });
            match successor {
                Some(successor) if local.take_over != Some(successor) => {
                    Err(format!("log {successor}, of another copy of this database, is about to go on there")
                        .into())
                }
                _ => Ok(Decision::Begin { end: None }),
            }
        }
        [other] => {
            let at = Parent { log_id: other.log_id, frame_no: other.end_frame_no };
            if local.parent == Some(at) || local.take_over == Some(other.log_id) {
                return Ok(Decision::Begin { end: Some(at) });
            }
            let relation = match local.parent {
                Some(parent) if parent.log_id == other.log_id => format!(
                    "which this database left at frame {}, and which is at frame {} now",
                    parent.frame_no, other.end_frame_no
                ),
                _ => "of another database, or of this one before something else wrote to it".to_owned(),
            };
            Err(format!(
                "log {}, {relation}, is live there. Give each database a place of its own ({{name}} in the URL stands for the \
                 name of its file); or, if this one is to take that one's place, open it with vwal_take_over={}",
                other.log_id, other.log_id
            )
            .into())
        }
        _ => {
            let ids: Vec<String> = live.iter().map(|other| other.log_id.to_string()).collect();
            Err(format!(
                "several logs are live there ({}): ship this database somewhere else",
                ids.join(", ")
            )
            .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn id(number: u128) -> LogId {
        LogId(Uuid::from_u128(number))
    }

    const ME: u128 = 1;

    fn local() -> Local {
        Local {
            log_id: id(ME),
            parent: None,
            published: 200,
            checkpointed: CommitId { frame_no: 100, commit_us: 1100 },
            noted: 0,
            was_here: false,
            shipped: [CommitId::default(); PLACES + 1],
            take_over: None,
        }
    }

    fn stored(log: u128, end_frame_no: u64, us: u64) -> Stored {
        Stored { log_id: id(log), end_frame_no, last_commit_us: Some(us), terminator: None }
    }

    /// Commits end at even frames, and were made at the frame number and 1000.
    fn times(frame_no: u64) -> Result<Option<u64>> {
        Ok(frame_no.is_multiple_of(2).then_some(frame_no + 1000))
    }

    fn verdict(local: &Local, own: Option<Stored>, others: &[Stored]) -> Result<Decision, String> {
        decide(local, own, others, times).map_err(|refusal| match refusal {
            Refusal::Fenced(what) => what,
            Refusal::Gone(Gone::All) => "gone".into(),
            Refusal::Gone(Gone::Newest { end, noted }) => format!("{end}, not {noted}"),
            Refusal::Failed(error) => panic!("{error}"),
        })
    }

    #[test]
    fn the_same_commit_in_both_places_goes_on() {
        let go_on = |frame_no, commit_us| Ok(Decision::Continue(CommitId { frame_no, commit_us }));
        assert_eq!(verdict(&local(), Some(stored(ME, 150, 1150)), &[]), go_on(150, 1150));
        assert_eq!(verdict(&local(), Some(stored(ME, 200, 1200)), &[]), go_on(200, 1200));
        assert_eq!(verdict(&local(), Some(stored(ME, 100, 1100)), &[]), go_on(100, 1100));
    }

    #[test]
    fn another_history_is_refused() {
        for own in [
            stored(ME, 150, 1151), // the same frame, at another time
            stored(ME, 151, 1151), // no commit ends there
            stored(ME, 100, 1101), // as far as the base file, at another time
            stored(ME, 202, 1202), // beyond
            Stored { terminator: Some(id(9)), ..stored(ME, 150, 1150) },
        ] {
            let what = verdict(&local(), Some(own), &[]).unwrap_err();
            assert!(what.contains(&id(ME).to_string()), "{what}");
        }
    }

    #[test]
    fn a_gap_is_bridged_only_by_the_database_that_shipped_up_to_it() {
        let own = Some(stored(ME, 50, 1050));
        assert!(verdict(&local(), own, &[]).is_err());
        let noted = Local { shipped: [CommitId { frame_no: 50, commit_us: 1050 }; PLACES + 1], ..local() };
        assert_eq!(verdict(&noted, own, &[]), Ok(Decision::Bridge { frame_no: 50 }));
        let moved = Local { was_here: true, noted: 20, ..noted };
        assert_eq!(
            verdict(&moved, own, &[]),
            Ok(Decision::Bridge { frame_no: 50 }),
            "shipped under another name"
        );
        let went_on = Some(stored(ME, 60, 1060));
        assert!(verdict(&noted, went_on, &[]).is_err(), "somebody else shipped since");
        let told = Local { take_over: Some(id(ME)), ..local() };
        assert_eq!(verdict(&told, own, &[]), Ok(Decision::Bridge { frame_no: 50 }));
    }

    #[test]
    fn a_new_log_begins_where_no_other_is_live() {
        assert_eq!(verdict(&local(), None, &[]), Ok(Decision::Begin { end: None }));
        let ended = Stored { terminator: Some(id(ME)), ..stored(7, 30, 1030) };
        assert_eq!(verdict(&local(), None, &[ended]), Ok(Decision::Begin { end: None }));
        let ended_for_another = Stored { terminator: Some(id(8)), ..stored(7, 30, 1030) };
        assert!(verdict(&local(), None, &[ended_for_another]).is_err());
        assert!(verdict(&local(), None, &[stored(7, 30, 1030)]).is_err());
        assert!(verdict(&local(), None, &[stored(7, 30, 1030), stored(8, 30, 1030)]).is_err());
    }

    #[test]
    fn a_directory_that_has_lost_the_log_is_waited_for_unless_it_is_told_to_begin_anew() {
        let parent = Parent { log_id: id(7), frame_no: 30 };
        let shipped = Local { was_here: true, parent: Some(parent), ..local() };
        let gone = Err("gone".to_owned());
        assert_eq!(verdict(&shipped, None, &[]), gone);
        assert_eq!(verdict(&shipped, None, &[stored(7, 30, 1030)]), gone, "its parent, before it was ended");
        let ended_for_another = Stored { terminator: Some(id(8)), ..stored(7, 30, 1030) };
        for others in
            [&[stored(5, 30, 1030)][..], &[stored(5, 30, 1030), stored(6, 30, 1030)], &[ended_for_another]]
        {
            assert_eq!(verdict(&shipped, None, others), gone, "a wrong directory, with {others:?}");
        }
        assert_eq!(verdict(&Local { take_over: Some(id(9)), ..shipped }, None, &[]), gone);
        let told = Local { take_over: Some(id(ME)), ..shipped };
        assert_eq!(verdict(&told, None, &[]), Ok(Decision::Begin { end: None }));
        let told = Local { take_over: Some(id(7)), ..shipped };
        let end = Ok(Decision::Begin { end: Some(parent) });
        assert_eq!(verdict(&told, None, &[stored(7, 30, 1030)]), end);
    }

    #[test]
    fn an_older_copy_of_the_directory_is_waited_for_unless_it_is_told_to_go_on() {
        let shipped = Local { was_here: true, noted: 160, ..local() };
        let go_on = |frame_no, commit_us| Ok(Decision::Continue(CommitId { frame_no, commit_us }));
        for (end, words) in [(150, "150, not 160"), (50, "50, not 160")] {
            let own = Some(stored(ME, end, end + 1000));
            assert_eq!(verdict(&shipped, own, &[]), Err(words.to_owned()));
            assert_eq!(
                verdict(&Local { take_over: Some(id(9)), ..shipped }, own, &[]),
                Err(words.to_owned())
            );
        }
        for end in [160, 170] {
            assert_eq!(verdict(&shipped, Some(stored(ME, end, end + 1000)), &[]), go_on(end, end + 1000));
        }
        let told = Local { take_over: Some(id(ME)), ..shipped };
        assert_eq!(verdict(&told, Some(stored(ME, 150, 1150)), &[]), go_on(150, 1150));
        assert_eq!(verdict(&told, Some(stored(ME, 50, 1050)), &[]), Ok(Decision::Bridge { frame_no: 50 }));
        let elsewhere = Local { was_here: false, ..shipped };
        assert_eq!(verdict(&elsewhere, Some(stored(ME, 150, 1150)), &[]), go_on(150, 1150));
        let ended = Stored { terminator: Some(id(9)), ..stored(ME, 150, 1150) };
        assert!(verdict(&shipped, Some(ended), &[]).unwrap_err().contains("was ended there"));
    }

    #[test]
    fn a_log_takes_the_place_of_the_one_that_it_continues() {
        let parent = Parent { log_id: id(7), frame_no: 30 };
        let child = Local { parent: Some(parent), ..local() };
        let end = Ok(Decision::Begin { end: Some(parent) });
        assert_eq!(verdict(&child, None, &[stored(7, 30, 1030)]), end);
        let what = verdict(&child, None, &[stored(7, 31, 1031)]).unwrap_err();
        assert!(what.contains("left at frame 30") && what.contains("at frame 31 now"), "{what}");
        let told = Local { take_over: Some(id(7)), ..local() };
        assert_eq!(verdict(&told, None, &[stored(7, 30, 1030)]), end);
    }
}
