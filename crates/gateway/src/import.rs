//! What the camera registry of an older installation adds to ours: what we do not know yet, and nothing else.
//!
//! So it may be repeated, and names given since stay. Nothing in the registry is believed: what is no camera, or no value of
//! its field, is left out with the reason.

use std::collections::BTreeMap;
use std::net::IpAddr;

use apiary_store::{CameraRow, ConnectionState, RegisteredCamera};
use apiary_wire::id::CameraId;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::logging::is_unprintable;

/// Longest name, as in the API.
const NAME_LIMIT: usize = 64;
/// Longest other text of a camera.
const TEXT_LIMIT: usize = 128;

/// What is to be done with a registry.
#[derive(Debug, Default)]
pub struct Merged {
    /// The rows to write: cameras that are new, or of which more is known now.
    pub rows: Vec<CameraRow>,
    /// Cameras of which everything was known already.
    pub unchanged: usize,
    /// What is not taken, and why.
    pub left: Vec<String>,
}

/// Adds a registry to the cameras that are known.
pub fn merge(registry: &[RegisteredCamera], known: Vec<CameraRow>, now: Timestamp) -> Merged {
    let mut known: BTreeMap<CameraId, CameraRow> =
        known.into_iter().map(|row| (row.camera, row)).collect();
    let mut merged = Merged::default();
    for registered in registry {
        let camera: CameraId = match registered.camera_id.trim().parse() {
            Ok(camera) => camera,
            Err(error) => {
                merged.left.push(format!("a row: {error}"));
                continue;
            }
        };
        let before = known.get(&camera);
        let mut row = before
            .cloned()
            .unwrap_or_else(|| CameraRow::new(camera, now));
        let mut left = |field: &str, reason: String| {
            merged
                .left
                .push(format!("{field} of camera {camera}: {reason}"));
        };
        add(&mut row, registered, now, &mut left);
        if before == Some(&row) {
            merged.unchanged += 1;
            continue;
        }
        row.updated_at = now;
        merged.rows.retain(|other| other.camera != camera);
        merged.rows.push(row.clone());
        known.insert(camera, row);
    }
    merged
}

/// Fills what is empty in a row.
fn add(
    row: &mut CameraRow,
    registered: &RegisteredCamera,
    now: Timestamp,
    left: &mut impl FnMut(&str, String),
) {
    let mut fill =
        |field: &str, to: &mut Option<String>, from: &Option<String>, limit: usize| match text(
            from.as_deref(),
            limit,
        ) {
            Ok(Some(text)) => match to {
                None => *to = Some(text),
                Some(has) if *has != text => left(field, format!("it has {has:?} here already")),
                Some(_) => {}
            },
            Ok(None) => {}
            Err(reason) => left(field, reason),
        };
    fill(
        "camera_name",
        &mut row.label.name,
        &registered.camera_name,
        NAME_LIMIT,
    );
    fill(
        "firmware_version",
        &mut row.firmware_version,
        &registered.firmware_version,
        TEXT_LIMIT,
    );
    fill(
        "status",
        &mut row.report.status,
        &registered.status,
        TEXT_LIMIT,
    );
    let address = registered
        .ip_address
        .clone()
        .filter(|text| !text.trim().is_empty());
    if address
        .as_deref()
        .is_none_or(|text| text.trim().parse::<IpAddr>().is_ok())
    {
        fill("ip_address", &mut row.ip_address, &address, TEXT_LIMIT);
    } else {
        left("ip_address", "it is no address".to_owned());
    }
    if row.connection == ConnectionState::Unknown {
        match connection(registered.connection_status.as_deref()) {
            Some(state) => row.connection = state,
            None => left(
                "connection_status",
                "it is neither connected nor disconnected".to_owned(),
            ),
        }
    }
    if row.last_seen.is_none() {
        match seen(registered.last_seen.as_deref(), now) {
            Ok(seen) => row.last_seen = seen,
            Err(reason) => left("last_seen", reason),
        }
    }
}

/// A text without blanks around it; an empty one is none.
fn text(from: Option<&str>, limit: usize) -> Result<Option<String>, String> {
    let text = from.unwrap_or_default().trim();
    if text.contains(is_unprintable) {
        Err("it holds a control character".to_owned())
    } else if text.chars().count() > limit {
        Err(format!("it has more than {limit} characters"))
    } else {
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}

/// `None`: a word that nobody knows.
fn connection(word: Option<&str>) -> Option<ConnectionState> {
    match word
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "connected" | "online" => Some(ConnectionState::Connected),
        "disconnected" | "offline" => Some(ConnectionState::Disconnected),
        "" | "unknown" => Some(ConnectionState::Unknown),
        _ => None,
    }
}

