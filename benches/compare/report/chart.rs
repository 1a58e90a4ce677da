//! The ratios as a picture: a line per workload, on a logarithmic axis, with the goal.

use super::svg::{Axis, Svg};
use super::table::{count, short};
use super::{Ratio, Report};
use crate::engine::Contestant::{Stock, Vwal, VwalOff};

const WIDTH: f64 = 900.0;
const TOP: f64 = 92.0;
const STEP: f64 = 25.0;
const LEFT: f64 = 310.0;
const RIGHT: f64 = WIDTH - 74.0;

/// A line of the picture.
struct Bar<'a> {
    title: &'a str,
    ratio: Ratio,
    goal: Option<f64>,
}

/// The picture. Lines without a ratio to stock SQLite are not in it.
pub fn draw(report: &Report) -> String {
    let mut bars = Vec::new();
    for line in &report.lines {
        let goal = line.goals.iter().find_map(|goal| goal.least);
        bars.extend(line.ratio(Vwal, Stock).map(|ratio| Bar { title: &line.title, ratio, goal }));
        let title = "vwal_group_commit=off";
        bars.extend(line.ratio(VwalOff, Stock).map(|ratio| Bar { title, ratio, goal: None }));
    }
    let height = TOP + STEP * bars.len() as f64 + 66.0;
    let about = "Throughput of vwal as a multiple of that of stock SQLite WAL, per workload";
    let mut svg = Svg::new(WIDTH, height, about, about);
    let runs = if report.short { "a short run, for a first look; " } else { "" };
    let caption = format!(
        "{runs}{} of runs. Dot: ratio of the medians. Band: lowest and highest pair. Upright: the goal. Orange: below it, or below 1 ×.",
        count(report.pairs, "pair")
    );
    svg.text(20.0, 52.0, "small", "start", &caption);
    let axis = axis(&bars);
    let bottom = TOP + STEP * bars.len() as f64;
    for mark in axis.marks() {
        let x = axis.at(mark);
        let one = (mark - 1.0).abs() < 1e-9;
        svg.line(if one { "one" } else { "grid" }, [x, TOP - 8.0], [x, bottom]);
        svg.text(x, TOP - 14.0, "small", "middle", &format!("{mark} ×"));
        svg.text(x, bottom + 16.0, "small", "middle", &format!("{mark} ×"));
    }
    for (at, bar) in bars.iter().enumerate() {
        draw_bar(&mut svg, &axis, TOP + STEP * (at as f64 + 0.5), bar);
    }
    svg.text(20.0, bottom + 40.0, "small", "start", &report.machine.in_short());
    svg.text(20.0, bottom + 55.0, "small", "start", "cargo bench; docs/performance.md says what is measured");
    svg.finish()
}

fn draw_bar(svg: &mut Svg, axis: &Axis, y: f64, bar: &Bar<'_>) {
    let Ratio { ratio, low, high, of, .. } = bar.ratio;
    let class = if ratio < bar.goal.unwrap_or(1.0) { "b" } else { "a" };
    let dot = if of == VwalOff { format!("{class} off") } else { class.to_owned() };
    let label = if of == VwalOff { "small" } else { "" };
    svg.text(LEFT - 14.0, y + 4.5, label, "end", bar.title);
    svg.line(&format!("{class} thick"), [axis.at(low), y], [axis.at(high), y]);
    if let Some(goal) = bar.goal {
        let x = axis.at(goal);
        svg.line("goal", [x, y - 8.0], [x, y + 8.0]);
    }
    svg.dot(&dot, [axis.at(ratio), y], 4.5);
    svg.text(WIDTH - 20.0, y + 4.5, class, "end", &format!("{} ×", short(ratio)));
}

/// From a little below the least figure to a little above the greatest, with 1 on it.
fn axis(bars: &[Bar<'_>]) -> Axis {
    let figures = || bars.iter().flat_map(|bar| [bar.ratio.low, bar.ratio.high, bar.goal.unwrap_or(1.0)]);
    let low = figures().fold(0.7, f64::min);
    let high = figures().fold(2.0, f64::max);
    Axis { values: [low * 0.93, high * 1.08], places: [LEFT, RIGHT], logarithmic: true }
}
