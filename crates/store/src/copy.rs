//! Why a database cannot be copied, put back, or exported.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// A database cannot be copied, put back, or exported.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the databases cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no file of that name.
    #[error("there is no database at {}: name the settings of the installation with --config, or run this where it runs", .0.display())]
    NoDatabase(PathBuf),
    /// The backup that is to be put back is not there.
    #[error("there is no file {}", .0.display())]
    NoBackup(PathBuf),
    /// The backup would overwrite something.
    #[error("{} exists already; name another file, or add --overwrite", .0.display())]
    Exists(PathBuf),
    /// The backup is a file of the database.
    #[error("{} belongs to the database itself; name another file", .0.display())]
    Itself(PathBuf),
    /// The name cannot be given to SQLite.
    #[error("the name {} is no UTF-8, which SQLite wants; name another file", .0.display())]
    Name(PathBuf),
    /// SQLite finds faults in it.
    #[error("{} is damaged ({found}); nothing was changed; take another backup", path.display())]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// What SQLite found first.
        found: String,
    },
    /// The system refuses.
    #[error("cannot {action} {}: check that this user may do that, and that there is room", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Whoever takes what is exported does not.
    #[error("what is exported cannot be written")]
    Output(#[source] io::Error),
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    move |source| CopyError::File {
        action,
        path: path.to_owned(),
        source,
    }
}
