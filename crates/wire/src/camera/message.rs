//! Messages from a camera, taken leniently: fields may be missing, of another type or unknown, and none of that
//! loses the rest of a message. Whoever needs more than is understood here keeps the raw payload.

use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{DEVICE_TYPE, MAX_PAYLOAD_LEN};
use crate::id::{CameraId, CameraIdError, shorten};

/// One message of a camera.
#[derive(Clone, Debug, PartialEq)]
pub enum CameraMessage {
    /// It came or went; the latter may be its last will, sent by the broker.
    Connection(Connection),
    /// How it is, each 10 minutes.
    Status(Status),
    /// Something began to happen before it.
    ActivityStart(Activity),
    /// That ended.
    ActivityStop(Activity),
    /// Mode and settings as they stand.
    State(Value),
    /// On one of the camera's topics, but of no known kind.
    Other {
        /// The topic after the camera's id, without the slash.
        topic_suffix: String,
    },
}

/// Whether a camera is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionStatus {
    /// It is connected to the broker.
    Connected,
    /// It is not.
    Disconnected,
}

/// A camera came or went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// `None` for words other than `connected` and `disconnected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ConnectionStatus>,
    /// The camera's own time.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_time")]
    pub timestamp: Option<Timestamp>,
    /// What it is.
    #[serde(skip_serializing_if = "Device::is_empty")]
    pub device: Device,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<IpAddr>,
    /// Its MQTT client id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

/// What a camera is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its firmware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    /// Its model, like `VBC01`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware_version: Option<String>,
    /// Its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
}

impl Device {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How a camera is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// In the camera's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The camera's own time.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_time")]
    pub timestamp: Option<Timestamp>,
    /// Form unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub battery: Option<Map<String, Value>>,
    /// Form unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radio: Option<Map<String, Value>>,
    /// Form unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ethernet: Option<Map<String, Value>>,
    /// In degrees, presumably Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime: Option<f64>,
}

/// Something that a camera noticed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// The same at start and stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// `MOTION`, `PERSON`, `AUDIO`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity_type: Option<String>,
    /// The camera's own time.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_time")]
    pub timestamp: Option<Timestamp>,
    /// Scale unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Form unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Map<String, Value>>,
}

/// Why nothing can be taken from a message.
#[derive(Debug, thiserror::Error)]
pub enum CameraMessageError {
    /// The topic is not one of a camera.
    #[error("{topic:?} is not the topic of a camera's message")]
    Topic {
        /// The topic, shortened.
        topic: String,
    },
    /// The topic names no camera.
    #[error("the message's topic names no camera")]
    Camera(#[source] CameraIdError),
    /// More than [`MAX_PAYLOAD_LEN`].
    #[error(
        "a message of {len} bytes from camera {camera} is too long: at most {MAX_PAYLOAD_LEN} are read"
    )]
    TooLong {
        /// The camera named by the topic.
        camera: CameraId,
        /// The payload's length.
        len: usize,
    },
    /// The payload is not JSON.
    #[error("the message of camera {camera} on {topic_suffix:?} is not JSON")]
    NotJson {
        /// The camera named by the topic.
        camera: CameraId,
        /// The topic's part that names the kind.
        topic_suffix: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The payload is JSON, but not an object.
    #[error("the message of camera {camera} on {topic_suffix:?} is not a JSON object")]
    NotAnObject {
        /// The camera named by the topic.
        camera: CameraId,
        /// The topic's part that names the kind.
        topic_suffix: &'static str,
    },
}

const ROOT: &str = "prod/device";
const CONNECTION: &str = "connection";
const STATUS: &str = "status";
const MESSAGE: &str = "message";
const ACTIVITY_START: &str = "activity/start";
const ACTIVITY_STOP: &str = "activity/stop";
const STATE: &str = "camera/state";

/// What a topic says about its payload.
#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Connection,
    Status,
    ActivityStart,
    ActivityStop,
    State,
    Other(&'a str),
}

