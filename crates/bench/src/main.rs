//! The load rig: starts a server, shows it one camera, and watches with many viewers over its public API.
//!
//! Nothing of the server's own crates is used except `wire`, which both ends of a wire may share: what is
//! measured is what a browser would get. docs/performance.md says how, and what came out.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command-line program"
)]

mod affinity;
mod audience;
mod camera;
mod distribution;
mod error;
mod options;
mod process;
mod report;
mod scenario;
mod server;
mod swarm;
mod viewer;
mod whep;

use std::process::ExitCode;

use audience::Audience;
use camera::Camera;
use clap::Parser;
use error::BenchError;
use options::Options;
use report::{Machine, Report};
use scenario::{Stage, joins, steady};
use server::Server;
use swarm::Swarm;
use whep::WhepClient;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options).await {
        Ok(report) => {
            print!("{}", report.table());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {}", error::describe(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<Report, BenchError> {
    let pinning = &options.pinning;
    let machine = Machine::describe(pinning.server_cpu, pinning.bench_cpu);
    // From here on, so that what is started below stays on it; the server is put elsewhere.
    affinity::pin(pinning.bench_cpu)?;
    let report = match &options.target.server {
        Some(url) => measure(options, machine, url.clone(), options.target.pid).await?,
        None => {
            let server = Server::start(options).await?;
            let camera = Camera::start(server.mqtt()).await?;
            let url = server.whep(camera.id());
            let report = measure(options, machine, url, Some(server.pid())).await?;
            camera.stop().await;
            report
        }
    };
    report.write_json(&options.json)?;
    Ok(report)
}

async fn measure(
    options: &Options,
    machine: Machine,
    whep: String,
    pid: Option<u32>,
) -> Result<Report, BenchError> {
    let swarm = Swarm::start(options.pinning.bench_cpu)?;
    let mut stage = Stage {
        audience: Audience::new(swarm, WhepClient::new(whep), options)?,
        pid,
    };
    let (steady, members) = steady::run(&mut stage, options).await?;
    let joins = joins::run(&mut stage, options.joins).await?;
    for member in members {
        stage.audience.leave(member).await?;
    }
    Ok(Report {
        machine,
        steady,
        joins,
    })
}
