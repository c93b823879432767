//! Commands to a camera: topic and JSON, written by the gateway and read by the simulator.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{COMMAND_ROOT, DEVICE_TYPE, MAX_PAYLOAD_LEN, Mode, Settings};
use crate::id::{CameraId, CameraIdError, StreamId, shorten};

/// What a camera can be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Send RTP to where the SDP says.
    Play {
        /// The run that starts.
        stream: StreamId,
        /// The SDP in its exact form ([`crate::sdp::CameraSdp`]). The camera's field for it is named
        /// `sdpOffer`, but it holds an answer.
        sdp: String,
    },
    /// Go on sending.
    KeepAlive {
        /// The run that goes on.
        stream: StreamId,
        /// 0, 1, 2, … within the run.
        count: u64,
    },
    /// Stop sending.
    Stop {
        /// The run that ends.
        stream: StreamId,
    },
    /// Change the mode.
    SetMode(Mode),
    /// Restart the device.
    Reboot,
    /// Change the settings, all at once.
    UpdateSettings(Box<Settings>),
    /// Make a sound.
    PlaySound {
        /// Which one.
        sound_type: String,
    },
    /// Be silent again.
    StopSound,
}

/// Why a message is no command.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The topic is not one of a command.
    #[error("{topic:?} is not the topic of a camera command")]
    Topic {
        /// The topic, shortened.
        topic: String,
    },
    /// The topic names no camera.
    #[error("the command's topic names no camera")]
    Camera(#[source] CameraIdError),
    /// More than [`MAX_PAYLOAD_LEN`].
    #[error("a command of {len} bytes is too long: at most {MAX_PAYLOAD_LEN} are read")]
    TooLong {
        /// The payload's length.
        len: usize,
    },
    /// The payload is not JSON, or a field is missing or of the wrong type.
    #[error("the payload of {action} for camera {camera} cannot be read")]
    Payload {
        /// The camera named by the topic.
        camera: CameraId,
        /// The end of the topic.
        action: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

const PLAY: &str = "stream/play";
const KEEP_ALIVE: &str = "stream/keepalive";
const STOP: &str = "stream/stop";
const SET_MODE: &str = "system/setmode";
const REBOOT: &str = "system/reboot";
const UPDATE_SETTINGS: &str = "settings/update";
const PLAY_SOUND: &str = "sound/play";
const STOP_SOUND: &str = "sound/stop";
const ACTIONS: [&str; 8] = [
    PLAY,
    KEEP_ALIVE,
    STOP,
    SET_MODE,
    REBOOT,
    UPDATE_SETTINGS,
    PLAY_SOUND,
    STOP_SOUND,
];
/// What fields that do not apply are filled with.
const NOT_APPLICABLE: &str = "NA";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    request_id: Uuid,
    creation_timestamp: String,
    source_id: CameraId,
    source_type: &'static str,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Body<'a> {
    Play {
        stream_id: StreamId,
        sdp_offer: &'a str,
        message_type: &'static str,
    },
    KeepAlive {
        stream_id: StreamId,
        keepalive_count: u64,
        message_type: &'static str,
    },
    Stop {
        stream_id: StreamId,
        message_type: &'static str,
    },
    SetMode {
        mode: Mode,
        r#type: &'static str,
        duration_minutes: &'static str,
        interval_seconds: &'static str,
    },
    Settings(&'a Settings),
    Sound {
        sound_type: &'a str,
    },
    Nothing {},
}

impl Command {
    /// Where to publish it.
    pub fn topic(&self, camera: CameraId) -> String {
        format!("{COMMAND_ROOT}/{camera}/{}", self.action())
    }

    /// The end of its topic, like `stream/play`.
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Play { .. } => PLAY,
            Self::KeepAlive { .. } => KEEP_ALIVE,
            Self::Stop { .. } => STOP,
            Self::SetMode(_) => SET_MODE,
            Self::Reboot => REBOOT,
            Self::UpdateSettings(_) => UPDATE_SETTINGS,
            Self::PlaySound { .. } => PLAY_SOUND,
            Self::StopSound => STOP_SOUND,
        }
    }

    /// What to publish. `request_id` is new for each message.
    pub fn to_json(&self, camera: CameraId, request_id: Uuid, now: Timestamp) -> String {
        let envelope = Envelope {
            request_id,
            // The precision is what the cloud sent; it also keeps a fraction on whole seconds.
            creation_timestamp: format!("{now:.6}"),
            source_id: camera,
            source_type: DEVICE_TYPE,
            body: self.body(),
        };
        serde_json::to_string(&envelope)
            .expect("keys are text and writing into a string cannot fail")
    }

    fn body(&self) -> Body<'_> {
        match self {
            Self::Play { stream, sdp } => Body::Play {
                stream_id: *stream,
                sdp_offer: sdp,
                message_type: "play",
            },
            Self::KeepAlive { stream, count } => Body::KeepAlive {
                stream_id: *stream,
                keepalive_count: *count,
                message_type: "keepalive",
            },
            Self::Stop { stream } => Body::Stop {
                stream_id: *stream,
                message_type: "stop",
            },
            Self::SetMode(mode) => Body::SetMode {
                mode: *mode,
                r#type: NOT_APPLICABLE,
                duration_minutes: NOT_APPLICABLE,
                interval_seconds: NOT_APPLICABLE,
            },
            Self::UpdateSettings(settings) => Body::Settings(settings),
            Self::PlaySound { sound_type } => Body::Sound { sound_type },
            Self::Reboot | Self::StopSound => Body::Nothing {},
        }
    }

    /// Reads a command as a camera does. The topic says for whom it is; the envelope is not looked at.
    ///
    /// # Errors
    /// When the topic is none of a command or the fields that the command needs are not there.
    pub fn parse(topic: &str, payload: &[u8]) -> Result<(CameraId, Self), CommandError> {
        let (camera, action) = parse_topic(topic)?;
        if payload.len() > MAX_PAYLOAD_LEN {
            return Err(CommandError::TooLong { len: payload.len() });
        }
        let command = Self::from_json(action, payload).map_err(|source| CommandError::Payload {
            camera,
            action,
            source,
        })?;
        Ok((camera, command))
    }

    fn from_json(action: &str, payload: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(match action {
            PLAY => {
                let fields: PlayFields = serde_json::from_slice(payload)?;
                Self::Play {
                    stream: fields.stream_id,
                    sdp: fields.sdp_offer,
                }
            }
            KEEP_ALIVE => {
                let fields: KeepAliveFields = serde_json::from_slice(payload)?;
                Self::KeepAlive {
                    stream: fields.stream_id,
                    count: fields.keepalive_count,
                }
            }
            STOP => Self::Stop {
                stream: serde_json::from_slice::<StopFields>(payload)?.stream_id,
            },
            SET_MODE => Self::SetMode(serde_json::from_slice::<ModeFields>(payload)?.mode),
            UPDATE_SETTINGS => Self::UpdateSettings(serde_json::from_slice(payload)?),
            PLAY_SOUND => {
                let fields: SoundFields = serde_json::from_slice(payload)?;
                Self::PlaySound {
                    sound_type: fields.sound_type,
                }
            }
            STOP_SOUND => serde_json::from_slice::<NoFields>(payload).map(|_| Self::StopSound)?,
            _ => serde_json::from_slice::<NoFields>(payload).map(|_| Self::Reboot)?,
        })
    }
}

