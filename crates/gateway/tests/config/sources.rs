//! Loads configurations out of texts.

use std::path::{Path, PathBuf};

use apiary::config::{Config, ConfigErrors, Environment};

/// Loads a TOML text from a file called `apiary.toml`, with these variables.
pub(crate) fn load(toml: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    load_all(toml, None, variables)
}

/// The same with an `.env` file.
pub(crate) fn load_all(
    toml: &str,
    dot_env: Option<&str>,
    variables: &[(&str, &str)],
) -> Result<Config, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apiary.toml");
    std::fs::write(&file, toml).unwrap();
    Config::load(Some(&file), &environment(dot_env, variables))
}

/// An environment of these variables and that `.env` file.
pub(crate) fn environment(dot_env: Option<&str>, variables: &[(&str, &str)]) -> Environment {
    Environment {
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        dot_env: dot_env.map(|text| (PathBuf::from(".env"), text.to_owned())),
        unreadable: Vec::new(),
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
