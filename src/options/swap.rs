//! When a segment has grown enough: the expressions of `vwal_swap`.
//!
//! ```text
//! expression := conjunction { "or" conjunction }
//! conjunction := factor { "and" factor }
//! factor     := "(" expression ")" | condition
//! condition  := "frames" ">=" number
//!             | "size" ">=" number [ "B" | "KiB" | "MiB" | "GiB" ]
//!             | "age" ">=" number ( "ms" | "s" | "m" | "h" )
//! ```
//!
//! Words and units may be in any case; spaces are free. `and` binds more tightly than `or`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::Error;

/// When the current segment is sealed and the next one begun.
///
/// ```
/// use vwal::SwapPolicy;
/// use std::time::Duration;
///
/// let policy: SwapPolicy = "size>=4MiB or (frames>=10 and age>=5s)".parse()?;
/// assert!(policy.is_due(10, 41_000, Duration::from_secs(6)));
/// assert!(!policy.is_due(10, 41_000, Duration::from_secs(1)));
/// assert_eq!(policy.to_string(), "size>=4MiB or frames>=10 and age>=5s");
/// # Ok::<(), vwal::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwapPolicy {
    /// The segment holds at least this many frames.
    Frames(u64),
    /// The frames of the segment take at least this many bytes.
    Size(u64),
    /// The first frame of the segment was written at least this long ago. Written in whole milliseconds.
    Age(Duration),
    /// All of these. None at all: never.
    And(Vec<SwapPolicy>),
    /// Any of these. None at all: never.
    Or(Vec<SwapPolicy>),
}

impl SwapPolicy {
    /// Whether a segment of `frames` frames and `bytes` bytes, begun `age` ago, is to be sealed.
    pub fn is_due(&self, frames: u64, bytes: u64, age: Duration) -> bool {
        match self {
            SwapPolicy::Frames(least) => frames >= *least,
            SwapPolicy::Size(least) => bytes >= *least,
            SwapPolicy::Age(least) => age >= *least,
            // An empty conjunction is true in logic, and would seal a segment at every look. Nobody asks for that by
            // giving no condition.
            SwapPolicy::And(all) => !all.is_empty() && all.iter().all(|one| one.is_due(frames, bytes, age)),
            SwapPolicy::Or(any) => any.iter().any(|one| one.is_due(frames, bytes, age)),
        }
    }

    /// The least number of frames that makes a segment due whatever its age is, with `head` bytes before the frames and
    /// `frame_size` bytes for each. `None`: there is none.
    pub(crate) fn due_frames(&self, head: u64, frame_size: u64) -> Option<u64> {
        match self {
            SwapPolicy::Frames(least) => Some(*least),
            SwapPolicy::Size(least) => Some(least.saturating_sub(head).div_ceil(frame_size)),
            SwapPolicy::Age(least) => least.is_zero().then_some(0),
            SwapPolicy::And(all) if all.is_empty() => None,
            SwapPolicy::And(all) => {
                all.iter().try_fold(0, |most, one| Some(one.due_frames(head, frame_size)?.max(most)))
            }
            SwapPolicy::Or(any) => any.iter().filter_map(|one| one.due_frames(head, frame_size)).min(),
        }
    }

    /// Whether the age of a segment plays a part.
    pub(crate) fn looks_at_age(&self) -> bool {
        match self {
            SwapPolicy::Frames(_) | SwapPolicy::Size(_) => false,
            SwapPolicy::Age(_) => true,
            SwapPolicy::And(parts) | SwapPolicy::Or(parts) => parts.iter().any(SwapPolicy::looks_at_age),
        }
    }

    /// How tightly the outermost operator binds, for parentheses: 0 `or`, 1 `and`, 2 a condition.
    fn binding(&self) -> u8 {
        match self {
            SwapPolicy::Or(parts) | SwapPolicy::And(parts) if parts.len() == 1 => parts[0].binding(),
            SwapPolicy::Or(parts) if !parts.is_empty() => 0,
            SwapPolicy::And(parts) if !parts.is_empty() => 1,
            _ => 2,
        }
    }
}

