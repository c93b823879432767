//! The TOML file: from text to raw values by key, with their lines.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::keys;
use super::raw::{Entry, Origin, RawValue};

/// Reads all values of a TOML text; errors for what is no TOML and for unknown keys.
pub(super) fn parse(path: &Path, text: &str) -> (Vec<(&'static str, Entry)>, Vec<ConfigError>) {
    let (root, syntax) = DeTable::parse_recoverable(text);
    let line =
        |span: std::ops::Range<usize>| 1 + text[..span.start.min(text.len())].matches('\n').count();
    if !syntax.is_empty() {
        let errors = syntax.iter().map(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line(error.span().unwrap_or_default()),
            problem: error.message().to_owned(),
        });
        return (Vec::new(), errors.collect());
    }
    let mut entries = Vec::new();
    let mut errors = Vec::new();
    let origin = |span| Origin::File {
        path: path.to_owned(),
        line: line(span),
    };
    let mut unknown = |span, key: String| {
        let nearest = keys::nearest(&key);
        errors.push(ConfigError::UnknownKey {
            origin: origin(span),
            key,
            nearest,
        });
    };
    for (section, value) in root.get_ref() {
        let Some(table) = value.get_ref().as_table() else {
            unknown(section.span(), section.get_ref().to_string());
            continue;
        };
        if !keys::is_section(section.get_ref()) {
            unknown(section.span(), section.get_ref().to_string());
            continue;
        }
        for (name, value) in table {
            let written = format!("{}.{}", section.get_ref(), name.get_ref());
            match keys::find(&written) {
                Some(key) => {
                    entries.push((
                        key.path,
                        Entry {
                            value: raw(value),
                            origin: origin(name.span()),
                        },
                    ));
                }
                None => unknown(name.span(), written),
            }
        }
    }
    (entries, errors)
}

fn raw(value: &Spanned<DeValue<'_>>) -> RawValue {
    match value.get_ref() {
        DeValue::String(text) => RawValue::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => RawValue::Integer(number),
            Err(_) => RawValue::Other {
                text: number.to_string(),
                kind: "a number beyond all bounds",
            },
        },
        DeValue::Boolean(value) => RawValue::Boolean(*value),
        DeValue::Array(items) => RawValue::List(items.iter().map(raw).collect()),
        DeValue::Float(number) => RawValue::Other {
            text: number.to_string(),
            kind: "a number with a fraction",
        },
        DeValue::Datetime(date) => RawValue::Other {
            text: date.to_string(),
            kind: "a date",
        },
        DeValue::Table(_) => RawValue::Other {
            text: "{ … }".to_owned(),
            kind: "a table",
        },
    }
}
