//! The registry of cameras: who was ever heard, and how each stands. Kept in the store, so that a restart forgets none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use apiary_store::{CameraEvent, CameraLabel, CameraReport, CameraRow, ConnectionState, EventKind};
use apiary_wire::camera::{CameraMessage, Connection, ConnectionStatus, Device, Status};
use apiary_wire::id::CameraId;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::camera_events::{Allowance, Events, Said};
use super::moment::Moment;
use super::snapshot::CameraSnapshot;

/// Most cameras that are remembered; further ones stream all the same.
pub(super) const CAMERA_LIMIT: usize = 100_000;
/// A row in which only the time of the last message changed is written at most this often.
const LAST_SEEN_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// Longest text of a camera that is kept.
const TEXT_LIMIT: usize = 128;
/// Longest state message that is kept, in bytes.
const SETTINGS_LIMIT: usize = 8192;

/// What is to be done after a camera was heard.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Heard {
    /// The row to write.
    pub(super) row: Option<CameraRow>,
    /// What to remember of it.
    pub(super) event: Option<CameraEvent>,
    /// What to tell the pages.
    pub(super) changed: Option<CameraSnapshot>,
    /// What its stream should know.
    pub(super) presence: Option<Presence>,
}

/// A camera came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Hello,
    Gone,
}

/// What an owner wants to say of a camera: what is `None` stays, and `Some(None)` takes it away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelChange {
    /// What it is called.
    pub name: Option<Option<String>>,
    /// Where it is.
    pub room: Option<Option<String>>,
    /// Its place in lists.
    pub position: Option<Option<u32>>,
}

#[derive(Debug, Default)]
pub(super) struct Cameras(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    known: BTreeMap<CameraId, Known>,
    events: Events,
    /// Those that notice something just now.
    busy: BTreeSet<CameraId>,
}

#[derive(Debug)]
struct Known {
    row: CameraRow,
    written: Timestamp,
    /// The row as it is was not given out to be written.
    unwritten: bool,
    allowance: Allowance,
    /// The last activity of the camera that has a name.
    last_activity: Option<(EventKind, String)>,
    moment: Moment,
}

impl Known {
    fn new(row: CameraRow, now: Timestamp) -> Self {
        Self {
            written: row.updated_at,
            row,
            unwritten: false,
            allowance: Allowance::new(now),
            last_activity: None,
            moment: Moment::default(),
        }
    }

    /// The broker may deliver a message twice.
    fn is_told_twice(&mut self, event: &CameraEvent) -> bool {
        let Some(name) = &event.event_id else {
            return false;
        };
        let activity = Some((event.kind, name.clone()));
        let twice = self.last_activity == activity;
        self.last_activity = activity;
        twice
    }
}

impl Cameras {
    /// Begins with what was kept. `forget_presence`: nobody can be connected to a broker that starts just now.
    pub(super) fn load(rows: Vec<CameraRow>, forget_presence: bool) -> Self {
        let known = rows.into_iter().map(|mut row| {
            if forget_presence && row.connection == ConnectionState::Connected {
                row.connection = ConnectionState::Unknown;
            }
            (row.camera, Known::new(row, Timestamp::now()))
        });
        Self(Mutex::new(Registry {
            known: known.collect(),
            ..Registry::default()
        }))
    }

    /// In the order that their owner gave them, then by id.
    pub(super) fn all(&self) -> Vec<CameraSnapshot> {
        let mut all: Vec<_> = self.lock().known.values().map(snapshot).collect();
        // Stable, so those without a position stay in the order of ids.
        all.sort_by_key(|camera| camera.label.position.unwrap_or(u32::MAX));
        all
    }

    pub(super) fn get(&self, camera: CameraId) -> Option<CameraSnapshot> {
        let registry = self.lock();
        registry.known.get(&camera).map(snapshot)
    }

    /// Whether the camera is connected to the broker, as far as is known.
    pub(super) fn online(&self, camera: CameraId) -> Option<bool> {
        self.lock()
            .known
            .get(&camera)
            .and_then(|known| online(&known.row))
    }

    /// Somebody asked for this camera: it is known from now on.
    pub(super) fn asked_for(&self, camera: CameraId, now: Timestamp) -> Heard {
        let mut registry = self.lock();
        if registry.known.contains_key(&camera) || registry.known.len() >= CAMERA_LIMIT {
            return Heard::default();
        }
        let row = CameraRow::new(camera, now);
        let known = Known::new(row.clone(), now);
        let changed = Some(snapshot(&known));
        registry.known.insert(camera, known);
        Heard {
            changed,
            row: Some(row),
            ..Heard::default()
        }
    }

