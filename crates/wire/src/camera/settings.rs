//! A camera's mode and settings, as commands carry them.
//!
//! Only the values of which the field knows something are spelled out: the camera's vocabulary beyond its
//! defaults is unknown, so values are text. Where a default is marked *assumed* it was not observed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a camera does on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// Detects and reports, and streams on command.
    Armed,
    /// Streams on command only.
    LiveStreamOnly,
    /// Does not stream: ignores `stream/play` (*assumed*).
    Privacy,
}

/// A text is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a camera mode: these are ARMED, LIVESTREAMONLY and PRIVACY")]
pub struct UnknownMode {
    /// What was given, shortened.
    pub found: String,
}

impl Mode {
    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Armed => "ARMED",
            Self::LiveStreamOnly => "LIVESTREAMONLY",
            Self::Privacy => "PRIVACY",
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Mode {
    type Err = UnknownMode;

    /// Takes either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Armed, Self::LiveStreamOnly, Self::Privacy]
            .into_iter()
            .find(|mode| mode.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownMode {
                found: crate::id::shorten(text),
            })
    }
}

/// All settings of a camera; each `settings/update` carries all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Size, rate and rendering of the picture.
    #[serde(flatten)]
    pub picture: Picture,
    /// When the camera is armed by itself.
    #[serde(flatten)]
    pub schedule: Schedule,
    /// What it reports.
    #[serde(flatten)]
    pub detection: Detection,
    /// Where it stores clips.
    #[serde(default = "cloud")]
    pub storage: String,
    /// Its lights.
    #[serde(flatten)]
    pub lights: Lights,
    /// Its microphone and loudspeaker.
    #[serde(flatten)]
    pub sound: Sound,
}

fn cloud() -> String {
    "CLOUD".to_owned()
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            picture: Picture::default(),
            schedule: Schedule::default(),
            detection: Detection::default(),
            storage: cloud(),
            lights: Lights::default(),
            sound: Sound::default(),
        }
    }
}

/// Size, rate and rendering of the picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Picture {
    /// `720p` or `1080p`.
    pub resolution: String,
    /// Frames per second, as text.
    pub frame_rate: String,
    /// `AUTO`, …
    pub night_vision: String,
    /// Upside down, for cameras that hang from a ceiling. Off by default (*assumed*).
    pub invert_image: bool,
    /// `1X`, …
    pub camera_zoom: String,
    /// Wide dynamic range. Off by default (*assumed*).
    pub wdr: bool,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            resolution: "720p".to_owned(),
            frame_rate: "30".to_owned(),
            night_vision: "AUTO".to_owned(),
            invert_image: false,
            camera_zoom: "1X".to_owned(),
            wdr: false,
        }
    }
}

/// When the camera is armed by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Schedule {
    /// Off by default (*assumed*).
    pub schedule_enabled: bool,
    /// The entries' form is unknown; empty by default.
    pub schedule: Vec<Value>,
    /// The zone of the entries.
    pub time_zone: String,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            schedule_enabled: false,
            schedule: Vec::new(),
            time_zone: "GMT".to_owned(),
        }
    }
}

/// What the camera reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Detection {
    /// `SMART`, …
    pub motion_detection: String,
    /// `ALL`, …
    pub audio_detection: String,
    /// `ALL`, …
    pub activity_zone: String,
    /// `LOW`, `MEDIUM`, `HIGH`.
    pub motion_sensitivity: String,
    /// `LOW`, `MEDIUM`, `HIGH`.
    pub audio_sensitivity: String,
}

impl Default for Detection {
    fn default() -> Self {
        Self {
            motion_detection: "SMART".to_owned(),
            audio_detection: "ALL".to_owned(),
            activity_zone: "ALL".to_owned(),
            motion_sensitivity: "MEDIUM".to_owned(),
            audio_sensitivity: "MEDIUM".to_owned(),
        }
    }
}

/// The camera's lights; both on by default (*assumed*).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lights {
    /// The small one.
    pub led_dot: bool,
    /// The ring.
    pub led_ring: bool,
}

