//! A small writer of SVG. The card has a background of its own, light or dark as the viewer prefers.

use std::fmt::{Display, Write};

/// An SVG under way.
pub struct Svg {
    text: String,
}

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328;font-size:13px}\
.card{fill:#ffffff;stroke:#d1d9e0}.title{font-size:16px;font-weight:600}.small{font-size:11px;fill:#59636e}\
.grid{stroke:#e4e8ec}.one{stroke:#59636e;stroke-width:1.5}\
.a{fill:#0969da;stroke:#0969da}.b{fill:#bc4c00;stroke:#bc4c00}.goal{stroke:#1f2328;stroke-width:2}\
.thick{stroke-width:4;stroke-opacity:.35}.line{stroke-width:2;fill:none}.off{fill-opacity:0;stroke-width:1.5}\
text.a{fill:#0969da;stroke:none}text.b{fill:#bc4c00;stroke:none}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.card{fill:#0d1117;stroke:#3d444d}.small{fill:#9198a1}\
.grid{stroke:#262c36}.one{stroke:#9198a1}.goal{stroke:#e6edf3}\
.a{fill:#4493f8;stroke:#4493f8}.b{fill:#f0883e;stroke:#f0883e}text.a{fill:#4493f8}text.b{fill:#f0883e}}";

impl Svg {
    /// A card of that size with a title. `about`: what it shows, for those who do not see it.
    pub fn new(width: f64, height: f64, title: &str, about: &str) -> Svg {
        let mut svg = Svg { text: String::new() };
        svg.raw(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{}\">\n<style>{STYLE}</style>",
            escaped(about)
        ));
        svg.raw(format_args!(
            "<rect class=\"card\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"6\"/>",
            width - 1.0,
            height - 1.0
        ));
        svg.text(20.0, 30.0, "title", "start", title);
        svg
    }

    /// Text at a place; `anchor`: start, middle or end.
    pub fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        self.raw(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(text)
        ));
    }

    pub fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        self.raw(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    /// A line through several places.
    pub fn path(&mut self, class: &str, places: &[[f64; 2]]) {
        let places: Vec<String> = places.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        self.raw(format_args!("<polyline class=\"{class}\" points=\"{}\"/>", places.join(" ")));
    }

    pub fn dot(&mut self, class: &str, [x, y]: [f64; 2], radius: f64) {
        self.raw(format_args!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"));
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn raw(&mut self, element: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{element}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// An axis: from values to places.
#[derive(Clone, Copy)]
pub struct Axis {
    pub values: [f64; 2],
    pub places: [f64; 2],
    pub logarithmic: bool,
}

impl Axis {
    pub fn at(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.logarithmic { value.max(1e-9).log10() } else { value };
        let [low, high] = self.values.map(scaled);
        let share = (scaled(value) - low) / (high - low);
        self.places[0] + share.clamp(0.0, 1.0) * (self.places[1] - self.places[0])
    }

    /// Where to draw lines of the grid: 1, 2, 5, 10, ... within the axis; or about five steps of equal length.
    pub fn marks(&self) -> Vec<f64> {
        let [low, high] = self.values;
        let decades = (-6..12).map(|power| 10f64.powi(power));
        if self.logarithmic {
            let marks = decades.flat_map(|one| [one, 2.0 * one, 5.0 * one]);
            return marks.filter(|mark| (low * 0.999..=high * 1.001).contains(mark)).collect();
        }
        let steps = decades.flat_map(|one| [one, 2.0 * one, 5.0 * one]);
        let step = steps.into_iter().find(|step| (high - low) / step <= 6.0).unwrap_or(high - low);
        (0..=6).map(|n| low + f64::from(n) * step).filter(|mark| *mark <= high * 1.001).collect()
    }
}
