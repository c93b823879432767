// A test may treat everything but the expected variant as a failure.
#![allow(clippy::wildcard_enum_match_arm)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

const CAMERA: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";

fn camera() -> CameraId {
    CAMERA.parse().unwrap()
}

fn connection(payload: &str) -> Connection {
    let topic = format!("prod/device/connection/hive-cam/{CAMERA}");
    match CameraMessage::parse(&topic, payload.as_bytes()) {
        Ok((_, CameraMessage::Connection(connection))) => connection,
        other => panic!("{other:?}"),
    }
}

fn full_connection() -> Connection {
    Connection {
        status: Some(ConnectionStatus::Connected),
        timestamp: Some(Timestamp::from_second(1_700_000_000).unwrap()),
        device: Device {
            software_version: Some("2.1.1".to_owned()),
            hardware_version: Some("VBC01".to_owned()),
            serial_number: Some("SN1".to_owned()),
        },
        ip_address: Some("192.168.1.20".parse().unwrap()),
        client_id: Some(CAMERA.to_owned()),
    }
}

#[test]
fn messages_have_their_topic_and_json_and_are_read_back() {
    let activity = Activity {
        event_id: Some("e1".to_owned()),
        activity_type: Some("PERSON".to_owned()),
        timestamp: Some("2024-01-02T03:04:05.5Z".parse().unwrap()),
        confidence: Some(0.75),
        region: json!({"x": 1}).as_object().cloned(),
    };
    let status = Status {
        status: Some("ok".to_owned()),
        timestamp: Some(Timestamp::from_second(1).unwrap()),
        battery: Some(Map::new()),
        temperature: Some(41.5),
        uptime: Some(600.0),
        ..Status::default()
    };
    let activity_json = concat!(
        r#"{"eventId":"e1","activityType":"PERSON","timestamp":"2024-01-02T03:04:05.5Z","#,
        r#""confidence":0.75,"region":{"x":1}}"#
    );
    let connection_json = concat!(
        r#"{"status":"connected","timestamp":1700000000,"device":{"softwareVersion":"2.1.1","#,
        r#""hardwareVersion":"VBC01","serialNumber":"SN1"},"ipAddress":"192.168.1.20","#,
        r#""clientId":"56C1CADCF1FA4C6CAEBA3E2FD85EFEBF"}"#
    );
    let status_json =
        r#"{"status":"ok","timestamp":1,"battery":{},"temperature":41.5,"uptime":600.0}"#;
    let cases = [
        (
            CameraMessage::Connection(full_connection()),
            "connection/hive-cam/ID",
            connection_json,
        ),
        (
            CameraMessage::Status(status),
            "status/hive-cam/ID",
            status_json,
        ),
        (
            CameraMessage::ActivityStart(activity.clone()),
            "message/hive-cam/ID/activity/start",
            activity_json,
        ),
        (
            CameraMessage::ActivityStop(activity),
            "message/hive-cam/ID/activity/stop",
            activity_json,
        ),
        (
            CameraMessage::State(json!({"mode": "ARMED"})),
            "message/hive-cam/ID/camera/state",
            r#"{"mode":"ARMED"}"#,
        ),
        (
            CameraMessage::Other {
                topic_suffix: "a/b".to_owned(),
            },
            "message/hive-cam/ID/a/b",
            "{}",
        ),
    ];
    for (message, topic, json) in cases {
        let topic = format!("prod/device/{}", topic.replace("ID", CAMERA));
        assert_eq!(message.topic(camera()), topic);
        assert_eq!(message.to_json(), json);
        assert_eq!(
            CameraMessage::parse(&topic, json.as_bytes()).unwrap(),
            (camera(), message)
        );
    }
}