/// The camera and one of [`ACTIONS`].
fn parse_topic(topic: &str) -> Result<(CameraId, &'static str), CommandError> {
    let unknown = || CommandError::Topic {
        topic: shorten(topic),
    };
    let rest = topic
        .strip_prefix(COMMAND_ROOT)
        .and_then(|rest| rest.strip_prefix('/'));
    let (camera, action) = rest
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(unknown)?;
    let camera = camera.parse().map_err(CommandError::Camera)?;
    let action = ACTIONS
        .into_iter()
        .find(|known| *known == action)
        .ok_or_else(unknown)?;
    Ok((camera, action))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlayFields {
    stream_id: StreamId,
    sdp_offer: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeepAliveFields {
    stream_id: StreamId,
    keepalive_count: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopFields {
    stream_id: StreamId,
}

#[derive(Deserialize)]
struct ModeFields {
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SoundFields {
    sound_type: String,
}

#[derive(Deserialize)]
struct NoFields {}

#[cfg(test)]
mod tests {
    use super::super::Detection;
    use super::*;

    const CAMERA: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";
    const ENVELOPE: &str = concat!(
        r#"{"requestId":"00000000-0000-0000-0000-000000000001","#,
        r#""creationTimestamp":"2024-05-06T07:08:09.000000Z","#,
        r#""sourceId":"56C1CADCF1FA4C6CAEBA3E2FD85EFEBF","sourceType":"hive-cam""#,
    );
    const STREAM: &str = r#""streamId":"00000000-0000-0000-0000-000000000002""#;

    fn stream() -> StreamId {
        StreamId(Uuid::from_u128(2))
    }

    /// Each command with its topic's end and the JSON after the envelope.
    fn golden() -> Vec<(Command, &'static str, String)> {
        let settings = concat!(
            r#","resolution":"720p","frameRate":"30","nightVision":"AUTO","invertImage":false,"#,
            r#""cameraZoom":"1X","wdr":false,"scheduleEnabled":false,"schedule":[],"timeZone":"GMT","#,
            r#""motionDetection":"SMART","audioDetection":"ALL","activityZone":"ALL","#,
            r#""motionSensitivity":"MEDIUM","audioSensitivity":"MEDIUM","storage":"CLOUD","#,
            r#""ledDot":true,"ledRing":true,"soundAlert":false,"cameraAudio":true,"volume":"MEDIUM"}"#,
        );
        let mode = r#","mode":"LIVESTREAMONLY","type":"NA","durationMinutes":"NA","intervalSeconds":"NA"}"#;
        vec![
            (
                Command::Play {
                    stream: stream(),
                    sdp: "v=0\r\ns=\"x\"\r\n".to_owned(),
                },
                "stream/play",
                format!(r#",{STREAM},"sdpOffer":"v=0\r\ns=\"x\"\r\n","messageType":"play"}}"#),
            ),
            (
                Command::KeepAlive {
                    stream: stream(),
                    count: 7,
                },
                "stream/keepalive",
                format!(r#",{STREAM},"keepaliveCount":7,"messageType":"keepalive"}}"#),
            ),
            (
                Command::Stop { stream: stream() },
                "stream/stop",
                format!(r#",{STREAM},"messageType":"stop"}}"#),
            ),
            (
                Command::SetMode(Mode::LiveStreamOnly),
                "system/setmode",
                mode.to_owned(),
            ),
            (Command::Reboot, "system/reboot", "}".to_owned()),
            (
                Command::UpdateSettings(Box::default()),
                "settings/update",
                settings.to_owned(),
            ),
            (
                Command::PlaySound {
                    sound_type: "SIREN".to_owned(),
                },
                "sound/play",
                r#","soundType":"SIREN"}"#.to_owned(),
            ),
            (Command::StopSound, "sound/stop", "}".to_owned()),
        ]
    }

    #[test]
    fn every_command_has_its_topic_and_json_and_is_read_back() {
        let camera: CameraId = CAMERA.parse().unwrap();
        let now: Timestamp = "2024-05-06T07:08:09Z".parse().unwrap();
        for (command, action, body) in golden() {
            let topic = command.topic(camera);
            let json = command.to_json(camera, Uuid::from_u128(1), now);
            assert_eq!(topic, format!("prod/honeycomb/{CAMERA}/{action}"));
            assert_eq!(json, format!("{ENVELOPE}{body}"));
            assert_eq!(
                Command::parse(&topic, json.as_bytes()).unwrap(),
                (camera, command)
            );
        }
    }

    #[test]
    fn settings_carry_all_twenty_fields() {
        let json = serde_json::to_value(Settings::default()).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 20);
        let partly: Settings = serde_json::from_str(r#"{"resolution":"1080p"}"#).unwrap();
        assert_eq!(partly.picture.resolution, "1080p");
        assert_eq!(partly.detection, Detection::default());
    }

    #[test]
    fn modes_are_read_in_either_case() {
        assert_eq!("liveStreamOnly".parse(), Ok(Mode::LiveStreamOnly));
        assert!(
            "OFF"
                .parse::<Mode>()
                .unwrap_err()
                .to_string()
                .contains("PRIVACY")
        );
    }

    #[test]
    fn h32_topics_that_name_no_camera_or_command_are_refused() {
        for camera in [
            "",
            "+",
            "#",
            "$SYS",
            "56C1",
            "56C1CADCF1FA4C6CAEBA3E2FD85EFEB\0",
        ] {
            let topic = format!("prod/honeycomb/{camera}/stream/stop");
            assert!(
                matches!(Command::parse(&topic, b"{}"), Err(CommandError::Camera(_))),
                "{topic:?}"
            );
        }
        let with_slash = format!(
            "prod/honeycomb/{}/{}/stream/stop",
            &CAMERA[..16],
            &CAMERA[16..]
        );
        for topic in ["", "prod/honeycomb", "prod/honeycombx", &with_slash] {
            assert!(Command::parse(topic, b"{}").is_err(), "{topic:?}");
        }
        for action in [
            "",
            "stream",
            "stream/play/",
            "stream/+",
            "#",
            "stream/play/x",
        ] {
            let topic = format!("prod/honeycomb/{CAMERA}/{action}");
            assert!(
                matches!(
                    Command::parse(&topic, b"{}"),
                    Err(CommandError::Topic { .. })
                ),
                "{topic:?}"
            );
        }
    }

    #[test]
    fn payloads_without_the_needed_fields_are_refused_with_the_field() {
        let topic = |action: &str| format!("prod/honeycomb/{CAMERA}/{action}");
        let cause = |action: &str, payload: &str| match Command::parse(
            &topic(action),
            payload.as_bytes(),
        ) {
            Err(CommandError::Payload { source, .. }) => source.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(cause("stream/play", &format!("{{{STREAM}}}")).contains("sdpOffer"));
        assert!(
            cause(
                "stream/keepalive",
                &format!("{{{STREAM},\"keepaliveCount\":-1}}")
            )
            .contains("-1")
        );
        assert!(cause("stream/stop", r#"{"streamId":"x"}"#).contains("UUID"));
        assert!(cause("system/setmode", r#"{"mode":"OFF"}"#).contains("OFF"));
        assert!(cause("system/reboot", "nonsense").contains("line 1"));
        assert!(cause("system/reboot", &"[".repeat(1000)).contains("line 1"));
        let long = vec![b' '; MAX_PAYLOAD_LEN + 1];
        assert!(matches!(
            Command::parse(&topic("sound/stop"), &long),
            Err(CommandError::TooLong { .. })
        ));
    }
}
