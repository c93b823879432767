//! Why something failed, ended or was refused, for people of any language: a code that stays the same, the values that belong
//! into its text, and the text in English for whoever does not know the code.
//!
//! Pages have a text for each code (`web/assets/js/i18n`); a test compares both. What happened is decided elsewhere: here is only
//! how it is called.

mod accounts;
mod codes;
mod delivery;
mod media;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

pub use codes::Code;

/// Why something is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// By which pages know it.
    pub cause: Cause,
    /// What happened, to what, and what to do, in English.
    pub text: String,
}

/// A reason without its English text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Cause {
    /// Stays the same from version to version; texts may not.
    pub code: Code,
    /// What belongs into the text of that code, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub values: BTreeMap<&'static str, String>,
}

impl Reason {
    /// One without values.
    pub fn new(code: Code, text: impl fmt::Display) -> Self {
        let values = BTreeMap::new();
        Self {
            cause: Cause { code, values },
            text: text.to_string(),
        }
    }

    /// With one value more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.cause.values.insert(name, value.to_string());
        self
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is said of something: a reason, or a text alone where pages do not show it, or show it in English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) cause: Option<Cause>,
}

impl From<Reason> for Said {
    fn from(reason: Reason) -> Self {
        Self {
            text: reason.text,
            cause: Some(reason.cause),
        }
    }
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, cause: None }
    }
}

impl From<&str> for Said {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}