impl Default for Lights {
    fn default() -> Self {
        Self {
            led_dot: true,
            led_ring: true,
        }
    }
}

/// The camera's microphone and loudspeaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sound {
    /// Makes a sound on activity. Off by default (*assumed*).
    pub sound_alert: bool,
    /// Sends sound with the picture. On by default (*assumed*).
    pub camera_audio: bool,
    /// `LOW`, `MEDIUM`, `HIGH`.
    pub volume: String,
}

impl Default for Sound {
    fn default() -> Self {
        Self {
            sound_alert: false,
            camera_audio: true,
            volume: "MEDIUM".to_owned(),
        }
    }
}

/// What a settings field takes.
#[derive(Clone, Copy, Debug)]
enum Takes {
    /// One of these words; any other word where there are none, since the camera's vocabulary is not known.
    Word(&'static [&'static str]),
    /// Frames per second, as text.
    Rate,
    Flag,
    Schedule,
}

const LEVELS: &[&str] = &["LOW", "MEDIUM", "HIGH"];
/// All fields, as on the wire.
const FIELDS: [(&str, Takes); 20] = [
    ("resolution", Takes::Word(&["720p", "1080p"])),
    ("frameRate", Takes::Rate),
    ("nightVision", Takes::Word(&[])),
    ("invertImage", Takes::Flag),
    ("cameraZoom", Takes::Word(&[])),
    ("wdr", Takes::Flag),
    ("scheduleEnabled", Takes::Flag),
    ("schedule", Takes::Schedule),
    ("timeZone", Takes::Word(&[])),
    ("motionDetection", Takes::Word(&[])),
    ("audioDetection", Takes::Word(&[])),
    ("activityZone", Takes::Word(&[])),
    ("motionSensitivity", Takes::Word(LEVELS)),
    ("audioSensitivity", Takes::Word(LEVELS)),
    ("storage", Takes::Word(&[])),
    ("ledDot", Takes::Flag),
    ("ledRing", Takes::Flag),
    ("soundAlert", Takes::Flag),
    ("cameraAudio", Takes::Flag),
    ("volume", Takes::Word(LEVELS)),
];
/// Longest word, in octets.
const MAX_WORD: usize = 64;
/// Most frames per second.
const MAX_RATE: u8 = 30;
/// Longest schedule, in octets of JSON.
const MAX_SCHEDULE: usize = 4096;

/// Why settings are not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There is no such field.
    #[error("cameras have no setting {field:?}; these are {}", FIELDS.map(|(name, _)| name).join(", "))]
    UnknownField {
        /// What was given, shortened.
        field: String,
    },
    /// The field takes something else.
    #[error("the setting {field} takes {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it takes.
        expected: String,
    },
}

impl Takes {
    fn allows(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Word(words), Value::String(word)) => {
                words.contains(&word.as_str()) || (words.is_empty() && is_word(word))
            }
            (Self::Rate, Value::String(rate)) => rate.parse::<u8>().is_ok_and(|number| {
                (1..=MAX_RATE).contains(&number) && *rate == number.to_string()
            }),
            (Self::Flag, Value::Bool(_)) => true,
            (Self::Schedule, Value::Array(_)) => value.to_string().len() <= MAX_SCHEDULE,
            (Self::Word(_) | Self::Rate | Self::Flag | Self::Schedule, _) => false,
        }
    }

    fn expected(self) -> String {
        match self {
            Self::Word([]) => format!("a word of at most {MAX_WORD} letters, digits and signs"),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Rate => format!("a number from 1 to {MAX_RATE}, as text"),
            Self::Flag => "true or false".to_owned(),
            Self::Schedule => format!("a list of at most {MAX_SCHEDULE} octets"),
        }
    }
}

