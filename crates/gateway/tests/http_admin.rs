//! What administrators are told of the running program.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::net::Ipv4Addr;

use apiary::config::{Config, Environment};
use apiary::http::Bounds;
use apiary::mqtt::BrokerState;
use jiff::Timestamp;
use serde_json::{Value, json};

mod http_support;
use http_support::Gateway;

const CANARY: &str = "canary-4711-canary-4711";

#[tokio::test]
async fn h09_settings_are_shown_with_their_source_and_without_secrets() {
    let variables = [
        ("APIARY_LOG_LEVEL", "warn".to_owned()),
        (
            "APIARY_MQTT_BROKER",
            "mqtt://broker.example:1883".to_owned(),
        ),
        ("APIARY_MQTT_USERNAME", "apiary".to_owned()),
        ("APIARY_MQTT_PASSWORD", CANARY.to_owned()),
        ("APIARY_TURN_SECRET", CANARY.to_owned()),
        ("APIARY_TURN_URLS", "turn:turn.example:3478".to_owned()),
    ];
    let variables = variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let environment = Environment {
        variables: variables.collect(),
        ..Environment::default()
    };
    let config = Config::load(None, &environment).unwrap();
    let bounds = Bounds::new(1024, 1024);
    let gateway = Gateway::start_by(bounds, None, |running| *running = config).await;
    let answer = gateway.get_json("/api/config").await;
    assert!(!answer.to_string().contains(CANARY), "{answer}");
    let settings = answer["settings"].as_array().unwrap();
    let of = |key: &str| {
        let found = settings.iter().find(|setting| setting["key"] == key);
        found.unwrap().clone()
    };
    assert_eq!(
        of("log.level"),
        json!({
            "key": "log.level", "value": "\"warn\"", "default": "\"info\"",
            "source": "environment variable APIARY_LOG_LEVEL", "secret": false,
        })
    );
    assert_eq!(of("mqtt.password")["value"], "***");
    assert_eq!(of("turn.secret")["secret"], true);
    let untouched = of("http.max_connections");
    assert_eq!(
        (&untouched["value"], &untouched["source"]),
        (&Value::Null, &json!("default"))
    );
    assert_eq!(of("auth.jwt_secret")["value"], Value::Null);
    gateway.stop().await;
}

#[tokio::test]
async fn the_system_tells_how_it_stands_and_what_the_doctor_finds() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_owned();
    let bounds = Bounds::new(1024, 1024);
    let gateway = Gateway::start_by(bounds, None, |config| config.data.dir = data).await;
    gateway.set_broker(BrokerState::Unreachable {
        cause: "connection refused; is it running?".to_owned(),
        since: Timestamp::now(),
    });
    gateway.engine.set_trouble(Some("out of order"));
    let system = gateway.get_json("/api/system").await;
    assert_eq!(system["version"], env!("CARGO_PKG_VERSION"));
    let broker = json!({ "connected": false, "error": "connection refused; is it running?" });
    assert_eq!(system["broker"], broker);
    assert_eq!(system["engine"]["error"], "out of order");
    assert_eq!(system["database"]["kind"], "sqlite");
    assert_eq!(system["database"]["dropped"], 0);
    assert_eq!(system["certificate"], Value::Null);
    assert!(system["disk"]["total_octets"].as_u64().unwrap() > 0);
    assert_eq!(system["load"].as_array().unwrap().len(), 3);
    let findings = system["findings"].as_array().unwrap();
    let of = |subject: &str| {
        findings
            .iter()
            .find(|finding| finding["subject"] == subject)
    };
    assert_eq!(of("data.dir").unwrap()["level"], "good");
    let order = ["problem", "note", "good"];
    let levels = findings.iter().map(|finding| {
        let level = finding["level"].as_str().unwrap();
        order.iter().position(|known| *known == level).unwrap()
    });
    assert!(levels.is_sorted(), "the worst first");
    gateway.stop().await;
}

#[tokio::test]
async fn the_end_of_the_log_is_told_from_a_record_on() {
    let gateway = Gateway::start().await;
    let config = Config::load(None, &Environment::default()).unwrap();
    apiary::logging::init(&config.log).unwrap();
    tracing::info!(answer = 42, "first of the test");
    tracing::debug!("not at this level");
    let tail = gateway.get_json("/api/log").await;
    let records = tail["records"].as_array().unwrap();
    let first = records.iter().find(|record| {
        record["text"]
            .as_str()
            .unwrap()
            .contains("first of the test")
    });
    let first = first.unwrap();
    assert_eq!(first["level"], "info");
    assert!(first["text"].as_str().unwrap().contains("answer=42"));
    assert!(!tail.to_string().contains("not at this level"));
    tracing::warn!("second of the test");
    let after = format!("/api/log?after={}", first["id"]);
    let tail = gateway.get_json(&after).await;
    let records = tail["records"].as_array().unwrap();
    assert!(!tail.to_string().contains("first of the test"));
    let second = records
        .iter()
        .find(|record| record["text"] == "second of the test");
    assert_eq!(second.unwrap()["level"], "warn");
    let wrong = gateway.request("GET", "/api/log?after=x").send().await;
    assert_eq!(wrong.unwrap().status(), 400);
    gateway.stop().await;
}

#[tokio::test]
async fn the_assistant_is_told_what_has_to_be_right_for_a_camera() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_owned();
    let bounds = Bounds::new(1024, 1024);
    let gateway = Gateway::start_by(bounds, None, |config| {
        config.data.dir = data;
        config.network.local_ip = Ipv4Addr::new(192, 0, 2, 77);
    })
    .await;
    let told = gateway.get_json("/api/setup").await;
    let addresses = &told["addresses"];
    assert_eq!(addresses["local"], "192.0.2.77");
    assert_eq!(addresses["local_source"], "default");
    let findings = addresses["findings"].as_array().unwrap();
    let worst = &findings[0];
    assert_eq!(
        (&worst["level"], &worst["subject"]),
        (&json!("problem"), &json!("network.local_ip"))
    );
    let cause = json!({ "code": "address_not_ours", "values": { "address": "192.0.2.77" } });
    assert_eq!(worst["cause"], cause);
    let ports = findings
        .iter()
        .find(|finding| finding["subject"] == "ingest.ports");
    assert_eq!(ports.unwrap()["cause"]["code"], "ingest_ports");
    if let Some(own) = addresses["own"].as_array().unwrap().first() {
        let lines = format!("[network]\nlocal_ip = {own}");
        assert_eq!(addresses["lines"], lines);
    }
    let broker = &told["broker"];
    assert_eq!(
        (&broker["embedded"], &broker["tls"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(broker["host"], "192.0.2.77");
    assert!(broker["lines"].as_str().unwrap().contains("listen_tls = "));
    let findings = broker["findings"].as_array().unwrap();
    assert_eq!(findings[0]["cause"]["code"], "broker_here_only");
    let files = &told["camera_files"];
    assert_eq!(files["there"], false);
    assert_eq!(
        files["names"],
        json!(["mqttCA.crt", "mqtt.pem", "mqtt.key"])
    );
    assert_eq!(files["command"], "apiary certs init");
    for served in ["/certs/cameras/mqtt.key", "/api/setup/mqtt.key"] {
        let answer = gateway.request("GET", served).send().await.unwrap();
        assert_eq!(answer.status(), 404, "no key is given out");
    }
    gateway.stop().await;
}
