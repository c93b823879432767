//! `apiary kurento-files`

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::output::{complain, say};
use super::serve;
use crate::config::keys::ENGINE_VARIABLE;
use crate::config::{Config, Environment};
use crate::kurento_files::{KurentoFilesError, Outcome, files};

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    /// Directory to write the files into; made where it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    settings: serve::Options,
}

pub(super) fn run(options: &Options) -> ExitCode {
    let mut environment = Environment::from_process();
    let file = options.settings.file(&environment);
    // The files are for that engine, whichever is chosen now: a server is started before Apiary is told to use it.
    environment
        .variables
        .insert(ENGINE_VARIABLE.to_owned(), "kurento".to_owned());
    let config = match Config::load(file.as_deref(), &environment) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::FAILURE;
        }
    };
    match write(&config, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

fn write(config: &Config, options: &Options) -> Result<(), KurentoFilesError> {
    for file in files(config, &lookup)? {
        let outcome = match file.write(&options.out)? {
            Outcome::Written => "written",
            Outcome::Unchanged => "unchanged",
        };
        say(format_args!(
            "{}: {outcome}",
            options.out.join(file.name).display()
        ));
    }
    Ok(())
}

fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    // Any port does; only the addresses are of interest.
    Ok((host, 0)
        .to_socket_addrs()?
        .map(|address| address.ip())
        .collect())
}
