//! Reading the settings again while the program runs, for who asks by signal or over the API: one at a time, and all or
//! nothing. What can be changed then is [`Config::take_over`]'s to say; the program's wiring passes it to the parts.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::{self, spawn_blocking};

use super::service_manager::ServiceManager;
use crate::config::{Changes, Config, ConfigErrors};

/// Reads the settings from where they come from.
type Read = dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync;

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// They are wrong.
    #[error("the configuration was read again and is wrong, so nothing is changed: {0}")]
    Wrong(ConfigErrors),
    /// They come from nowhere that could be read again.
    #[error("this program has no settings that could be read again; start it anew to change them")]
    Fixed,
    /// The program takes nothing over any more.
    #[error("the program is ending")]
    Ending,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that are another now.
    pub changes: Changes,
    /// What could not be taken over though it should, and why.
    pub failed: Vec<String>,
}

/// Settings that the running program is to take over.
pub struct ReloadRequest {
    /// All of them, as they were read.
    pub config: Box<Config>,
    /// To be told what came of it.
    pub done: oneshot::Sender<Reloaded>,
}

/// The running program's end: where it is asked.
pub struct Reloads {
    reloader: Reloader,
    requests: mpsc::Receiver<ReloadRequest>,
}

impl Reloads {
    /// With settings that are read so. `service_manager` is told of each reload.
    pub fn reading(
        read: impl Fn() -> Result<Config, ConfigErrors> + Send + Sync + 'static,
        service_manager: ServiceManager,
    ) -> Self {
        Self::new(Some(Box::new(read)), service_manager)
    }

    /// With settings that stay as they are.
    pub fn none() -> Self {
        Self::new(None, ServiceManager::default())
    }

    fn new(read: Option<Box<Read>>, service_manager: ServiceManager) -> Self {
        // They take turns.
        let (asked, requests) = mpsc::channel(1);
        let reloader = Reloader(Arc::new(Inner {
            read,
            service_manager,
            asked,
            turn: Mutex::new(()),
        }));
        Self { reloader, requests }
    }

    /// The other end.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// The next request.
    pub async fn next(&mut self) -> Option<ReloadRequest> {
        self.requests.recv().await
    }
}

/// The end of those who ask; clones ask the same program.
#[derive(Clone)]
pub struct Reloader(Arc<Inner>);

struct Inner {
    read: Option<Box<Read>>,
    service_manager: ServiceManager,
    asked: mpsc::Sender<ReloadRequest>,
    turn: Mutex<()>,
}

impl Reloader {
    /// Has the settings read again, and says what came of it. It is done even when the asker does not wait for the answer.
    ///
    /// # Errors
    /// When nothing was changed.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let inner = Arc::clone(&self.0);
        let reloading = task::spawn(async move { inner.reload().await });
        reloading.await.unwrap_or(Err(ReloadError::Ending))
    }
}

impl Inner {
    async fn reload(self: Arc<Self>) -> Result<Reloaded, ReloadError> {
        let _turn = self.turn.lock().await;
        self.service_manager.reloading();
        let reloaded = self.read_and_pass_on().await;
        self.service_manager.ready();
        match &reloaded {
            Ok(Reloaded { changes, failed }) => tracing::info!(
                applied = ?changes.applied,
                needs_restart = ?changes.needs_restart,
                ?failed,
                "the configuration was read again"
            ),
            Err(error) => tracing::error!("{error}"),
        }
        reloaded
    }

    async fn read_and_pass_on(self: &Arc<Self>) -> Result<Reloaded, ReloadError> {
        let inner = Arc::clone(self);
        let read = move || inner.read.as_ref().map(|read| read());
        let config = match spawn_blocking(read).await {
            Ok(Some(Ok(config))) => Box::new(config),
            Ok(Some(Err(errors))) => return Err(ReloadError::Wrong(errors)),
            Ok(None) => return Err(ReloadError::Fixed),
            Err(_) => return Err(ReloadError::Ending),
        };
        let (done, answer) = oneshot::channel();
        let request = ReloadRequest { config, done };
        let asked = self.asked.send(request).await;
        asked.map_err(|_| ReloadError::Ending)?;
        answer.await.map_err(|_| ReloadError::Ending)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::config::Environment;

    fn read() -> Result<Config, ConfigErrors> {
        Config::load(None, &Environment::default())
    }

    #[tokio::test]
    async fn who_asks_is_told_what_came_of_it() {
        let mut reloads = Reloads::reading(read, ServiceManager::default());
        let reloader = reloads.reloader();
        let asked = task::spawn(async move { reloader.reload().await });
        let request = reloads.next().await.unwrap();
        let reloaded = Reloaded {
            failed: vec!["this".to_owned()],
            ..Reloaded::default()
        };
        request.done.send(reloaded.clone()).unwrap();
        assert_eq!(asked.await.unwrap(), Ok(reloaded));
    }

    #[tokio::test]
    async fn those_who_ask_take_turns() {
        static READ: AtomicUsize = AtomicUsize::new(0);
        let counted = || {
            READ.fetch_add(1, Ordering::SeqCst);
            read()
        };
        let mut reloads = Reloads::reading(counted, ServiceManager::default());
        let asked = [(); 3].map(|()| {
            let reloader = reloads.reloader();
            task::spawn(async move { reloader.reload().await })
        });
        for turn in 1..=3 {
            let request = reloads.next().await.unwrap();
            assert_eq!(READ.load(Ordering::SeqCst), turn, "nobody reads ahead");
            request.done.send(Reloaded::default()).unwrap();
        }
        for asked in asked {
            assert_eq!(asked.await.unwrap(), Ok(Reloaded::default()));
        }
    }

    #[tokio::test]
    async fn nothing_is_passed_on_where_nothing_can_be_read_or_taken() {
        let wrong = || {
            let variables = [("APIARY_LOG_LEVEL".to_owned(), "loud".to_owned())];
            let environment = Environment {
                variables: variables.into(),
                ..Environment::default()
            };
            Config::load(None, &environment)
        };
        let mut reloads = Reloads::reading(wrong, ServiceManager::default());
        let error = reloads.reloader().reload().await.unwrap_err();
        assert!(error.to_string().contains("APIARY_LOG_LEVEL"), "{error}");
        assert!(reloads.requests.try_recv().is_err());
        let fixed = Reloads::none().reloader();
        assert_eq!(fixed.reload().await, Err(ReloadError::Fixed));
        let ending = Reloads::reading(read, ServiceManager::default()).reloader();
        assert_eq!(ending.reload().await, Err(ReloadError::Ending));
    }
}
