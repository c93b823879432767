//! Chromium through ChromeDriver: one [`Browser`] a test, any number of pages, each a browser process of its own.

use std::process::Stdio;
use std::time::{Duration, Instant};

use axum::http::Method;
use fantoccini::wd::{
    Capabilities, TimeoutConfiguration, WebDriverCompatibleCommand, WindowHandle,
};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use url::Url;

use super::{DEADLINE, screenshots};

pub(crate) const CHROMIUM: &str = "/usr/bin/chromium";
const CHROMEDRIVER: &str = "/usr/bin/chromedriver";
/// How often the driver is started until it has found a port of its own.
const STARTS: u32 = 5;

/// A command of Chromium's own protocol, which ChromeDriver passes on.
#[derive(Debug)]
struct Cdp {
    name: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for Cdp {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        let session = session.expect("the browser runs");
        base.join(&format!("session/{session}/goog/cdp/execute"))
    }

    fn method_and_body(&self, _url: &Url) -> (Method, Option<String>) {
        let body = json!({"cmd": self.name, "params": self.parameters});
        (Method::POST, Some(body.to_string()))
    }
}

/// The driver process.
pub(crate) struct Browser {
    driver: Child,
    url: String,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        for program in [CHROMIUM, CHROMEDRIVER] {
            let present = std::path::Path::new(program).exists();
            assert!(
                present,
                "{program} is missing: run ./test.sh, which installs what the browser tests need"
            );
        }
        let mut refused = String::new();
        for _ in 0..STARTS {
            match Self::start_once().await {
                Ok(browser) => return browser,
                Err(why) => refused = why,
            }
        }
        panic!("ChromeDriver did not start {STARTS} times, at last with: {refused}");
    }

    /// # Errors
    ///
    /// What the driver said before it ended. It does so where its port of IPv4 is taken ("IPv4 port not available"), which a
    /// test beside this one may have got.
    async fn start_once() -> Result<Self, String> {
        let mut driver = Command::new(CHROMEDRIVER)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = tokio::time::timeout(DEADLINE, async {
            let mut said = Vec::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return Ok(port.trim_end_matches('.').to_owned());
                }
                said.push(line);
            }
            Err(said.join("\n"))
        })
        .await
        .expect("ChromeDriver did not start")?;
        // The pipe is read to its end, so that the driver never blocks on it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            driver,
            url: format!("http://127.0.0.1:{port}"),
        })
    }

    /// A fresh browser with an empty profile, on a desk.
    pub(crate) async fn page(&self) -> Page {
        self.page_on(Device::default()).await
    }

    /// A fresh browser with an empty profile.
    pub(crate) async fn page_on(&self, device: Device) -> Page {
        self.page_with(device, &[]).await
    }

    /// One with a microphone that beeps, which every page may use. Such pages are told this machine's addresses.
    pub(crate) async fn page_with_microphone(&self) -> Page {
        let microphone = [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
        ];
        self.page_with(Device::default(), &microphone).await
    }

    /// A fresh browser with an empty profile, that is given these arguments too.
    pub(crate) async fn page_with(&self, device: Device, more: &[&str]) -> Page {
        let language = if device.german {
            "--accept-lang=de-DE"
        } else {
            "--accept-lang=en-GB"
        };
        // Blink's numbers of the two.
        let scheme = if device.dark { 0 } else { 1 };
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        let arguments = [
            &*scheme,
            language,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            // Muted pictures play at once, sound only after a click: what people have.
            "--autoplay-policy=document-user-activation-required",
            "--window-size=1400,1000",
        ];
        let arguments = [&arguments[..], more].concat();
        let mut options = json!({"binary": CHROMIUM, "args": arguments});
        if device.phone {
            options["mobileEmulation"] = json!({"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2, "touch": true}});
        }
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        // As somebody who has gone past the warning, since nobody imports an authority here.
        capabilities.insert("acceptInsecureCerts".to_owned(), json!(true));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&self.url)
            .await
            .expect("Chromium did not start");
        let limits =
            TimeoutConfiguration::new(Some(DEADLINE), Some(DEADLINE), Some(Duration::ZERO));
        client.update_timeouts(limits).await.unwrap();
        Page { client }
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.driver.kill().await;
    }
}

