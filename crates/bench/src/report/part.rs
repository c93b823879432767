//! What a scenario found, as rows of the table, plots, and everything else for comparisons.

use serde::Serialize;

use super::plot::Plot;
use crate::error::BenchError;

/// The result of one scenario.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Part {
    pub(crate) scenario: &'static str,
    pub(crate) rows: Vec<Row>,
    /// CPU seconds per million packets of the way that all others are compared with, if this part measured it.
    pub(crate) floor: Option<f64>,
    /// What others had of this machine's CPUs meanwhile, in percent of one of them: interrupts, the kernel's threads,
    /// other programs, what the host took away. Not known where the server was not started for this.
    pub(crate) others_percent: Option<f64>,
    /// Why it could not be measured, if so.
    pub(crate) failure: Option<String>,
    /// All that was measured.
    pub(crate) detail: serde_json::Value,
    #[serde(skip)]
    pub(crate) plots: Vec<Plot>,
}

/// A line of the table.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) figure: String,
    /// What is to be reached, if anything.
    pub(crate) target: Option<String>,
    pub(crate) measured: String,
    /// CPU seconds per million packets, if the figure is that: it is shown as a multiple of the floor too.
    pub(crate) cpu: Option<f64>,
    /// The largest multiple of the floor that is still a hit.
    pub(crate) floor_limit: Option<f64>,
    /// Whether the target is hit, the floor not considered.
    pub(crate) hit: Option<bool>,
}

impl Part {
    /// A part with all that was measured.
    pub(crate) fn new(
        scenario: &'static str,
        rows: Vec<Row>,
        detail: &impl Serialize,
    ) -> Result<Self, BenchError> {
        let detail = serde_json::to_value(detail)
            .map_err(|error| BenchError::io("write a result as JSON")(error.into()))?;
        Ok(Self {
            scenario,
            rows,
            floor: None,
            others_percent: None,
            failure: None,
            detail,
            plots: Vec::new(),
        })
    }

    /// A part that could not be measured.
    pub(crate) fn failed(scenario: &'static str, reason: String) -> Self {
        let row = Row {
            figure: format!("{scenario}: not measured"),
            measured: reason.clone(),
            hit: Some(false),
            ..Row::default()
        };
        Self {
            scenario,
            rows: vec![row],
            floor: None,
            others_percent: None,
            failure: Some(reason),
            detail: serde_json::Value::Null,
            plots: Vec::new(),
        }
    }
}

impl Row {
    /// A figure without a target.
    pub(crate) fn new(figure: impl Into<String>, measured: impl Into<String>) -> Self {
        Self {
            figure: figure.into(),
            measured: measured.into(),
            ..Self::default()
        }
    }

    /// CPU seconds per million packets, user and system.
    pub(crate) fn cpu(figure: impl Into<String>, seconds: f64) -> Self {
        Self {
            cpu: Some(seconds),
            ..Self::new(figure, format!("{seconds:.2} s"))
        }
    }

    /// With what is to be reached, and whether it is.
    pub(crate) fn target(self, target: impl Into<String>, hit: bool) -> Self {
        Self {
            target: Some(target.into()),
            hit: Some(hit),
            ..self
        }
    }

    /// Whether it is a hit, with this floor.
    pub(crate) fn is_hit(&self, floor: Option<f64>) -> Option<bool> {
        let within = match (self.cpu, self.floor_limit, floor) {
            (Some(cpu), Some(limit), Some(floor)) => cpu <= limit * floor,
            _ => true,
        };
        self.hit.map(|hit| hit && within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_may_have_to_be_near_the_floor_too() {
        let row = Row {
            floor_limit: Some(2.0),
            ..Row::cpu("CPU", 1.5).target("≤ 1.6 s", true)
        };
        assert_eq!(row.is_hit(None), Some(true));
        assert_eq!(row.is_hit(Some(0.8)), Some(true));
        assert_eq!(row.is_hit(Some(0.7)), Some(false));
        assert_eq!(Row::new("viewers", "3").is_hit(Some(1.0)), None);
    }
}