#[test]
fn missing_and_unknown_fields_and_wrong_types_lose_only_themselves() {
    assert_eq!(connection("{}"), Connection::default());
    let full: Value =
        serde_json::from_str(&CameraMessage::Connection(full_connection()).to_json()).unwrap();
    for key in ["status", "timestamp", "device", "ipAddress", "clientId"] {
        for wrong in [
            json!(null),
            json!(true),
            json!([]),
            json!({"x": []}),
            json!("\u{1b}[31m"),
        ] {
            let mut changed = full.clone();
            changed[key] = wrong;
            changed["extra"] = json!({"deep": [1, 2]});
            let found = connection(&changed.to_string());
            let expected = full_connection();
            let kept = [
                found.status == expected.status,
                found.timestamp == expected.timestamp,
                found.device == expected.device,
                found.ip_address == expected.ip_address,
                found.client_id == expected.client_id,
            ];
            assert!(
                kept.iter().filter(|kept| !**kept).count() <= 1,
                "{changed} gave {found:?}"
            );
        }
    }
    let numbers = connection(r#"{"device":{"softwareVersion":2.1,"serialNumber":17}}"#);
    assert_eq!(numbers.device.software_version.as_deref(), Some("2.1"));
    assert_eq!(numbers.device.serial_number.as_deref(), Some("17"));
}

#[test]
fn connection_words_are_read_in_either_case_and_unknown_ones_are_none() {
    let status = |word: &str| connection(&json!({ "status": word }).to_string()).status;
    assert_eq!(status("Connected"), Some(ConnectionStatus::Connected));
    assert_eq!(status("disconnected"), Some(ConnectionStatus::Disconnected));
    assert_eq!(status("sleeping"), None);
}

#[test]
fn timestamps_are_unix_seconds_or_iso_8601() {
    let time = |json: &str| connection(&format!(r#"{{"timestamp":{json}}}"#)).timestamp;
    let expected: Timestamp = "2023-11-14T22:13:20Z".parse().unwrap();
    for same in [
        "1700000000",
        "1700000000.0",
        "\"1700000000\"",
        "\"2023-11-14T22:13:20Z\"",
        "\"2023-11-14T23:13:20+01:00\"",
        "\"2023-11-14T22:13:20\"",
        "\" 2023-11-14 22:13:20.000 \"",
    ] {
        assert_eq!(time(same), Some(expected), "{same}");
    }
    assert_eq!(
        time("1700000000.5"),
        Some("2023-11-14T22:13:20.5Z".parse().unwrap())
    );
    for none in [
        "1e300",
        "-1e300",
        "9223372036854775807",
        "\"yesterday\"",
        "\"NaN\"",
        "\"inf\"",
        "null",
    ] {
        assert_eq!(time(none), None, "{none}");
    }
}

#[test]
fn numbers_that_are_none_are_left_out() {
    let topic = format!("prod/device/status/hive-cam/{CAMERA}");
    let read = |payload: &str| match CameraMessage::parse(&topic, payload.as_bytes()) {
        Ok((_, CameraMessage::Status(status))) => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        read(r#"{"temperature":"41.5","uptime":12}"#).temperature,
        Some(41.5)
    );
    assert_eq!(
        read(r#"{"temperature":"inf","uptime":12}"#).uptime,
        Some(12.0)
    );
    assert_eq!(read(r#"{"temperature":"inf"}"#).temperature, None);
}

#[test]
fn what_is_no_json_object_is_refused_and_the_camera_is_named() {
    let topic = format!("prod/device/status/hive-cam/{}", CAMERA.to_lowercase());
    for payload in [
        &b""[..],
        b"offline",
        b"\xff\xfe",
        b"{\"a\":",
        &b"[".repeat(100_000),
    ] {
        match CameraMessage::parse(&topic, payload) {
            Err(CameraMessageError::NotJson { camera: named, .. }) => assert_eq!(named, camera()),
            other => panic!("{other:?}"),
        }
    }
    for payload in [&b"1"[..], b"[]", b"null", b"\"x\""] {
        match CameraMessage::parse(&topic, payload) {
            Err(CameraMessageError::NotAnObject { camera: named, .. }) => {
                assert_eq!(named, camera())
            }
            other => panic!("{other:?}"),
        }
    }
    let long = vec![b' '; MAX_PAYLOAD_LEN + 1];
    assert!(matches!(
        CameraMessage::parse(&topic, &long),
        Err(CameraMessageError::TooLong { .. })
    ));
}

#[test]
fn h32_the_id_comes_from_its_level_of_the_topic_only() {
    let other = "00000000000000000000000000000001";
    let topic = format!("prod/device/connection/hive-cam/{other}");
    let payload =
        json!({"clientId": CAMERA, "sourceId": CAMERA, "status": "connected"}).to_string();
    let (named, _) = CameraMessage::parse(&topic, payload.as_bytes()).unwrap();
    assert_eq!(named.to_string(), other);
    let nested = format!("prod/device/message/hive-cam/{other}/hive-cam/{CAMERA}/activity/start");
    let (named, message) = CameraMessage::parse(&nested, b"{}").unwrap();
    assert_eq!(named.to_string(), other);
    assert!(matches!(message, CameraMessage::Other { .. }));
}

#[test]
fn h32_topics_that_name_no_camera_are_refused() {
    for id in [
        "+",
        "#",
        "$SYS",
        "",
        "56C1CADCF1FA4C6CAEBA3E2FD85EFEB\0",
        "../x",
    ] {
        for topic in [
            format!("prod/device/connection/hive-cam/{id}"),
            format!("prod/device/message/hive-cam/{id}/activity/start"),
        ] {
            assert!(CameraMessage::parse(&topic, b"{}").is_err(), "{topic:?}");
        }
    }
    let foreign = [
        format!("prod/device/connection/other-cam/{CAMERA}"),
        format!("prod/device/connection/hive-cam/{CAMERA}/x"),
        format!("prod/device/message/hive-cam/{CAMERA}"),
        format!("prod/devices/connection/hive-cam/{CAMERA}"),
        format!("/prod/device/connection/hive-cam/{CAMERA}"),
        format!("$SYS/prod/device/connection/hive-cam/{CAMERA}"),
        String::new(),
    ];
    for topic in foreign {
        assert!(
            matches!(
                CameraMessage::parse(&topic, b"{}"),
                Err(CameraMessageError::Topic { .. })
            ),
            "{topic:?}"
        );
    }
}

proptest! {
    #[test]
    fn any_payload_is_survived(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        for kind in ["connection/hive-cam/ID", "status/hive-cam/ID", "message/hive-cam/ID/camera/state"] {
            let topic = format!("prod/device/{}", kind.replace("ID", CAMERA));
            let _ = CameraMessage::parse(&topic, &payload);
        }
    }

    #[test]
    fn any_topic_is_survived(topic in "(prod/device/(connection|status|message)/hive-cam/)?[0-9A-F+#/$\\x00]{0,40}") {
        let _ = CameraMessage::parse(&topic, b"{}");
    }
}

#[test]
fn battery_and_signal_are_taken_where_they_are_understood() {
    let status = |battery: Value, radio: Value| {
        let topic = format!("prod/device/status/hive-cam/{CAMERA}");
        let payload = json!({ "battery": battery, "radio": radio }).to_string();
        match CameraMessage::parse(&topic, payload.as_bytes()).unwrap() {
            (_, CameraMessage::Status(status)) => (status.battery_percent(), status.signal()),
            (_, other) => panic!("{other:?}"),
        }
    };
    assert_eq!(
        status(
            json!({ "level": 71 }),
            json!({ "ssid": "x", "rssi": -52.5 })
        ),
        (Some(71.0), Some(-52.5))
    );
    assert_eq!(status(json!({}), json!({})), (None, None));
    assert_eq!(
        status(json!({ "level": 1e9 }), json!({ "rssi": "loud" })),
        (None, None)
    );
    assert_eq!(status(json!([1]), json!(null)), (None, None));
}
