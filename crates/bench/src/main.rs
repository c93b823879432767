//! The load rig: starts a server, shows it cameras, and watches with many viewers over its public API.
//!
//! Nothing of the server's own crates is used except `wire`, which both ends of a wire may share: what is
//! measured is what a browser would get. docs/performance.md says how, and what came out.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command-line program"
)]

mod affinity;
mod attack;
mod audience;
mod background;
mod binary;
mod camera;
mod distribution;
mod error;
mod floor;
mod histogram;
mod mending;
mod options;
mod process;
mod relay;
mod report;
mod rest;
mod scenario;
mod server;
mod suite;
mod swarm;
mod sys;
mod viewer;
mod whep;

use std::process::ExitCode;

use clap::Parser;
use error::BenchError;
use options::Options;
use suite::Suite;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {}", error::describe(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), BenchError> {
    let (json, plots) = (options.json.clone(), options.plots.clone());
    let report = Suite::prepare(options)?.run().await?;
    print!("{}", report.table());
    report.write_json(&json)?;
    report.write_plots(&plots)?;
    let failed = report.failed();
    if failed.is_empty() {
        return Ok(());
    }
    Err(BenchError::NotMeasured {
        scenarios: failed.join(", "),
    })
}
