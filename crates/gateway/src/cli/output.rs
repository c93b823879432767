//! What goes to standard output and standard error as text for people. The log goes through `tracing`.

use std::fmt::Display;
use std::io::{self, Write};

/// A line for whoever reads, or pipes, what the command found.
pub(super) fn say(line: impl Display) {
    write_line(&mut io::stdout().lock(), line);
}

/// A line about why it does not go on.
pub(super) fn complain(line: impl Display) {
    write_line(&mut io::stderr().lock(), line);
}

/// Who reads may stop doing so, as `head -1` does: that ends no camera's stream. `println!` would panic.
fn write_line(out: &mut dyn Write, line: impl Display) {
    let _ = writeln!(out, "{line}");
}

/// An error with its causes, each after a colon.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
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
