//! The environment and the `.env` file, read once so that nothing else ever needs to.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Name of the file that is read in the working directory.
const DOT_ENV: &str = ".env";

/// What the environment said when the program started. Tests build their own.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Variables by name.
    pub variables: BTreeMap<String, String>,
    /// The `.env` file and its text, where there is one.
    pub dot_env: Option<(PathBuf, String)>,
    /// What could not be read: the file or variable, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl Environment {
    /// Reads the process's variables and `.env` in the working directory.
    pub fn from_process() -> Self {
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            // A name that is no UTF-8 is none of ours.
            let Some(name) = name.to_str() else { continue };
            match value.into_string() {
                Ok(value) => {
                    environment.variables.insert(name.to_owned(), value);
                }
                Err(_) if super::keys::is_ours(name) => {
                    environment.unreadable.push((
                        PathBuf::from(format!("${name}")),
                        "its value is no UTF-8".to_owned(),
                    ));
                }
                Err(_) => {}
            }
        }
        let path = PathBuf::from(DOT_ENV);
        match std::fs::read_to_string(&path) {
            Ok(text) => environment.dot_env = Some((path, text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => environment.unreadable.push((path, error.to_string())),
        }
        environment
    }
}
