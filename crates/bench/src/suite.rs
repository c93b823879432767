//! Runs the scenarios one after the other.

use crate::affinity;
use crate::binary;
use crate::error::{BenchError, describe};
use crate::options::Options;
use crate::process::Usage;
use crate::report::{Machine, Part, Report};
use crate::scenario::{Scenario, Setup};
use crate::sys;

use clap::ValueEnum;

/// Sockets of some thousands of viewers and some hundreds of cameras, on both sides.
const OPEN_FILES: u64 = 32_768;

/// What is to be measured, and with what.
pub(crate) struct Suite {
    setup: Setup,
    scenarios: Vec<Scenario>,
}

impl Suite {
    /// Finds the server and binds this thread to its CPU.
    pub(crate) fn prepare(options: Options) -> Result<Self, BenchError> {
        // Asked before this thread is bound: afterwards there seems to be one.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cpus = options.pinning.cpus(cores);
        let binary = match options.target.server {
            Some(_) => None,
            None => Some(binary::find(options.target.binary.as_deref())?),
        };
        sys::raise_file_limit(OPEN_FILES)
            .map_err(BenchError::io("raise the limit of open files"))?;
        // From here on, so that what is started below stays on it; the server is put elsewhere.
        affinity::pin(cpus.bench)?;
        let wanted = |scenario: &Scenario| match options.only.as_slice() {
            [] => !scenario.takes_long() && (binary.is_some() || scenario.takes_any_server()),
            only => only.contains(scenario),
        };
        let scenarios = Scenario::value_variants()
            .iter()
            .copied()
            .filter(wanted)
            .collect();
        Ok(Self {
            scenarios,
            setup: Setup {
                options,
                cpus,
                cores,
                binary,
            },
        })
    }

    /// Measures everything. What fails is a row of its own and keeps nothing else from being measured.
    pub(crate) async fn run(&self) -> Result<Report, BenchError> {
        let mut parts = Vec::new();
        for scenario in &self.scenarios {
            let name = scenario.name();
            eprintln!("{name} …");
            let before = Usage::now()?;
            let part = scenario.run(&self.setup).await;
            let part = part.unwrap_or_else(|error| Part::failed(name, describe(&error)));
            let others = before.others_percent()?;
            parts.push(Part {
                others_percent: self.setup.binary.is_some().then_some(others),
                ..part
            });
        }
        Ok(Report {
            machine: Machine::describe(self.setup.cores, self.setup.cpus),
            options: format!("{:?}", self.setup.options),
            parts,
        })
    }
}
