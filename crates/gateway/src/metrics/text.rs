//! The text format of Prometheus, version 0.0.4: what a scrape is answered with.
//!
//! Nearly every figure is read from elsewhere at the moment of the scrape, so a registry of them would only be copied
//! into; what is left is this format, which is small.

use std::fmt::Write as _;

use super::counters::HistogramCounts;

/// The media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Label names with their values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// A text that is being written, one family of figures after the other.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// A number that only grows; its name ends in `_total`.
    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        debug_assert!(name.ends_with("_total"), "{name} counts, and must say so");
        self.family(name, help, "counter")
    }

    /// A number that rises and falls.
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, "gauge")
    }

    /// Times in classes, in seconds; the name ends in `_seconds`.
    pub fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        debug_assert!(name.ends_with("_seconds"), "{name} is in seconds");
        self.family(name, help, "histogram")
    }

    fn family(&mut self, name: &'static str, help: &str, kind: &str) -> Family<'_> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family {
            name,
            text: &mut self.text,
        }
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }
}

/// The figures of one name.
#[derive(Debug)]
pub struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Family<'_> {
    /// The only figure of this name.
    pub fn is(mut self, value: impl Into<Number>) {
        self.sample("", &[], value.into());
    }

    /// The figure with these labels.
    pub fn with(&mut self, labels: Labels<'_>, value: impl Into<Number>) -> &mut Self {
        self.sample("", labels, value.into());
        self
    }

    /// A histogram with these labels.
    pub fn times(&mut self, labels: Labels<'_>, counts: &HistogramCounts) -> &mut Self {
        let bounds = counts.bounds.iter().map(|bound| bound.as_secs_f64());
        let mut up_to_here = 0;
        for (bound, class) in bounds.chain([f64::INFINITY]).zip(&counts.classes) {
            up_to_here += class;
            let le = Number::Float(bound).to_string();
            let labels: Vec<_> = labels.iter().copied().chain([("le", &*le)]).collect();
            self.sample("_bucket", &labels, Number::Whole(up_to_here));
        }
        self.sample("_sum", labels, Number::Float(counts.total.as_secs_f64()));
        self.sample("_count", labels, Number::Whole(up_to_here));
        self
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, value: Number) {
        *self.text += self.name;
        *self.text += suffix;
        if !labels.is_empty() {
            let labels: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            *self.text += &format!("{{{}}}", labels.join(","));
        }
        // A String takes whatever is written to it.
        let _ = writeln!(self.text, " {value}");
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// A figure's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// Anything else.
    Float(f64),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Float(number) if number.is_nan() => f.write_str("NaN"),
            Self::Float(number) if number.is_infinite() => {
                f.write_str(if *number > 0.0 { "+Inf" } else { "-Inf" })
            }
            Self::Float(number) => write!(f, "{number}"),
        }
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

impl From<bool> for Number {
    fn from(yes: bool) -> Self {
        Self::Whole(u64::from(yes))
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn figures_are_written_as_the_format_wants_them() {
        let mut text = Exposition::default();
        text.gauge("up", "one\nline \\").is(true);
        text.counter("lost_total", "Lost.")
            .with(&[("why", "a \"b\" \\ c\nd"), ("x", "")], 7_u64);
        let counts = HistogramCounts {
            bounds: vec![Duration::from_millis(5), Duration::from_secs(1)],
            classes: vec![1, 0, 2],
            total: Duration::from_millis(2500),
        };
        text.histogram("took_seconds", "Took.")
            .times(&[("worker", "0")], &counts);
        text.gauge("odd", "Odd.")
            .with(&[("n", "1")], f64::NAN)
            .with(&[("n", "2")], f64::NEG_INFINITY);
        let expected = "# HELP up one\\nline \\\\\n# TYPE up gauge\nup 1\n\
            # HELP lost_total Lost.\n# TYPE lost_total counter\n\
            lost_total{why=\"a \\\"b\\\" \\\\ c\\nd\",x=\"\"} 7\n\
            # HELP took_seconds Took.\n# TYPE took_seconds histogram\n\
            took_seconds_bucket{worker=\"0\",le=\"0.005\"} 1\n\
            took_seconds_bucket{worker=\"0\",le=\"1\"} 1\n\
            took_seconds_bucket{worker=\"0\",le=\"+Inf\"} 3\n\
            took_seconds_sum{worker=\"0\"} 2.5\ntook_seconds_count{worker=\"0\"} 3\n\
            # HELP odd Odd.\n# TYPE odd gauge\nodd{n=\"1\"} NaN\nodd{n=\"2\"} -Inf\n";
        assert_eq!(text.finish(), expected);
    }
}
