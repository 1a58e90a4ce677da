//! What is wanted of a line of the table.

use crate::engine::Contestant;

/// One thing that is wanted of vwal with its defaults.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// The rate is at least so many times that of `to`.
    Rate { to: Contestant, least: f64 },
    /// The p99.9 of the latency is at most so many times that of stock SQLite.
    Tail { most: f64 },
    /// CPU per operation is at most so many times that of stock SQLite.
    Cpu { most: f64 },
    /// A value of the row is at least so much.
    AtLeast { value: &'static str, least: f64 },
    /// A value of the row is at most so much.
    AtMost { value: &'static str, most: f64 },
}

/// What every row has to keep.
pub const CPU: Goal = Goal::Cpu { most: 1.3 };