/// On what somebody looks at a page, and how they like it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Device {
    /// A phone, upright.
    pub(crate) phone: bool,
    pub(crate) dark: bool,
    pub(crate) german: bool,
}

impl Device {
    /// What screenshots of it are called.
    pub(crate) fn name(self) -> String {
        let kind = if self.phone { "phone" } else { "desk" };
        let scheme = if self.dark { "dark" } else { "light" };
        format!("{kind}-{scheme}")
    }
}

/// One browser with one page.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) client: Client,
}

/// The size of a picture as the browser shows it, in pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picture {
    pub(crate) width: u64,
    pub(crate) height: u64,
}

impl Page {
    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// The dashboard with its live pictures switched off, so that nothing starts by itself.
    pub(crate) async fn open_quiet_dashboard(&self, server: &str) {
        // A page that shows no camera, for its storage.
        self.open(&format!("{server}/viewer")).await;
        self.run("localStorage.setItem('apiary.live-pictures', 'off');")
            .await;
        self.open(&format!("{server}/")).await;
    }

    /// A command of Chromium's own protocol, and what it answers.
    pub(crate) async fn cdp(&self, name: &'static str, parameters: Value) -> Value {
        let command = Cdp { name, parameters };
        let answer = self.client.issue_cmd(command).await;
        answer.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs a script in each document from now on, before any of its own.
    pub(crate) async fn run_in_each_document(&self, script: &str) {
        let name = "Page.addScriptToEvaluateOnNewDocument";
        self.cdp(name, json!({"source": script})).await;
    }

    /// A further tab of the same browser, in front of the others; what is done from now on is done there.
    pub(crate) async fn open_tab(&self, url: &str) -> WindowHandle {
        let tab = self.client.new_window(true).await.unwrap().handle;
        self.client.switch_to_window(tab.clone()).await.unwrap();
        self.open(url).await;
        tab
    }

    /// Brings a tab to the front; what is done from now on is done there.
    pub(crate) async fn show_tab(&self, tab: &WindowHandle) {
        self.client.switch_to_window(tab.clone()).await.unwrap();
        self.cdp("Page.bringToFront", json!({})).await;
    }

    pub(crate) async fn close(self) {
        let _ = self.client.close().await;
    }

    /// Runs the body of a function in the page.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until an expression is true in the page, and gives its value. Looks again whenever the page may have changed.
    pub(crate) async fn until(&self, what: &str, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             const look = () => {{
               const value = (() => {{ try {{ return {expression}; }} catch {{ return null; }} }})();
               if (value) done(value); else setTimeout(look, 30);
             }};
             look();"
        );
        let end = Instant::now() + DEADLINE;
        // A page that is left takes the script with it, which the driver says at once and in the words of a timeout
        // (w3c/webdriver#1856); the next page is asked anew.
        let error = loop {
            match self.client.execute_async(&script, Vec::new()).await {
                Ok(value) => return value,
                Err(error)
                    if (error.is_script_timeout() || error.is_javascript_error())
                        && Instant::now() < end => {}
                Err(error) => break error,
            }
        };
        self.screenshot("failure").await;
        let text = self
            .client
            .execute("return document.body.innerText", Vec::new())
            .await;
        panic!(
            "{what}: not so in time ({error}). The page shows:\n{}",
            text.unwrap_or_default().as_str().unwrap_or_default()
        );
    }

    /// Types into fields, in place of what stands there.
    pub(crate) async fn fill(&self, fields: &[(&str, &str)]) {
        for (selector, text) in fields {
            let field = self.client.wait().at_most(DEADLINE);
            let field = field.for_element(Locator::Css(selector)).await;
            let field = field.unwrap_or_else(|error| panic!("no {selector}: {error}"));
            field.clear().await.unwrap();
            field.send_keys(text).await.unwrap();
        }
    }

    pub(crate) async fn click(&self, selector: &str) {
        let element = self
            .client
            .wait()
            .at_most(DEADLINE)
            .for_element(Locator::Css(selector))
            .await;
        element
            .unwrap_or_else(|error| panic!("no {selector}: {error}"))
            .click()
            .await
            .unwrap();
    }