    /// What the owner says of a camera; `None` where it is not known.
    pub(super) fn label(
        &self,
        camera: CameraId,
        change: LabelChange,
        now: Timestamp,
    ) -> Option<(CameraRow, CameraSnapshot)> {
        let mut registry = self.lock();
        let known = registry.known.get_mut(&camera)?;
        let label = &mut known.row.label;
        *label = CameraLabel {
            name: change.name.unwrap_or_else(|| label.name.take()),
            room: change.room.unwrap_or_else(|| label.room.take()),
            position: change.position.unwrap_or(label.position),
        };
        known.row.updated_at = now;
        known.written = now;
        known.unwritten = false;
        Some((known.row.clone(), snapshot(known)))
    }

    /// A camera said something.
    pub(super) fn heard(&self, said: Said<'_>) -> Heard {
        let Said { camera, now, .. } = said;
        let mut registry = self.lock();
        let Registry {
            known,
            events,
            busy,
        } = &mut *registry;
        let is_new = !known.contains_key(&camera);
        if is_new && known.len() >= CAMERA_LIMIT {
            let presence = listen(&mut CameraRow::new(camera, now), said);
            return Heard {
                presence,
                ..Heard::default()
            };
        }
        let known = known
            .entry(camera)
            .or_insert_with(|| Known::new(CameraRow::new(camera, now), now));
        let before = known.row.clone();
        let presence = listen(&mut known.row, said);
        let mut comparable = before.clone();
        comparable.last_seen = known.row.last_seen;
        let changed = is_new || comparable != known.row;
        let stale = before.last_seen != known.row.last_seen
            && now.duration_since(known.written) >= LAST_SEEN_EVERY;
        let moved = !said.retained && known.moment.hear(said.message, now);
        if known.moment.is_busy() {
            busy.insert(camera);
        }
        let mut event = events
            .of(said, presence, &before, &known.row)
            .filter(|event| !known.is_told_twice(event));
        known.unwritten |= changed || stale;
        let mut row = None;
        if known.unwritten || event.is_some() {
            if known.allowance.take(camera, now) {
                row = known.unwritten.then(|| {
                    known.unwritten = false;
                    known.written = now;
                    known.row.updated_at = now;
                    known.row.clone()
                });
            } else {
                event = None;
            }
        }
        Heard {
            row,
            event,
            changed: (changed || moved).then(|| snapshot(known)),
            presence,
        }
    }

