//! Why a measurement could not be made.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A failed run, or a part of one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("cannot {operation}")]
    Io {
        operation: &'static str,
        #[source]
        source: io::Error,
    },
    #[error(
        "{path} is not there; build the server first (cargo build --release -p apiary) or name one with --server or --binary"
    )]
    NoServer { path: PathBuf },
    #[error("cargo could not build the server: {status}")]
    NotBuilt { status: String },
    #[error("the server ended with {status} before it was ready; its log is {log}")]
    ServerEnded { status: String, log: PathBuf },
    #[error("{what} did not happen within {} s", .within.as_secs())]
    Timeout {
        what: &'static str,
        within: Duration,
    },
    #[error("cannot ask {url}")]
    Http {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{url} answered {status}: {body}")]
    Refused {
        url: String,
        status: u16,
        body: String,
    },
    #[error("the server's answer cannot be used: {0}")]
    Answer(String),
    #[error("viewer {viewer} failed: {reason}")]
    Viewer { viewer: usize, reason: String },
    #[error("the simulated camera failed: {0}")]
    Camera(String),
    #[error("/proc of process {pid} cannot be read: {reason}")]
    Process { pid: u32, reason: String },
    #[error("{scenario} needs a server of its own: leave --server out")]
    NeedsOwnServer { scenario: &'static str },
    #[error("not everything could be measured: {scenarios}")]
    NotMeasured { scenarios: String },
    #[error("a thread that measured has panicked")]
    Panicked,
    #[error("the viewers' thread has ended")]
    SwarmEnded,
}

impl BenchError {
    /// For `map_err` on I/O.
    pub(crate) fn io(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, source }
    }

    /// For `map_err` on system calls through `nix`.
    pub(crate) fn sys(operation: &'static str) -> impl FnOnce(nix::Error) -> Self {
        move |errno| Self::Io {
            operation,
            source: errno.into(),
        }
    }
}

/// Prints an error with all its causes on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
