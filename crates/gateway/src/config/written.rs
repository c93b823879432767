//! What was written for each key, and by whom: to tell at a reload which keys are another now, and to show it.

use std::collections::BTreeMap;

use super::keys::{KEYS, Key};
use super::raw::{Entry, Origin};
use crate::secret::{MASK, Secret};

/// The values as they were written; none is printed but by [`Written::shown`].
#[derive(Clone, Debug, Default)]
pub struct Written(BTreeMap<&'static str, WrittenValue>);

#[derive(Clone, Debug)]
struct WrittenValue {
    value: Secret,
    origin: Origin,
}

/// A key as it may be shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which.
    pub key: &'static Key,
    /// As it was written, without what is secret; `None` where nobody wrote anything.
    pub value: Option<String>,
    /// Who wrote it.
    pub source: String,
}

impl Written {
    pub(super) fn of(entries: &BTreeMap<&'static str, Entry>) -> Self {
        let written = entries.iter().map(|(key, entry)| {
            let value = WrittenValue {
                value: Secret::new(entry.value.to_string()),
                origin: entry.origin.clone(),
            };
            (*key, value)
        });
        Self(written.collect())
    }

    /// Keys for which the other has something else, in the order of the list of keys.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let keys = KEYS.iter().map(|key| key.path);
        keys.filter(|key| self.value(key) != other.value(key))
            .collect()
    }

    /// Has for one key from now on what the other has.
    pub fn take(&mut self, key: &'static str, other: &Self) {
        match other.0.get(key) {
            Some(value) => _ = self.0.insert(key, value.clone()),
            None => _ = self.0.remove(key),
        }
    }

    /// All keys, in the order of the list of keys, without what is secret.
    pub fn shown(&self) -> Vec<Shown> {
        let shown = |key: &'static Key| {
            let written = self.0.get(key.path);
            let origin = written.map_or(&Origin::Default, |written| &written.origin);
            Shown {
                key,
                value: written.map(|written| match key.secret {
                    true => MASK.to_owned(),
                    false => without_logins(written.value.expose()),
                }),
                source: origin.to_string(),
            }
        };
        KEYS.iter().map(shown).collect()
    }

    fn value(&self, key: &str) -> Option<&Secret> {
        self.0.get(key).map(|written| &written.value)
    }
}

/// Masks what stands before the host in addresses: people write logins there whether they count or not.
fn without_logins(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['/', '?', '#', '"']).unwrap_or(part.len());
        let (authority, rest) = part.split_at(end);
        let host = authority.rsplit_once('@');
        shown.push_str("://");
        match host {
            Some((_, host)) => {
                shown.push_str(MASK);
                shown.push('@');
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        shown.push_str(rest);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::without_logins;

    #[test]
    fn h09_logins_in_addresses_are_not_shown() {
        for (written, shown) in [
            ("\"info\"", "\"info\""),
            ("\"mqtt://u:p@h:1\"", "\"mqtt://***@h:1\""),
            (
                "[\"ws://u:p@q@a/x@y\", \"ws://b/@\"]",
                "[\"ws://***@a/x@y\", \"ws://b/@\"]",
            ),
            ("\"https://h?u@x\"", "\"https://h?u@x\""),
        ] {
            assert_eq!(without_logins(written), shown);
        }
    }
}
