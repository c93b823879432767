//! Cameras are commanded over the REST API.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use apiary::mqtt::ControlError;
use apiary_store::AuditOutcome;
use apiary_wire::camera::{Command, Mode, Settings};
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};

mod http_support;
use http_support::{CAMERA, Gateway, OTHER_CAMERA, id, within};

async fn ask(
    gateway: &Gateway,
    method: &str,
    action: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let request = gateway.request(method, &format!("/cameras/{CAMERA}/{action}"));
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let response = request.send().await.unwrap();
    let status = response.status();
    (status, response.json().await.unwrap())
}

fn report(gateway: &Gateway, state: &Value) {
    let topic = format!("prod/device/message/hive-cam/{CAMERA}/camera/state");
    gateway.camera_publishes(&topic, &state.to_string());
}

#[tokio::test]
async fn each_command_reaches_the_camera_and_the_audit_log() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    let mut expected = Vec::new();
    for (method, action, body, command, name) in [
        (
            "PUT",
            "mode",
            Some(json!({ "mode": "privacy" })),
            Command::SetMode(Mode::Privacy),
            "system/setmode",
        ),
        ("POST", "reboot", None, Command::Reboot, "system/reboot"),
        (
            "POST",
            "sound",
            Some(json!({ "sound_type": "SIREN" })),
            Command::PlaySound {
                sound_type: "SIREN".to_owned(),
            },
            "sound/play",
        ),
        ("DELETE", "sound", None, Command::StopSound, "sound/stop"),
    ] {
        let (status, answer) = ask(&gateway, method, action, body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{action}: {answer}");
        assert_eq!(answer, json!({ "camera_id": CAMERA, "command": name }));
        expected.push((id(CAMERA), command));
    }
    assert_eq!(gateway.commanded(), expected);
    let log = within("the audit log is written", async {
        loop {
            let later = Timestamp::now() + jiff::SignedDuration::from_secs(1);
            let log = gateway.accounts.audit_log(later, 10).await.unwrap();
            if log.len() == 4 {
                return log;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let details: Vec<_> = log.iter().map(|row| row.detail.as_deref()).collect();
    assert!(
        details.contains(&Some("system/setmode: PRIVACY")),
        "{details:?}"
    );
    for row in &log {
        assert_eq!(
            (row.action.as_str(), row.outcome),
            ("camera.command", AuditOutcome::Done)
        );
        assert_eq!(row.subject.as_deref(), Some(CAMERA));
        assert_eq!(row.actor.as_deref(), Some("anybody"));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_changed_setting_takes_the_others_along_as_they_were_reported() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    let changed = json!({ "volume": "HIGH", "ledRing": false });
    let (status, answer) = ask(&gateway, "PUT", "settings", Some(changed.clone())).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    assert_eq!(answer["settings"].as_object().unwrap().len(), 20);

    report(
        &gateway,
        &json!({ "mode": "ARMED", "settings": { "resolution": "1080p", "wdr": 7 } }),
    );
    gateway
        .until("reported", || {
            let camera = gateway.supervisor.camera(id(CAMERA)).unwrap();
            camera.report.settings.is_some()
        })
        .await;
    let (status, _) = ask(&gateway, "PUT", "settings", Some(changed)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let mut first = Settings::default();
    first.sound.volume = "HIGH".to_owned();
    first.lights.led_ring = false;
    let mut second = first.clone();
    second.picture.resolution = "1080p".to_owned();
    let sent =
        [first, second].map(|settings| (id(CAMERA), Command::UpdateSettings(Box::new(settings))));
    assert_eq!(gateway.commanded(), sent);
    gateway.stop().await;
}

#[tokio::test]
async fn what_cannot_be_commanded_is_refused_and_nothing_is_sent() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    for (method, action, body, word) in [
        ("PUT", "mode", json!({ "mode": "OFF" }), "PRIVACY"),
        ("PUT", "mode", json!({}), "missing field"),
        ("PUT", "settings", json!({ "volume": 11 }), "LOW, MEDIUM"),
        ("PUT", "settings", json!({ "x": 1 }), "no setting"),
        ("PUT", "settings", json!([1]), "JSON"),
        ("POST", "sound", json!({ "sound_type": "a b" }), "no word"),
        ("POST", "sound", json!({ "sound_type": "" }), "no word"),
    ] {
        let (status, answer) = ask(&gateway, method, action, Some(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{action}: {answer}");
        let text = answer["error"].as_str().unwrap();
        assert!(text.contains(word), "{action}: {text}");
    }
    let unknown = format!("/cameras/{OTHER_CAMERA}/reboot");
    let unknown = gateway.post_json(&unknown, None).await;
    assert_eq!(unknown.0, StatusCode::NOT_FOUND);

    gateway.refuse_commands(ControlError::QueueFull {
        broker: "mqtt://broker.example:1883".to_owned(),
    });
    let (status, answer) = ask(&gateway, "POST", "reboot", None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let text = answer["error"].as_str().unwrap();
    assert!(
        text.contains("was not told") && text.contains("too slow"),
        "{text}"
    );

    gateway
        .camera_says(CAMERA, r#"{"status":"disconnected"}"#)
        .await;
    let is_gone = || gateway.supervisor.camera(id(CAMERA)).unwrap().online == Some(false);
    gateway.until("gone", is_gone).await;
    let (status, answer) = ask(&gateway, "POST", "reboot", None).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert_eq!(gateway.commanded(), []);
    gateway.stop().await;
}
