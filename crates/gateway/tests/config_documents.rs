//! docs/config.md and the example file say what the program reads, all of it.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

use apiary::config::keys::{KEYS, LEGACY};
use apiary::config::{Config, Environment};
use sources::{environment, root};

fn document() -> String {
    std::fs::read_to_string(root().join("docs/config.md")).unwrap()
}

fn example() -> String {
    std::fs::read_to_string(root().join("packaging/apiary.example.toml")).unwrap()
}

/// Each key has a table row with its path, its variable and its default.
#[test]
fn every_key_is_documented() {
    let document = document();
    for key in KEYS {
        let path = format!("`{}`", key.path);
        let row = document
            .lines()
            .find(|line| line.starts_with(&format!("| {path} |")));
        let row = row.unwrap_or_else(|| panic!("docs/config.md has no row for {path}"));
        assert!(
            row.contains(&format!("`{}`", key.variable())),
            "{path}: its variable is missing"
        );
        let default = if key.default.is_empty() {
            "–".to_owned()
        } else {
            format!("`{}`", key.default)
        };
        assert!(
            row.contains(&default),
            "{path}: its default {default} is missing in: {row}"
        );
    }
}

#[test]
fn every_variable_of_existing_installations_is_documented() {
    let document = document();
    for (name, key) in LEGACY {
        let row = document
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/config.md has no row for {name}"));
        assert!(
            row.contains(&format!("`{key}`")),
            "{name}: {key} is missing in: {row}"
        );
    }
}

#[test]
fn nothing_is_documented_that_does_not_exist() {
    let known: Vec<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    for line in document()
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("`APIARY_"))
    {
        let path = line.split('`').nth(1).unwrap();
        assert!(
            known.iter().any(|key| key == path),
            "docs/config.md documents {path}, which is no key"
        );
    }
}

/// The example holds every key, with what needs a file or contradicts the rest commented out; both what it sets
/// and what it only shows is taken.
#[test]
fn the_example_is_a_valid_configuration_with_every_key() {
    let example = example();
    let file = root().join("packaging/apiary.example.toml");
    let config = Config::load(Some(&file), &Environment::default()).unwrap();
    assert_eq!(config.data.dir.to_str(), Some("/var/lib/apiary"));
    for key in KEYS {
        let (section, name) = key.path.split_once('.').unwrap();
        let body = example
            .split(&format!("[{section}]\n"))
            .nth(1)
            .unwrap_or_else(|| panic!("no [{section}]"));
        let body = body.split("\n[").next().unwrap();
        let shown = body.lines().any(|line| {
            line.trim_start_matches(['#', ' '])
                .split_once('=')
                .is_some_and(|(key, _)| key.trim() == name)
        });
        assert!(shown, "the example does not show {}", key.path);
    }
}

/// The two broker set-ups that docs/config.md shows for `.env` do start.
#[test]
fn the_env_example_of_the_document_is_taken() {
    let document = document();
    let block = document
        .split("```sh\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let config = Config::load(None, &environment(Some(block), &[])).unwrap();
    assert!(config.network.external_ip.is_some());
}