impl fmt::Display for SwapPolicy {
    /// An expression that parses to the same policy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, operator, own) = match self {
            SwapPolicy::Frames(least) => return write!(f, "frames>={least}"),
            SwapPolicy::Size(least) => return write!(f, "size>={}", Bytes(*least)),
            SwapPolicy::Age(least) => return write!(f, "age>={}", Span(*least)),
            // The grammar has no word for "never"; a count that no segment reaches says it.
            SwapPolicy::And(parts) | SwapPolicy::Or(parts) if parts.is_empty() => {
                return write!(f, "frames>={}", u64::MAX);
            }
            SwapPolicy::And(parts) | SwapPolicy::Or(parts) if parts.len() == 1 => return parts[0].fmt(f),
            SwapPolicy::And(parts) => (parts, " and ", 1),
            SwapPolicy::Or(parts) => (parts, " or ", 0),
        };
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                f.write_str(operator)?;
            }
            if part.binding() <= own { write!(f, "({part})")? } else { write!(f, "{part}")? }
        }
        Ok(())
    }
}

impl FromStr for SwapPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let policy = parser.expression().and_then(|policy| match parser.rest() {
            "" => Ok(policy),
            _ => Err(parser.expected("'and', 'or' or the end")),
        });
        policy.map_err(|what| Error::Usage(format!("'{text}' is not a swap policy: {what}; {SYNTAX}")))
    }
}

/// What is right, for messages.
const SYNTAX: &str = "right are frames>=N, size>=N[KiB|MiB|GiB], age>=N(ms|s|m|h), combined by 'and', 'or' and \
                      parentheses, such as 'size>=4MiB or age>=10s'";

/// Parentheses nest at most this deep. The text comes from a URI, and the parser recurses.
const DEPTH_MAX: u32 = 16;

struct Parser<'a> {
    text: &'a str,
    /// A byte offset, always at a character boundary.
    at: usize,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn expression(&mut self) -> Result<SwapPolicy, String> {
        let mut parts = vec![self.conjunction()?];
        while self.take_word("or") {
            parts.push(self.conjunction()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { SwapPolicy::Or(parts) })
    }

    fn conjunction(&mut self) -> Result<SwapPolicy, String> {
        let mut parts = vec![self.factor()?];
        while self.take_word("and") {
            parts.push(self.factor()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { SwapPolicy::And(parts) })
    }

    fn factor(&mut self) -> Result<SwapPolicy, String> {
        if !self.take("(") {
            return self.condition();
        }
        if self.depth == DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} nested parentheses at position {}", self.position()));
        }
        self.depth += 1;
        let inner = self.expression()?;
        self.depth -= 1;
        if self.take(")") { Ok(inner) } else { Err(self.expected("'and', 'or' or ')'")) }
    }

    fn condition(&mut self) -> Result<SwapPolicy, String> {
        let start = self.position();
        let what = self.word();
        let known = ["frames", "size", "age"].into_iter().find(|name| name.eq_ignore_ascii_case(what));
        let Some(known) = known else {
            return Err(self.expected("'frames', 'size', 'age' or '('"));
        };
        self.at += what.len();
        if !self.take(">=") {
            return Err(self.expected("'>='"));
        }
        let number = self.number()?;
        let unit = match self.word() {
            word if word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("or") => "",
            word => word,
        };
        let policy = match known {
            "frames" => Some(SwapPolicy::Frames(number)),
            "size" => {
                let factor = size_unit(unit).ok_or_else(|| self.expected("B, KiB, MiB or GiB"))?;
                self.at += unit.len();
                number.checked_mul(factor).map(SwapPolicy::Size)
            }
            _ => {
                let factor = age_unit(unit).ok_or_else(|| self.expected("one of the units ms, s, m, h"))?;
                self.at += unit.len();
                number.checked_mul(factor).map(|ms| SwapPolicy::Age(Duration::from_millis(ms)))
            }
        };
        match policy {
            None => Err(format!("the number at position {start} is too large")),
            // Zero would seal a segment that holds nothing, for ever.
            Some(_) if number == 0 => {
                Err(format!("{known}>=0 at position {start} is always true: at least 1"))
            }
            Some(policy) => Ok(policy),
        }
    }

    fn number(&mut self) -> Result<u64, String> {
        let rest = self.rest();
        let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
        if digits.is_empty() {
            return Err(self.expected("a number"));
        }
        let number =
            digits.parse().map_err(|_| format!("the number at position {} is too large", self.position()))?;
        self.at += digits.len();
        Ok(number)
    }

    /// What is left, from the next character that is not a space.
    fn rest(&mut self) -> &'a str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    /// The run of letters that comes next.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        &rest[..rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len())]
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = self.rest().starts_with(symbol);
        self.at += if found { symbol.len() } else { 0 };
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.word().eq_ignore_ascii_case(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    /// The position of the next character, counted from 1 as people do.
    fn position(&mut self) -> usize {
        self.rest();
        self.text[..self.at].chars().count() + 1
    }

    fn expected(&mut self, what: &str) -> String {
        let position = self.position();
        let word = self.word();
        let found = if word.is_empty() {
            self.rest().chars().next().map(String::from)
        } else {
            Some(word.to_owned())
        };
        match found {
            Some(found) => format!("expected {what} at position {position}, found '{found}'"),
            None => format!("expected {what} at position {position}, found the end"),
        }
    }
}

