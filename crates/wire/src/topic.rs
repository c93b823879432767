//! MQTT topic filters (MQTT 3.1.1 §4.7): what one matches, and whether all that one matches is matched by another too.
//!
//! A broker delivers by the first question, and allows a subscription by the second. Shared subscriptions
//! (`$share/GROUP/FILTER`, MQTT 5 §4.8.2) are unwrapped by whoever allows them; here they are filters like others.

use std::fmt;

/// Longest filter in bytes: the length of a string in MQTT has 16 bits (§1.5.3).
const MAX_LEN: usize = u16::MAX as usize;

/// A topic filter that follows the rules of §4.7.1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilter(String);

/// Why a text is no topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicFilterError {
    /// It has no characters.
    #[error("it is empty")]
    Empty,
    /// It does not fit into MQTT.
    #[error("it is longer than 65535 bytes")]
    TooLong,
    /// It holds U+0000.
    #[error("it holds a NUL character")]
    Nul,
    /// `+` is not a whole level, or `#` not the whole last one.
    #[error("`+` stands for a whole level, and `#` for all that follow: a/+/b, a/#")]
    Wildcard,
}

impl TopicFilter {
    /// Checks a filter.
    ///
    /// # Errors
    /// When it breaks a rule of §4.7.1 or §1.5.3.
    pub fn parse(text: &str) -> Result<Self, TopicFilterError> {
        check(text).map(|()| Self(text.to_owned()))
    }

    /// Whether a message on `topic` is one for this filter. A topic with wildcards in it is none, and matches nothing.
    pub fn matches(&self, topic: &str) -> bool {
        check(topic).is_ok() && !topic.contains(['+', '#']) && self.covers_checked(topic)
    }

    /// Whether this filter matches every topic that `other` matches; never for an `other` that is no filter.
    pub fn covers(&self, other: &str) -> bool {
        check(other).is_ok() && self.covers_checked(other)
    }

    /// A topic is a filter without wildcards, which matches itself alone; so one walk answers both questions.
    fn covers_checked(&self, other: &str) -> bool {
        // Wildcards at the beginning do not reach topics that begin with `$` (§4.7.2).
        if other.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        // `#` alone begins with any level; deeper, it matches the parent too, where `+` wants one level more.
        if other == "#" {
            return matches!(self.0.as_str(), "#" | "+/#");
        }
        let mut own = self.0.split('/');
        let mut others = other.split('/');
        loop {
            match (own.next(), others.next()) {
                (Some("#"), _) | (None, None) => return true,
                (None, Some(_)) | (Some(_), None) | (Some(_), Some("#")) => return false,
                (Some("+"), Some(_)) => {}
                (Some(level), Some(other)) if level == other => {}
                (Some(_), Some(_)) => return false,
            }
        }
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(filter: &str) -> Result<(), TopicFilterError> {
    if filter.is_empty() {
        return Err(TopicFilterError::Empty);
    }
    if filter.len() > MAX_LEN {
        return Err(TopicFilterError::TooLong);
    }
    if filter.contains('\0') {
        return Err(TopicFilterError::Nul);
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let good = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            level => !level.contains(['+', '#']),
        };
        if !good {
            return Err(TopicFilterError::Wildcard);
        }
    }
    Ok(())
}
