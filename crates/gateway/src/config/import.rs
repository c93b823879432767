//! What the `.env` of an existing installation says, as a settings file of ours.
//!
//! The same rules as at a start decide what it means (`legacy`), and whether it is right. Names of our own in it, and those
//! that nothing would come of, are left out, each with the reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, absolute};

use toml::Value;

use super::Config;
use super::dotenv;
use super::environment::Environment;
use super::error::{ConfigErrors, Note};
use super::keys::{KEYS, KURENTO_ONLY, Key, LEGACY, PREFIX};
use super::raw::{Entry, RawValue};
use super::reader::Reader;
use super::values;

/// Keys whose value is a path; in `.env` it counts from where that file is.
const PATHS: [&str; 5] = ["mqtt.ca", "mqtt.cert", "mqtt.key", "tls.cert", "tls.key"];

/// Keys of theirs that are true or false.
const SWITCHES: [&str; 1] = ["auth.enabled"];

/// The settings that an `.env` makes.
#[derive(Debug)]
pub struct ImportedSettings {
    entries: BTreeMap<&'static str, Entry>,
    /// Variables that were taken, each with the key that it sets.
    pub taken: Vec<(String, &'static str)>,
    /// Variables that were not, each with the reason.
    pub left: Vec<Note>,
    /// What there is to know about what was taken.
    pub notes: Vec<Note>,
}

impl ImportedSettings {
    /// Reads the text of the `.env` at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn read(path: &Path, text: &str) -> Result<Self, ConfigErrors> {
        let environment = Environment {
            dot_env: Some((path.to_owned(), text.to_owned())),
            ..Environment::default()
        };
        let mut reader = Reader::collect(None, &environment);
        for key in PATHS {
            reader.rewrite(key, |value| from_directory_of(path, value));
        }
        let all = reader.entries().clone();
        let notes = Config::from_reader(reader)?.notes;
        let mut settings = Self {
            entries: all.clone(),
            taken: Vec::new(),
            left: Vec::new(),
            notes: Vec::new(),
        };
        let is_theirs = |entry: &Entry| entry.origin.variable().is_some_and(|name| !is_own(name));
        settings.entries.retain(|_, entry| is_theirs(entry));
        // The last of several counts.
        let assignments = dotenv::parse(text).0.into_iter();
        let variables: BTreeMap<_, _> = assignments.map(|it| (it.name, it.value)).collect();
        for (name, value) in &variables {
            settings.judge(name, value, &notes);
        }
        let about_others = |note: &Note| !variables.contains_key(&note.subject);
        settings.notes = notes.into_iter().filter(about_others).collect();
        Ok(settings)
    }

    /// Puts a variable among those that were taken, or those that were not.
    fn judge(&mut self, name: &str, value: &str, notes: &[Note]) {
        let key = LEGACY.iter().find(|(legacy, _)| *legacy == name);
        let key = key
            .map(|(_, key)| *key)
            .filter(|key| self.entries.contains_key(key));
        let note = notes.iter().find(|note| note.subject == name);
        let reason = if value.is_empty() {
            "it is empty".to_owned()
        } else if let Some(note) = note {
            note.text.clone()
        } else if let Some(key) = key {
            self.taken.push((name.to_owned(), key));
            return;
        } else if is_own(name) {
            "it is a name of Apiary's own, which counts where it is".to_owned()
        } else if LEGACY
            .iter()
            .chain(KURENTO_ONLY)
            .any(|(known, _)| *known == name)
        {
            "nothing comes of it, with the value that it has".to_owned()
        } else {
            "Apiary has no setting for it".to_owned()
        };
        self.left.push(Note {
            subject: name.to_owned(),
            text: reason,
            cause: None,
        });
    }

    /// The settings file. Without `secrets`, it only names those that belong into it.
    pub fn toml(&self, secrets: bool) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let Some(entry) = self.entries.get(key.path) else {
                continue;
            };
            let (its_section, name) = key.path.split_once('.').unwrap_or((key.path, ""));
            if its_section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = its_section;
                // Writing into a String cannot fail.
                let _ = writeln!(text, "{gap}[{section}]");
            }
            // No older installation chooses that engine by its `.env`; who does may take the comment away.
            let mark = if section == "kurento" { "# " } else { "" };
            let _ = if key.secret && !secrets {
                writeln!(text, "# {name} is secret, and not shown")
            } else {
                writeln!(text, "{mark}{name} = {}", written(key, &entry.value))
            };
        }
        text
    }

    /// Whether there is something that must not be shown.
    pub fn has_secrets(&self) -> bool {
        let mut keys = KEYS.iter().filter(|key| key.secret);
        keys.any(|key| self.entries.contains_key(key.path))
    }
}

fn is_own(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// A path from where the file `.env` is, whatever the working directory.
fn from_directory_of(env: &Path, value: &RawValue) -> Option<RawValue> {
    let RawValue::Untyped(text) = value else {
        return None;
    };
    let here = env
        .parent()
        .unwrap_or_else(|| Path::new(""))
        .join(text.trim());
    let path = absolute(here).ok()?;
    Some(RawValue::Untyped(path.to_str()?.to_owned()))
}

/// A variable's text as TOML has it, by what the key's default shows of its type.
fn written(key: &Key, value: &RawValue) -> String {
    let RawValue::Untyped(text) = value else {
        return value.to_string();
    };
    let text = text.trim();
    let quoted = |text: &str| Value::String(text.to_owned()).to_string();
    if key.default.starts_with('[') {
        let items: Vec<String> = text.split(',').map(|item| quoted(item.trim())).collect();
        format!("[{}]", items.join(", "))
    } else if SWITCHES.contains(&key.path)
        && let Ok(on) = values::boolean(value)
    {
        on.to_string()
    } else if key.default.parse::<i64>().is_ok() {
        text.to_owned()
    } else {
        quoted(text)
    }
}
