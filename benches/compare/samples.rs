//! Counting and timing operations.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Latencies in nanoseconds: up to ten minutes, with three digits. Allocated whole, so that measuring allocates nothing.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000_000, 3).expect("the bounds are right")
}

/// What a run measured of one kind of operation.
#[derive(Clone, Serialize, Deserialize)]
pub struct Series {
    /// What is counted, when a workload counts several things; else empty.
    pub label: String,
    pub seconds: f64,
    /// Work done: operations, or rows.
    pub count: u64,
    /// Latencies in nanoseconds, and how many operations took as long.
    pub latencies: Vec<(u64, u64)>,
}

impl Series {
    fn new(label: &str, elapsed: Duration, count: u64, histogram: &Histogram<u64>) -> Series {
        let latencies =
            histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
        Series { label: label.to_owned(), seconds: elapsed.as_secs_f64(), count, latencies }
    }

    /// Call `operation` over and over for `length`, timing each.
    pub fn measure(label: &str, length: Duration, operation: impl FnMut()) -> Series {
        Series::until(label, operation, |_, elapsed| elapsed >= length)
    }

    /// Call `operation` so many times, timing each.
    pub fn times(label: &str, times: u64, operation: impl FnMut()) -> Series {
        Series::until(label, operation, |count, _| count >= times)
    }

    fn until(label: &str, mut operation: impl FnMut(), done: impl Fn(u64, Duration) -> bool) -> Series {
        let mut histogram = histogram();
        let start = Instant::now();
        let mut before = start;
        loop {
            operation();
            let now = Instant::now();
            histogram.saturating_record(u64::try_from((now - before).as_nanos()).unwrap_or(u64::MAX));
            if done(histogram.len(), now - start) {
                return Series::new(label, now - start, histogram.len(), &histogram);
            }
            before = now;
        }
    }

    /// One operation that does `count` units of work.
    pub fn once(label: &str, count: u64, operation: impl FnOnce()) -> Series {
        let start = Instant::now();
        operation();
        Series {
            label: label.to_owned(),
            seconds: start.elapsed().as_secs_f64(),
            count,
            latencies: Vec::new(),
        }
    }

    /// The same with `count` units of work in each operation.
    pub fn each_of(mut self, count: u64) -> Series {
        self.count *= count;
        self
    }

    /// The series of several threads that ran at the same time, as one.
    pub fn together(label: &str, parts: &[Series]) -> Series {
        let mut sum = Series::in_turn(label, parts);
        sum.seconds = parts.iter().map(|part| part.seconds).fold(0.0, f64::max);
        sum
    }

    /// Several series that ran one after the other, as one.
    pub fn in_turn(label: &str, parts: &[Series]) -> Series {
        let mut all = histogram();
        for part in parts {
            part.add_to(&mut all);
        }
        let count = parts.iter().map(|part| part.count).sum();
        let seconds = parts.iter().map(|part| part.seconds).sum();
        Series::new(label, Duration::from_secs_f64(seconds), count, &all)
    }

    pub fn add_to(&self, histogram: &mut Histogram<u64>) {
        for &(nanos, count) in &self.latencies {
            histogram.saturating_record_n(nanos, count);
        }
    }

    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }
}
