//! What is wrong with a configuration, said so that the person who wrote it can mend it.

use std::fmt;
use std::path::PathBuf;

use super::raw::Origin;
use crate::reason::{Cause, Said};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read at all.
    #[error("{path}: {cause}; {remedy}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// The file is no TOML, or a line of `.env` is no `NAME=value`.
    #[error("{path} line {line}: {problem}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What was found.
        problem: String,
    },
    /// A key or variable that does not exist.
    #[error("{origin}: there is no key `{key}`{}", suggestion(nearest.as_deref()))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// As written.
        key: String,
        /// The key most like it.
        nearest: Option<String>,
    },
    /// A value that the key does not take, or that contradicts another key.
    #[error("{origin}: {key} = {value}: {problem}; {remedy}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// As written; secrets are masked.
        value: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => "; docs/config.md lists all keys".to_owned(),
    }
}

/// Everything that is wrong; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "the configuration has an error:\n  {only}"),
            all => {
                write!(f, "the configuration has {} errors:", all.len())?;
                all.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// Something worth knowing that does not stop the start: a setting of a later version, a risk that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The key or variable it is about.
    pub subject: String,
    /// What there is to know, and what to do about it.
    pub text: String,
    /// The same for pages of another language.
    pub cause: Option<Cause>,
}

impl Note {
    pub(crate) fn said(&self) -> Said {
        Said {
            text: self.text.clone(),
            cause: self.cause.clone(),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.text)
    }
}
