//! What the supervisor tells, as what receivers are told: changes, not states.
//!
//! A stream counts as started when its pictures flow, and is stopped only after it was started. A viewer has left only
//! after it had joined.

use std::collections::HashMap;

use apiary_core::lifecycle::{Health, Phase};
use apiary_store::{CameraEvent, EventKind as CameraEventKind};
use apiary_wire::id::CameraId;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::EventKind;
use crate::reason::Reason;
use crate::supervisor::{CameraSnapshot, StreamSnapshot, SupervisorEvent};

/// The name of the event that is sent as a trial.
const TEST: &str = "webhook.test";

/// An event as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// The same for every attempt, and for every receiver.
    pub(super) id: String,
    /// Its name.
    pub(super) kind: &'static str,
    pub(super) at: Timestamp,
    /// JSON, as it is sent.
    pub(super) body: String,
}

/// The body of what is sent.
#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    time: String,
    camera: Option<String>,
    camera_name: Option<&'a str>,
    data: &'a Value,
}

impl Event {
    /// What happened, as an event of its own.
    pub(super) fn new(happened: &Happened, name: Option<&str>, at: Timestamp) -> Self {
        let camera = Some(happened.camera.to_string());
        Self::build(happened.kind.as_str(), camera, name, &happened.data, at)
    }

    /// A trial.
    pub(super) fn test(at: Timestamp) -> Self {
        Self::build(TEST, None, None, &json!({}), at)
    }

    fn build(
        kind: &'static str,
        camera: Option<String>,
        camera_name: Option<&str>,
        data: &Value,
        at: Timestamp,
    ) -> Self {
        let id = Uuid::now_v7().to_string();
        let body = Body {
            id: &id,
            kind,
            time: at.to_string(),
            camera,
            camera_name,
            data,
        };
        let body = serde_json::to_string(&body).expect("texts and values are JSON");
        Self { id, kind, at, body }
    }
}

/// Something that receivers are told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Happened {
    pub(crate) kind: EventKind,
    pub(crate) camera: CameraId,
    data: Value,
}

/// Finds what happened in what the supervisor tells.
#[derive(Debug, Default)]
pub(crate) struct Translator {
    /// The streams that run.
    streams: HashMap<CameraId, Stream>,
    online: HashMap<CameraId, bool>,
}

#[derive(Debug, Default)]
struct Stream {
    session: String,
    /// Receivers were told that it was started.
    started: bool,
    /// The last that they were told of it is that it stalls.
    stalled: bool,
}

impl Translator {
    /// What is known at the start is no news.
    pub(crate) fn begin(cameras: &[CameraSnapshot]) -> Self {
        let online = |camera: &CameraSnapshot| Some((camera.camera, camera.online?));
        Self {
            streams: HashMap::new(),
            online: cameras.iter().filter_map(online).collect(),
        }
    }

    /// The cameras whose streams run, as far as was told.
    pub(super) fn streaming(&self) -> Vec<CameraId> {
        self.streams.keys().copied().collect()
    }

    pub(super) fn on_event(&mut self, event: &SupervisorEvent) -> Vec<Happened> {
        match event {
            SupervisorEvent::StreamChanged(stream) => self.on_stream(stream),
            SupervisorEvent::CameraChanged(camera) => self.on_camera(camera).into_iter().collect(),
            SupervisorEvent::ViewerJoined { viewer, camera } => {
                let data = json!({ "viewer_id": viewer.to_string() });
                vec![happened(EventKind::ViewerJoined, *camera, data)]
            }
            SupervisorEvent::ViewerGone {
                viewer,
                camera,
                reason,
                joined: true,
                ..
            } => {
                let data = json!({ "viewer_id": viewer.to_string(), "reason": reason.text });
                vec![happened(EventKind::ViewerLeft, *camera, data)]
            }
            SupervisorEvent::ViewerGone { joined: false, .. }
            | SupervisorEvent::TalkChanged { .. } => Vec::new(),
            SupervisorEvent::CameraEvent(event) => on_camera_event(event).into_iter().collect(),
        }
    }

