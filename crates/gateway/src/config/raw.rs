//! Values as they were written, with the place they were written at.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from; errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the TOML file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// A line of the `.env` file.
    DotEnv {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The variable.
        name: String,
    },
    /// A variable of the environment.
    Environment {
        /// The variable.
        name: String,
    },
}

impl Origin {
    /// Whether somebody set the value.
    pub fn is_explicit(&self) -> bool {
        !matches!(self, Self::Default)
    }

    /// The variable's name, where the value came as one.
    pub fn variable(&self) -> Option<&str> {
        match self {
            Self::DotEnv { name, .. } | Self::Environment { name } => Some(name),
            Self::Default | Self::File { .. } => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::DotEnv { path, line, name } => {
                write!(f, "{} line {line}, {name}", path.display())
            }
            Self::Environment { name } => write!(f, "environment variable {name}"),
        }
    }
}

/// A value before it is understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RawValue {
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array.
    List(Vec<RawValue>),
    /// The text of a variable, whose type only the key knows.
    Untyped(String),
    /// Something no key takes (a float, a date, a table), with the name of its type.
    Other {
        /// As written, or the type where that is too long.
        text: String,
        /// "a number with a fraction", "a date", "a table".
        kind: &'static str,
    },
}

impl RawValue {
    /// What it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Untyped(_) => "text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Other { kind, .. } => kind,
        }
    }
}

impl fmt::Display for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Untyped(text) => write!(f, "\"{}\"", text.escape_debug()),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Other { text, .. } => f.write_str(text),
        }
    }
}

/// One value and its place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: RawValue,
    pub(super) origin: Origin,
}
