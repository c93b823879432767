//! What is done to a server, one file each. A scenario opens a [`Stage`] as it needs it, measures, and returns its
//! [`Part`] of the report.

mod attacks;
mod capacity;
mod crowd;
mod endurance;
mod fairness;
mod floor;
mod ingest;
mod joins;
mod loss;
mod stage;
mod steady;
mod storm;
mod streams;
mod window;
mod workers;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::error::BenchError;
use crate::options::{Cpus, Options};
use crate::report::Part;

pub(crate) use stage::Stage;

/// The scenarios, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// What sealing and sending cost on this machine with no server around them.
    Floor,
    /// Viewers of one stream, left alone.
    Steady,
    /// 200 streams with two viewers each.
    Streams,
    /// 200 cameras that nobody watches.
    Ingest,
    /// More and more viewers of one stream, until packets get lost.
    Capacity,
    /// Viewers that join and leave while others watch.
    Joins,
    /// Many viewers that join at once.
    Storm,
    /// Two workers against one.
    Workers,
    /// One viewer that behaves badly among many.
    Fairness,
    /// Attacks while many watch.
    Attacks,
    /// Paths that lose packets, to viewers and from the camera.
    Loss,
    /// 100,000 joins and 10,000 streams, which takes long: only where it is asked for.
    Endurance,
}

/// What all scenarios are given.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) cpus: Cpus,
    /// Of the machine.
    pub(crate) cores: usize,
    /// The server to start; `None` where one runs already.
    pub(crate) binary: Option<PathBuf>,
}

impl Scenario {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Steady => "steady",
            Self::Streams => "streams",
            Self::Ingest => "ingest",
            Self::Capacity => "capacity",
            Self::Joins => "joins",
            Self::Storm => "storm",
            Self::Workers => "workers",
            Self::Fairness => "fairness",
            Self::Attacks => "attacks",
            Self::Loss => "loss",
            Self::Endurance => "endurance",
        }
    }

    /// Whether it can be measured on a server that was not started for it.
    pub(crate) fn takes_any_server(self) -> bool {
        match self {
            Self::Floor | Self::Steady | Self::Joins => true,
            Self::Streams | Self::Ingest | Self::Capacity | Self::Storm | Self::Workers => false,
            Self::Fairness | Self::Attacks | Self::Loss | Self::Endurance => false,
        }
    }

    /// Whether it is measured only where it is named.
    pub(crate) fn takes_long(self) -> bool {
        self == Self::Endurance
    }

    /// Measures it.
    pub(crate) async fn run(self, setup: &Setup) -> Result<Part, BenchError> {
        if setup.binary.is_none() && !self.takes_any_server() {
            return Err(BenchError::NeedsOwnServer {
                scenario: self.name(),
            });
        }
        match self {
            Self::Floor => floor::run(setup).await,
            Self::Steady => steady::run(setup).await,
            Self::Streams => streams::run(setup).await,
            Self::Ingest => ingest::run(setup).await,
            Self::Capacity => capacity::run(setup).await,
            Self::Joins => joins::run(setup).await,
            Self::Storm => storm::run(setup).await,
            Self::Workers => workers::run(setup).await,
            Self::Fairness => fairness::run(setup).await,
            Self::Attacks => attacks::run(setup).await,
            Self::Loss => loss::run(setup).await,
            Self::Endurance => endurance::run(setup).await,
        }
    }
}