    pub(super) fn on_stream(&mut self, snapshot: &StreamSnapshot) -> Vec<Happened> {
        let stream = self.streams.entry(snapshot.camera).or_default();
        if stream.session != snapshot.session_id {
            *stream = Stream {
                session: snapshot.session_id.clone(),
                ..Stream::default()
            };
        }
        let mut kinds = Vec::new();
        match snapshot.phase {
            Phase::Idle | Phase::Starting | Phase::Stopping => {}
            Phase::Active => {
                if !std::mem::replace(&mut stream.started, true) {
                    kinds.push(EventKind::StreamStarted);
                }
                let stalls = snapshot.health == Health::Stalled;
                match (std::mem::replace(&mut stream.stalled, stalls), stalls) {
                    (false, true) => kinds.push(EventKind::StreamStalled),
                    (true, false) => kinds.push(EventKind::StreamResumed),
                    (true, true) | (false, false) => {}
                }
            }
            Phase::Stopped => kinds.extend(stream.started.then_some(EventKind::StreamStopped)),
            Phase::Error => kinds.push(EventKind::StreamFailed),
        }
        if snapshot.phase.is_over() {
            self.streams.remove(&snapshot.camera);
        }
        let data = json!({ "session_id": snapshot.session_id, "error": snapshot.error.as_ref().map(Reason::to_string) });
        let happened = |kind| happened(kind, snapshot.camera, data.clone());
        kinds.into_iter().map(happened).collect()
    }

    pub(crate) fn on_camera(&mut self, snapshot: &CameraSnapshot) -> Option<Happened> {
        let online = snapshot.online?;
        let before = self.online.insert(snapshot.camera, online);
        let kind = match online {
            true => EventKind::CameraOnline,
            false => EventKind::CameraOffline,
        };
        (before != Some(online)).then(|| happened(kind, snapshot.camera, json!({})))
    }
}

fn on_camera_event(event: &CameraEvent) -> Option<Happened> {
    let kind = match event.kind {
        CameraEventKind::ActivityStart => EventKind::ActivityStarted,
        CameraEventKind::ActivityStop => EventKind::ActivityStopped,
        CameraEventKind::Connection | CameraEventKind::Status | CameraEventKind::State => {
            return None;
        }
    };
    let data = json!({
        "activity_type": event.activity_type,
        "confidence": event.confidence,
        "event_id": event.event_id,
    });
    Some(happened(kind, event.camera, data))
}

fn happened(kind: EventKind, camera: CameraId, data: Value) -> Happened {
    Happened { kind, camera, data }
}

#[cfg(test)]
mod tests {
    use apiary_store::{CameraLabel, CameraReport, EventId};
    use apiary_wire::id::{StreamId, ViewerId};

    use super::*;
    use crate::reason::Code;
    use crate::supervisor::KeepaliveSnapshot;

    const CAMERA: CameraId = CameraId::from_bytes([7; 16]);

    fn stream(session: &str, phase: Phase, health: Health) -> SupervisorEvent {
        SupervisorEvent::StreamChanged(StreamSnapshot {
            camera: CAMERA,
            session_id: session.to_owned(),
            stream: StreamId(Uuid::nil()),
            phase,
            health,
            started_at: Timestamp::UNIX_EPOCH,
            stopped_at: None,
            viewer_count: 0,
            pipeline_id: None,
            rtp_endpoint_id: None,
            webrtc_endpoint_id: None,
            error: None,
            keepalive: KeepaliveSnapshot::default(),
            starts: 0,
            stops: 0,
            errors: 0,
            last_error: None,
        })
    }

    fn camera(online: Option<bool>) -> CameraSnapshot {
        CameraSnapshot {
            camera: CAMERA,
            label: CameraLabel::default(),
            online,
            last_seen: None,
            firmware: None,
            hardware: None,
            address: None,
            report: CameraReport::default(),
            uptime_s: None,
            noticed: None,
        }
    }