/// Whether a text is one word, such as a camera may know.
pub fn is_word(text: &str) -> bool {
    let part_of_one = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+./:".contains(&byte);
    (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(part_of_one)
}

impl Settings {
    /// Those that a camera last reported, as far as they are understood: at the top of its state message, or in its `settings`.
    /// What it did not report is as by default.
    #[must_use]
    pub fn from_report(report: &Value) -> Self {
        let reported = |field: &str| {
            let nested = report.get("settings").and_then(|nested| nested.get(field));
            nested.or_else(|| report.get(field))
        };
        let mut fields = Self::default().to_map();
        for (field, takes) in FIELDS {
            if let Some(value) = reported(field).filter(|value| takes.allows(value)) {
                fields.insert(field.to_owned(), value.clone());
            }
        }
        Self::from_map(fields)
    }

    /// These with other values in some fields, which are named as on the wire.
    ///
    /// # Errors
    /// When there is no such field, or it takes something else.
    pub fn changed(&self, change: &Map<String, Value>) -> Result<Self, SettingsError> {
        let mut fields = self.to_map();
        for (field, value) in change {
            let known = FIELDS.into_iter().find(|(name, _)| name == field);
            let (field, takes) = known.ok_or_else(|| SettingsError::UnknownField {
                field: crate::id::shorten(field),
            })?;
            if !takes.allows(value) {
                let expected = takes.expected();
                return Err(SettingsError::Value { field, expected });
            }
            fields.insert(field.to_owned(), value.clone());
        }
        Ok(Self::from_map(fields))
    }

    fn to_map(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => unreachable!("settings are an object with text keys"),
        }
    }

    fn from_map(fields: Map<String, Value>) -> Self {
        serde_json::from_value(Value::Object(fields)).expect("each field was checked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn every_field_is_known_and_takes_its_default() {
        let defaults = Settings::default().to_map();
        assert_eq!(defaults.len(), FIELDS.len());
        for (field, takes) in FIELDS {
            assert!(takes.allows(&defaults[field]), "{field}");
        }
    }

    #[test]
    fn what_was_reported_stays_where_it_is_not_changed() {
        let reports = [
            json!({ "mode": "ARMED", "settings": { "resolution": "1080p", "ledDot": false } }),
            json!({ "mode": "ARMED", "resolution": "1080p", "ledDot": false, "wdr": "maybe", "x": 1 }),
        ];
        for report in reports {
            let settings = Settings::from_report(&report);
            let changed = settings.changed(&map(json!({ "volume": "HIGH" }))).unwrap();
            let mut expected = Settings::default();
            expected.picture.resolution = "1080p".to_owned();
            expected.lights.led_dot = false;
            expected.sound.volume = "HIGH".to_owned();
            assert_eq!(changed, expected);
        }
        for nothing in [json!(null), json!([1]), json!({ "settings": 5 })] {
            assert_eq!(Settings::from_report(&nothing), Settings::default());
        }
    }

    #[test]
    fn what_a_field_does_not_take_is_refused_with_what_it_takes() {
        let settings = Settings::default();
        for (change, text) in [
            (
                json!({ "resolution": "4k" }),
                "resolution takes one of 720p, 1080p",
            ),
            (json!({ "ledDot": "true" }), "ledDot takes true or false"),
            (
                json!({ "frameRate": 30 }),
                "frameRate takes a number from 1 to 30, as text",
            ),
            (json!({ "frameRate": "31" }), "from 1 to 30"),
            (json!({ "frameRate": "+3" }), "from 1 to 30"),
            (json!({ "volume": "LOUD" }), "LOW, MEDIUM, HIGH"),
            (json!({ "nightVision": "a b" }), "a word"),
            (json!({ "timeZone": "x".repeat(65) }), "a word"),
            (json!({ "schedule": ["x".repeat(5000)] }), "a list"),
            (json!({ "storage": null }), "a word"),
            (
                json!({ "colour": "red" }),
                "no setting \"colour\"; these are resolution",
            ),
        ] {
            let refused = settings.changed(&map(change.clone())).unwrap_err();
            assert!(refused.to_string().contains(text), "{change}: {refused}");
        }
        assert_eq!(settings.changed(&Map::new()), Ok(settings));
    }
}
