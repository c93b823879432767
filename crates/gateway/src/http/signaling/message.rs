//! The signaling messages as existing pages know them. What is wrong with a message is said exactly; nothing here acts.

use apiary_wire::id::{CameraId, CameraIdError, StreamId, ViewerId};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::reason::{Cause, Reason};
use crate::supervisor::StreamSnapshot;

/// Longest message taken, in octets.
pub(super) const MAX_MESSAGE: usize = 64 * 1024;
/// Longest candidate taken, in octets; real ones stay below 200.
const MAX_CANDIDATE: usize = 1024;
/// How much of an unknown type an error repeats.
const SHOWN_CHARS: usize = 40;
/// What pages may say.
const KNOWN: &str = "viewer, onIceCandidate, talk, hush, stop";

/// From the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClientMessage {
    /// It wants to watch this camera.
    Viewer {
        camera: CameraId,
        offer: String,
        /// It would like to talk as well.
        talk: bool,
    },
    /// A candidate of its own, the empty one at the end.
    Candidate(String),
    /// It wants to talk now.
    Talk,
    /// It has finished.
    Hush,
    /// It leaves.
    Stop,
}

/// What is wrong with a message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    #[error("the message is longer than {} KiB, the most that is taken", MAX_MESSAGE / 1024)]
    TooLong,
    #[error("messages are JSON text, but this one is binary")]
    Binary,
    #[error("the message is not JSON: {0}")]
    NotJson(String),
    #[error("the message is not a JSON object")]
    NotAnObject,
    #[error("the message has no type; known types: {KNOWN}")]
    NoType,
    #[error("unknown message type {0:?}; known types: {KNOWN}")]
    UnknownType(String),
    #[error(
        "a message of type {message} needs the field {field}, which is missing or not {expected}"
    )]
    Field {
        message: &'static str,
        field: &'static str,
        expected: &'static str,
    },
    #[error("cameraId {0}")]
    CameraId(#[from] CameraIdError),
    #[error("the candidate is longer than {MAX_CANDIDATE} octets")]
    CandidateTooLong,
}

impl ClientMessage {
    pub(super) fn parse(text: &str) -> Result<Self, MessageError> {
        if text.len() > MAX_MESSAGE {
            return Err(MessageError::TooLong);
        }
        let value: Value =
            serde_json::from_str(text).map_err(|error| MessageError::NotJson(error.to_string()))?;
        let Value::Object(message) = value else {
            return Err(MessageError::NotAnObject);
        };
        match message.get("type") {
            Some(Value::String(kind)) => match kind.as_str() {
                "viewer" => viewer(message),
                "onIceCandidate" => candidate(&message),
                "talk" => Ok(Self::Talk),
                "hush" => Ok(Self::Hush),
                "stop" => Ok(Self::Stop),
                unknown => Err(MessageError::UnknownType(
                    unknown.chars().take(SHOWN_CHARS).collect(),
                )),
            },
            Some(_) | None => Err(MessageError::NoType),
        }
    }
}

/// `streamId` may be there, null or absent: a camera has one stream at most, so nothing depends on it.
fn viewer(mut message: Map<String, Value>) -> Result<ClientMessage, MessageError> {
    let missing = |field| MessageError::Field {
        message: "viewer",
        field,
        expected: "a text",
    };
    let camera = match message.get("cameraId") {
        Some(Value::String(id)) => id.parse()?,
        Some(_) | None => return Err(missing("cameraId")),
    };
    let talk = message.get("talk") == Some(&Value::Bool(true));
    match message.remove("sdpOffer") {
        Some(Value::String(offer)) => Ok(ClientMessage::Viewer {
            camera,
            offer,
            talk,
        }),
        Some(_) | None => Err(missing("sdpOffer")),
    }
}

/// A null candidate is how some pages say that there are no more.
fn candidate(message: &Map<String, Value>) -> Result<ClientMessage, MessageError> {
    let line = match message.get("candidate") {
        Some(Value::Null) => "",
        Some(Value::Object(candidate)) => match candidate.get("candidate") {
            Some(Value::String(line)) => line.as_str(),
            Some(_) | None => return Err(no_candidate("candidate.candidate", "a text")),
        },
        Some(_) | None => return Err(no_candidate("candidate", "an object")),
    };
    if line.len() > MAX_CANDIDATE {
        return Err(MessageError::CandidateTooLong);
    }
    let line = line.trim();
    Ok(ClientMessage::Candidate(
        line.strip_prefix("a=").unwrap_or(line).to_owned(),
    ))
}

