//! Files that a command makes for its user alone, and never over another.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Only the owner reads what is in them: names, addresses, secrets.
const MODE: u32 = 0o600;

/// It cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {}: name a new file where this user may write", path.display())]
pub(super) struct NewFileError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    Unchanged,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Written => "written",
            Self::Unchanged => "unchanged",
        })
    }
}

/// Makes an empty file.
pub(super) fn create(path: &Path) -> Result<File, NewFileError> {
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path);
    file.map_err(|source| NewFileError {
        path: path.to_owned(),
        source,
    })
}

/// Makes a file with that text; one that has it already will do.
pub(super) fn write(path: &Path, text: &str) -> Result<Outcome, NewFileError> {
    if std::fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(Outcome::Unchanged);
    }
    let mut file = create(path)?;
    let written = file.write_all(text.as_bytes());
    written.map_err(|source| NewFileError {
        path: path.to_owned(),
        source,
    })?;
    Ok(Outcome::Written)
}
