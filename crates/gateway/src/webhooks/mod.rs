//! Webhooks: other programs are told over HTTP what happens to streams, viewers and cameras.
//!
//! [`watch`] takes note of what the supervisor tells ([`event`]) and hands it to each [`receiver`], which keeps it in a
//! [`queue`] on disk and has it sent ([`delivery`]) through the [`door`] to an [`address`] that was judged. Nothing that is live waits for any of
//! it: what cannot be kept is dropped and counted ([`counts`]).

pub(crate) mod address;
mod counts;
mod delivery;
pub(crate) mod door;
pub(crate) mod event;
mod queue;
mod receiver;
mod watch;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::join_all;
use hyper::StatusCode;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use address::AddressError;
pub use counts::Counts;
pub use delivery::DeliveryError;

use crate::config::{Config, ReceiverUrl, WebhooksConfig};
use crate::mqtt::tls::TlsFileError;
use crate::supervisor::Supervisor;
use delivery::{Message, Sender};
use event::{Event, Translator};
use queue::Queue;
use receiver::{Course, Receiver};
use watch::Watch;

/// Name of the directory of the queues inside `data.dir`.
const DIRECTORY: &str = "webhooks";
/// Ending of a queue's file.
const QUEUE_EXTENSION: &str = "queue";
/// Bytes of a digest that make the name of a queue's file.
const NAME_BYTES: usize = 8;
/// Events that may wait to be written into the queue of one receiver; one more is dropped for it.
const INBOX: usize = 1024;
/// Time for the last events to be written.
const END_PATIENCE: Duration = Duration::from_millis(300);

/// The webhooks of the program; clones are the same.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    counts: Arc<Counts>,
    /// `None` where nobody is to be told anything.
    telling: Option<Telling>,
}

struct Telling {
    config: WebhooksConfig,
    directory: PathBuf,
    sender: Arc<Sender>,
    /// Held while a trial is under way.
    trial: tokio::sync::Mutex<()>,
}

/// What came of a trial at one receiver.
#[derive(Debug)]
pub struct Trial {
    /// Which.
    pub receiver: ReceiverUrl,
    /// Its answer.
    pub outcome: Result<StatusCode, DeliveryError>,
}

/// Why no trial was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    /// Nobody is to be told anything.
    #[error("there are no webhooks: webhooks.urls is not set")]
    None,
    /// Another trial goes on.
    #[error("the webhooks are being tried already; try again in a moment")]
    Busy,
}

impl Webhooks {
    /// As the configuration says; nothing is sent yet.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read.
    pub fn new(config: &Config) -> Result<Self, TlsFileError> {
        let receivers = config
            .webhooks
            .as_ref()
            .map_or(0, |webhooks| webhooks.receivers.len());
        let telling = match &config.webhooks {
            None => None,
            Some(webhooks) => Some(Telling {
                sender: Arc::new(Sender::new(webhooks)?),
                config: webhooks.clone(),
                directory: config.data.dir.join(DIRECTORY),
                trial: tokio::sync::Mutex::default(),
            }),
        };
        let counts = Arc::new(Counts::new(receivers));
        Ok(Self(Arc::new(Inner { counts, telling })))
    }

    /// What was counted so far.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// From now on receivers are told what happens, and what still waits from an earlier run.
    pub async fn tell_of(&self, supervisor: &Supervisor) -> WebhookTasks {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        if let Some(telling) = &self.0.telling {
            let events = supervisor.events();
            let translator = Translator::begin(&supervisor.cameras());
            let queues = telling.open_queues().await;
            let receivers = self.start_receivers(telling, queues, &mut tasks);
            let watch = Watch {
                supervisor: supervisor.clone(),
                events,
                translator,
                kinds: telling.config.kinds.clone(),
                cameras: telling.config.cameras.clone(),
                receivers,
                counts: Arc::clone(&self.0.counts),
                stop: stop.clone(),
            };
            tasks.spawn(watch.keep());
        }
        WebhookTasks { stop, tasks }
    }