fn no_candidate(field: &'static str, expected: &'static str) -> MessageError {
    MessageError::Field {
        message: "onIceCandidate",
        field,
        expected,
    }
}

/// To the page. Pages ignore types and fields that they do not know.
#[derive(Debug, Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(super) enum ServerMessage {
    /// The answer to `viewer`.
    ViewerResponse {
        sdp_answer: String,
        viewer_id: ViewerId,
        camera_id: CameraId,
        stream_id: StreamId,
    },
    /// A candidate of ours. Those of the built-in engine are all in the answer too.
    IceCandidate { candidate: Candidate },
    /// How the stream does, at the join and whenever that changes.
    State {
        camera_id: CameraId,
        stream_id: StreamId,
        state: &'static str,
        health: &'static str,
        viewer_count: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
    /// The viewer is gone. `retry` says whether joining again at once makes sense without anybody's doing.
    Stopped {
        reason: String,
        cause: Cause,
        state: &'static str,
        retry: bool,
    },
    /// It is the page's turn to talk: its voice reaches the camera from now on.
    Talking,
    /// It does not, or not any more. `message` says why; absent where the page asked for it.
    Hushed {
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
    },
    /// The last message could not be acted on. `retry` says whether the same message may succeed later.
    Error {
        message: String,
        cause: Cause,
        retry: bool,
    },
}

/// As `RTCIceCandidateInit` of browsers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate {
    pub(super) candidate: String,
    pub(super) sdp_mid: Option<String>,
    #[serde(rename = "sdpMLineIndex")]
    pub(super) sdp_m_line_index: u16,
}

impl ServerMessage {
    pub(super) fn state(stream: &StreamSnapshot) -> Self {
        Self::State {
            camera_id: stream.camera,
            stream_id: stream.stream,
            state: stream.phase.as_str(),
            health: stream.health.as_str(),
            viewer_count: stream.viewer_count,
            message: stream.error.as_ref().map(Reason::to_string),
            cause: stream.error.clone().map(|error| error.cause),
        }
    }

    pub(super) fn stopped(reason: Reason, state: &'static str, retry: bool) -> Self {
        Self::Stopped {
            reason: reason.text,
            cause: reason.cause,
            state,
            retry,
        }
    }

    pub(super) fn hushed(why: Option<Reason>) -> Self {
        let (message, cause) = why.map(|why| (why.text, why.cause)).unzip();
        Self::Hushed { message, cause }
    }

