//! Latencies of a run, and the line that compares the runs of two engines.

use std::fmt;
use std::time::{Duration, Instant};

/// What one run measured of one kind of operation.
pub struct Series {
    /// What is counted, when a workload counts several things; else empty.
    pub label: &'static str,
    elapsed: Duration,
    /// Work done: operations, or rows.
    count: u64,
    nanos: Vec<u32>,
}

impl Series {
    /// Call `operation` over and over for `length`, timing each.
    pub fn measure(label: &'static str, length: Duration, mut operation: impl FnMut()) -> Series {
        let mut nanos = Vec::with_capacity(1 << 20);
        let start = Instant::now();
        let mut before = start;
        loop {
            operation();
            let now = Instant::now();
            nanos.push(u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX));
            if now - start >= length {
                return Series { label, elapsed: now - start, count: nanos.len() as u64, nanos };
            }
            before = now;
        }
    }

    /// One operation that does `count` units of work.
    pub fn once(label: &'static str, count: u64, operation: impl FnOnce()) -> Series {
        let start = Instant::now();
        operation();
        Series { label, elapsed: start.elapsed(), count, nanos: Vec::new() }
    }

    /// The series of several threads that ran at the same time, as one.
    pub fn together(label: &'static str, parts: Vec<Series>) -> Series {
        let mut sum = Series { label, elapsed: Duration::ZERO, count: 0, nanos: Vec::new() };
        for part in parts {
            sum.elapsed = sum.elapsed.max(part.elapsed);
            sum.count += part.count;
            sum.nanos.extend(part.nanos);
        }
        sum
    }

    fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }
}

/// A line of the table.
pub struct Comparison {
    title: String,
    /// Operations per second: stock, vwal.
    rates: [f64; 2],
    /// Ratio of the medians, and the lowest and highest ratio within a pair.
    ratio: [f64; 3],
    /// Microseconds, p50 and p99.9: stock, vwal.
    latencies: [[f64; 2]; 2],
}

impl Comparison {
    pub const HEAD: &'static str = concat!(
        "workload                                   |  stock/s |   vwal/s | ratio (min..max)     ",
        "| p50 µs stock  vwal | p99.9 µs stock   vwal"
    );
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ratio, low, high] = self.ratio;
        write!(f, "{:<42} | {:>8} | {:>8} ", self.title, short(self.rates[0]), short(self.rates[1]))?;
        write!(f, "| {ratio:>6.2} ({low:.2}..{high:.2})")?;
        let width = format!("{low:.2}..{high:.2}").len();
        write!(f, "{:pad$}", "", pad = 12_usize.saturating_sub(width))?;
        let [[p50_stock, p50_vwal], [p999_stock, p999_vwal]] = self.latencies;
        write!(f, "| {p50_stock:>12.1} {p50_vwal:>5.1} | {p999_stock:>14.0} {p999_vwal:>6.0}")
    }
}

fn short(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.0} k", rate / 1e3),
        rate if rate >= 1e3 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

/// The median; not a number when there are no values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Microseconds within which the share `quantile` of all operations of all runs was done.
fn quantile<'a>(runs: impl Iterator<Item = &'a Series>, quantile: f64) -> f64 {
    let mut nanos: Vec<u32> = runs.flat_map(|series| series.nanos.iter().copied()).collect();
    if nanos.is_empty() {
        return f64::NAN;
    }
    nanos.sort_unstable();
    let at = ((nanos.len() as f64 * quantile) as usize).min(nanos.len() - 1);
    f64::from(nanos[at]) / 1e3
}

/// The lines for one workload: `stock[i]` and `vwal[i]` are a pair, of one series or more each.
pub fn compare(title: &str, stock: &[Vec<Series>], vwal: &[Vec<Series>]) -> Vec<Comparison> {
    let Some(any) = stock.first().or(vwal.first()) else { return Vec::new() };
    let line = |at: usize| {
        let of = |runs: &[Vec<Series>]| runs.iter().map(|run| run[at].per_second()).collect::<Vec<f64>>();
        let rates = [median(of(stock)), median(of(vwal))];
        let ratios: Vec<f64> = of(stock).iter().zip(of(vwal)).map(|(stock, vwal)| vwal / stock).collect();
        let low = ratios.iter().copied().fold(f64::NAN, f64::min);
        let high = ratios.iter().copied().fold(f64::NAN, f64::max);
        let at_quantile = |share| [stock, vwal].map(|runs| quantile(runs.iter().map(|run| &run[at]), share));
        let label = any[at].label;
        Comparison {
            title: if label.is_empty() { title.to_owned() } else { format!("{title}: {label}") },
            rates,
            ratio: [rates[1] / rates[0], low, high],
            latencies: [at_quantile(0.5), at_quantile(0.999)],
        }
    };
    (0..any.len()).map(line).collect()
}
