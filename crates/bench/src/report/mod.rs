//! The results, as a table for people, JSON for comparisons, and plots.

mod machine;
mod part;
pub(crate) mod plot;

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::error::BenchError;
pub(crate) use machine::Machine;
pub(crate) use part::{Part, Row};

/// With so much of a CPU taken by others a measurement says little.
const DISTURBED_PERCENT: f64 = 10.0;

/// Everything of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// The options, as they were in force.
    pub(crate) options: String,
    pub(crate) parts: Vec<Part>,
}

impl Report {
    /// Writes the JSON file.
    pub(crate) fn write_json(&self, path: &Path) -> Result<(), BenchError> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| BenchError::io("write the results as JSON")(error.into()))?;
        write(path, &(json + "\n"))
    }

    /// Writes the plots.
    pub(crate) fn write_plots(&self, directory: &Path) -> Result<(), BenchError> {
        for plot in self.parts.iter().flat_map(|part| &part.plots) {
            write(
                &directory.join(plot.name).with_extension("svg"),
                &plot.svg(),
            )?;
        }
        Ok(())
    }

    /// The scenarios that could not be measured.
    pub(crate) fn failed(&self) -> Vec<&'static str> {
        let failed = self.parts.iter().filter(|part| part.failure.is_some());
        failed.map(|part| part.scenario).collect()
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let floor = self.parts.iter().find_map(|part| part.floor);
        let mut lines = vec![["figure", "target", "measured", "× floor", ""].map(str::to_owned)];
        for row in self.parts.iter().flat_map(|part| &part.rows) {
            let ratio = row.cpu.zip(floor).map(|(cpu, floor)| cpu / floor);
            let verdict = match row.is_hit(floor) {
                Some(true) => "hit",
                Some(false) => "MISS",
                None => "",
            };
            lines.push([
                row.figure.clone(),
                row.target.clone().unwrap_or_default(),
                row.measured.clone(),
                ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
                verdict.to_owned(),
            ]);
        }
        let mut notes = String::new();
        for part in &self.parts {
            if let Some(others) = part.others_percent
                && others >= DISTURBED_PERCENT
            {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    notes,
                    "{}: something else took {others:.0} % of a CPU meanwhile; measure again when the machine is quiet",
                    part.scenario
                );
            }
        }
        let place = |cpu: Option<usize>| cpu.map_or("any".to_owned(), |cpu| cpu.to_string());
        let machine = &self.machine;
        format!(
            "{}, {} cores, Linux {}; server on CPU {}, viewers and cameras on CPU {}\n\n{}{notes}",
            machine.cpu,
            machine.cores,
            machine.kernel,
            place(machine.server_cpu),
            place(machine.bench_cpu),
            aligned(&lines)
        )
    }
}

/// A table as Markdown has it, so that it can be pasted.
fn aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0).max(3)
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        // Writing to a string cannot fail.
        for (cell, width) in line.iter().zip(widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            for width in widths {
                let _ = write!(text, "| {} ", "-".repeat(width));
            }
            text.push_str("|\n");
        }
    }
    text
}

fn write(path: &Path, content: &str) -> Result<(), BenchError> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .map_err(BenchError::io("make a directory for the results"))?;
    }
    std::fs::write(path, content).map_err(BenchError::io("write the results"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_compares_with_the_floor() {
        let mut floor = Part::new("floor", vec![Row::cpu("floor", 0.5)], &()).unwrap();
        floor.floor = Some(0.5);
        let row = Row {
            floor_limit: Some(2.0),
            ..Row::cpu("CPU", 1.25).target("≤ 1.6 s", true)
        };
        let report = Report {
            machine: Machine::describe(2, crate::options::Cpus::default()),
            options: String::new(),
            parts: vec![floor, Part::new("steady", vec![row], &()).unwrap()],
        };
        let table = report.table();
        let line = table.lines().last().unwrap();
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        assert_eq!(cells[1..6], ["CPU", "≤ 1.6 s", "1.25 s", "2.50", "MISS"]);
    }
}