    fn start_receivers(
        &self,
        telling: &Telling,
        queues: Vec<Queue>,
        tasks: &mut JoinSet<()>,
    ) -> Vec<mpsc::Sender<Arc<Event>>> {
        let urls = telling.config.receivers.iter().zip(queues).enumerate();
        urls.map(|(place, (url, queue))| {
            let (outlet, inbox) = mpsc::channel(INBOX);
            let receiver = Receiver {
                place,
                url: url.clone(),
                sender: Arc::clone(&telling.sender),
                queue: Arc::new(Mutex::new(queue)),
                inbox,
                counts: Arc::clone(&self.0.counts),
                keep_for: telling.config.keep,
                course: Course::default(),
            };
            tasks.spawn(receiver.keep());
            outlet
        })
        .collect()
    }

    /// Sends an event to each receiver at once, past the queues, to see whether it takes it.
    ///
    /// # Errors
    /// When there is no receiver, or another trial goes on.
    pub async fn try_all(&self) -> Result<Vec<Trial>, TrialError> {
        let telling = self.0.telling.as_ref().ok_or(TrialError::None)?;
        let _alone = telling.trial.try_lock().map_err(|_| TrialError::Busy)?;
        let event = Event::test(Timestamp::now());
        let message = Message {
            id: event.id,
            kind: event.kind.to_owned(),
            body: event.body,
        };
        let trials = telling.config.receivers.iter().map(async |receiver| Trial {
            receiver: receiver.clone(),
            outcome: telling.sender.send(receiver, &message).await,
        });
        Ok(join_all(trials).await)
    }
}

impl Telling {
    /// What waits from an earlier run, for each receiver. One that cannot be read begins empty.
    async fn open_queues(&self) -> Vec<Queue> {
        let (directory, limit) = (self.directory.clone(), self.config.queue_limit);
        let urls = self.config.receivers.clone();
        let opened = tokio::task::spawn_blocking(move || {
            if let Err(error) = make_directory(&directory) {
                tracing::error!(directory = %directory.display(), "the queues of webhooks cannot be kept: {error}");
            }
            let paths: Vec<_> = urls.iter().map(|url| queue_file(&directory, url)).collect();
            remove_others(&directory, &paths);
            let open = |(path, url): (PathBuf, &ReceiverUrl)| {
                let (queue, error) = Queue::open(path, limit);
                if let Some(error) = error {
                    tracing::error!(receiver = %url, "what waits for a webhook cannot be read or written: {error}");
                }
                queue
            };
            paths.into_iter().zip(&urls).map(open).collect()
        });
        opened.await.expect("opening a queue does not panic")
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The name says nothing about the URL, which may hold a token.
fn queue_file(directory: &Path, receiver: &ReceiverUrl) -> PathBuf {
    let digest = digest(&SHA256, receiver.expose().as_str().as_bytes());
    let name = digest.as_ref().iter().take(NAME_BYTES);
    let name: String = name.map(|byte| format!("{byte:02x}")).collect();
    directory.join(name).with_extension(QUEUE_EXTENSION)
}

/// What waits for receivers that are not told anything any more goes.
fn remove_others(directory: &Path, ours: &[PathBuf]) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return; // said already
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_queue = path
            .extension()
            .is_some_and(|ending| ending == QUEUE_EXTENSION);
        if is_queue && !ours.contains(&path) {
            tracing::warn!(file = %path.display(), "what waited for a webhook that is not configured any more is dropped");
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(file = %path.display(), "it cannot be removed: {error}");
            }
        }
    }
}

/// The tasks behind [`Webhooks`].
pub struct WebhookTasks {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl WebhookTasks {
    /// Keeps what the supervisor told last, and ends. What waits is sent after the next start.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(END_PATIENCE, ended).await.is_err() {
            tracing::warn!("the last events for webhooks were not written in time");
            self.tasks.shutdown().await;
        }
    }
}
