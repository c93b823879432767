//! Collects what all sources say, hands it out key by key, and remembers everything that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::dotenv;
use super::environment::Environment;
use super::error::{ConfigError, Note};
use super::file;
use super::keys;
use super::legacy;
use super::raw::{Entry, Origin, RawValue};
use super::values::{Parsed, Rejection};
use crate::reason::Said;
use crate::secret::MASK;

/// The variables that were set to something, by name.
pub(super) type Variables = BTreeMap<String, Entry>;

#[derive(Default)]
pub(super) struct Reader {
    entries: BTreeMap<&'static str, Entry>,
    failed: BTreeSet<&'static str>,
    /// Old installations' variables that only the engine `kurento` uses.
    kurento_only: BTreeSet<&'static str>,
    pub(super) errors: Vec<ConfigError>,
    pub(super) notes: Vec<Note>,
}

impl Reader {
    /// Takes in all sources, the later over the earlier: file, `.env`, environment.
    pub(super) fn collect(file: Option<&Path>, environment: &Environment) -> Self {
        let mut reader = Self::default();
        if let Some(path) = file {
            reader.take_file(path);
        }
        for (path, cause) in &environment.unreadable {
            let remedy = "make it readable, or remove it".to_owned();
            reader.errors.push(ConfigError::Unreadable {
                path: path.clone(),
                cause: cause.clone(),
                remedy,
            });
        }
        if let Some((path, text)) = &environment.dot_env {
            let variables = reader.dot_env_variables(path, text);
            reader.take_variables(&variables);
        }
        let variables = environment.variables.iter().map(|(name, value)| {
            let origin = Origin::Environment { name: name.clone() };
            (
                name.clone(),
                Entry {
                    value: RawValue::Untyped(value.clone()),
                    origin,
                },
            )
        });
        reader.take_variables(&variables.collect());
        reader
    }

    fn take_file(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let (entries, errors) = file::parse(path, &text);
                self.entries.extend(entries);
                self.errors.extend(errors);
            }
            Err(error) => self.errors.push(ConfigError::Unreadable {
                path: path.to_owned(),
                cause: error.to_string(),
                remedy: "correct the path after --config, or make the file readable".to_owned(),
            }),
        }
    }

    fn dot_env_variables(&mut self, path: &Path, text: &str) -> Variables {
        let (assignments, bad) = dotenv::parse(text);
        self.errors
            .extend(bad.into_iter().map(|bad| ConfigError::Syntax {
                path: path.to_owned(),
                line: bad.line,
                problem: bad.problem.to_owned(),
            }));
        let entry = |assignment: dotenv::Assignment| {
            let dotenv::Assignment { line, name, value } = assignment;
            let origin = Origin::DotEnv {
                path: path.to_owned(),
                line,
                name: name.clone(),
            };
            (
                name,
                Entry {
                    value: RawValue::Untyped(value),
                    origin,
                },
            )
        };
        assignments.into_iter().map(entry).collect()
    }

    /// An empty variable counts as not set, as containers write them; our own name wins over an old one.
    fn take_variables(&mut self, variables: &Variables) {
        let is_set = |entry: &Entry| entry.value != RawValue::Untyped(String::new());
        let variables: Variables = variables
            .iter()
            .filter(|(_, e)| is_set(e))
            .map(|(n, e)| (n.clone(), e.clone()))
            .collect();
        legacy::apply(self, &variables);
        for (name, entry) in variables {
            if let Some(key) = keys::by_variable(&name) {
                self.entries.insert(key.path, entry);
            } else if keys::is_misspelt(&name) {
                let nearest = keys::nearest(&name);
                self.errors.push(ConfigError::UnknownKey {
                    origin: entry.origin,
                    key: name,
                    nearest,
                });
            }
        }
    }

    /// Sets a key that no source of its own names.
    pub(super) fn set(&mut self, key: &'static str, value: RawValue, origin: Origin) {
        self.entries.insert(key, Entry { value, origin });
    }

    /// All that was set.
    pub(super) fn entries(&self) -> &BTreeMap<&'static str, Entry> {
        &self.entries
    }

    /// Puts another value in a key's place, where `change` has one.
    pub(super) fn rewrite(
        &mut self,
        key: &str,
        change: impl FnOnce(&RawValue) -> Option<RawValue>,
    ) {
        if let Some(entry) = self.entries.get_mut(key)
            && let Some(value) = change(&entry.value)
        {
            entry.value = value;
        }
    }

    /// Whether somebody set the key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether an old installation's variable set the key.
    pub(super) fn is_from_old_variable(&self, key: &str) -> bool {
        let variable = self
            .entries
            .get(key)
            .and_then(|entry| entry.origin.variable());
        variable.is_some_and(|name| !name.starts_with(keys::PREFIX))
    }

    /// Remembers a variable that only the engine `kurento` uses: which engine it is, is not known yet.
    pub(super) fn found_what_only_kurento_uses(&mut self, name: &'static str) {
        self.kurento_only.insert(name);
    }

    /// The engine is another: notes for the variables that only `kurento` uses.
    pub(super) fn note_what_only_kurento_uses(&mut self) {
        for (name, text) in keys::KURENTO_ONLY {
            if self.kurento_only.contains(name) {
                self.note(*name, *text);
            }
        }
    }

    /// Whether the key was set to something that was refused.
    pub(super) fn has_failed(&self, key: &str) -> bool {
        self.failed.contains(key)
    }

    /// The key's value; `None` where it is not set, or was refused (which is remembered).
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&RawValue) -> Parsed<T>,
    ) -> Option<T> {
        debug_assert!(
            keys::find(key).is_some(),
            "{key} is not in the list of keys"
        );
        match parse(&self.entries.get(key)?.value) {
            Ok(value) => Some(value),
            Err(rejection) => {
                self.refuse(key, rejection);
                None
            }
        }
    }

    /// The key's value; `None` where it is not set, or is nothing the key takes, which nobody is told.
    pub(super) fn read_unjudged<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&RawValue) -> Parsed<T>,
    ) -> Option<T> {
        parse(&self.entries.get(key)?.value).ok()
    }

    /// Remembers that a key's value was refused.
    pub(super) fn refuse(&mut self, key: &'static str, rejection: Rejection) {
        let entry = self.entries.get(key);
        let origin = entry.map_or(Origin::Default, |entry| entry.origin.clone());
        let is_secret = keys::find(key).is_some_and(|key| key.secret);
        let value = match entry {
            Some(_) if is_secret => MASK.to_owned(),
            Some(entry) => entry.value.to_string(),
            None => keys::find(key).map_or("", |key| key.default).to_owned(),
        };
        let Rejection { problem, remedy } = rejection;
        self.errors.push(ConfigError::Value {
            origin,
            key,
            value,
            problem,
            remedy,
        });
        self.failed.insert(key);
    }

    /// Remembers something worth knowing.
    pub(super) fn note(&mut self, subject: impl Into<String>, said: impl Into<Said>) {
        let said = said.into();
        self.notes.push(Note {
            subject: subject.into(),
            text: said.text,
            cause: said.cause,
        });
    }
}
