//! Keeps the public keys of those whose signed tokens count as a server has them. (Those of a file: `public_keys`.)
//!
//! A request with a token by an unknown key does not wait for the server: it is refused, and has the keys read soon. Tokens
//! come from strangers, who could otherwise hold as many requests open as they like for as long as the server is slow; and
//! providers publish a key before they sign with it, so that keys are known in time as it is.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{sleep, timeout};
use url::Url;

use super::{JwksError, KeySet};
use crate::fetch::{FetchError, Fetcher};
use crate::mqtt::tls::TlsFileError;

/// How often the keys are read.
const EVERY: Duration = Duration::from_secs(600);
/// Between two readings, whatever keys are missed: anybody can name unknown ones.
const PAUSE: Duration = Duration::from_secs(30);

/// Why there are no public keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyServerError {
    /// They do not come.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What comes is no text.
    #[error("it answers something else than text")]
    NoText,
    /// What comes cannot be used.
    #[error(transparent)]
    Keys(#[from] JwksError),
}

/// Where the keys are read.
#[async_trait]
trait Source: Send + Sync {
    async fn read(&self) -> Result<String, KeyServerError>;
}

struct Server {
    url: Url,
    fetcher: Fetcher,
}

#[async_trait]
impl Source for Server {
    async fn read(&self) -> Result<String, KeyServerError> {
        let body = self.fetcher.get(&self.url).await?;
        String::from_utf8(body.into()).map_err(|_| KeyServerError::NoText)
    }
}

/// A server with keys, and how it goes with it.
pub struct KeyServer {
    keys: Arc<KeySet>,
    /// Where it is, for people.
    shown: String,
    source: Box<dyn Source>,
    /// What was taken last.
    taken: Option<String>,
    /// It was said that nothing comes.
    is_away: bool,
}

impl KeyServer {
    /// Nothing is read yet. `ca` is the file of `auth.jwks_ca`.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read.
    pub fn new(keys: Arc<KeySet>, url: Url, ca: Option<&Path>) -> Result<Self, TlsFileError> {
        Ok(Self {
            keys,
            shown: url.to_string(),
            source: Box::new(Server {
                url,
                fetcher: Fetcher::new("auth.jwks_ca", ca)?,
            }),
            taken: None,
            is_away: false,
        })
    }

    /// Reads the keys now, now and then, and soon after one was missed. Has no end.
    pub async fn keep(mut self) {
        loop {
            self.look().await;
            sleep(PAUSE).await;
            // Whether one was missed or it is time again: they are read.
            _ = timeout(EVERY - PAUSE, self.keys.missed()).await;
        }
    }

    async fn look(&mut self) {
        match self.read().await {
            Ok(taken) => {
                if std::mem::take(&mut self.is_away) {
                    tracing::info!(
                        server = self.shown,
                        "the keys of signed tokens can be read again"
                    );
                }
                if let Some(count) = taken {
                    tracing::info!(
                        server = self.shown,
                        count,
                        "the keys of signed tokens are taken"
                    );
                }
            }
            Err(error) if !std::mem::replace(&mut self.is_away, true) => tracing::error!(
                server = self.shown,
                error = &error as &dyn std::error::Error,
                known = self.taken.is_some(),
                "the keys of signed tokens cannot be read (auth.jwks) and stay as they were; going on"
            ),
            Err(_) => {} // said already
        }
    }

    /// How many keys were taken, where they are others than before.
    async fn read(&mut self) -> Result<Option<usize>, KeyServerError> {
        let text = self.source.read().await?;
        if self.taken.as_ref() == Some(&text) {
            return Ok(None);
        }
        let count = self.keys.set(&text)?;
        self.taken = Some(text);
        Ok(Some(count))
    }
}

/// Reads the keys once; gives how many can be used.
///
/// # Errors
/// When there are none, for whatever reason.
pub(crate) async fn try_once(url: &Url, ca: Option<&Path>) -> Result<usize, KeyServerTrial> {
    let keys = Arc::new(KeySet::default());
    let mut server = KeyServer::new(keys, url.clone(), ca)?;
    Ok(server.read().await?.unwrap_or_default())
}