    fn kinds(translator: &mut Translator, events: &[SupervisorEvent]) -> Vec<&'static str> {
        let happened = events.iter().flat_map(|event| translator.on_event(event));
        happened.map(|happened| happened.kind.as_str()).collect()
    }

    #[test]
    fn each_change_of_a_stream_is_told_once() {
        use Health::{Degraded, Good, Stalled};
        use Phase::{Active, Error, Starting, Stopped, Stopping};
        let tell = |steps: &[(Phase, Health)]| {
            let mut translator = Translator::default();
            let steps = steps
                .iter()
                .map(|(phase, health)| stream("s", *phase, *health));
            let told = kinds(&mut translator, &steps.collect::<Vec<_>>());
            assert!(
                translator.streaming().is_empty(),
                "nothing is kept of what is over"
            );
            told
        };
        let all = [
            (Starting, Good),
            (Starting, Good),
            (Active, Good),
            (Active, Degraded),
            (Active, Stalled),
            (Active, Stalled),
            (Active, Good),
            (Stopping, Good),
            (Stopped, Good),
        ];
        let told = [
            "stream.started",
            "stream.stalled",
            "stream.resumed",
            "stream.stopped",
        ];
        assert_eq!(tell(&all), told);
        // What never ran has not stopped; a failure is told of in any case.
        assert_eq!(tell(&[(Starting, Good), (Stopped, Good)]), [""; 0]);
        assert_eq!(tell(&[(Starting, Good), (Error, Good)]), ["stream.failed"]);
        // Events in between may be lost.
        assert_eq!(
            tell(&[(Active, Stalled), (Stopped, Good)]),
            ["stream.started", "stream.stalled", "stream.stopped"]
        );
    }

    #[test]
    fn another_session_of_a_camera_is_started_anew() {
        let mut translator = Translator::default();
        let events = ["one", "two"].map(|session| stream(session, Phase::Active, Health::Good));
        assert_eq!(kinds(&mut translator, &events), ["stream.started"; 2]);
    }

    #[test]
    fn cameras_come_and_go_and_what_is_known_is_no_news() {
        let mut translator = Translator::begin(&[camera(Some(true))]);
        let changed = |online| SupervisorEvent::CameraChanged(camera(online));
        let events = [Some(true), None, Some(false), Some(false), Some(true)].map(changed);
        assert_eq!(
            kinds(&mut translator, &events),
            ["camera.offline", "camera.online"]
        );
        assert_eq!(
            kinds(&mut Translator::default(), &[changed(Some(false))]),
            ["camera.offline"]
        );
    }

    #[test]
    fn only_who_had_joined_has_left() {
        let viewer = ViewerId(Uuid::nil());
        let gone = |joined| SupervisorEvent::ViewerGone {
            viewer,
            camera: CAMERA,
            reason: Reason::new(Code::ViewerLeft, "the viewer left"),
            retry: false,
            joined,
        };
        let came = SupervisorEvent::ViewerJoined {
            viewer,
            camera: CAMERA,
        };
        let told = kinds(&mut Translator::default(), &[came, gone(true), gone(false)]);
        assert_eq!(told, ["viewer.joined", "viewer.left"]);
    }

    #[test]
    fn an_event_is_json_whatever_a_camera_says() {
        let evil = "</script>\u{1b}[31m\"\r\n\0";
        let activity = CameraEvent {
            id: EventId(Uuid::nil()),
            camera: CAMERA,
            kind: CameraEventKind::ActivityStart,
            at: Timestamp::UNIX_EPOCH,
            event_id: Some(evil.to_owned()),
            activity_type: Some(evil.to_owned()),
            confidence: Some(0.5),
            detail: None,
            payload: None,
        };
        let happened = Translator::default().on_event(&SupervisorEvent::CameraEvent(activity));
        let event = Event::new(&happened[0], Some(evil), Timestamp::UNIX_EPOCH);
        assert!(!event.body.contains(char::is_control), "{}", event.body);
        let body: Value = serde_json::from_str(&event.body).unwrap();
        let expected = json!({
            "id": event.id,
            "type": "activity.started",
            "time": "1970-01-01T00:00:00Z",
            "camera": CAMERA.to_string(),
            "camera_name": evil,
            "data": { "activity_type": evil, "confidence": 0.5, "event_id": evil },
        });
        assert_eq!(body, expected);
    }
}
