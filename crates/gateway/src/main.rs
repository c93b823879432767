//! `apiary`: live video from Hive cameras in a browser, without a cloud.

use std::process::ExitCode;

use apiary::cli::{Cli, run};
use clap::Parser;

fn main() -> ExitCode {
    run(Cli::parse())
}
