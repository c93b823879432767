//! The way to the media through a TURN server: coturn itself, and Chromium that takes no other way.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod browser_support;
mod program_support;

use std::net::{Ipv4Addr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use apiary::config::{Config, Environment, TurnConfig};
use apiary::turn::IceServers;
use browser_support::chromium::{Browser, Device, Page};
use browser_support::{and_then_clean_up, take_turn};
use jiff::{SignedDuration, Timestamp};
use program_support::{Moved, Plan, Program, within};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::sleep;

const COTURN: &str = "/usr/bin/turnserver";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Where coturn listens, and what it sends from. Browser tests take turns, so fixed ports are free.
const PORT: u16 = 25_060;
const RELAYS: (u16, u16) = (25_061, 25_079);

/// A server that knows the secret.
struct Coturn {
    _server: Child,
    _dir: tempfile::TempDir,
}

impl Coturn {
    async fn start() -> Self {
        let present = std::path::Path::new(COTURN).exists();
        assert!(
            present,
            "{COTURN} is missing: run ./test.sh, which installs what the browser tests need"
        );
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name).display().to_string();
        let arguments = [
            "-n", // no file of settings
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            "--allow-loopback-peers",
            "--realm=apiary.test",
            "--use-auth-secret",
            &format!("--static-auth-secret={SECRET}"),
            &format!("--listening-port={PORT}"),
            &format!("--min-port={}", RELAYS.0),
            &format!("--max-port={}", RELAYS.1),
            &format!("--userdb={}", file("users")),
            &format!("--pidfile={}", file("pid")),
            &format!("--log-file={}", file("log")),
        ];
        let server = Command::new(COTURN)
            .args(arguments)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        within("coturn listens", async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        Self {
            _server: server,
            _dir: dir,
        }
    }
}

/// As the environment would set it.
fn turn(secret: &str) -> Option<TurnConfig> {
    turn_over("udp", secret)
}

fn turn_over(transport: &str, secret: &str) -> Option<TurnConfig> {
    let variables = [
        (
            "APIARY_TURN_URLS",
            format!("turn:127.0.0.1:{PORT}?transport={transport}"),
        ),
        ("APIARY_TURN_SECRET", secret.to_owned()),
    ];
    let environment = Environment {
        variables: variables
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        ..Environment::default()
    };
    Config::load(None, &environment).unwrap().turn
}

/// Browsers take no other way than through relays from here on, and keep their connections for the test.
const RELAYS_ONLY: &str = "
    window.connections = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(configuration) {
        super({ ...configuration, iceTransportPolicy: 'relay' });
        window.connections.push(this);
      }
    };";

/// What a browser that shows this login at coturn gets of it: how many candidates, and which errors.
async fn try_login(page: &Page, secret: &str, made: Timestamp) -> Value {
    let told = IceServers::new(turn(secret)).told_to("somebody", made);
    let login = told[0].login.as_ref().unwrap();
    let server = json!({
        "urls": told[0].urls[0].as_str(), "username": login.username, "credential": login.credential.expose(),
    });
    page.run(&format!(
        "const connection = new RTCPeerConnection({{iceServers: [{server}]}});
         const found = {{candidates: 0, errors: []}};
         connection.onicecandidate = (event) => {{ if (event.candidate?.candidate) found.candidates += 1; }};
         connection.onicecandidateerror = (event) => found.errors.push(event.errorCode);
         connection.addTransceiver('video');
         connection.setLocalDescription();
         return new Promise((done) => {{
           connection.onicegatheringstatechange = () => connection.iceGatheringState === 'complete' && done(found);
         }});"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_come_through_coturn_with_logins_that_the_program_makes() {
    let _turn = take_turn();
    let coturn = Coturn::start().await;
    let plan = Plan {
        change: |config| config.turn = turn(SECRET),
        ..Plan::to_look_at(Moved::BuiltIn, 1)
    };
    let program = Program::start(plan).await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    let test = async {
        let [camera] = program.camera_ids();
        page.run_in_each_document(RELAYS_ONLY).await;
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.frames_advance("#video", 30).await;
        page.pixels_change("#video").await;
        let pair = page
            .run(
                "const all = [...(await window.connections.at(-1).getStats()).values()];
                 const transport = all.find((one) => one.type === 'transport');
                 const pair = all.find((one) => one.id === transport.selectedCandidatePairId);
                 return all.find((one) => one.id === pair.localCandidateId);",
            )
            .await;
        assert_eq!(pair["candidateType"], "relay", "{pair}");
        assert_eq!(pair["relayProtocol"], "udp");
        let relay = pair["port"].as_u64().unwrap();
        assert!(
            (RELAYS.0.into()..=RELAYS.1.into()).contains(&relay),
            "{pair}"
        );

        // Nothing else was the reason.
        let now = Timestamp::now();
        let good = try_login(&page, SECRET, now).await;
        assert!(good["candidates"].as_u64() > Some(0), "{good}");
        let expired = now - SignedDuration::from_hours(2);
        for (what, secret, made) in [
            ("expired", SECRET, expired),
            ("forged", "fedcba9876543210fedcba9876543210", now),
        ] {
            let refused = try_login(&page, secret, made).await;
            assert_eq!(refused["candidates"], 0, "{what}: {refused}");
            let errors = refused["errors"].as_array().unwrap();
            assert!(errors.contains(&json!(401)), "{what}: {refused}");
        }
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
    drop(coturn);
}

/// Chromium sends and hears no UDP.
const WITHOUT_UDP: &str = "--webrtc-ip-handling-policy=disable_non_proxied_udp";

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_is_blocked_pictures_come_through_a_relay_over_tcp() {
    let _turn = take_turn();
    let coturn = Coturn::start().await;
    let plan = Plan {
        change: |config| config.turn = turn_over("tcp", SECRET),
        ..Plan::to_look_at(Moved::BuiltIn, 1)
    };
    let program = Program::start(plan).await;
    let browser = Browser::start().await;
    let page = browser.page_with(Device::default(), &[WITHOUT_UDP]).await;
    let test = async {
        let [camera] = program.camera_ids();
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.frames_advance("#video", 10).await;
        page.run("document.getElementById('quality').open = true")
            .await;
        let path = "document.getElementById('stat-path').textContent === 'Through a relay'";
        page.until("the page tells how it comes", path).await;
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
    drop(coturn);
}

/// The way of the packets is cut, as where a device goes from one network to another: nothing says so but that nothing comes.
#[tokio::test(flavor = "multi_thread")]
async fn f02_a_picture_whose_way_was_cut_finds_another() {
    let _turn = take_turn();
    let coturn = Coturn::start().await;
    let plan = Plan {
        change: |config| config.turn = turn(SECRET),
        ..Plan::to_look_at(Moved::BuiltIn, 1)
    };
    let program = Program::start(plan).await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    let test = async {
        let [camera] = program.camera_ids();
        page.run_in_each_document(RELAYS_ONLY).await;
        page.open(&program.url(&format!("/viewer?camera={camera}")))
            .await;
        page.frames_advance("#video", 10).await;
        page.run("window.neverReloaded = true; window.first = window.connections.length;")
            .await;
        drop(coturn);
        page.until("it noticed", "window.connections.length > window.first")
            .await;
        let _other = Coturn::start().await;
        page.run("window.dispatchEvent(new Event('online'))").await;
        page.frames_advance("#video", 10).await;
        assert_eq!(page.run("return window.neverReloaded").await, true);
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}
