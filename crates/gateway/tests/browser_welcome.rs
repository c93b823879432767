//! The set-up assistant in Chromium: from an empty data directory to a camera's moving picture, with cameras that come over TLS.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod browser_support;
mod program_support;
mod web_support;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use apiary::config::Config;
use apiary::mqtt::tls::install_crypto_provider;
use apiary::tls::DIRECTORY;
use apiary::tls::bundle::Bundle;
use apiary_sim::{
    Broker, BrokerIdentity, BrokerTls, CameraConfig, Simulator, SimulatorConfig, VideoSource,
};
use browser_support::chromium::{Browser, Device, Page};
use browser_support::{and_then_clean_up, take_turn};
use jiff::Timestamp;
use program_support::{Moved, Plan, Program};
use serde_json::json;

const NAME: &str = "queen";
const PASSWORD: &str = "honey and wax";

/// As after `apiary certs init`, with accounts.
fn with_certificates(config: &mut Config) {
    let mut bundle =
        Bundle::open(&config.data.dir.join(DIRECTORY), false, Timestamp::now()).unwrap();
    let names = ["127.0.0.1".parse().unwrap()];
    let (certificate, key) = bundle.broker(&names).unwrap();
    bundle.camera(None).unwrap();
    let tls = &mut config.mqtt.tls;
    tls.ca = Some(config.data.dir.join(DIRECTORY).join("ca.crt"));
    (tls.cert, tls.key) = (Some(certificate), Some(key));
    // Free a moment ago: port 0 would be another one than is shown.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    config.mqtt.embedded.listen_tls = Some(free.local_addr().unwrap());
    config.auth.enabled = true;
}

/// A camera with the three files of a directory.
async fn switch_on(number: u32, port: u16, ca: &Path, files: &Path) -> Simulator {
    let camera = CameraConfig {
        source: VideoSource::LiveTestCard {
            width: 640,
            height: 360,
            fps: 15,
        },
        ..CameraConfig::numbered(number)
    };
    let broker = Broker {
        tls: Some(BrokerTls {
            ca: ca.to_owned(),
            identity: Some(BrokerIdentity {
                cert: files.join("mqtt.pem"),
                key: files.join("mqtt.key"),
            }),
        }),
        ..Broker::local(port)
    };
    let config = SimulatorConfig::new(broker, vec![camera]);
    Simulator::start(config).await.unwrap()
}

/// The step is there, and accessible.
async fn at_step(page: &Page, step: &str, there: &str) {
    let shown = format!("document.querySelector('#step[data-step={step}]') && ({there})");
    page.until(step, &shown).await;
    page.screenshot(&format!("welcome-{step}-phone-german"))
        .await;
    let found = page.violations(&web_support::axe()).await;
    assert!(found.is_empty(), "{step}: {}", json!(found));
}

/// Bars at the bottom of a phone may lie over what is at the edge.
async fn tap(page: &Page, selector: &str) {
    let scroll =
        format!("document.querySelector({selector:?}).scrollIntoView({{ block: 'center' }})");
    page.run(&scroll).await;
    page.click(selector).await;
}