    /// Waits until so many further frames were decoded and shown by this video.
    pub(crate) async fn frames_advance(&self, selector: &str, by: u64) -> Picture {
        let quality = format!("document.querySelector({selector:?}).getVideoPlaybackQuality()");
        let start = format!("({quality}?.totalVideoFrames ?? 0)");
        let before = self
            .run(&format!("try {{ return {start}; }} catch {{ return 0; }}"))
            .await
            .as_u64()
            .unwrap_or(0);
        // A new attempt starts to count anew.
        let expression = format!(
            "(() => {{
               const video = document.querySelector({selector:?});
               const frames = video.getVideoPlaybackQuality().totalVideoFrames;
               window.lastFrames ??= {{}};
               const base = Math.min(window.lastFrames[{selector:?}] ?? {before}, frames);
               window.lastFrames[{selector:?}] = base;
               if (video.videoWidth === 0 || frames < base + {by}) return null;
               delete window.lastFrames[{selector:?}];
               return {{width: video.videoWidth, height: video.videoHeight}};
             }})()"
        );
        let value = self
            .until(&format!("{by} more frames in {selector}"), &expression)
            .await;
        let number = |name: &str| value[name].as_u64().unwrap();
        Picture {
            width: number("width"),
            height: number("height"),
        }
    }

    /// Waits until the pixels of this video differ from what they are now, and are no single colour.
    pub(crate) async fn pixels_change(&self, selector: &str) {
        let pixels = format!(
            "(() => {{
               const canvas = document.createElement('canvas');
               [canvas.width, canvas.height] = [64, 36];
               const context = canvas.getContext('2d');
               context.drawImage(document.querySelector({selector:?}), 0, 0, 64, 36);
               return [...context.getImageData(0, 0, 64, 36).data];
             }})()"
        );
        let before = self.run(&format!("return {pixels};")).await;
        let before: Vec<u64> = before
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_u64)
            .collect();
        let (least, most) = (before.iter().min().unwrap(), before.iter().max().unwrap());
        assert!(most - least > 40, "{selector} shows a single colour");
        let expression = format!(
            "(() => {{
               const before = {before:?};
               const changed = {pixels}.filter((value, index) => Math.abs(value - before[index]) > 24).length;
               return changed > 20;
             }})()"
        );
        self.until(&format!("other pixels in {selector}"), &expression)
            .await;
    }

    /// Waits until the sound of this video is not silence.
    pub(crate) async fn sound_is_heard(&self, selector: &str) {
        let prepare = format!(
            "const context = new AudioContext();
             const analyser = context.createAnalyser();
             context.createMediaStreamSource(document.querySelector({selector:?}).srcObject).connect(analyser);
             window.probe = {{context, analyser, samples: new Float32Array(analyser.fftSize)}};
             return context.resume().then(() => context.state);"
        );
        assert_eq!(
            self.run(&prepare).await,
            "running",
            "sound may play after a click"
        );
        let expression = "(() => {
           probe.analyser.getFloatTimeDomainData(probe.samples);
           return probe.samples.some((sample) => Math.abs(sample) > 0.01);
         })()";
        self.until("sound", expression).await;
        self.run("probe.context.close(); delete window.probe;")
            .await;
    }

    /// What axe-core, whose script is given, finds against WCAG 2.2 AA in the page as it stands.
    pub(crate) async fn violations(&self, axe: &str) -> Vec<Value> {
        self.run(axe).await;
        let script = "const done = arguments[arguments.length - 1];
            const runOnly = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
            axe.run(document, { runOnly }).then(
              ({ violations, passes }) => done({
                rules: passes.length,
                violations: violations.map(({ id, nodes }) => ({ id, html: nodes[0].html, why: nodes[0].failureSummary })),
              }),
              (error) => done({ rules: 0, violations: [String(error)] }));";
        let found = self.client.execute_async(script, Vec::new()).await.unwrap();
        assert!(
            found["rules"].as_u64().unwrap() > 10,
            "axe did not look: {found}"
        );
        found["violations"].as_array().unwrap().clone()
    }

    pub(crate) async fn screenshot(&self, name: &str) {
        let png = self.client.screenshot().await.unwrap();
        std::fs::write(screenshots().join(format!("{name}.png")), png).unwrap();
    }
}
