//! Which bundles make a database as of a commit. Nothing here touches storage.
//!
//! A listing tells levels and first frames, and no more. So planning goes in steps: [`plan`] either has the plan, or names
//! the bundles about which it must know more ([`Step::Look`]); the caller opens those, notes what they are, and asks again.
//! A restore of a log with a hundred thousand bundles opens some dozens of them.
//!
//! The rules. A plan begins with the newest full image that ends at or before the commit. From its end on, the bundle that
//! covers the next frame and reaches furthest is taken, as long as it does not reach beyond the commit. The last one may
//! reach beyond it if it holds every frame: it is cut. That bundles overlap does no harm, since of each page the image
//! with the highest frame number counts. Taking the furthest is never worse: whatever goes on from an earlier frame also
//! covers the later one.

use std::collections::BTreeMap;
use std::fmt;

use crate::format::bundle::{Content, Trailer};
use crate::types::{Level, PageSize};

/// The most bundles that one step asks for.
const LOOK_MAX: usize = 64;
/// So many bundles of a level are looked at ahead of time.
const LOOK_AHEAD: usize = 32;

/// What is known of a bundle that has been opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// See [`Trailer::content`].
    pub content: Content,
    /// See [`Trailer::start_frame_no`].
    pub start_frame_no: u64,
    /// See [`Trailer::end_frame_no`].
    pub end_frame_no: u64,
    /// See [`Trailer::page_size`].
    pub page_size: PageSize,
    /// See [`Trailer::db_size_pages`].
    pub db_size_pages: u32,
    /// See [`Trailer::image_count`].
    pub image_count: u64,
    /// Bytes of all its objects.
    pub bytes: u64,
}

impl Known {
    /// What a trailer says. `bytes`: of all objects of the bundle.
    pub fn new(trailer: &Trailer, bytes: u64) -> Known {
        Known {
            content: trailer.content,
            start_frame_no: trailer.start_frame_no,
            end_frame_no: trailer.end_frame_no,
            page_size: trailer.page_size,
            db_size_pages: trailer.db_size_pages,
            image_count: trailer.image_count,
            bytes,
        }
    }

    fn covers(&self, frame_no: u64) -> bool {
        (self.start_frame_no..=self.end_frame_no).contains(&frame_no)
    }

    fn is_terminator(&self) -> bool {
        matches!(self.content, Content::Terminator { .. })
    }
}

/// How much is known of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// That it is listed.
    Listed,
    /// What its trailer says.
    Known(Known),
    /// It is damaged, or was deleted after it was listed: planning goes round it.
    Unusable,
}

/// The bundles of a log, by level and frame: the first frame, or the last one of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    levels: BTreeMap<Level, BTreeMap<u64, Knowledge>>,
}

impl Catalog {
    /// Add a bundle that was listed, or say what one is.
    pub fn set(&mut self, level: Level, frame_no: u64, knowledge: Knowledge) {
        self.levels.entry(level).or_default().insert(frame_no, knowledge);
    }

    /// What is known of a bundle; `None`: it is not listed.
    pub fn get(&self, level: Level, frame_no: u64) -> Option<Knowledge> {
        self.levels.get(&level)?.get(&frame_no).copied()
    }

    /// Whether there are no bundles.
    pub fn is_empty(&self) -> bool {
        self.levels.values().all(BTreeMap::is_empty)
    }

    /// Bundles, those that are unusable left out, whose frames begin (snapshots: end) in `range`, ascending.
    fn usable(
        &self,
        level: Level,
        range: impl std::ops::RangeBounds<u64>,
    ) -> impl DoubleEndedIterator<Item = (u64, Option<Known>)> {
        let entries = self.levels.get(&level).into_iter().flat_map(move |entries| {
            // An empty range that is the wrong way round would panic in the map.
            let valid = match (range.start_bound(), range.end_bound()) {
                (std::ops::Bound::Included(start), std::ops::Bound::Included(end)) => start <= end,
                _ => true,
            };
            valid.then(|| entries.range((range.start_bound().cloned(), range.end_bound().cloned())))
        });
        entries.flatten().filter_map(|(&frame_no, knowledge)| match *knowledge {
            Knowledge::Listed => Some((frame_no, None)),
            Knowledge::Known(known) => Some((frame_no, Some(known))),
            Knowledge::Unusable => None,
        })
    }
}

