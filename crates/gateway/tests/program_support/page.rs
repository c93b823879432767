//! A page without a browser: it watches one camera over signaling and does what ours do when the picture goes.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::viewer::{Noticed, Viewer};
use super::{DEADLINE, Program};

/// Before it offers again after an error.
const PAUSE: Duration = Duration::from_millis(300);

/// What it has seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answers: Vec<Value>,
    pub(crate) candidates: usize,
    pub(crate) stopped: Vec<Value>,
    pub(crate) errors: Vec<Value>,
    /// Since the last answer.
    pub(crate) pictures: usize,
    /// Since the last answer.
    pub(crate) sounds: usize,
    last_picture: Option<Instant>,
    /// From the last picture before the last answer to the first after it.
    pub(crate) away: Duration,
}

/// A page that watches until it is dropped.
pub(crate) struct Page {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Page {
    /// Opens its socket and offers.
    pub(crate) async fn open(program: &Program, camera: &str) -> Self {
        let (socket, _) = connect_async(program.signaling()).await.unwrap();
        let (seen, watching) = watch::channel(Seen::default());
        let task = Watching {
            socket,
            camera: camera.to_owned(),
            address: program.address,
            seen,
        };
        Self {
            seen: watching,
            task: tokio::spawn(task.run()),
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until it has seen enough.
    pub(crate) async fn until(&mut self, what: &str, enough: impl Fn(&Seen) -> bool) -> Seen {
        let reached = timeout(DEADLINE, self.seen.wait_for(|seen| enough(seen)));
        let reached = reached.await.map(|seen| seen.map(|seen| seen.clone()));
        match reached {
            Ok(seen) => seen.unwrap_or_else(|_| panic!("{what}: the page's socket has ended")),
            Err(_) => panic!("{what}: not so in time: {:#?}", self.seen()),
        }
    }

    /// Pictures and sound of the answer with this number, counted from 1, or of a later one.
    pub(crate) async fn until_picture(&mut self, answer: usize) -> Seen {
        self.until(&format!("the picture of answer {answer}"), |seen| {
            seen.answers.len() >= answer && seen.pictures >= 10 && seen.sounds >= 10
        })
        .await
    }
}

struct Watching {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    camera: String,
    address: Ipv4Addr,
    seen: watch::Sender<Seen>,
}

impl Watching {
    /// Until the socket ends or the server wants no more of it.
    async fn run(mut self) {
        let mut viewer = self.offer().await;
        loop {
            tokio::select! {
                noticed = viewer.next() => self.note(noticed),
                frame = self.socket.next() => {
                    let Some(Ok(frame)) = frame else { return };
                    let Message::Text(text) = frame else { continue };
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if !self.hear(&message, &mut viewer) {
                        continue;
                    }
                    if message["retry"] != true {
                        std::future::pending::<()>().await;
                    }
                    if message["type"] == "error" {
                        sleep(PAUSE).await;
                    }
                    viewer = self.offer().await;
                }
            }
        }
    }

    async fn offer(&mut self) -> Viewer {
        let viewer = Viewer::new(self.address).await;
        let offer = json!({"type": "viewer", "cameraId": self.camera, "streamId": null, "sdpOffer": viewer.offer()});
        // Of a socket that is gone the next read tells.
        let _ = self.socket.send(Message::text(offer.to_string())).await;
        viewer
    }

    /// Whether this attempt is over.
    fn hear(&self, message: &Value, viewer: &mut Viewer) -> bool {
        match message["type"].as_str().unwrap() {
            "viewerResponse" => {
                viewer.accept(message["sdpAnswer"].as_str().unwrap());
                self.seen.send_modify(|seen| {
                    seen.answers.push(message.clone());
                    (seen.pictures, seen.sounds) = (0, 0);
                });
            }
            "iceCandidate" => {
                viewer.add_candidate(message["candidate"]["candidate"].as_str().unwrap());
                self.seen.send_modify(|seen| seen.candidates += 1);
            }
            "stopped" => {
                self.seen
                    .send_modify(|seen| seen.stopped.push(message.clone()));
                return true;
            }
            "error" => {
                self.seen
                    .send_modify(|seen| seen.errors.push(message.clone()));
                return true;
            }
            _ => {}
        }
        false
    }

    fn note(&self, noticed: Noticed) {
        self.seen.send_modify(|seen| match noticed {
            Noticed::Connected => {}
            Noticed::Sound => seen.sounds += 1,
            Noticed::Picture => {
                let now = Instant::now();
                let last = seen.last_picture.replace(now);
                if seen.pictures == 0
                    && let Some(last) = last
                {
                    seen.away = now - last;
                }
                seen.pictures += 1;
            }
        });
    }
}
