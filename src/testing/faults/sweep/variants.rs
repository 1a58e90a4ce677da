//! The variants of a crash: which of the open units are there afterwards, and which in part.

use crate::testing::io::{Fate, ObjectId, splitmix};

/// With at most so many open units all subsets of them are tried.
const SUBSETS: usize = 10;
/// Random variants beyond, at each moment.
const RANDOM: usize = 128;

/// One variant, not yet spelled out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Variant {
    /// Only what was fsynced.
    Hard,
    /// Everything.
    Whole,
    /// So many units from the first one.
    Prefix(usize),
    One(usize),
    AllBut(usize),
    AllButTwo(usize, usize),
    /// All of one object are lost.
    AllButObject(ObjectId),
    /// By the bits of a number.
    Subset(u32),
    /// One of them in part; the others are kept, or lost.
    Torn(usize, Fate, Fate),
    /// By a seed.
    Random(u64),
    /// No power loss: the process is killed, and nothing is lost yet.
    Killed,
}

/// What is known of each open unit.
pub type Kinds = [(ObjectId, Option<usize>)];

impl Variant {
    /// What becomes of each unit.
    pub fn fates(self, kinds: &Kinds) -> Vec<Fate> {
        let keep = |kept: bool| if kept { Fate::Kept } else { Fate::Lost };
        let each = |fate: &dyn Fn(usize) -> Fate| (0..kinds.len()).map(fate).collect();
        match self {
            Variant::Hard => each(&|_| Fate::Lost),
            Variant::Whole | Variant::Killed => each(&|_| Fate::Kept),
            Variant::Prefix(count) => each(&|unit| keep(unit < count)),
            Variant::One(one) => each(&|unit| keep(unit == one)),
            Variant::AllBut(one) => each(&|unit| keep(unit != one)),
            Variant::AllButTwo(a, b) => each(&|unit| keep(unit != a && unit != b)),
            Variant::AllButObject(object) => each(&|unit| keep(kinds[unit].0 != object)),
            Variant::Subset(bits) => each(&|unit| keep(bits & (1 << unit) != 0)),
            Variant::Torn(one, fate, others) => each(&|unit| if unit == one { fate } else { others }),
            Variant::Random(mut seed) => {
                // Now and then most are there, now and then hardly any.
                let lost = splitmix(&mut seed) % 7 + 1;
                kinds.iter().map(|&(_, sectors)| random(&mut seed, lost, sectors)).collect()
            }
        }
    }
}

fn random(seed: &mut u64, lost: u64, sectors: Option<usize>) -> Fate {
    let random = splitmix(seed);
    let Some(sectors) = sectors.filter(|_| random.is_multiple_of(5)) else {
        return if random >> 8 & 7 < lost { Fate::Lost } else { Fate::Kept };
    };
    let cut = 1 + (random >> 16) as usize % sectors;
    match random >> 8 & 7 {
        0..3 => Fate::Head(cut),
        3..6 => Fate::Tail(cut),
        6 => Fate::Zeros,
        _ => Fate::Garbage(random >> 40),
    }
}

/// Those that are tried at every moment.
pub fn always(units: usize) -> Vec<Variant> {
    let mut variants = vec![Variant::Hard];
    if units > 0 {
        variants.push(Variant::Whole);
    }
    if units > 1 {
        variants.extend((0..units).flat_map(|unit| [Variant::One(unit), Variant::AllBut(unit)]));
    }
    variants
}

/// The others, in a random order: by turns one of each sort, so that the numerous ones do not crowd out the rest.
pub fn others(kinds: &Kinds, seed: &mut u64) -> Vec<Variant> {
    let units = kinds.len();
    let mut sorts: Vec<Vec<Variant>> = vec![(2..units.saturating_sub(1)).map(Variant::Prefix).collect()];
    if units <= SUBSETS {
        sorts.push((1..(1_u32 << units).saturating_sub(1)).map(Variant::Subset).collect());
    } else {
        let pairs = (0..units).flat_map(|a| (a + 1..units).map(move |b| Variant::AllButTwo(a, b)));
        sorts.push(pairs.collect());
        let objects = kinds.iter().map(|&(object, _)| object + 1).max().unwrap_or(0);
        sorts.push((0..objects).map(Variant::AllButObject).collect());
    }
    let mut torn = Vec::new();
    for (unit, sectors) in kinds.iter().enumerate().filter_map(|(unit, kind)| Some((unit, kind.1?))) {
        let cuts = (1..sectors).flat_map(|cut| [Fate::Head(cut), Fate::Tail(cut)]);
        let garbage = Fate::Garbage(splitmix(seed) >> 40);
        for fate in cuts.chain([Fate::Zeros, garbage]) {
            torn.extend([Fate::Lost, Fate::Kept].map(|others| Variant::Torn(unit, fate, others)));
        }
    }
    sorts.push(torn);
    if units > 1 {
        let count = if units <= SUBSETS { RANDOM / 8 } else { RANDOM };
        sorts.push((0..count).map(|_| Variant::Random(splitmix(seed))).collect());
    }
    for sort in &mut sorts {
        for at in (1..sort.len()).rev() {
            sort.swap(at, (splitmix(seed) % (at as u64 + 1)) as usize);
        }
    }
    let longest = sorts.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|at| sorts.iter().filter_map(move |sort| sort.get(at).copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sorts_are_there() {
        let few = [(0, Some(8)), (0, None), (1, Some(2))];
        let variants = others(&few, &mut 1);
        assert_eq!(variants.iter().filter(|one| matches!(one, Variant::Subset(_))).count(), 6);
        // Each boundary between two sectors, from both sides, and zeros, and garbage; the others kept or lost.
        let torn =
            |variants: &[Variant]| variants.iter().filter(|one| matches!(one, Variant::Torn(..))).count();
        assert_eq!(torn(&variants), 2 * (2 * 7 + 2) + 2 * (2 + 2));
        let many = [few.repeat(4), vec![(2, None)]].concat();
        let variants = others(&many, &mut 1);
        let count = |is: fn(&Variant) -> bool| variants.iter().filter(|one| is(one)).count();
        assert_eq!(count(|one| matches!(one, Variant::AllButTwo(..))), 13 * 12 / 2);
        assert_eq!(count(|one| matches!(one, Variant::AllButObject(_))), 3);
        assert_eq!(count(|one| matches!(one, Variant::Random(_))), 128);
        assert_eq!(count(|one| matches!(one, Variant::Prefix(_))), 10);
        assert_eq!(always(13).len(), 28);
    }

    #[test]
    fn an_object_is_lost_as_a_whole() {
        let kinds = [(0, Some(8)), (1, None), (0, None)];
        assert_eq!(Variant::AllButObject(0).fates(&kinds), [Fate::Lost, Fate::Kept, Fate::Lost]);
        assert_eq!(
            Variant::Torn(0, Fate::Head(3), Fate::Lost).fates(&kinds),
            [Fate::Head(3), Fate::Lost, Fate::Lost]
        );
    }
}