impl CameraMessage {
    /// Reads one message.
    ///
    /// # Errors
    /// When the topic belongs to no camera, or its payload holds nothing that can be understood. Where the error
    /// names a camera, that camera did speak.
    pub fn parse(topic: &str, payload: &[u8]) -> Result<(CameraId, Self), CameraMessageError> {
        let (camera, kind) = parse_topic(topic)?;
        if payload.len() > MAX_PAYLOAD_LEN {
            return Err(CameraMessageError::TooLong {
                camera,
                len: payload.len(),
            });
        }
        let json = |topic_suffix| {
            serde_json::from_slice(payload).map_err(|source| CameraMessageError::NotJson {
                camera,
                topic_suffix,
                source,
            })
        };
        let fields = |topic_suffix| match json(topic_suffix)? {
            Value::Object(map) => Ok(Fields(map)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(CameraMessageError::NotAnObject {
                camera,
                topic_suffix,
            }),
        };
        let message = match kind {
            Kind::Connection => Self::Connection(Connection::read(fields(CONNECTION)?)),
            Kind::Status => Self::Status(Status::read(fields(STATUS)?)),
            Kind::ActivityStart => Self::ActivityStart(Activity::read(fields(ACTIVITY_START)?)),
            Kind::ActivityStop => Self::ActivityStop(Activity::read(fields(ACTIVITY_STOP)?)),
            Kind::State => Self::State(json(STATE)?),
            Kind::Other(suffix) => Self::Other {
                topic_suffix: suffix.to_owned(),
            },
        };
        Ok((camera, message))
    }

    /// Where the camera publishes it.
    pub fn topic(&self, camera: CameraId) -> String {
        match self {
            Self::Connection(_) => format!("{ROOT}/{CONNECTION}/{DEVICE_TYPE}/{camera}"),
            Self::Status(_) => format!("{ROOT}/{STATUS}/{DEVICE_TYPE}/{camera}"),
            Self::ActivityStart(_) => message_topic(camera, ACTIVITY_START),
            Self::ActivityStop(_) => message_topic(camera, ACTIVITY_STOP),
            Self::State(_) => message_topic(camera, STATE),
            Self::Other { topic_suffix } => message_topic(camera, topic_suffix),
        }
    }

    /// What the camera publishes; an empty object for [`CameraMessage::Other`].
    pub fn to_json(&self) -> String {
        let written = match self {
            Self::Connection(connection) => serde_json::to_string(connection),
            Self::Status(status) => serde_json::to_string(status),
            Self::ActivityStart(activity) | Self::ActivityStop(activity) => {
                serde_json::to_string(activity)
            }
            Self::State(state) => serde_json::to_string(state),
            Self::Other { .. } => Ok("{}".to_owned()),
        };
        written.expect("keys are text and writing into a string cannot fail")
    }
}

fn message_topic(camera: CameraId, suffix: &str) -> String {
    format!("{ROOT}/{MESSAGE}/{DEVICE_TYPE}/{camera}/{suffix}")
}

fn parse_topic(topic: &str) -> Result<(CameraId, Kind<'_>), CameraMessageError> {
    let unknown = || CameraMessageError::Topic {
        topic: shorten(topic),
    };
    let rest = topic
        .strip_prefix(ROOT)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or_else(unknown)?;
    let mut levels = rest.splitn(4, '/');
    let (Some(branch), Some(DEVICE_TYPE), Some(camera)) =
        (levels.next(), levels.next(), levels.next())
    else {
        return Err(unknown());
    };
    let kind = match (branch, levels.next()) {
        (CONNECTION, None) => Kind::Connection,
        (STATUS, None) => Kind::Status,
        (MESSAGE, Some(ACTIVITY_START)) => Kind::ActivityStart,
        (MESSAGE, Some(ACTIVITY_STOP)) => Kind::ActivityStop,
        (MESSAGE, Some(STATE)) => Kind::State,
        (MESSAGE, Some(suffix)) => Kind::Other(suffix),
        _ => return Err(unknown()),
    };
    let camera = camera.parse().map_err(CameraMessageError::Camera)?;
    Ok((camera, kind))
}

impl Connection {
    fn read(mut fields: Fields) -> Self {
        let mut device = Fields(fields.object("device").unwrap_or_default());
        let status = fields.text("status");
        Self {
            status: status.as_deref().and_then(ConnectionStatus::from_word),
            timestamp: fields.time("timestamp"),
            device: Device {
                software_version: device.text("softwareVersion"),
                hardware_version: device.text("hardwareVersion"),
                serial_number: device.text("serialNumber"),
            },
            ip_address: fields
                .text("ipAddress")
                .and_then(|text| text.trim().parse().ok()),
            client_id: fields.text("clientId"),
        }
    }
}

impl ConnectionStatus {
    fn from_word(word: &str) -> Option<Self> {
        if word.eq_ignore_ascii_case("connected") {
            Some(Self::Connected)
        } else if word.eq_ignore_ascii_case("disconnected") {
            Some(Self::Disconnected)
        } else {
            None
        }
    }
}

impl Status {
    fn read(mut fields: Fields) -> Self {
        Self {
            status: fields.text("status"),
            timestamp: fields.time("timestamp"),
            battery: fields.object("battery"),
            radio: fields.object("radio"),
            ethernet: fields.object("ethernet"),
            temperature: fields.number("temperature"),
            uptime: fields.number("uptime"),
        }
    }
}

/// Names under which the charge may stand in [`Status::battery`]; *assumed*, as is that it is in per cent.
const CHARGE: [&str; 5] = ["level", "percent", "percentage", "capacity", "charge"];
/// Names under which the signal may stand in [`Status::radio`]; *assumed*.
const SIGNAL: [&str; 4] = ["rssi", "signal", "signalStrength", "strength"];

impl Status {
    /// How full the battery is, in per cent, where the camera tells it in a way that is understood.
    pub fn battery_percent(&self) -> Option<f64> {
        first_number(self.battery.as_ref()?, &CHARGE)
            .filter(|charge| (0.0..=100.0).contains(charge))
    }

