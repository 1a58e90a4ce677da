//! From what a person wants to a plan: the log, the commit, the bundles.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;

use super::lineage::{self, LogEnd};
use super::plan::{self, Catalog, Goal, Knowledge, Known, NoPlan, Plan, Step};
use crate::error::{Error, Result, StorageErrorKind};
use crate::format::bundle::Commit;
use crate::storage::Storage;
use crate::storage::bundles::{self, Bundle, Head};
use crate::storage::keys;
use crate::types::{Level, LogId, PageSize};

/// Bundles that are opened at the same time.
const OPEN_AT_ONCE: usize = 16;

/// Which state is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The newest there is.
    #[default]
    Latest,
    /// The commit that ends with this frame.
    Frame(u64),
    /// The state at this time, microseconds since 1970: of the commits that were made then or before, the last one. When
    /// bundles were merged since, the last one of those that can still be restored.
    Time(u64),
}

/// What will be restored, and from what.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The log.
    pub log_id: LogId,
    /// The commit.
    pub commit: Commit,
    /// Page size.
    pub page_size: PageSize,
    /// How it is put together.
    pub plan: Plan,
    /// What is worth saying.
    pub notes: Vec<String>,
    /// How far the log is in storage: where a database that takes over begins.
    pub end: LogEnd,
    pub(super) bundles: Vec<Bundle>,
}

