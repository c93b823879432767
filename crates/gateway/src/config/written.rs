//! What was written for each key, kept to tell at a reload which keys are another now.

use std::collections::BTreeMap;

use super::keys::KEYS;
use super::raw::Entry;
use crate::secret::Secret;

/// The values as they were written, whoever wrote them; none is ever printed.
#[derive(Clone, Debug, Default)]
pub struct Written(BTreeMap<&'static str, Secret>);

impl Written {
    pub(super) fn of(entries: &BTreeMap<&'static str, Entry>) -> Self {
        let written = entries
            .iter()
            .map(|(key, entry)| (*key, Secret::new(entry.value.to_string())));
        Self(written.collect())
    }

    /// Keys for which the other has something else, in the order of the list of keys.
    pub fn differing(&self, other: &Self) -> Vec<&'static str> {
        let keys = KEYS.iter().map(|key| key.path);
        keys.filter(|key| self.0.get(key) != other.0.get(key))
            .collect()
    }

    /// Has for one key from now on what the other has.
    pub fn take(&mut self, key: &'static str, other: &Self) {
        match other.0.get(key) {
            Some(value) => _ = self.0.insert(key, value.clone()),
            None => _ = self.0.remove(key),
        }
    }
}