    /// How well the radio receives, in the camera's own measure, presumably dBm.
    pub fn signal(&self) -> Option<f64> {
        first_number(self.radio.as_ref()?, &SIGNAL)
    }
}

fn first_number(map: &Map<String, Value>, names: &[&str]) -> Option<f64> {
    let number = names.iter().find_map(|name| map.get(*name)?.as_f64())?;
    number.is_finite().then_some(number)
}

impl Activity {
    fn read(mut fields: Fields) -> Self {
        Self {
            event_id: fields.text("eventId"),
            activity_type: fields.text("activityType"),
            timestamp: fields.time("timestamp"),
            confidence: fields.number("confidence"),
            region: fields.object("region"),
        }
    }
}

/// A JSON object out of which fields are taken; what has another type than wanted counts as missing.
struct Fields(Map<String, Value>);

impl Fields {
    /// Text; a number is taken as it is written.
    fn text(&mut self, key: &str) -> Option<String> {
        match self.0.remove(key)? {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A finite number, also one written as text.
    fn number(&mut self, key: &str) -> Option<f64> {
        let number = match self.0.remove(key)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        number.filter(|number| number.is_finite())
    }

    fn object(&mut self, key: &str) -> Option<Map<String, Value>> {
        match self.0.remove(key)? {
            Value::Object(map) => Some(map),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => None,
        }
    }

    /// Unix seconds (also as text, also with a fraction) or ISO 8601; without an offset it is UTC.
    fn time(&mut self, key: &str) -> Option<Timestamp> {
        match self.0.remove(key)? {
            Value::Number(number) => match number.as_i64() {
                Some(seconds) => Timestamp::from_second(seconds).ok(),
                None => unix_time(number.as_f64()?),
            },
            Value::String(text) => {
                let text = text.trim();
                iso_time(text).or_else(|| unix_time(text.parse().ok()?))
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

fn unix_time(seconds: f64) -> Option<Timestamp> {
    let span = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::from_duration(span).ok()
}

fn iso_time(text: &str) -> Option<Timestamp> {
    let with_offset = text.parse::<Timestamp>().ok();
    with_offset.or_else(|| {
        let local = text.parse::<jiff::civil::DateTime>().ok()?;
        TimeZone::UTC
            .to_ambiguous_timestamp(local)
            .compatible()
            .ok()
    })
}

/// Unix seconds, as the cameras send; ISO 8601 where seconds would lose something.
fn write_time<S: serde::Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        None => serializer.serialize_none(),
        Some(time) if time.subsec_nanosecond() == 0 => serializer.serialize_i64(time.as_second()),
        Some(time) => serializer.collect_str(time),
    }
}

#[cfg(test)]
mod tests;