/// The end of every log in storage.
pub async fn log_ends(storage: &Arc<dyn Storage>) -> Result<Vec<LogEnd>> {
    let mut ends = Vec::new();
    for log_id in bundles::logs(&**storage).await? {
        match bundles::durable_frame_no(storage, log_id).await {
            Ok(None) => {}
            Ok(Some(durable)) => ends.push(LogEnd {
                log_id,
                end_frame_no: durable.end_frame_no,
                last_commit_us: durable.last_commit_us,
                successor: durable.terminator,
                is_damaged: false,
            }),
            // What is before the damage can be restored all the same.
            Err(Error::DamagedObject { .. }) => {
                let newest = bundles::list_up_to(&**storage, log_id, Level::ZERO, u64::MAX, 1).await?;
                let begins = newest.first().map_or(0, |head| head.frame_no);
                ends.push(LogEnd {
                    log_id,
                    end_frame_no: begins.saturating_sub(1),
                    last_commit_us: None,
                    successor: None,
                    is_damaged: true,
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ends)
}

/// Choose log, commit and bundles.
pub(super) async fn resolve(
    storage: &Arc<dyn Storage>,
    log_id: Option<LogId>,
    target: Target,
) -> Result<Resolved> {
    let lineage = lineage::choose(&log_ends(storage).await?, log_id).map_err(|problem| match problem {
        lineage::NoLog::Several(_) => Error::Usage(format!("'{}' {problem}", storage.url())),
        _ => nothing(&**storage, problem.to_string()),
    })?;
    let mut notes = Vec::new();
    if let Some(awaited) = lineage.awaited {
        notes.push(format!(
            "log {awaited} took over from log {}, but has nothing in storage yet: this is the end of the old one",
            lineage.logs[0].log_id
        ));
    }
    let (end, goal) = match target {
        Target::Latest => (lineage.logs[0], Goal::Latest),
        Target::Frame(frame_no) => (lineage.logs[0], Goal::Frame(frame_no)),
        Target::Time(time_us) => {
            let (end, commit) = at_time(storage, &lineage.logs, time_us).await?;
            if end.log_id != lineage.logs[0].log_id {
                notes.push(format!(
                    "at that time the database was in log {}, which log {} continued",
                    end.log_id, lineage.logs[0].log_id
                ));
            }
            (end, Goal::AtOrBefore(commit.frame_no))
        }
    };
    let planned = match plan_for(storage, end.log_id, goal, &mut notes).await {
        // People think of one history; its frame numbers may go through several logs.
        Err(Error::NotRestorable { url, what }) if matches!(target, Target::Frame(_)) => {
            let mut what = what;
            for before in &lineage.logs[1..] {
                what += &format!(
                    ". Before it was log {}, to frame {} (--log)",
                    before.log_id, before.end_frame_no
                );
            }
            return Err(Error::NotRestorable { url, what });
        }
        planned => planned?,
    };
    let (plan, bundles) = planned;
    let commit = commit_of(&**storage, &plan, &bundles).await?;
    if let Goal::AtOrBefore(frame_no) = goal
        && commit.frame_no != frame_no
    {
        notes.push(format!(
            "the commit of that time, at frame {frame_no}, was merged with later ones since: this is the last one \
             before it that can be restored, at frame {}",
            commit.frame_no
        ));
    }
    let page_size = same_page_size(&bundles)?;
    Ok(Resolved { log_id: end.log_id, commit, page_size, plan, notes, end, bundles })
}

fn not_restorable(storage: &dyn Storage, what: String) -> Error {
    Error::NotRestorable { url: storage.url().to_owned(), what }
}

fn nothing(storage: &dyn Storage, what: String) -> Error {
    Error::NothingThere { url: storage.url().to_owned(), what }
}

/// The state at a time: in the newest log that had begun by then.
async fn at_time(storage: &Arc<dyn Storage>, logs: &[LogEnd], time_us: u64) -> Result<(LogEnd, Commit)> {
    for end in logs {
        if let Some(commit) = bundles::find_by_time(storage, end.log_id, time_us).await? {
            return Ok((*end, commit));
        }
    }
    let mut what = "has no commit that is as old as that".to_owned();
    if let Some(oldest) = oldest_commit(storage, logs).await? {
        let time = i64::try_from(oldest.commit_us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
        let time = time.map_or_else(|| format!("{} µs", oldest.commit_us), |time| format!("{time:.6}"));
        what += &format!(": the oldest is that of {time}, at frame {}", oldest.frame_no);
    }
    Err(not_restorable(&**storage, what))
}

/// The first commit that storage knows of, for people.
async fn oldest_commit(storage: &Arc<dyn Storage>, logs: &[LogEnd]) -> Result<Option<Commit>> {
    for end in logs.iter().rev() {
        let mut oldest: Option<Commit> = None;
        for level in Level::merged().chain([Level::SNAPSHOT]) {
            let heads = bundles::list(&**storage, end.log_id, level, 0, usize::MAX).await?;
            let Some(head) = heads.last() else { continue };
            let first = Bundle::open(storage, head).await?.commits().next().await?;
            oldest = oldest.into_iter().chain(first).min_by_key(|commit| commit.frame_no);
        }
        if oldest.is_some() {
            return Ok(oldest);
        }
    }
    Ok(None)
}

/// Plan, opening bundles as they are asked for. Damaged ones are gone round, and noted.
async fn plan_for(
    storage: &Arc<dyn Storage>,
    log_id: LogId,
    goal: Goal,
    notes: &mut Vec<String>,
) -> Result<(Plan, Vec<Bundle>)> {
    let snapshots = bundles::list(&**storage, log_id, Level::SNAPSHOT, 0, usize::MAX).await?;
    let wanted = match goal {
        Goal::Latest => u64::MAX,
        Goal::Frame(frame_no) | Goal::AtOrBefore(frame_no) => frame_no,
    };
    // What is older than the full image that will most likely be used is listed only when it must be.
    let likely = snapshots.iter().map(|head| head.frame_no).filter(|&end| end <= wanted).max().unwrap_or(0);
    let mut planner = Planner::new(storage, log_id);
    planner.add(snapshots);
    planner.list_from(likely).await?;
    let mut outcome = planner.run(goal).await?;
    if outcome.is_err() && likely > 0 {
        planner.list_from(0).await?;
        outcome = planner.run(goal).await?;
    }
    match outcome {
        Ok(plan) => {
            notes.append(&mut planner.notes);
            let bundles = planner.take(&plan)?;
            Ok((plan, bundles))
        }
        Err(problem) => Err(planner.explain(problem)),
    }
}

struct Planner<'a> {
    storage: &'a Arc<dyn Storage>,
    log_id: LogId,
    catalog: Catalog,
    heads: HashMap<(Level, u64), Head>,
    bundles: HashMap<(Level, u64), Bundle>,
    notes: Vec<String>,
    damage: Option<Error>,
}

impl<'a> Planner<'a> {
    fn new(storage: &'a Arc<dyn Storage>, log_id: LogId) -> Self {
        Planner {
            storage,
            log_id,
            catalog: Catalog::default(),
            heads: HashMap::new(),
            bundles: HashMap::new(),
            notes: Vec::new(),
            damage: None,
        }
    }

    fn add(&mut self, heads: Vec<Head>) {
        for head in heads {
            let name = (head.level, head.frame_no);
            if self.heads.insert(name, head).is_none() {
                self.catalog.set(head.level, head.frame_no, Knowledge::Listed);
            }
        }
    }

    async fn list_from(&mut self, frame_no: u64) -> Result<()> {
        for level in Level::merged() {
            let heads = bundles::list(&**self.storage, self.log_id, level, frame_no, usize::MAX).await?;
            self.add(heads);
        }
        Ok(())
    }

    async fn run(&mut self, goal: Goal) -> Result<Result<Plan, NoPlan>> {
        loop {
            match plan::plan(&self.catalog, goal) {
                Err(problem) => return Ok(Err(problem)),
                Ok(Step::Ready(plan)) => return Ok(Ok(plan)),
                Ok(Step::Look(names)) => self.look(&names).await?,
            }
        }
    }

    async fn look(&mut self, names: &[(Level, u64)]) -> Result<()> {
        let storage = self.storage;
        let heads: Vec<Head> = names.iter().filter_map(|name| self.heads.get(name)).copied().collect();
        let opened: Vec<(Head, Result<Bundle>)> = stream::iter(heads)
            .map(|head| async move { (head, Bundle::open(storage, &head).await) })
            .buffer_unordered(OPEN_AT_ONCE)
            .collect()
            .await;
        for (head, bundle) in opened {
            let knowledge = match bundle {
                Ok(bundle) => {
                    let known = Known::new(bundle.trailer(), bundle.stored_len());
                    self.bundles.insert((head.level, head.frame_no), bundle);
                    Knowledge::Known(known)
                }
                Err(error @ Error::DamagedObject { .. }) => {
                    self.notes.push(format!("{error}; it is left out"));
                    self.damage.get_or_insert(error);
                    Knowledge::Unusable
                }
                // Deleted since it was listed: merged, or expired.
                Err(Error::Storage { kind: StorageErrorKind::NotFound, .. }) => Knowledge::Unusable,
                Err(error) => return Err(error),
            };
            self.catalog.set(head.level, head.frame_no, knowledge);
        }
        Ok(())
    }

    /// The bundles of a plan, in its order.
    fn take(mut self, plan: &Plan) -> Result<Vec<Bundle>> {
        plan.pieces
            .iter()
            .map(|piece| {
                self.bundles.remove(&(piece.level, piece.frame_no)).ok_or_else(|| {
                    nothing(&**self.storage, format!("has no bundle of level {} any more", piece.level))
                })
            })
            .collect()
    }

    fn explain(self, problem: NoPlan) -> Error {
        let missing = matches!(problem, NoPlan::Gap { .. } | NoPlan::NoEnd { .. });
        match self.damage {
            Some(Error::DamagedObject { object, offset, what }) => Error::DamagedObject {
                object,
                offset,
                what: format!("{what}; without it, the log {problem}"),
            },
            _ if missing => Error::DamagedObject {
                object: format!("{}/{}", self.storage.url(), keys::log_prefix(self.log_id)),
                offset: None,
                what: format!("it {problem}"),
            },
            _ if problem == NoPlan::Empty => {
                nothing(&**self.storage, format!("(log {}) {problem}", self.log_id))
            }
            _ => not_restorable(&**self.storage, format!("(log {}) {problem}", self.log_id)),
        }
    }
}

/// The commit at the end of a plan.
async fn commit_of(storage: &dyn Storage, plan: &Plan, bundles: &[Bundle]) -> Result<Commit> {
    let Some(last) = bundles.last() else { return Err(nothing(storage, "has no bundles".into())) };
    let trailer = last.trailer();
    let frame_no = plan.end_frame_no;
    if trailer.end_frame_no == frame_no {
        let (commit_us, db_size_pages) = (trailer.last_commit_us, trailer.db_size_pages);
        return Ok(Commit { frame_no, commit_us, db_size_pages });
    }
    // What is in front of the bundle ends with a commit, too.
    let mut before = trailer.start_frame_no.saturating_sub(1);
    let mut commits = last.commits();
    while let Some(commit) = commits.next().await? {
        if commit.frame_no == frame_no {
            return Ok(commit);
        }
        if commit.frame_no > frame_no {
            let what = format!(
                "has no commit that ends with frame {frame_no}: the nearest are frame {before} and frame {}",
                commit.frame_no
            );
            return Err(not_restorable(storage, what));
        }
        before = commit.frame_no;
    }
    Err(last.object().damaged(None, format!("its commits end at frame {before}")))
}

fn same_page_size(bundles: &[Bundle]) -> Result<PageSize> {
    let sizes = bundles.iter().map(|bundle| bundle.trailer().page_size);
    let page_size = sizes.clone().next().ok_or_else(|| Error::Usage("a plan without bundles".into()))?;
    match bundles.iter().zip(sizes).find(|(_, size)| *size != page_size) {
        None => Ok(page_size),
        Some((bundle, size)) => Err(bundle.object().damaged(
            None,
            format!("its page size is {}, that of the bundles before it {}", size.get(), page_size.get()),
        )),
    }
}