/// Bytes in one `unit`; no unit is bytes.
pub(super) fn size_unit(unit: &str) -> Option<u64> {
    match unit.to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        _ => None,
    }
}

/// Milliseconds in one `unit`.
fn age_unit(unit: &str) -> Option<u64> {
    match unit.to_ascii_lowercase().as_str() {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    }
}

/// A number of bytes in the largest unit that leaves no rest.
pub(super) struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(size, _)| self.0 > 0 && self.0.is_multiple_of(*size)) {
            Some((size, unit)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A time in the largest unit that leaves no rest; parts of a millisecond count as a whole one.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_nanos().div_ceil(1_000_000).clamp(1, u128::from(u64::MAX));
        let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        match units.into_iter().find(|(size, _)| ms.is_multiple_of(*size)) {
            Some((size, unit)) => write!(f, "{}{unit}", ms / size),
            None => write!(f, "{ms}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policies() -> impl Strategy<Value = SwapPolicy> {
        let leaf = prop_oneof![
            (1..=u64::MAX).prop_map(SwapPolicy::Frames),
            (1..=u64::MAX).prop_map(SwapPolicy::Size),
            (1..=1u64 << 20, 0..4u32).prop_map(|(n, unit)| SwapPolicy::Size(n << (10 * unit))),
            (1..=u64::MAX).prop_map(|ms| SwapPolicy::Age(Duration::from_millis(ms))),
            (1..1000u64).prop_map(|hours| SwapPolicy::Age(Duration::from_secs(hours * 3600))),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(SwapPolicy::And),
                prop::collection::vec(inner, 2..4).prop_map(SwapPolicy::Or),
            ]
        })
    }

    proptest! {
        #[test]
        fn display_parses_back_to_the_same_policy(policy in policies()) {
            prop_assert_eq!(policy.to_string().parse::<SwapPolicy>().unwrap(), policy);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-zA-Z0-9>=() .é]{0,40}") {
            if let Ok(policy) = text.parse::<SwapPolicy>() {
                prop_assert_eq!(policy.to_string().parse::<SwapPolicy>().unwrap(), policy);
            }
        }

        /// An independent reading of the tree: conditions to truth values first, then the operators.
        #[test]
        fn is_due_is_what_the_expression_says(
            policy in policies(), frames in 0..4u64, bytes in 0..5000u64, age_ms in 0..4000u64,
        ) {
            fn truth(policy: &SwapPolicy, frames: u64, bytes: u64, age: Duration) -> bool {
                match policy {
                    SwapPolicy::Frames(n) => *n <= frames,
                    SwapPolicy::Size(n) => *n <= bytes,
                    SwapPolicy::Age(n) => *n <= age,
                    SwapPolicy::And(parts) => parts.iter().filter(|p| !truth(p, frames, bytes, age)).count() == 0,
                    SwapPolicy::Or(parts) => parts.iter().filter(|p| truth(p, frames, bytes, age)).count() > 0,
                }
            }
            let age = Duration::from_millis(age_ms);
            prop_assert_eq!(policy.is_due(frames, bytes, age), truth(&policy, frames, bytes, age));
        }

        #[test]
        fn due_frames_is_where_is_due_begins(policy in policies(), head in 0..3000u64, frame_size in 1..2000u64) {
            let bytes = |frames: u64| frames.saturating_mul(frame_size).saturating_add(head);
            let is_due = |frames, age| policy.is_due(frames, bytes(frames), age);
            match policy.due_frames(head, frame_size) {
                None => prop_assert!(!is_due(u64::MAX, Duration::ZERO)),
                Some(due) => {
                    prop_assert!(is_due(due, Duration::ZERO));
                    prop_assert!(due == 0 || !is_due(due - 1, Duration::ZERO));
                }
            }
            if !policy.looks_at_age() {
                let long = Duration::from_secs(1 << 40);
                prop_assert!((0..6).all(|frames| is_due(frames, Duration::ZERO) == is_due(frames, long)));
            }
        }
    }

    #[test]
    fn and_binds_more_tightly_than_or() {
        let policy: SwapPolicy = " FRAMES >= 2 Or size>=1kib AND(age>=1m or age >= 90 s)".parse().unwrap();
        let ages = vec![SwapPolicy::Age(Duration::from_secs(60)), SwapPolicy::Age(Duration::from_secs(90))];
        let right = SwapPolicy::And(vec![SwapPolicy::Size(1024), SwapPolicy::Or(ages)]);
        assert_eq!(policy, SwapPolicy::Or(vec![SwapPolicy::Frames(2), right]));
        assert_eq!(policy.to_string(), "frames>=2 or size>=1KiB and (age>=1m or age>=90s)");
    }

    #[test]
    fn a_lone_part_is_that_part_and_no_part_is_never() {
        let lone = SwapPolicy::And(vec![SwapPolicy::Or(vec![SwapPolicy::Frames(3), SwapPolicy::Frames(4)])]);
        let both = SwapPolicy::And(vec![lone, SwapPolicy::Size(1)]);
        assert_eq!(both.to_string(), "(frames>=3 or frames>=4) and size>=1");
        for never in [SwapPolicy::And(vec![]), SwapPolicy::Or(vec![])] {
            assert!(!never.is_due(1 << 40, 1 << 50, Duration::from_secs(1 << 30)));
            let reparsed: SwapPolicy = never.to_string().parse().unwrap();
            assert!(!reparsed.is_due(1 << 40, 1 << 50, Duration::from_secs(1 << 30)));
        }
    }

    #[test]
    fn errors_say_where_and_what() {
        let nested = "(".repeat(100_000);
        for (text, words) in [
            ("", "expected 'frames', 'size', 'age' or '(' at position 1, found the end"),
            ("pages>=3", "expected 'frames', 'size', 'age' or '(' at position 1, found 'pages'"),
            ("frames>3", "expected '>=' at position 7, found '>'"),
            ("frames>=", "expected a number at position 9, found the end"),
            ("frames>=-1", "expected a number at position 9, found '-'"),
            ("frames>=5KiB", "expected 'and', 'or' or the end at position 10, found 'KiB'"),
            ("size>=4MB", "expected B, KiB, MiB or GiB at position 8, found 'MB'"),
            ("size>=1.5MiB", "expected 'and', 'or' or the end at position 8, found '.'"),
            ("age>=5", "expected one of the units ms, s, m, h at position 7, found the end"),
            ("age>=5d", "expected one of the units ms, s, m, h at position 7, found 'd'"),
            ("age>=5s and", "expected 'frames', 'size', 'age' or '(' at position 12, found the end"),
            ("age>=5s xor size>=1", "expected 'and', 'or' or the end at position 9, found 'xor'"),
            ("(age>=5s or size>=1", "expected 'and', 'or' or ')' at position 20, found the end"),
            ("age>=5s)", "expected 'and', 'or' or the end at position 8, found ')'"),
            ("é>=1", "expected 'frames', 'size', 'age' or '(' at position 1, found 'é'"),
            ("size>=1 é", "expected 'and', 'or' or the end at position 9, found 'é'"),
            ("frames>=0", "frames>=0 at position 1 is always true: at least 1"),
            ("frames>=18446744073709551616", "the number at position 9 is too large"),
            ("frames>=1 or size>=18446744073709551615KiB", "the number at position 14 is too large"),
            (&nested, "more than 16 nested parentheses at position 18"),
        ] {
            let message = text.parse::<SwapPolicy>().unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
            assert!(
                message.contains(&format!("'{text}'")) && message.contains("size>=N[KiB|MiB|GiB]"),
                "{message}"
            );
        }
    }
}