/// What is to be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The end of the log.
    Latest,
    /// The commit whose last frame this is.
    Frame(u64),
    /// That commit, or where it cannot be restored any more because bundles were merged: the one before it that can.
    AtOrBefore(u64),
}

/// A bundle of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its level.
    pub level: Level,
    /// The frame in its name.
    pub frame_no: u64,
    /// What it is.
    pub known: Known,
}

/// How a database is put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// A full image, and the bundles that go on from it, ascending.
    pub pieces: Vec<Piece>,
    /// The last frame. When it is not the end of the last piece, that piece is cut here; whether a commit ends here, only
    /// its commit table tells.
    pub end_frame_no: u64,
}

impl Plan {
    /// Whether the last piece reaches beyond the end.
    pub fn is_cut(&self) -> bool {
        self.pieces.last().is_some_and(|piece| piece.known.end_frame_no > self.end_frame_no)
    }

    /// Bytes of all objects.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.known.bytes).fold(0, u64::saturating_add)
    }

    /// Images of pages in all of them: an upper bound for what is read.
    pub fn images(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.known.image_count).fold(0, u64::saturating_add)
    }
}

/// What planning came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The plan.
    Ready(Plan),
    /// More must be known of these bundles: level and frame, each [`Knowledge::Listed`] so far.
    Look(Vec<(Level, u64)>),
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// The log has no bundles.
    Empty,
    /// There is no full image at or before the frame.
    NoFullImage {
        /// The frame that was asked for.
        wanted: u64,
        /// The end of the oldest full image: the earliest commit that can be restored.
        earliest: Option<u64>,
    },
    /// The log does not go that far.
    BeyondEnd {
        /// The frame that was asked for.
        wanted: u64,
        /// The last one.
        end: u64,
    },
    /// The newest bundle cannot be read, so that the end of the log is not known.
    NoEnd {
        /// Its first frame.
        first: u64,
    },
    /// Frames are missing: no bundle has them.
    Gap {
        /// The first one that is missing.
        first: u64,
        /// The last one, as far as can be told.
        last: u64,
    },
    /// The bundles that had the frame were merged, and only the last image of each page was kept.
    Merged {
        /// The frame that was asked for.
        wanted: u64,
        /// The last commit before it that can be restored.
        before: u64,
        /// The first one after it that can.
        after: u64,
    },
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            NoPlan::Empty => f.write_str("has no bundles"),
            NoPlan::NoFullImage { wanted, earliest: Some(earliest) } => {
                write!(
                    f,
                    "has nothing from which frame {wanted} could be restored: the earliest is frame {earliest}"
                )
            }
            NoPlan::NoFullImage { wanted, earliest: None } => {
                write!(f, "has no full image of the database from which frame {wanted} could be restored")
            }
            NoPlan::BeyondEnd { wanted, end } => {
                write!(f, "has no frame {wanted}: the log ends at frame {end}")
            }
            NoPlan::NoEnd { first } => write!(
                f,
                "has a newest bundle, of frame {first} and later, that cannot be read: a restore to an earlier frame may \
                 be possible, but has to be asked for"
            ),
            NoPlan::Gap { first, last } if first == last => {
                write!(f, "lacks frame {first}: a bundle is missing")
            }
            NoPlan::Gap { first, last } => write!(f, "lacks frames {first} to {last}: a bundle is missing"),
            NoPlan::Merged { wanted, before, after } => write!(
                f,
                "keeps frame {wanted} only merged with later ones: the nearest that can be restored are frame {before} \
                 and frame {after}"
            ),
        }
    }
}

