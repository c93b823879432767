//! What goes to standard output and standard error as text for people. The log goes through `tracing`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the command line's own output"
)]

use std::fmt::Display;

/// A line for whoever reads, or pipes, what the command found.
pub(super) fn say(line: impl Display) {
    println!("{line}");
}

/// A line about why it does not go on.
pub(super) fn complain(line: impl Display) {
    eprintln!("{line}");
}

/// An error with its causes, each after a colon.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
