//! Line plots as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 60.0;
/// Grid lines a direction at most.
const LINES: f64 = 8.0;
/// Colours that can be told apart by most, also in grey (Okabe and Ito).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// A plot of one or more lines over the same axis.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    /// Of the file, without its ending.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// One line of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Plot {
    /// The file's content; both axes begin at 0.
    pub(crate) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Axis::up_to(points().map(|point| point.0).fold(0.0, f64::max));
        let y = Axis::up_to(points().map(|point| point.1).fold(0.0, f64::max));
        let mut svg = Svg::new();
        svg.text(LEFT, 24.0, "start", 16, &self.title);
        for tick in x.ticks() {
            let at = across(&x, tick);
            svg.line((at, TOP), (at, HEIGHT - BOTTOM), "#e0e0e0");
            svg.text(at, HEIGHT - BOTTOM + 18.0, "middle", 12, &number(tick));
        }
        for tick in y.ticks() {
            let at = up(&y, tick);
            svg.line((LEFT, at), (WIDTH - RIGHT, at), "#e0e0e0");
            svg.text(LEFT - 8.0, at + 4.0, "end", 12, &number(tick));
        }
        svg.text(
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 16.0,
            "middle",
            13,
            self.x,
        );
        svg.text(LEFT, TOP - 8.0, "start", 13, self.y);
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let places: Vec<_> = line
                .points
                .iter()
                .map(|point| (across(&x, point.0), up(&y, point.1)))
                .collect();
            svg.polyline(&places, colour);
            let legend = WIDTH - RIGHT - 170.0 * (self.lines.len() - index) as f64;
            svg.line((legend, TOP - 12.0), (legend + 20.0, TOP - 12.0), colour);
            svg.text(legend + 26.0, TOP - 8.0, "start", 12, line.name);
        }
        svg.finish()
    }
}

/// From 0 to a round number.
struct Axis {
    end: f64,
    step: f64,
}

impl Axis {
    fn up_to(max: f64) -> Self {
        let rough = max.max(f64::MIN_POSITIVE) / LINES;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * magnitude)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        Self {
            end: (max / step).ceil().max(1.0) * step,
            step,
        }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = (self.end / self.step).round() as u32;
        (0..=count).map(|number| f64::from(number) * self.step)
    }
}

fn across(axis: &Axis, value: f64) -> f64 {
    LEFT + value / axis.end * (WIDTH - LEFT - RIGHT)
}

fn up(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - value / axis.end * (HEIGHT - TOP - BOTTOM)
}

/// Without the digits that binary fractions leave behind.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

struct Svg(String);

impl Svg {
    fn new() -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        ))
    }

    // Writing to a string cannot fail.
    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.0,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
        );
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, size: u32, text: &str) {
        let text = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"
        );
    }

    fn polyline(&mut self, points: &[(f64, f64)], colour: &str) {
        let list: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            self.0,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            list.join(" ")
        );
        for (x, y) in points {
            let _ = writeln!(
                self.0,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
            );
        }
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (max, end, step) in [
            (2500.0, 2500.0, 500.0),
            (0.83, 0.9, 0.2),
            (99.0, 100.0, 20.0),
        ] {
            let axis = Axis::up_to(max);
            assert!(axis.end >= max && axis.end < max + axis.step, "{max}");
            assert!((axis.step - step).abs() < 1e-9, "{max}: {}", axis.step);
            assert!(axis.end <= end + 0.11, "{max}: {}", axis.end);
        }
        assert_eq!(number(0.1 + 0.2), "0.3");
        assert!(Axis::up_to(0.0).end > 0.0);
    }

    #[test]
    fn a_plot_has_its_lines_and_escapes_text() {
        let svg = Plot {
            name: "test",
            title: "a < b".into(),
            x: "viewers",
            y: "ms",
            lines: vec![Line {
                name: "p50",
                points: vec![(0.0, 0.0), (100.0, 10.0)],
            }],
        }
        .svg();
        assert!(svg.contains("a &lt; b"));
        assert!(svg.contains("<polyline points=\"70.0,360.0 700.0,50.0\""));
    }
}