    pub(super) fn error(reason: Reason, retry: bool) -> Self {
        Self::Error {
            message: reason.text,
            cause: reason.cause,
            retry,
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and ids always become JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Code;

    const CAMERA: &str = "56c1cadcf1fa4c6caeba3e2fd85efebf";

    #[test]
    fn messages_of_existing_pages_are_understood() {
        for stream in ["", r#""streamId":null,"#, r#""streamId":"s1","#] {
            let text = format!(
                r#"{{"type":"viewer","cameraId":"{CAMERA}",{stream}"sdpOffer":"v=0\r\n"}}"#
            );
            let expected = ClientMessage::Viewer {
                camera: CAMERA.parse().unwrap(),
                offer: "v=0\r\n".to_owned(),
                talk: false,
            };
            assert_eq!(ClientMessage::parse(&text), Ok(expected), "{text}");
        }
        for (asked, talk) in [
            ("true", true),
            ("false", false),
            ("1", false),
            ("null", false),
        ] {
            let text = format!(
                r#"{{"type":"viewer","cameraId":"{CAMERA}","sdpOffer":"","talk":{asked}}}"#
            );
            let parsed = ClientMessage::parse(&text).unwrap();
            assert!(
                matches!(parsed, ClientMessage::Viewer { talk: of, .. } if of == talk),
                "{text}"
            );
        }
        let line = "candidate:1 1 udp 2122260223 192.168.1.5 54321 typ host";
        for shown in [line.to_owned(), format!("a={line}")] {
            let text = format!(
                r#"{{"type":"onIceCandidate","candidate":{{"candidate":"{shown}","sdpMid":"0","sdpMLineIndex":0}}}}"#
            );
            assert_eq!(
                ClientMessage::parse(&text),
                Ok(ClientMessage::Candidate(line.to_owned()))
            );
        }
        for end in ["null", r#"{"candidate":""}"#] {
            let text = format!(r#"{{"type":"onIceCandidate","candidate":{end}}}"#);
            assert_eq!(
                ClientMessage::parse(&text),
                Ok(ClientMessage::Candidate(String::new()))
            );
        }
        assert_eq!(
            ClientMessage::parse(r#"{"type":"stop","x":[1]}"#),
            Ok(ClientMessage::Stop)
        );
    }

    #[test]
    fn what_is_wrong_is_said_exactly() {
        let cases = [
            ("{", "the message is not JSON"),
            ("[]", "not a JSON object"),
            (
                "{}",
                "has no type; known types: viewer, onIceCandidate, talk, hush, stop",
            ),
            (r#"{"type":7}"#, "has no type"),
            (
                r#"{"type":"presenter"}"#,
                r#"unknown message type "presenter""#,
            ),
            (
                r#"{"type":"viewer"}"#,
                "type viewer needs the field cameraId",
            ),
            (
                r#"{"type":"viewer","cameraId":"../../etc","sdpOffer":""}"#,
                "32 hexadecimal digits",
            ),
            (
                r#"{"type":"viewer","cameraId":"56c1cadcf1fa4c6caeba3e2fd85efebf"}"#,
                "type viewer needs the field sdpOffer",
            ),
            (
                r#"{"type":"viewer","cameraId":"56c1cadcf1fa4c6caeba3e2fd85efebf","sdpOffer":3}"#,
                "sdpOffer, which is missing or not a text",
            ),
            (
                r#"{"type":"onIceCandidate"}"#,
                "type onIceCandidate needs the field candidate",
            ),
            (
                r#"{"type":"onIceCandidate","candidate":{"sdpMid":"0"}}"#,
                "candidate.candidate",
            ),
        ];
        for (text, expected) in cases {
            let message = ClientMessage::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text} gave: {message}");
        }
    }

    #[test]
    fn long_and_deep_messages_are_refused() {
        let long = format!(r#"{{"type":"stop","x":"{}"}}"#, "x".repeat(MAX_MESSAGE));
        assert_eq!(ClientMessage::parse(&long), Err(MessageError::TooLong));
        let deep = format!(
            r#"{{"type":"stop","x":{}{}}}"#,
            "[".repeat(30_000),
            "]".repeat(30_000)
        );
        assert!(matches!(
            ClientMessage::parse(&deep),
            Err(MessageError::NotJson(_))
        ));
        let candidate = format!(
            r#"{{"type":"onIceCandidate","candidate":{{"candidate":"{}"}}}}"#,
            "x".repeat(2000)
        );
        assert_eq!(
            ClientMessage::parse(&candidate),
            Err(MessageError::CandidateTooLong)
        );
        let unknown = format!(r#"{{"type":"{}"}}"#, "x".repeat(5000));
        assert!(
            ClientMessage::parse(&unknown)
                .unwrap_err()
                .to_string()
                .len()
                < 200
        );
    }

    #[test]
    fn answers_have_the_fields_that_existing_pages_read() {
        let viewer = ViewerId("67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap());
        let stream = StreamId("5c0d5f3b-2a08-45b0-8d4c-0d6c5c7cf0aa".parse().unwrap());
        let response = ServerMessage::ViewerResponse {
            sdp_answer: "v=0\r\n".to_owned(),
            viewer_id: viewer,
            camera_id: CAMERA.parse().unwrap(),
            stream_id: stream,
        };
        let json: Value = serde_json::from_str(&response.to_json()).unwrap();
        assert_eq!(json["type"], "viewerResponse");
        assert_eq!(json["sdpAnswer"], "v=0\r\n");
        assert_eq!(json["viewerId"], viewer.to_string());
        let candidate = Candidate {
            candidate: "candidate:1".to_owned(),
            sdp_mid: Some("0".to_owned()),
            sdp_m_line_index: 0,
        };
        let json: Value =
            serde_json::from_str(&ServerMessage::IceCandidate { candidate }.to_json()).unwrap();
        assert_eq!(json["type"], "iceCandidate");
        assert_eq!(json["candidate"]["sdpMLineIndex"], 0);
        assert_eq!(json["candidate"]["sdpMid"], "0");
        let reason = Reason::new(Code::ViewerLimit, "no").with("limit", 2);
        let error = ServerMessage::error(reason, false);
        assert_eq!(
            error.to_json(),
            r#"{"type":"error","message":"no","cause":{"code":"viewer_limit","values":{"limit":"2"}},"retry":false}"#
        );
        let reason = Reason::new(Code::StreamStopped, "x");
        let stopped = ServerMessage::stopped(reason, "stopped", false);
        assert!(
            stopped
                .to_json()
                .starts_with(r#"{"type":"stopped","reason":"x""#)
        );
    }
}
