//! Where a crash was, and what it left, as a short text from which it can be tried again.

use std::fmt;

use super::variants::Kinds;
use crate::testing::io::Fate;

/// What a crash left: what became of each open unit.
///
/// As a text: `+` kept, `-` lost, `z` zeros, each for as many units as the number behind it says; `h` and `t` with so many
/// sectors from the start of a write there, or missing; `g` garbage with a seed. `!`: the process was killed, and nothing is lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Mask {
    Power(Vec<Fate>),
    Killed,
}

impl Mask {
    /// How many units differ from the most frequent fate, kept or lost.
    pub fn oddities(fates: &[Fate]) -> usize {
        let differ = |usual: Fate| fates.iter().filter(|&&fate| fate != usual).count();
        differ(Fate::Kept).min(differ(Fate::Lost))
    }

    fn parse(text: &str) -> Option<Mask> {
        if text == "!" {
            return Some(Mask::Killed);
        }
        let mut fates = Vec::new();
        let mut rest = text;
        while let Some(kind) = rest.chars().next() {
            let digits = rest[1..].chars().take_while(char::is_ascii_digit).count();
            let number = &rest[1..1 + digits];
            rest = &rest[1 + digits..];
            let count = if number.is_empty() { Some(1) } else { number.parse().ok() };
            let same = |fate: Fate| Some(vec![fate; count?]);
            fates.extend(match kind {
                '+' => same(Fate::Kept)?,
                '-' => same(Fate::Lost)?,
                'z' => same(Fate::Zeros)?,
                'h' => vec![Fate::Head(number.parse().ok()?)],
                't' => vec![Fate::Tail(number.parse().ok()?)],
                'g' => vec![Fate::Garbage(number.parse().ok()?)],
                _ => return None,
            });
        }
        Some(Mask::Power(fates))
    }

    /// The fates, if they are as many as there are units.
    pub fn fates(&self, kinds: &Kinds) -> Option<Vec<Fate>> {
        match self {
            Mask::Killed => Some(vec![Fate::Kept; kinds.len()]),
            Mask::Power(fates) => Some(fates.clone()).filter(|fates| fates.len() == kinds.len()),
        }
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mask::Power(fates) = self else { return f.write_str("!") };
        for same in fates.chunk_by(|a, b| a == b && matches!(a, Fate::Kept | Fate::Lost | Fate::Zeros)) {
            let count = if same.len() > 1 { same.len().to_string() } else { String::new() };
            match same[0] {
                Fate::Kept => write!(f, "+{count}")?,
                Fate::Lost => write!(f, "-{count}")?,
                Fate::Zeros => write!(f, "z{count}")?,
                Fate::Head(sectors) => write!(f, "h{sectors}")?,
                Fate::Tail(sectors) => write!(f, "t{sectors}")?,
                Fate::Garbage(seed) => write!(f, "g{seed}")?,
            }
        }
        Ok(())
    }
}

/// A crash: behind so many lines of the trace, and what it left. The second one of a list is a crash in the recovery from the first.
pub type Path = Vec<(usize, Mask)>;

/// `seed:crashpoint:mask`, and behind a `/` the crash point and the mask of a second crash.
pub fn text(seed: u64, path: &[(usize, Mask)]) -> String {
    let crashes: Vec<String> = path.iter().map(|(at, mask)| format!("{at}:{mask}")).collect();
    format!("{seed}:{}", crashes.join("/"))
}

pub fn parse(text: &str) -> Option<(u64, Path)> {
    let (seed, crashes) = text.split_once(':')?;
    let path = crashes.split('/').map(|crash| {
        let (at, mask) = crash.split_once(':')?;
        Some((at.parse().ok()?, Mask::parse(mask)?))
    });
    Some((seed.parse().ok()?, path.collect::<Option<Path>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back() {
        let fates = vec![
            Fate::Kept,
            Fate::Kept,
            Fate::Lost,
            Fate::Head(3),
            Fate::Head(3),
            Fate::Zeros,
            Fate::Garbage(77),
            Fate::Tail(1),
        ];
        let path = vec![(7, Mask::Killed), (12, Mask::Power(fates)), (0, Mask::Power(vec![]))];
        let text = text(5, &path);
        assert_eq!(text, "5:7:!/12:+2-h3h3zg77t1/0:");
        assert_eq!(parse(&text), Some((5, path)));
        for wrong in ["", "5", "5:7", "x:7:+", "5:x:+", "5:7:*", "5:7:h", "5:7:+/8"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
