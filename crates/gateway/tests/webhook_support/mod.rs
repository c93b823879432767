//! A receiver of webhooks, and the program as a process of its own, which can be killed.

#![allow(dead_code)] // each test file uses its part

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::program_support::{own_address, within};

/// What everything is signed with. It, and the path of receivers, must appear nowhere.
pub(crate) const SECRET: &str = "canary-secret-5f1c2ab7";
pub(crate) const PATH: &str = "/hooks/canary-path-91be03d4";

/// What a receiver does with what it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Answer(StatusCode),
    Redirect(String),
    /// Takes the request and never answers.
    Hang,
}

pub(crate) const TAKE: Mode = Mode::Answer(StatusCode::NO_CONTENT);
pub(crate) const FAIL: Mode = Mode::Answer(StatusCode::INTERNAL_SERVER_ERROR);

/// Something that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What was done with it.
    pub(crate) mode: Mode,
}

impl Delivery {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub(crate) fn id(&self) -> String {
        self.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// A receiver.
pub(crate) struct Hook {
    pub(crate) address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    heard: watch::Sender<Vec<Delivery>>,
}

impl Hook {
    pub(crate) async fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let hook = Self {
            address: listener.local_addr().unwrap(),
            mode: Arc::new(Mutex::new(mode)),
            heard: watch::Sender::new(Vec::new()),
        };
        let state = (Arc::clone(&hook.mode), hook.heard.clone());
        let router = Router::new().fallback(take).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        hook
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// All that was sent so far.
    pub(crate) fn heard(&self) -> Vec<Delivery> {
        self.heard.borrow().clone()
    }

    /// All that was taken so far.
    pub(crate) fn taken(&self) -> Vec<Delivery> {
        let heard = self.heard().into_iter();
        heard.filter(|delivery| delivery.mode == TAKE).collect()
    }

    /// Waits until what was sent is so.
    pub(crate) async fn until(
        &self,
        what: &str,
        is_so: impl Fn(&[Delivery]) -> bool,
    ) -> Vec<Delivery> {
        let mut heard = self.heard.subscribe();
        let reached = async {
            let reached = heard.wait_for(|heard| is_so(heard)).await;
            reached.unwrap().clone()
        };
        within(what, reached).await
    }

    /// Waits for the first event of a kind, which a camera may have to be of.
    pub(crate) async fn until_kind(&self, kind: &str) -> Delivery {
        let heard = self.until(kind, |heard| {
            heard.iter().any(|delivery| delivery.kind() == kind)
        });
        let found = heard
            .await
            .into_iter()
            .find(|delivery| delivery.kind() == kind);
        found.unwrap()
    }
}

type HookState = (Arc<Mutex<Mode>>, watch::Sender<Vec<Delivery>>);

async fn take(State((mode, heard)): State<HookState>, headers: HeaderMap, body: Bytes) -> Response {
    let mode = mode.lock().unwrap().clone();
    heard.send_modify(|heard| {
        heard.push(Delivery {
            headers,
            body,
            mode: mode.clone(),
        });
    });
    match mode {
        Mode::Answer(status) => status.into_response(),
        Mode::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Mode::Hang => std::future::pending().await,
    }
}

/// The program as a process of its own.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: Ipv4Addr,
    pub(crate) http: SocketAddr,
    pub(crate) broker: SocketAddr,
    log: Arc<Mutex<String>>,
    client: reqwest::Client,
}

/// Settings for it, and for the commands beside it.
pub(crate) fn command(
    dir: &Path,
    arguments: &[&str],
    hooks: &[&Hook],
    more: &[(&str, &str)],
) -> Command {
    let urls: Vec<String> = hooks.iter().map(|hook| hook.url()).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_apiary"));
    command
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .envs([
            ("APIARY_LOG_FORMAT", "json"),
            ("APIARY_LOG_LEVEL", "trace"),
            ("APIARY_WEBHOOKS_URLS", &urls.join(",")),
            ("APIARY_WEBHOOKS_SECRET", SECRET),
            ("APIARY_WEBHOOKS_ALLOW_PRIVATE", "127.0.0.1/32"),
        ])
        .envs(more.iter().copied());
    command
}

impl Program {
    /// Starts it in this directory, and waits until it listens.
    pub(crate) async fn start(dir: &Path, hooks: &[&Hook], more: &[(&str, &str)]) -> Self {
        let address = own_address();
        let own = address.to_string();
        let mut command = command(dir, &["serve"], hooks, &[]);
        command.envs([
            ("APIARY_HTTP_LISTEN", "127.0.0.1:0"),
            ("APIARY_SIGNALING_LISTEN", "127.0.0.1:0"),
            ("APIARY_MQTT_LISTEN", "127.0.0.1:0"),
            ("APIARY_MEDIA_WORKERS", "1"),
            ("APIARY_MEDIA_BIND", &own),
            ("APIARY_INGEST_BIND", &own),
            ("APIARY_NETWORK_LOCAL_IP", &own),
        ]);
        let mut child = command
            .envs(more.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (tell, ready) = oneshot::channel();
        let (stderr, kept) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            let mut tell = Some(tell);
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let record: Value = serde_json::from_str(&line).unwrap();
                if record["message"] == "ready"
                    && let Some(tell) = tell.take()
                {
                    _ = tell.send(record);
                }
                kept.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let ready = within("the start", ready).await;
        let ready = ready.unwrap_or_else(|_| panic!("it did not start: {}", log.lock().unwrap()));
        let address_of = |key: &str| {
            let text = ready[key].as_str().unwrap();
            text.trim_matches(|c: char| !c.is_ascii_digit())
                .parse()
                .unwrap()
        };
        Self {
            address,
            http: address_of("http"),
            broker: address_of("broker"),
            child,
            log,
            client: reqwest::Client::new(),
        }
    }

    /// As a power failure does to a process.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As `systemctl stop` does.
    pub(crate) async fn stop(mut self) -> String {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        let ended = within("the end", async {
            loop {
                if let Some(ended) = self.child.try_wait().unwrap() {
                    return ended;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(ended.await.success());
        self.log()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.http);
        self.client.request(method.parse().unwrap(), url)
    }

    /// A figure of `/metrics`.
    pub(crate) async fn figure(&self, series: &str) -> u64 {
        let answer = self.request("GET", "/metrics").send().await.unwrap();
        let text = answer.text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let line = line.unwrap_or_else(|| panic!("there is no {series} in\n{text}"));
        line.trim().parse().unwrap()
    }

    pub(crate) async fn until_figure(&self, series: &str, wanted: u64) {
        within(&format!("{series} {wanted}"), async {
            while self.figure(series).await != wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