    /// Time passed: the cameras of which something is over by that.
    pub(super) fn look(&self) -> Vec<CameraSnapshot> {
        let mut registry = self.lock();
        let Registry { known, busy, .. } = &mut *registry;
        let mut changed = Vec::new();
        busy.retain(|camera| {
            let Some(known) = known.get_mut(camera) else {
                return false;
            };
            if known.moment.look() {
                changed.push(snapshot(known));
            }
            known.moment.is_busy()
        });
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // Each critical section changes one entry, so a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes over what a message says.
fn listen(row: &mut CameraRow, said: Said<'_>) -> Option<Presence> {
    let retained = said.retained;
    if !retained {
        row.last_seen = Some(said.now);
    }
    match said.message {
        CameraMessage::Connection(connection) => return on_connection(row, connection, retained),
        CameraMessage::Status(status) => on_status(&mut row.report, status),
        CameraMessage::State(state) => on_state(&mut row.report, state),
        CameraMessage::ActivityStart(_)
        | CameraMessage::ActivityStop(_)
        | CameraMessage::Other { .. } => {}
    }
    on_alive(row, retained)
}

fn on_status(report: &mut CameraReport, status: &Status) {
    take(&mut report.status, status.status.as_deref());
    report.battery_percent = status.battery_percent().or(report.battery_percent);
    report.signal = status.signal().or(report.signal);
    report.temperature = status.temperature.or(report.temperature);
}

/// The mode is also kept on its own, where the message has one.
fn on_state(report: &mut CameraReport, state: &Value) {
    take(&mut report.mode, state.get("mode").and_then(Value::as_str));
    let settings = state.to_string();
    if settings.len() <= SETTINGS_LIMIT {
        report.settings = Some(settings);
    }
}

fn on_connection(row: &mut CameraRow, connection: &Connection, retained: bool) -> Option<Presence> {
    let Device {
        software_version,
        hardware_version,
        serial_number,
    } = &connection.device;
    take(&mut row.firmware_version, software_version.as_deref());
    take(&mut row.hardware, hardware_version.as_deref());
    take(&mut row.serial_number, serial_number.as_deref());
    if let Some(address) = connection.ip_address {
        row.ip_address = Some(address.to_string());
    }
    match connection.status? {
        ConnectionStatus::Connected => {
            row.connection = ConnectionState::Connected;
            // A memory of the broker is no sign that the camera has just restarted.
            (!retained).then_some(Presence::Hello)
        }
        ConnectionStatus::Disconnected => {
            row.connection = ConnectionState::Disconnected;
            Some(Presence::Gone)
        }
    }
}

/// Who speaks is connected. It is no hello: the camera has not restarted.
fn on_alive(row: &mut CameraRow, retained: bool) -> Option<Presence> {
    if !retained {
        row.connection = ConnectionState::Connected;
    }
    None
}

fn take(field: &mut Option<String>, said: Option<&str>) {
    if let Some(said) = said {
        *field = Some(shorten(said));
    }
}

pub(super) fn shorten(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).collect()
}

fn online(row: &CameraRow) -> Option<bool> {
    match row.connection {
        ConnectionState::Unknown => None,
        ConnectionState::Connected => Some(true),
        ConnectionState::Disconnected => Some(false),
    }
}

fn snapshot(known: &Known) -> CameraSnapshot {
    let row = &known.row;
    CameraSnapshot {
        camera: row.camera,
        label: row.label.clone(),
        online: online(row),
        last_seen: row.last_seen,
        firmware: row.firmware_version.clone(),
        hardware: row.hardware.clone(),
        address: row.ip_address.clone(),
        report: row.report.clone(),
        uptime_s: known.moment.uptime_s(),
        noticed: known.moment.noticed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiary_wire::camera::Activity;
    use serde_json::json;

    fn camera(number: u8) -> CameraId {
        CameraId::from_bytes([number; 16])
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::new(1_700_000_000 + second, 0).unwrap()
    }

    fn connection(status: ConnectionStatus) -> CameraMessage {
        CameraMessage::Connection(Connection {
            status: Some(status),
            device: Device {
                software_version: Some("V2".to_owned()),
                hardware_version: Some("VBC01".to_owned()),
                serial_number: None,
            },
            ip_address: Some("192.168.1.9".parse().unwrap()),
            ..Connection::default()
        })
    }

    fn said(message: &CameraMessage, now: Timestamp) -> Said<'_> {
        Said {
            camera: camera(1),
            message,
            raw: b"{}",
            retained: false,
            now,
        }
    }

    fn hear(cameras: &Cameras, message: &CameraMessage, now: Timestamp) -> Heard {
        cameras.heard(said(message, now))
    }

    #[test]
    fn a_hello_makes_a_camera_known_and_online() {
        let cameras = Cameras::default();
        let heard = hear(&cameras, &connection(ConnectionStatus::Connected), at(0));
        assert_eq!(heard.presence, Some(Presence::Hello));
        let row = heard.row.unwrap();
        assert_eq!(row.connection, ConnectionState::Connected);
        assert_eq!(row.firmware_version.as_deref(), Some("V2"));
        let changed = heard.changed.unwrap();
        assert_eq!(changed.online, Some(true));
        assert_eq!(changed.address.as_deref(), Some("192.168.1.9"));
        assert_eq!(cameras.all(), [changed]);
        let gone = hear(&cameras, &connection(ConnectionStatus::Disconnected), at(1));
        assert_eq!(gone.presence, Some(Presence::Gone));
        assert_eq!(cameras.online(camera(1)), Some(false));
    }

    #[test]
    fn a_retained_hello_is_no_restart() {
        let cameras = Cameras::default();
        let hello = connection(ConnectionStatus::Connected);
        let heard = cameras.heard(Said {
            retained: true,
            ..said(&hello, at(0))
        });
        assert_eq!(heard.event, None);
        assert_eq!(heard.presence, None);
        assert_eq!(cameras.online(camera(1)), Some(true));
        assert_eq!(cameras.all()[0].last_seen, None);
    }

    #[test]
    fn repeated_messages_are_no_events_and_few_rows() {
        let cameras = Cameras::default();
        let status = CameraMessage::Status(Status {
            status: Some("ok".to_owned()),
            ..Status::default()
        });
        assert!(hear(&cameras, &status, at(0)).changed.is_some());
        let mut rows = 0;
        for second in 1..=600 {
            let heard = hear(&cameras, &status, at(second));
            assert_eq!(heard.changed, None);
            rows += usize::from(heard.row.is_some());
        }
        assert_eq!(rows, 10, "one a minute");
    }

    #[test]
    fn presence_is_forgotten_only_with_an_embedded_broker() {
        let mut row = CameraRow::new(camera(1), at(0));
        row.connection = ConnectionState::Connected;
        let kept = Cameras::load(vec![row.clone()], false);
        assert_eq!(kept.online(camera(1)), Some(true));
        let forgotten = Cameras::load(vec![row], true);
        assert_eq!(forgotten.online(camera(1)), None);
        assert_eq!(forgotten.all().len(), 1);
    }

    #[test]
    fn what_a_message_leaves_out_is_kept_and_long_texts_are_cut() {
        let cameras = Cameras::default();
        hear(&cameras, &connection(ConnectionStatus::Connected), at(0));
        let mut will = Connection {
            status: Some(ConnectionStatus::Disconnected),
            ..Connection::default()
        };
        will.device.serial_number = Some("x".repeat(10_000));
        let heard = hear(&cameras, &CameraMessage::Connection(will), at(1));
        let row = heard.row.unwrap();
        assert_eq!(row.firmware_version.as_deref(), Some("V2"));
        assert_eq!(row.ip_address.as_deref(), Some("192.168.1.9"));
        assert_eq!(row.serial_number.unwrap().len(), TEXT_LIMIT);
    }

    #[test]
    fn asking_for_a_camera_makes_it_known_once() {
        let cameras = Cameras::default();
        assert!(cameras.asked_for(camera(1), at(0)).row.is_some());
        assert_eq!(cameras.asked_for(camera(1), at(1)), Heard::default());
        assert_eq!(cameras.online(camera(1)), None);
    }

    fn status(word: &str, temperature: f64) -> CameraMessage {
        CameraMessage::Status(Status {
            status: Some(word.to_owned()),
            temperature: Some(temperature),
            ..Status::default()
        })
    }

    fn activity(name: &str) -> CameraMessage {
        CameraMessage::ActivityStart(Activity {
            event_id: Some(name.to_owned()),
            activity_type: Some("PERSON".to_owned()),
            confidence: Some(0.5),
            ..Activity::default()
        })
    }

    /// What was remembered of these messages, each a second after the one before.
    fn remembered(messages: &[CameraMessage]) -> Vec<(EventKind, Option<String>)> {
        let cameras = Cameras::default();
        let events = messages.iter().zip(0..).filter_map(|(message, second)| {
            let event = hear(&cameras, message, at(second)).event?;
            Some((event.kind, event.detail))
        });
        events.collect()
    }

    #[test]
    fn what_a_camera_notices_shows_until_its_end_or_for_a_time() {
        let cameras = Cameras::default();
        let heard = hear(&cameras, &activity("a"), at(1));
        let noticed = heard.changed.unwrap().noticed.unwrap();
        assert_eq!(
            (noticed.kind.as_deref(), noticed.since),
            (Some("PERSON"), at(1))
        );
        let over = CameraMessage::ActivityStop(Activity {
            event_id: Some("a".to_owned()),
            ..Activity::default()
        });
        let heard = hear(&cameras, &over, at(2));
        assert_eq!(heard.changed.unwrap().noticed, None);
        assert_eq!(heard.row, None, "nothing of it is kept");

        hear(&cameras, &activity("b"), at(3));
        let ended = (0..1000).find_map(|_| cameras.look().pop()).unwrap();
        assert_eq!((ended.camera, ended.noticed), (camera(1), None));
        assert!(cameras.lock().busy.is_empty());
    }

    #[test]
    fn what_says_nothing_new_is_not_remembered() {
        let state = |mode| CameraMessage::State(json!({ "mode": mode }));
        let detail = |text: &str| Some(text.to_owned());
        assert_eq!(
            remembered(&[
                connection(ConnectionStatus::Connected),
                connection(ConnectionStatus::Connected),
                status("online", 40.0),
                status("online", 41.0),
                status("hot", 90.0),
                state("ARMED"),
                state("ARMED"),
                state("PRIVACY"),
                connection(ConnectionStatus::Disconnected),
                connection(ConnectionStatus::Disconnected),
            ]),
            [
                (EventKind::Connection, detail("connected")),
                // Each hello is a restart.
                (EventKind::Connection, detail("connected")),
                (EventKind::Status, detail("online")),
                (EventKind::Status, detail("hot")),
                (EventKind::State, detail("ARMED")),
                (EventKind::State, detail("PRIVACY")),
                (EventKind::Connection, detail("disconnected")),
            ]
        );
    }

    #[test]
    fn an_activity_that_is_delivered_twice_is_one_and_the_order_is_kept() {
        let cameras = Cameras::default();
        let mut events = Vec::new();
        for name in ["a", "a", "b", "c"] {
            events.extend(hear(&cameras, &activity(name), at(0)).event);
        }
        let names: Vec<_> = events
            .iter()
            .map(|event| event.event_id.as_deref())
            .collect();
        assert_eq!(names, [Some("a"), Some("b"), Some("c")]);
        assert!(
            events.is_sorted_by(|one, next| one.id < next.id),
            "{events:?}"
        );
        assert_eq!(events[0].activity_type.as_deref(), Some("PERSON"));
        assert_eq!(events[0].confidence, Some(0.5));
        assert_eq!(events[0].payload.as_deref(), Some("{}"));
    }

    #[test]
    fn a_camera_that_never_ends_talking_does_not_fill_the_database() {
        let cameras = Cameras::default();
        let mut rows = 0;
        for number in 0..10_000 {
            let heard = hear(&cameras, &activity(&number.to_string()), at(0));
            rows += usize::from(heard.event.is_some());
            let heard = hear(&cameras, &status("ok", f64::from(number)), at(0));
            rows += usize::from(heard.row.is_some());
        }
        assert!((1_000..=1_200).contains(&rows), "{rows} rows");
        let last = cameras.get(camera(1)).unwrap().report.temperature;
        assert_eq!(last, Some(9_999.0), "the last word counts");
        let heard = hear(&cameras, &activity("later"), at(3_600));
        assert!(heard.event.is_some());
        let row = heard.row.expect("what was left out is made up for");
        assert_eq!(row.report.temperature, Some(9_999.0));
    }

    #[test]
    fn messages_that_are_too_long_are_not_kept_whole() {
        let cameras = Cameras::default();
        let long = "x".repeat(10_000);
        let state = CameraMessage::State(json!({ "mode": "ARMED", "schedule": long }));
        let heard = cameras.heard(Said {
            raw: long.as_bytes(),
            ..said(&state, at(0))
        });
        let report = heard.row.unwrap().report;
        assert_eq!(report.mode.as_deref(), Some("ARMED"));
        assert_eq!(report.settings, None);
        let heard = cameras.heard(Said {
            raw: long.as_bytes(),
            ..said(&activity(&long), at(0))
        });
        let event = heard.event.unwrap();
        assert_eq!(event.payload, None);
        assert_eq!(event.event_id.unwrap().len(), TEXT_LIMIT);
    }

    #[test]
    fn a_label_changes_only_what_it_names_and_orders_the_list() {
        let cameras = Cameras::default();
        assert_eq!(
            cameras.label(camera(1), LabelChange::default(), at(0)),
            None
        );
        for number in 1..=3 {
            cameras.asked_for(camera(number), at(0));
        }
        let name = LabelChange {
            name: Some(Some("Porch".to_owned())),
            position: Some(Some(2)),
            ..LabelChange::default()
        };
        cameras.label(camera(3), name, at(1)).unwrap();
        let room = LabelChange {
            room: Some(Some("Garden".to_owned())),
            ..LabelChange::default()
        };
        let (row, told) = cameras.label(camera(3), room, at(2)).unwrap();
        assert_eq!(row.label.name.as_deref(), Some("Porch"));
        assert_eq!(row.label.room.as_deref(), Some("Garden"));
        assert_eq!(told.label, row.label);
        let order = |cameras: &Cameras| -> Vec<_> {
            cameras.all().iter().map(|known| known.camera).collect()
        };
        assert_eq!(order(&cameras), [camera(3), camera(1), camera(2)]);
        let nothing = LabelChange {
            name: Some(None),
            room: Some(None),
            position: Some(None),
        };
        let (row, _) = cameras.label(camera(3), nothing, at(3)).unwrap();
        assert_eq!(row.label, CameraLabel::default());
        assert_eq!(order(&cameras), [camera(1), camera(2), camera(3)]);
    }
}
