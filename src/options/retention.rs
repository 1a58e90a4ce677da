//! How long storage keeps bundles: the option `vwal_retention`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::Error;
use crate::types::Level;

/// How long bundles of a level are kept, and how many at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// A bundle older than this may go. `None`: none ever does.
    pub age: Option<Duration>,
    /// The newest ones stay, whatever their age.
    pub min_count: u32,
}

/// How long storage keeps what, as text: `off`, or `LEVEL:AGE[/COUNT]` for some levels, separated by commas.
///
/// An age is a whole number with a unit (`ms`, `s`, `m`, `h`, `d`), or `forever`, as for a level that is not named.
/// `COUNT` is the least number of bundles that stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// In the order of levels, one rule for each.
    rules: Vec<(Level, RetentionRule)>,
}

impl Retention {
    /// What is as old as this goes, at all levels alike.
    pub fn keep(age: Duration) -> Retention {
        let rule = RetentionRule { age: Some(age), min_count: 0 };
        Retention { rules: levels().map(|level| (level, rule)).collect() }
    }

    /// Nothing goes.
    pub fn off() -> Retention {
        Retention { rules: Vec::new() }
    }

    /// The rule of a level.
    pub fn rule(&self, level: Level) -> RetentionRule {
        let forever = RetentionRule { age: None, min_count: 0 };
        self.rules.iter().find(|(other, _)| *other == level).map_or(forever, |(_, rule)| *rule)
    }

    /// The longest age that any level has. `None`: some level keeps forever.
    pub fn longest(&self) -> Option<Duration> {
        levels().map(|level| self.rule(level).age).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Whether nothing ever goes.
    pub fn is_off(&self) -> bool {
        levels().all(|level| self.rule(level).age.is_none())
    }
}

impl Default for Retention {
    fn default() -> Retention {
        const DAY: u64 = 24 * 3600;
        let rule = |level, days, min_count| {
            (level, RetentionRule { age: Some(Duration::from_secs(days * DAY)), min_count })
        };
        let ages = Level::merged().zip([1, 7, 30, 90]).map(|(level, days)| rule(level, days, 0));
        Retention { rules: ages.chain([rule(Level::SNAPSHOT, 90, 2)]).collect() }
    }
}

fn levels() -> impl Iterator<Item = Level> {
    Level::merged().chain([Level::SNAPSHOT])
}

impl FromStr for Retention {
    type Err = Error;

    fn from_str(text: &str) -> Result<Retention, Error> {
        if text == "off" {
            return Ok(Retention::off());
        }
        let wrong = |what: String| {
            Error::Usage(format!(
                "{what}: right is off, or LEVEL:AGE or LEVEL:AGE/COUNT for some levels, such as \
                 0:24h,1:7d,snapshot:90d/2, with ages in ms, s, m, h, d, or forever"
            ))
        };
        let mut rules: Vec<(Level, RetentionRule)> = Vec::new();
        for word in text.split(',') {
            let (level, rule) = word.split_once(':').ok_or_else(|| wrong(format!("'{word}'")))?;
            let level: Level = level.parse()?;
            let (age, count) = rule.split_once('/').map_or((rule, None), |(age, count)| (age, Some(count)));
            let age = match age {
                "forever" => None,
                _ => Some(duration(age).ok_or_else(|| wrong(format!("the age '{age}'")))?),
            };
            let min_count = match count {
                None => 0,
                Some(count) => number(count)
                    .and_then(|count| u32::try_from(count).ok())
                    .ok_or_else(|| wrong(format!("the count '{count}'")))?,
            };
            if rules.iter().any(|(other, _)| *other == level) {
                return Err(wrong(format!("level {level} is there twice")));
            }
            rules.push((level, RetentionRule { age, min_count }));
        }
        rules.sort_by_key(|(level, _)| *level);
        Ok(Retention { rules })
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rules.is_empty() {
            return f.write_str("off");
        }
        for (at, (level, rule)) in self.rules.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{level}:")?;
            match rule.age {
                None => f.write_str("forever")?,
                Some(age) => f.write_str(&duration_text(age))?,
            }
            if rule.min_count > 0 {
                write!(f, "/{}", rule.min_count)?;
            }
        }
        Ok(())
    }
}

/// Units and their milliseconds, the largest first.
const UNITS: [(&str, u64); 5] =
    [("d", 24 * 3600 * 1000), ("h", 3600 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(digits);
    let (_, unit_ms) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    // A thousand years: far below where a number of microseconds ends.
    let most = 1000 * 366 * UNITS[0].1;
    let total = number(count)?.checked_mul(unit_ms).filter(|&total| total <= most)?;
    Some(Duration::from_millis(total))
}

fn duration_text(age: Duration) -> String {
    let total = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let fits = UNITS.into_iter().find(|(_, unit_ms)| total.is_multiple_of(*unit_ms) && total >= *unit_ms);
    // Days are the largest unit, and "24h" is what people write for one of them.
    match fits {
        Some(("d", unit_ms)) if total == unit_ms => "24h".to_owned(),
        Some((unit, unit_ms)) => format!("{}{unit}", total / unit_ms),
        None => "0s".to_owned(),
    }
}

/// Digits only: `str::parse` would also take a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_round_trip_through_text() {
        for text in [
            "off",
            "0:24h,1:7d,2:30d,3:90d,snapshot:90d/2",
            "0:1h",
            "snapshot:forever/3",
            "1:1ms,2:1s,3:90m",
            "0:0s",
            "0:366000d",
        ] {
            let retention: Retention = text.parse().unwrap();
            assert_eq!(retention.to_string(), text);
        }
        assert_eq!(Retention::default().to_string(), "0:24h,1:7d,2:30d,3:90d,snapshot:90d/2");
        let swapped: Retention = "snapshot:2d,0:60m".parse().unwrap();
        assert_eq!(swapped.to_string(), "0:1h,snapshot:2d");
    }

    #[test]
    fn wrong_rules_are_refused() {
        for text in [
            "",
            "24h",
            "0",
            "0:",
            "0:24",
            "0:h",
            "0:-1h",
            "0:+1h",
            "0:1.5h",
            "0:1w",
            "0:1h/",
            "0:1h/x",
            "0:1h/99999999999",
            "9:1h",
            "0:1h,",
            "0:1h,0:2h",
            "0:1h 1:2h",
            "OFF",
            "0:366001d",
            "0:99999999999999999999d",
        ] {
            assert!(text.parse::<Retention>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_named_is_kept() {
        let retention: Retention = "0:1h,snapshot:1d/2".parse().unwrap();
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(retention.rule(Level::ZERO), RetentionRule { age: hour, min_count: 0 });
        assert_eq!(retention.rule(Level::TOP), RetentionRule { age: None, min_count: 0 });
        assert_eq!(retention.longest(), None);
        assert_eq!(Retention::default().longest(), Some(Duration::from_secs(90 * 24 * 3600)));
        assert!(Retention::off().is_off() && !retention.is_off());
    }
}