async fn make_the_first_account(page: &Page, program: &Program) {
    let secret = program.setup_secret().await.unwrap();
    page.open(&program.url(&format!("/setup#{secret}"))).await;
    page.fill(&[
        ("#name", NAME),
        ("#password", PASSWORD),
        ("#again", PASSWORD),
    ])
    .await;
    page.click("#submit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_assistant_leads_from_the_first_account_to_a_moving_picture() {
    let _turn = take_turn();
    install_crypto_provider();
    let program = Program::start_alone(Plan {
        cameras: Vec::new(),
        change: with_certificates,
        ..Plan::to_look_at(Moved::BuiltIn, 0)
    })
    .await;
    let browser = Browser::start().await;
    let phone = Device {
        phone: true,
        german: true,
        ..Device::default()
    };
    let page = browser.page_on(phone).await;
    let test = async {
        make_the_first_account(&page, &program).await;
        let account = format!("document.querySelector('#step').textContent.includes('{NAME}')");
        at_step(&page, "account", &account).await;
        tap(&page, "#next").await;
        let loopback =
            "document.querySelector('.findings').textContent.includes('nur für diesen Rechner')";
        at_step(&page, "addresses", loopback).await;
        tap(&page, "#next").await;
        let certificate = "document.querySelector('.findings').textContent.includes('Das Zertifikat ist für 127.0.0.1')";
        at_step(&page, "broker", certificate).await;
        tap(&page, "#next").await;
        at_step(&page, "camera", "document.getElementById('waiting')").await;

        let told = "return fetch('/api/setup').then((answer) => answer.json());";
        let told = page.run(told).await;
        let port = u16::try_from(told["broker"]["port"].as_u64().unwrap()).unwrap();
        let files = PathBuf::from(told["camera_files"]["directory"].as_str().unwrap());
        assert_eq!(told["camera_files"]["there"], true);
        let ca = files.join("mqttCA.crt");
        let elsewhere = tempfile::tempdir().unwrap();
        let mut others = Bundle::open(elsewhere.path(), false, Timestamp::now()).unwrap();
        others.camera(None).unwrap();
        let stranger = switch_on(8, port, &ca, &elsewhere.path().join("cameras")).await;
        let refused =
            "document.getElementById('refused')?.textContent.includes('von einer anderen Stelle')";
        page.until("who was refused, and why", refused).await;
        stranger.shutdown().await;
        at_step(&page, "camera", "document.getElementById('reasons')").await;

        let ours = switch_on(1, port, &ca, &files).await;
        page.until("the camera", "document.getElementById('arrived')")
            .await;
        page.frames_advance("#video", 10).await;
        page.pixels_change("#video").await;
        page.until(
            "it is said",
            "document.getElementById('shows').textContent === 'Das Bild ist da.'",
        )
        .await;
        page.fill(&[("#label-name", "Garten"), ("#label-room", "Draußen")])
            .await;
        tap(&page, "#label-form button").await;
        page.until(
            "its name",
            "document.querySelector('#stage').ariaLabel.includes('Garten')",
        )
        .await;
        at_step(
            &page,
            "camera",
            "document.getElementById('label-name').value === 'Garten'",
        )
        .await;
        tap(&page, "#another").await;
        page.until("it waits again", "document.getElementById('waiting')")
            .await;
        tap(&page, "#done").await;
        page.until(
            "the wall",
            "document.querySelector('.tile .name')?.textContent === 'Garten'",
        )
        .await;
        ours.shutdown().await;
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_puts_it_off_is_not_led_there_again() {
    let _turn = take_turn();
    let program = Program::start_alone(Plan {
        cameras: Vec::new(),
        change: |config| config.auth.enabled = true,
        ..Plan::to_look_at(Moved::BuiltIn, 0)
    })
    .await;
    let browser = Browser::start().await;
    let page = browser.page().await;
    let test = async {
        make_the_first_account(&page, &program).await;
        page.until("the assistant", "document.getElementById('step')")
            .await;
        page.open(&program.url("/")).await;
        page.until(
            "it comes by itself",
            "location.pathname === '/welcome' && document.getElementById('step')",
        )
        .await;
        page.click("#later").await;
        page.until(
            "the empty wall",
            "document.querySelector('#empty a[href=\"/welcome\"]')",
        )
        .await;
        page.open(&program.url("/")).await;
        page.until("the empty wall again", "document.getElementById('empty')")
            .await;
        page.click("a[href='/admin']").await;
        page.click("#welcome").await;
        page.until("it is still there", "document.getElementById('step')")
            .await;
        let lines = "document.querySelector('#step pre')?.textContent.includes('listen_tls')";
        page.click("a[href='/welcome?step=broker']").await;
        page.until("what cameras lack, and what to write", lines)
            .await;
    };
    and_then_clean_up(test, async { page.clone().close().await }).await;
    browser.stop().await;
    program.stop().await;
}
