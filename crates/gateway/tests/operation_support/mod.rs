//! Reads Prometheus' text format, and takes nothing that is not quite it.

#![allow(dead_code)] // each test file uses its part

pub(crate) mod monitoring;
pub(crate) mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// All figures of a scrape, by name and labels: `name{a="b"}`.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) series: BTreeMap<String, f64>,
    /// Names of families with their kinds.
    pub(crate) families: BTreeMap<String, String>,
}

impl Figures {
    /// Reads a scrape.
    pub(crate) fn read(text: &str) -> Self {
        let mut figures = Self::default();
        let mut current = String::new();
        let mut helped = None;
        assert!(text.ends_with('\n'), "the last line has an end");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').unwrap();
                assert!(!words.trim().is_empty(), "{name} has no help");
                helped = Some(name.to_owned());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(helped.take().as_deref(), Some(name), "help comes first");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let before = figures.families.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} comes twice");
                current = name.to_owned();
            } else {
                figures.take_sample(line, &current);
            }
        }
        figures.check_histograms();
        figures
    }

    fn take_sample(&mut self, line: &str, family: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let kind = &self.families[family];
        let suffix = name
            .strip_prefix(family)
            .unwrap_or_else(|| panic!("{line} is in {family}"));
        match kind.as_str() {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            _ => assert_eq!(suffix, "", "{line}"),
        }
        assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        check_labels(&series[name.len()..]);
        let value: f64 = value.replace("Inf", "inf").parse().unwrap();
        assert!(kind == "gauge" || value >= 0.0, "{line}");
        let before = self.series.insert(series.to_owned(), value);
        assert_eq!(before, None, "{series} comes twice");
    }

    fn check_histograms(&self) {
        let histograms = self
            .families
            .iter()
            .filter(|(_, kind)| *kind == "histogram");
        for (name, _) in histograms {
            let counts = self
                .series
                .iter()
                .filter(|(series, _)| series.split('{').next() == Some(&format!("{name}_count")));
            for (series, count) in counts {
                let all = match series.split_once('{') {
                    Some((_, labels)) => {
                        format!(
                            "{name}_bucket{{{},le=\"+Inf\"}}",
                            labels.trim_end_matches('}')
                        )
                    }
                    None => format!("{name}_bucket{{le=\"+Inf\"}}"),
                };
                assert_eq!(self.series.get(&all), Some(count), "{all}");
            }
        }
    }

    /// A figure that is there.
    pub(crate) fn get(&self, series: &str) -> f64 {
        *self
            .series
            .get(series)
            .unwrap_or_else(|| panic!("there is no {series}"))
    }

    /// Names and labels of all.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.series.keys().map(String::as_str).collect()
    }
}

/// `{name="value",…}`, or nothing.
fn check_labels(text: &str) {
    if text.is_empty() {
        return;
    }
    let mut rest = text.strip_prefix('{').unwrap();
    loop {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            "{text}"
        );
        let mut end = None;
        let mut escaped = false;
        for (at, c) in after.char_indices() {
            match (escaped, c) {
                (true, _) => {
                    assert!(['\\', '"', 'n'].contains(&c), "{text}");
                    escaped = false;
                }
                (false, '\\') => escaped = true,
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (false, _) => {}
            }
        }
        rest = &after[end.unwrap() + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert_eq!(rest, "}", "{text}"),
        }
    }
}

/// Prometheus' own opinion of a text or file, where its tool is installed.
pub(crate) fn promtool(arguments: &[&str], input: &str) {
    let started = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match started {
        Ok(promtool) => promtool,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
            return;
        }
    };
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
