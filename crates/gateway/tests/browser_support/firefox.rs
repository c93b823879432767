//! Firefox over WebDriver BiDi, which it speaks itself: one [`Firefox`] a test, with one page.

use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::chromium::Device;
use super::{DEADLINE, screenshots};

const FIREFOX: &str = "/usr/bin/firefox-esr";

/// As people have it, but that it asks nobody else for anything: no updates, no lists, no plugin for H.264.
const SETTINGS: &str = r#"
user_pref("app.update.disabledForTesting", true);
user_pref("browser.region.network.url", "");
user_pref("browser.safebrowsing.downloads.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.homepage", "about:blank");
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.getAddons.cache.enabled", false);
user_pref("extensions.systemAddon.update.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("media.gmp-manager.updateEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,#remote-settings-dummy/v1");
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
"#;

/// The process and its page.
pub(crate) struct Firefox {
    process: Child,
    bidi: Mutex<Bidi>,
    context: String,
    _profile: TempDir,
}

impl Firefox {
    pub(crate) async fn start(device: Device) -> Self {
        assert!(
            Path::new(FIREFOX).exists(),
            "{FIREFOX} is missing: run ./test.sh, which installs what the browser tests need"
        );
        let profile = tempfile::tempdir().unwrap();
        let language = if device.german { "de-DE" } else { "en-GB" };
        // 0 is dark, 1 is light.
        let scheme = u8::from(!device.dark);
        let settings = format!(
            "{SETTINGS}user_pref(\"intl.accept_languages\", \"{language}\");
             user_pref(\"layout.css.prefers-color-scheme.content-override\", {scheme});"
        );
        std::fs::write(profile.path().join("user.js"), settings).unwrap();
        let mut process = Command::new(FIREFOX)
            .args(["--headless", "--no-remote", "--remote-debugging-port=0"])
            .arg("--profile")
            .arg(profile.path())
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let address = listening(&mut process).await;
        let mut bidi = Bidi::connect(&address).await;
        bidi.command("session.new", json!({"capabilities": {}}))
            .await;
        let tree = bidi.command("browsingContext.getTree", json!({})).await;
        let context = tree["contexts"][0]["context"].as_str().unwrap().to_owned();
        bidi.command("session.subscribe", json!({"events": ["log.entryAdded"]}))
            .await;
        let (width, height) = if device.phone {
            (390, 844)
        } else {
            (1400, 1000)
        };
        let viewport = json!({"context": context, "viewport": {"width": width, "height": height}});
        bidi.command("browsingContext.setViewport", viewport).await;
        Self {
            process,
            bidi: Mutex::new(bidi),
            context,
            _profile: profile,
        }
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.process.kill().await;
    }

    pub(crate) async fn open(&self, url: &str) {
        let to = json!({"context": self.context, "url": url, "wait": "complete"});
        self.command("browsingContext.navigate", to).await;
    }

    /// Runs the body of an async function in the page, and gives what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let function =
            format!("async () => JSON.stringify(await (async () => {{ {script} }})() ?? null)");
        let call = json!({
            "functionDeclaration": function, "awaitPromise": true, "target": {"context": self.context},
        });
        let answer = self.command("script.callFunction", call).await;
        let text = answer["result"]["value"].as_str();
        let text = text.unwrap_or_else(|| panic!("{script}: {answer}"));
        serde_json::from_str(text).unwrap()
    }

    /// Runs a script that is no function, such as a library.
    pub(crate) async fn load(&self, script: &str) {
        let expression = format!("{script};0");
        let evaluate = json!({
            "expression": expression, "awaitPromise": false, "target": {"context": self.context},
        });
        let answer = self.command("script.evaluate", evaluate).await;
        assert_eq!(answer["type"], "success", "{answer}");
    }

    /// Waits until an expression is true in the page, and gives its value. Looks again whenever the page may have changed.
    pub(crate) async fn until(&self, what: &str, expression: &str) -> Value {
        let patience = DEADLINE.as_millis();
        let script = format!(
            "const look = () => {{ try {{ return {expression}; }} catch {{ return null; }} }};
             const end = performance.now() + {patience};
             while (performance.now() < end) {{
               const value = look();
               if (value) return {{ value }};
               await new Promise((done) => setTimeout(done, 30));
             }}
             return {{ shown: document.body.innerText }};"
        );
        // A page that is left takes the script with it; it is asked anew on the next one.
        let found = loop {
            if let Some(found) = self.try_run(&script).await {
                break found;
            }
        };
        if found["value"].is_null() {
            self.screenshot("failure").await;
            let shown = found["shown"].as_str().unwrap_or_default();
            panic!("{what}: not so in time. The page shows:\n{shown}");
        }
        found["value"].clone()
    }

    /// As [`Firefox::run`]; nothing where the page was left meanwhile.
    async fn try_run(&self, script: &str) -> Option<Value> {
        let function = format!("async () => JSON.stringify(await (async () => {{ {script} }})())");
        let call = json!({
            "functionDeclaration": function, "awaitPromise": true, "target": {"context": self.context},
        });
        let answer = self
            .bidi
            .lock()
            .await
            .ask("script.callFunction", call)
            .await;
        let text = answer.ok()?["result"]["value"].as_str()?.to_owned();
        serde_json::from_str(&text).ok()
    }

    pub(crate) async fn screenshot(&self, name: &str) {
        let of = json!({"context": self.context});
        let shot = self.command("browsingContext.captureScreenshot", of).await;
        let png = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(screenshots().join(format!("{name}.png")), png).unwrap();
    }

    /// What pages wrote to the console, and the errors that nobody caught.
    pub(crate) async fn console(&self) -> Vec<String> {
        // What was written before this answer has been heard by then.
        self.run("return 0").await;
        self.bidi.lock().await.console.clone()
    }

    async fn command(&self, method: &str, parameters: Value) -> Value {
        self.bidi.lock().await.command(method, parameters).await
    }
}

/// Where it listens, as it says itself.
async fn listening(process: &mut Child) -> String {
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let found = async {
        loop {
            let line = lines.next_line().await.unwrap();
            let line = line.expect("Firefox ended at once");
            if let Some((_, address)) = line.split_once("WebDriver BiDi listening on ") {
                return address.trim().to_owned();
            }
        }
    };
    let address = timeout(DEADLINE, found)
        .await
        .expect("Firefox did not start");
    // The pipe is read to its end, so that it never blocks on it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    address
}

/// The socket. Commands are sent one after the other; what happens meanwhile is kept.
struct Bidi {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last: u64,
    console: Vec<String>,
}

impl Bidi {
    async fn connect(address: &str) -> Self {
        let (socket, _) = connect_async(format!("{address}/session")).await.unwrap();
        Self {
            socket,
            last: 0,
            console: Vec::new(),
        }
    }

    async fn command(&mut self, method: &str, parameters: Value) -> Value {
        let answer = self.ask(method, parameters).await;
        answer.unwrap_or_else(|refusal| panic!("{method}: {refusal}"))
    }

    async fn ask(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.last += 1;
        let command = json!({"id": self.last, "method": method, "params": parameters});
        let text = Message::text(command.to_string());
        self.socket.send(text).await.unwrap();
        let answer = timeout(DEADLINE * 2, self.answer()).await;
        answer.unwrap_or_else(|_| panic!("{method}: no answer in time"))
    }

    async fn answer(&mut self) -> Result<Value, Value> {
        loop {
            let message = self.socket.next().await.expect("Firefox is gone").unwrap();
            let Message::Text(text) = message else {
                continue;
            };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if message["method"] == "log.entryAdded" {
                let entry = &message["params"];
                self.console
                    .push(format!("{}: {}", entry["level"], entry["text"]));
            } else if message["id"] == self.last {
                return match message["type"].as_str() {
                    Some("success") => Ok(message["result"].take()),
                    _ => Err(message),
                };
            }
        }
    }
}