/// Plan a restore from what is known. See the module's documentation.
pub fn plan(catalog: &Catalog, goal: Goal) -> Result<Step, NoPlan> {
    let (wanted, or_before) = match goal {
        Goal::Frame(frame_no) => (frame_no, false),
        Goal::AtOrBefore(frame_no) => (frame_no, true),
        Goal::Latest => {
            if let Some((&first, Knowledge::Unusable)) =
                catalog.levels.get(&Level::ZERO).and_then(BTreeMap::last_key_value)
            {
                return Err(NoPlan::NoEnd { first });
            }
            match end(catalog)? {
                Ok(end) => (end, false),
                Err(look) => return Ok(Step::Look(look)),
            }
        }
    };
    let mut floor = 0;
    let mut gap = None;
    loop {
        let image = match full_image(catalog, floor, wanted) {
            Err(look) => return Ok(Step::Look(look)),
            Ok(Some(image)) => image,
            Ok(None) => return no_image(catalog, wanted, gap),
        };
        match cover(catalog, image, wanted) {
            Cover::Whole(plan) => return Ok(Step::Ready(plan)),
            Cover::Look(look) => return Ok(Step::Look(look)),
            Cover::Ends { plan, .. } if or_before => return Ok(Step::Ready(plan)),
            Cover::Ends { plan, after } => {
                let snapshot = catalog.usable(Level::SNAPSHOT, wanted..).next().map(|(frame_no, _)| frame_no);
                let after = snapshot.map_or(after, |snapshot| snapshot.min(after));
                return Err(NoPlan::Merged { wanted, before: plan.end_frame_no, after });
            }
            // Only a full image behind the gap can help; every other way leads to the same frame.
            Cover::Gap { first } => {
                gap = gap.or(Some(first));
                floor = first;
            }
        }
    }
}

/// The end of the log, or what must be known to tell.
fn end(catalog: &Catalog) -> Result<Result<u64, Vec<(Level, u64)>>, NoPlan> {
    let mut end = None;
    for level in Level::merged() {
        if let Some((frame_no, known)) = catalog.usable(level, ..).next_back() {
            // The end of a terminator is the frame before it.
            let Some(known) = known else { return Ok(Err(vec![(level, frame_no)])) };
            end = end.max(Some(known.end_frame_no));
        }
    }
    end.max(catalog.usable(Level::SNAPSHOT, ..).next_back().map(|(frame_no, _)| frame_no))
        .map(Ok)
        .ok_or(NoPlan::Empty)
}

/// The newest full image that ends in `floor..=wanted`. With a floor, a bundle of level 0 that begins behind it.
fn full_image(catalog: &Catalog, floor: u64, wanted: u64) -> Result<Option<Piece>, Vec<(Level, u64)>> {
    let is_image =
        |known: &Known| known.content == Content::FullImage && (floor..=wanted).contains(&known.end_frame_no);
    for (frame_no, known) in catalog.usable(Level::SNAPSHOT, floor..=wanted).rev() {
        let Some(known) = known else { return Err(vec![(Level::SNAPSHOT, frame_no)]) };
        if is_image(&known) {
            return Ok(Some(Piece { level: Level::SNAPSHOT, frame_no, known }));
        }
    }
    if floor == 0
        && let Some(found) = catalog.usable(Level::ZERO, 0..=0).next()
    {
        let Some(known) = found.1 else { return Err(vec![(Level::ZERO, 0)]) };
        if is_image(&known) {
            return Ok(Some(Piece { level: Level::ZERO, frame_no: 0, known }));
        }
    }
    // Others are rare: where shipping was off for a while. Nothing but looking finds them.
    let mut look = Vec::new();
    for (frame_no, known) in catalog.usable(Level::ZERO, floor.max(1)..=wanted).rev() {
        match known {
            None => look.push((Level::ZERO, frame_no)),
            Some(known) if is_image(&known) && look.is_empty() => {
                return Ok(Some(Piece { level: Level::ZERO, frame_no, known }));
            }
            Some(known) if is_image(&known) => break,
            Some(_) => {}
        }
        if look.len() >= LOOK_MAX {
            break;
        }
    }
    if look.is_empty() { Ok(None) } else { Err(look) }
}

