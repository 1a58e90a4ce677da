//! Scale as a picture: three charts beside each other.

use super::Report;
use super::svg::{Axis, Svg};
use super::table::{count, short};
use crate::engine::Contestant::{Stock, Vwal};
use crate::scale::{Point, Scale, size};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 360.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = HEIGHT - 82.0;

/// The picture.
pub fn draw(report: &Report, scale: &Scale) -> String {
    let about = "Scale: what grows with the database and the log";
    let mut svg = Svg::new(WIDTH, HEIGHT, about, about);
    let runs = if report.short { "a short run, for a first look; " } else { "" };
    let caption = format!(
        "{runs}medians of {} of runs, with the lowest and the highest run.",
        count(report.pairs, "pair")
    );
    svg.text(20.0, 52.0, "small", "start", &caption);
    svg.text(WIDTH - 20.0, 30.0, "a", "end", "● vwal");
    svg.text(WIDTH - 90.0, 30.0, "b", "end", "● stock SQLite WAL");
    let panels = [
        ("µs per 1-row update, by database", &scale.commit, false),
        ("ms to open after a crash, by log", &scale.reopen, true),
        ("MiB of memory, by database", &scale.memory, false),
    ];
    for (at, (title, points, logarithmic)) in panels.into_iter().enumerate() {
        let left = 64.0 + 306.0 * at as f64;
        panel(&mut svg, [left, left + 258.0], title, points, logarithmic);
    }
    let memory = "Memory: what changing every page takes at most, beyond what the process had before. vwal without its frame cache.";
    svg.text(20.0, HEIGHT - 30.0, "small", "start", memory);
    svg.text(20.0, HEIGHT - 14.0, "small", "start", &report.machine.in_short());
    svg.finish()
}

fn panel(svg: &mut Svg, [left, right]: [f64; 2], title: &str, points: &[Point], logarithmic: bool) {
    svg.text(left, TOP - 14.0, "", "start", title);
    let bytes = || points.iter().map(|point| point.bytes as f64);
    let (least, most) = (bytes().fold(f64::INFINITY, f64::min), bytes().fold(1.0, f64::max));
    let x = Axis { values: [least * 0.7, most * 1.4], places: [left, right], logarithmic: true };
    let high = points.iter().map(|point| point.high).fold(1e-3, f64::max) * 1.1;
    let low = points.iter().map(|point| point.low).fold(high, f64::min);
    let low = if logarithmic { (low * 0.8).max(high / 1e6) } else { 0.0 };
    let y = Axis { values: [low, high], places: [BOTTOM, TOP], logarithmic };
    for mark in y.marks() {
        svg.line("grid", [left, y.at(mark)], [right, y.at(mark)]);
        svg.text(left - 6.0, y.at(mark) + 4.0, "small", "end", &mark_text(mark));
    }
    let mut sizes: Vec<u64> = points.iter().map(|point| point.bytes).collect();
    sizes.dedup();
    for bytes in sizes {
        let place = x.at(bytes as f64);
        svg.line("grid", [place, TOP], [place, BOTTOM]);
        svg.text(place, BOTTOM + 16.0, "small", "middle", &size(bytes));
    }
    for (contestant, class) in [(Stock, "b"), (Vwal, "a")] {
        let mut places = Vec::new();
        for point in points.iter().filter(|point| point.contestant == contestant) {
            let at = x.at(point.bytes as f64);
            svg.line(&format!("{class} thick"), [at, y.at(point.low)], [at, y.at(point.high)]);
            svg.dot(class, [at, y.at(point.median)], 3.5);
            places.push([at, y.at(point.median)]);
        }
        svg.path(&format!("{class} line"), &places);
    }
}

/// Marks are 1, 2 or 5 times a power of ten, or multiples of such.
fn mark_text(mark: f64) -> String {
    if (1.0..1e4).contains(&mark) || mark == 0.0 { format!("{mark:.0}") } else { short(mark) }
}
