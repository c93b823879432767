//! Finds in PromQL expressions what they ask for, and whether a scrape has it.

use super::Figures;

/// `name{label="value",…}` in an expression; names of other programs' figures are left out.
#[derive(Debug)]
pub(crate) struct Selector<'a> {
    name: &'a str,
    /// Labels with each value that is asked for, or is not wanted.
    labels: Vec<(&'a str, Vec<&'a str>)>,
}

/// Labels that Prometheus adds.
const ADDED: [&str; 2] = ["job", "instance"];

/// All selectors of an expression.
pub(crate) fn selectors(expression: &str) -> Vec<Selector<'_>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_word) {
        let word = &rest[start..];
        let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
        let (name, after) = word.split_at(end);
        rest = after;
        if !name.starts_with("apiary_") && !name.starts_with("process_") {
            continue;
        }
        let inside = after
            .strip_prefix('{')
            .and_then(|inside| inside.split_once('}'));
        let labels = inside.map_or(Vec::new(), |(inside, behind)| {
            rest = behind;
            inside.split("\",").map(matcher).collect()
        });
        found.push(Selector { name, labels });
    }
    found
}

/// `label="value"`, `label!="value"` or `label=~"one|other"`, the last quote left out or not.
fn matcher(text: &str) -> (&str, Vec<&str>) {
    let (label, values) = text.split_once('"').unwrap();
    let label = label.trim_end_matches(['=', '~', '!']);
    let values = values.trim_end_matches('"').split('|').collect();
    (label, values)
}

impl Selector<'_> {
    /// Each name, label and value of it is in the scrape.
    pub(crate) fn assert_in(&self, figures: &Figures) {
        let named = |series: &&String| series.split('{').next() == Some(self.name);
        let series: Vec<&String> = figures.series.keys().filter(named).collect();
        assert!(!series.is_empty(), "there is no {}", self.name);
        let labels = self
            .labels
            .iter()
            .filter(|(label, _)| !ADDED.contains(label));
        for (label, values) in labels {
            for value in values {
                let wanted = format!("{label}=\"{value}\"");
                assert!(
                    series.iter().any(|series| series.contains(&wanted)),
                    "there is no {}{{{wanted}}}",
                    self.name
                );
            }
        }
    }
}

#[test]
fn selectors_are_found() {
    let expression = r#"1 - sum by (le) (rate(apiary_a_bucket{le="0.5",b=~"x|y"}[5m])) / process_b > up{c="apiary_d"}"#;
    let found = selectors(expression);
    let names: Vec<&str> = found.iter().map(|selector| selector.name).collect();
    assert_eq!(names[..2], ["apiary_a_bucket", "process_b"]);
    assert_eq!(
        found[0].labels,
        [("le", vec!["0.5"]), ("b", vec!["x", "y"])]
    );
}
