//! Keeps the public keys of those whose signed tokens count as their file has them. (Those of a server: `key_server`.)

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{JwksError, KeySet};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Longest file that is read, in octets.
const MAX_FILE: u64 = 1 << 20;

/// Why there are no public keys.
#[derive(Debug, thiserror::Error)]
pub enum PublicKeysError {
    /// The file cannot be read.
    #[error("cannot read {path} (auth.jwks)")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is in it cannot be used.
    #[error("{path} (auth.jwks) cannot be used")]
    Keys {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: JwksError,
    },
}

/// The file with the keys.
pub struct PublicKeys {
    keys: Arc<KeySet>,
    path: PathBuf,
    taken: String,
}

impl PublicKeys {
    /// Takes the keys for the first time.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no key that can be used.
    pub async fn take(keys: Arc<KeySet>, path: PathBuf) -> Result<Self, PublicKeysError> {
        let taken = read(&path).await?;
        let mut file = Self {
            keys,
            path,
            taken: String::new(),
        };
        file.set(taken)?;
        Ok(file)
    }

    /// How many keys a file has that can be used.
    ///
    /// # Errors
    /// When it cannot be read, or holds none.
    pub(crate) async fn count(path: &Path) -> Result<usize, PublicKeysError> {
        let keys = KeySet::default().set(&read(path).await?);
        keys.map_err(|source| PublicKeysError::Keys {
            path: path.to_owned(),
            source,
        })
    }

    fn set(&mut self, text: String) -> Result<(), PublicKeysError> {
        let set = self.keys.set(&text);
        self.taken = text;
        let count = set.map_err(|source| PublicKeysError::Keys {
            path: self.path.clone(),
            source,
        })?;
        tracing::info!(count, "the keys of signed tokens are taken");
        Ok(())
    }

    /// Takes them again whenever the file changes. One that cannot be used changes nothing, and is told of once. Has no end.
    pub async fn keep(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        // A file that is just being replaced may not be there for a moment.
        let Ok(text) = read(&self.path).await else {
            return;
        };
        if text != self.taken
            && let Err(error) = self.set(text)
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the keys of signed tokens stay as they were"
            );
        }
    }
}

async fn read(path: &Path) -> Result<String, PublicKeysError> {
    let read = async {
        if tokio::fs::metadata(path).await?.len() > MAX_FILE {
            return Err(std::io::Error::other("it is longer than 1 MiB"));
        }
        tokio::fs::read_to_string(path).await
    };
    read.await.map_err(|source| PublicKeysError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::accounts::tests::Home;
    use crate::auth::jwt::tests::Provider;

    #[tokio::test]
    async fn a_file_that_changes_is_taken_and_a_bad_one_is_not() {
        let home = Home::new();
        let (accounts, _store, _writer, _task) = home.open().await;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwks.json");
        assert!(
            PublicKeys::take(accounts.public_keys().clone(), path.clone())
                .await
                .is_err()
        );
        let (before, after) = (Provider::new(), Provider::new());
        std::fs::write(&path, before.jwks()).unwrap();
        let keys = PublicKeys::take(accounts.public_keys().clone(), path.clone()).await;
        let mut keys = keys.unwrap();
        let known = |provider: &Provider| accounts.of_token(&provider.token()).is_some();
        assert!(known(&before));
        std::fs::write(&path, "{\"keys\": [").unwrap();
        keys.look().await;
        assert!(known(&before), "it stays as it was");
        std::fs::write(&path, after.jwks()).unwrap();
        keys.look().await;
        assert!(known(&after) && !known(&before));
    }
}