/// A time with its offset, one of UTC without it (as SQLite writes them), or seconds since 1970.
fn seen(text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let text = text.unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(None);
    }
    let of_utc = |text: &str| {
        let time: DateTime = text.parse().ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let of_seconds = |text: &str| {
        let seconds: f64 = text
            .parse()
            .ok()
            .filter(|seconds: &f64| seconds.is_finite())?;
        // What is out of range becomes a limit, which is out of the range of times too.
        Timestamp::from_microsecond((seconds * 1e6) as i64).ok()
    };
    let time = text.parse().ok();
    let time = time.or_else(|| of_utc(text)).or_else(|| of_seconds(text));
    match time {
        None => Err("it is no time".to_owned()),
        Some(time) if time > now => Err("it is yet to come".to_owned()),
        Some(time) => Ok(Some(time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";

    fn now() -> Timestamp {
        "2026-06-01T12:00:00Z".parse().unwrap()
    }

    fn registered() -> RegisteredCamera {
        let some = |text: &str| Some(text.to_owned());
        RegisteredCamera {
            camera_id: ID.to_ascii_lowercase(),
            camera_name: some(" Front door "),
            ip_address: some("192.168.1.20"),
            firmware_version: some("V2_0_00_126"),
            status: some("ONLINE"),
            connection_status: some("connected"),
            last_seen: some("2026-05-31 08:15:00"),
        }
    }

    #[test]
    fn a_camera_that_is_new_is_taken_once() {
        let merged = merge(&[registered()], Vec::new(), now());
        assert_eq!(merged.left, [""; 0]);
        let row = &merged.rows[0];
        assert_eq!(row.camera.to_string(), ID);
        assert_eq!(row.label.name.as_deref(), Some("Front door"));
        assert_eq!(row.ip_address.as_deref(), Some("192.168.1.20"));
        assert_eq!(row.firmware_version.as_deref(), Some("V2_0_00_126"));
        assert_eq!(row.report.status.as_deref(), Some("ONLINE"));
        assert_eq!(row.connection, ConnectionState::Connected);
        assert_eq!(row.last_seen.unwrap().to_string(), "2026-05-31T08:15:00Z");
        let later = now() + jiff::SignedDuration::from_hours(1);
        let again = merge(&[registered()], merged.rows, later);
        assert_eq!((again.rows, again.unchanged), (vec![], 1));
        assert_eq!(again.left, [""; 0]);
    }

    #[test]
    fn what_is_known_already_stays() {
        let mut known = CameraRow::new(ID.parse().unwrap(), now());
        known.label.name = Some("Porch".to_owned());
        known.connection = ConnectionState::Disconnected;
        known.last_seen = Some(now());
        let merged = merge(&[registered()], vec![known.clone()], now());
        let row = &merged.rows[0];
        assert_eq!(row.label, known.label);
        assert_eq!(
            (row.connection, row.last_seen),
            (known.connection, known.last_seen)
        );
        assert_eq!(
            row.firmware_version.as_deref(),
            Some("V2_0_00_126"),
            "it was empty"
        );
        assert_eq!(merged.left.len(), 1);
        assert!(
            merged.left[0].contains("\"Porch\" here already"),
            "{:?}",
            merged.left
        );
    }

    #[test]
    fn what_is_no_value_is_left_and_named_and_the_rest_taken() {
        let some = |text: &str| Some(text.to_owned());
        let bad = RegisteredCamera {
            camera_name: some("<b>\u{1b}[2J"),
            ip_address: some("not an address"),
            firmware_version: some(&"v".repeat(129)),
            status: some("'; DROP TABLE cameras; --"),
            connection_status: some("perhaps"),
            last_seen: some("2026-06-01T12:00:01+00:00"),
            ..registered()
        };
        let no_camera = RegisteredCamera {
            camera_id: "../../etc/passwd".to_owned(),
            ..registered()
        };
        let merged = merge(&[no_camera, bad], Vec::new(), now());
        let expected = [
            "a row: ",
            "camera_name of camera 56C1CADCF1FA4C6CAEBA3E2FD85EFEBF: it holds a control character",
            "firmware_version of",
            "ip_address of",
            "connection_status of",
            "last_seen of camera 56C1CADCF1FA4C6CAEBA3E2FD85EFEBF: it is yet to come",
        ];
        assert_eq!(merged.left.len(), expected.len(), "{:#?}", merged.left);
        for (left, expected) in merged.left.iter().zip(expected) {
            assert!(left.starts_with(expected), "{left}");
        }
        let mut row = CameraRow::new(ID.parse().unwrap(), now());
        row.report.status = some("'; DROP TABLE cameras; --");
        assert_eq!(merged.rows, [row]);
    }

    #[test]
    fn a_camera_that_is_there_twice_is_written_once() {
        let mut second = registered();
        second.camera_id = ID.to_owned();
        second.camera_name = Some("Garden".to_owned());
        let merged = merge(&[registered(), second], Vec::new(), now());
        assert_eq!(merged.rows.len(), 1);
        assert_eq!(merged.rows[0].label.name.as_deref(), Some("Front door"));
        assert_eq!(merged.left.len(), 1, "{:?}", merged.left);
    }

    #[test]
    fn times_are_taken_as_programs_write_them() {
        let seen = |text: &str| seen(Some(text), now()).unwrap().unwrap().to_string();
        assert_eq!(seen("2026-05-31T08:15:00.25"), "2026-05-31T08:15:00.25Z");
        assert_eq!(seen("2026-05-31 08:15:00+02:00"), "2026-05-31T06:15:00Z");
        assert_eq!(seen("1780000000"), "2026-05-28T20:26:40Z");
        for text in ["yesterday", "NaN", "1e300", "-1e300", "2026-13-01 00:00:00"] {
            assert!(super::seen(Some(text), now()).is_err(), "{text}");
        }
    }
}