fn no_image(catalog: &Catalog, wanted: u64, gap: Option<u64>) -> Result<Step, NoPlan> {
    let end = match end(catalog)? {
        Ok(end) => end,
        Err(look) => return Ok(Step::Look(look)),
    };
    if let Some(first) = gap {
        if wanted > end && first > end {
            return Err(NoPlan::BeyondEnd { wanted, end });
        }
        let next = Level::merged()
            .filter_map(|level| catalog.usable(level, first + 1..).next())
            .map(|(frame_no, _)| frame_no - 1)
            .min();
        return Err(NoPlan::Gap { first, last: next.unwrap_or(wanted).min(wanted) });
    }
    if catalog.is_empty() {
        return Err(NoPlan::Empty);
    }
    // The oldest full image there is lies behind `wanted`, if there is one.
    let oldest_snapshot = catalog.usable(Level::SNAPSHOT, ..).next().map(|(frame_no, _)| frame_no);
    let mut oldest = oldest_snapshot;
    let mut look = Vec::new();
    for (frame_no, known) in catalog.usable(Level::ZERO, ..).take(LOOK_AHEAD) {
        match known {
            None => look.push((Level::ZERO, frame_no)),
            Some(known) if known.content == Content::FullImage => {
                oldest = Some(oldest.map_or(known.end_frame_no, |oldest| oldest.min(known.end_frame_no)));
            }
            Some(_) => {}
        }
    }
    if !look.is_empty() {
        return Ok(Step::Look(look));
    }
    Err(NoPlan::NoFullImage { wanted, earliest: oldest })
}

enum Cover {
    Whole(Plan),
    Look(Vec<(Level, u64)>),
    /// It goes on, but with a bundle that reaches beyond what is wanted and cannot be cut.
    Ends {
        plan: Plan,
        after: u64,
    },
    Gap {
        first: u64,
    },
}

/// Go on from a full image.
fn cover(catalog: &Catalog, image: Piece, wanted: u64) -> Cover {
    let mut plan = Plan { end_frame_no: image.known.end_frame_no, pieces: vec![image] };
    while plan.end_frame_no < wanted {
        let next = plan.end_frame_no + 1;
        let candidates = match candidates(catalog, next, wanted) {
            Ok(candidates) => candidates,
            Err(look) => return Cover::Look(look),
        };
        let within = |piece: &&Piece| piece.known.end_frame_no <= wanted;
        // Of several that reach as far, the highest level has the fewest images.
        if let Some(&best) = candidates
            .iter()
            .filter(within)
            .max_by_key(|piece| (piece.known.end_frame_no, piece.known.content != Content::EveryFrame))
        {
            if best.known.content == Content::FullImage {
                plan.pieces.clear();
            }
            plan.end_frame_no = best.known.end_frame_no;
            plan.pieces.push(best);
            continue;
        }
        let every_frame = candidates
            .iter()
            .filter(|piece| piece.known.content == Content::EveryFrame)
            .max_by_key(|piece| piece.level);
        if let Some(&last) = every_frame {
            plan.end_frame_no = wanted;
            plan.pieces.push(last);
            return Cover::Whole(plan);
        }
        return match candidates.iter().map(|piece| piece.known.end_frame_no).min() {
            Some(after) => Cover::Ends { plan, after },
            None => Cover::Gap { first: next },
        };
    }
    Cover::Whole(plan)
}

/// The bundles that cover `next`, one of each level at most, from the highest level down.
fn candidates(catalog: &Catalog, next: u64, wanted: u64) -> Result<Vec<Piece>, Vec<(Level, u64)>> {
    let mut found: Vec<Piece> = Vec::new();
    for level in Level::merged().rev() {
        let Some((frame_no, known)) = catalog.usable(level, ..=next).next_back() else { continue };
        let reach = found.iter().map(|piece| piece.known.end_frame_no).filter(|&end| end <= wanted).max();
        if reach.is_some_and(|reach| catalog.usable(level, next + 1..=reach + 1).next().is_some()) {
            // Bundles of a level do not overlap, so this one does not reach further.
            continue;
        }
        let Some(known) = known else {
            // Planning often goes on in the same level.
            let ahead = catalog.usable(level, next + 1..=wanted).filter(|(_, known)| known.is_none());
            let ahead = ahead.map(|(frame_no, _)| (level, frame_no)).take(LOOK_AHEAD);
            return Err(std::iter::once((level, frame_no)).chain(ahead).collect());
        };
        if known.covers(next) && !known.is_terminator() {
            found.push(Piece { level, frame_no, known });
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