/// Why a trial failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyServerTrial {
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    #[error(transparent)]
    Server(#[from] KeyServerError),
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;
    use crate::auth::accounts::tests::{Home, Opened};
    use crate::auth::jwt::tests::Provider;

    /// A server that answers what it was told to, `None` for nothing; and tells when it was asked.
    struct Scripted {
        says: Arc<Mutex<Option<String>>>,
        asked: mpsc::UnboundedSender<Instant>,
    }

    #[async_trait]
    impl Source for Scripted {
        async fn read(&self) -> Result<String, KeyServerError> {
            _ = self.asked.send(Instant::now());
            let says = self.says.lock().unwrap().clone();
            says.ok_or(KeyServerError::NoText)
        }
    }

    struct Rig {
        opened: Opened,
        says: Arc<Mutex<Option<String>>>,
        asked: mpsc::UnboundedReceiver<Instant>,
        server: Option<KeyServer>,
        _home: Home,
    }

    impl Rig {
        async fn new() -> Self {
            let home = Home::new();
            let opened = home.open().await;
            let says = Arc::<Mutex<Option<String>>>::default();
            let (asking, asked) = mpsc::unbounded_channel();
            let source = Scripted {
                says: Arc::clone(&says),
                asked: asking,
            };
            let server = KeyServer {
                keys: Arc::clone(opened.0.public_keys()),
                shown: "https://id.example/keys".to_owned(),
                source: Box::new(source),
                taken: None,
                is_away: false,
            };
            Self {
                opened,
                says,
                asked,
                server: Some(server),
                _home: home,
            }
        }

        fn say(&self, text: Option<String>) {
            *self.says.lock().unwrap() = text;
        }

        fn knows(&self, provider: &Provider) -> bool {
            self.opened.0.of_token(&provider.token()).is_some()
        }

        async fn look(&mut self) {
            self.server.as_mut().unwrap().look().await;
        }
    }

    #[tokio::test]
    async fn a_server_that_is_away_or_talks_nonsense_changes_nothing() {
        let (mut rig, provider) = (Rig::new().await, Provider::new());
        rig.look().await;
        assert!(!rig.knows(&provider));
        rig.say(Some(provider.jwks()));
        rig.look().await;
        assert!(rig.knows(&provider));
        for bad in [None, Some("<html>"), Some(r#"{"keys":[]}"#)] {
            rig.say(bad.map(str::to_owned));
            rig.look().await;
            assert!(rig.knows(&provider), "{bad:?}");
            assert!(rig.server.as_ref().unwrap().is_away, "{bad:?}");
        }
        let next = Provider::new();
        rig.say(Some(next.jwks()));
        rig.look().await;
        assert!(rig.knows(&next) && !rig.knows(&provider));
        assert!(!rig.server.as_ref().unwrap().is_away);
    }

    /// By virtual time, which goes on when all wait.
    #[tokio::test]
    async fn keys_are_read_again_in_time_and_sooner_when_one_is_missed() {
        let (mut rig, provider) = (Rig::new().await, Provider::new());
        rig.say(Some(provider.jwks()));
        tokio::time::pause();
        let task = tokio::spawn(rig.server.take().unwrap().keep());
        let first = rig.asked.recv().await.unwrap();
        let second = rig.asked.recv().await.unwrap();
        let after = |earlier: Instant, later: Instant| (later - earlier).as_secs();
        assert_eq!(after(first, second), EVERY.as_secs());
        assert!(rig.knows(&provider));
        // A thousand tokens by unknown keys: one reading, and not at once after the one before.
        let next = Provider::new();
        rig.say(Some(next.jwks_with("next")));
        let token = next.token_with("next");
        for _ in 0..1000 {
            assert!(rig.opened.0.of_token(&token).is_none());
        }
        let third = rig.asked.recv().await.unwrap();
        assert_eq!(after(second, third), PAUSE.as_secs());
        let fourth = rig.asked.recv().await.unwrap();
        assert_eq!(after(third, fourth), EVERY.as_secs());
        assert!(rig.opened.0.of_token(&token).is_some());
        task.abort();
    }
}
