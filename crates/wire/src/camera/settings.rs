//! A camera's mode and settings, as commands carry them.
//!
//! Only the values of which the field knows something are spelled out: the camera's vocabulary beyond its
//! defaults is unknown, so values are text. Where a default is marked *assumed* it was not observed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

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
