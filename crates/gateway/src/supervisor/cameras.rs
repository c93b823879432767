//! The registry of cameras: who was ever heard, and how each stands. Kept in the store, so that a restart forgets none.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use apiary_store::{CameraRow, ConnectionState};
use apiary_wire::camera::{CameraMessage, Connection, ConnectionStatus, Device};
use apiary_wire::id::CameraId;
use jiff::{SignedDuration, Timestamp};

use super::snapshot::CameraSnapshot;

/// Most cameras that are remembered; further ones stream all the same.
pub(super) const CAMERA_LIMIT: usize = 100_000;
/// A row in which only the time of the last message changed is written at most this often.
const LAST_SEEN_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// Longest text of a camera that is kept.
const TEXT_LIMIT: usize = 128;

/// What is to be done after a camera was heard.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Heard {
    /// The row to write.
    pub(super) row: Option<CameraRow>,
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

#[derive(Debug, Default)]
pub(super) struct Cameras(Mutex<BTreeMap<CameraId, Known>>);

#[derive(Debug)]
struct Known {
    row: CameraRow,
    written: Timestamp,
}

impl Cameras {
    /// Begins with what was kept. `forget_presence`: nobody can be connected to a broker that starts just now.
    pub(super) fn load(rows: Vec<CameraRow>, forget_presence: bool) -> Self {
        let known = rows.into_iter().map(|mut row| {
            if forget_presence && row.connection == ConnectionState::Connected {
                row.connection = ConnectionState::Unknown;
            }
            let written = row.updated_at;
            (row.camera, Known { row, written })
        });
        Self(Mutex::new(known.collect()))
    }

    pub(super) fn all(&self) -> Vec<CameraSnapshot> {
        self.lock()
            .values()
            .map(|known| snapshot(&known.row))
            .collect()
    }

    /// Whether the camera is connected to the broker, as far as is known.
    pub(super) fn online(&self, camera: CameraId) -> Option<bool> {
        self.lock()
            .get(&camera)
            .and_then(|known| online(&known.row))
    }

    /// Somebody asked for this camera: it is known from now on.
    pub(super) fn asked_for(&self, camera: CameraId, now: Timestamp) -> Heard {
        self.update(camera, now, |_| None)
    }

    /// A camera said something; `retained`: some time ago.
    pub(super) fn heard(
        &self,
        camera: CameraId,
        message: &CameraMessage,
        retained: bool,
        now: Timestamp,
    ) -> Heard {
        self.update(camera, now, |row| {
            if !retained {
                row.last_seen = Some(now);
            }
            match message {
                CameraMessage::Connection(connection) => on_connection(row, connection, retained),
                CameraMessage::Status(status) => {
                    if let Some(word) = &status.status {
                        row.status = Some(shorten(word));
                    }
                    on_alive(row, retained)
                }
                CameraMessage::ActivityStart(_)
                | CameraMessage::ActivityStop(_)
                | CameraMessage::State(_)
                | CameraMessage::Other { .. } => on_alive(row, retained),
            }
        })
    }

    fn update(
        &self,
        camera: CameraId,
        now: Timestamp,
        change: impl FnOnce(&mut CameraRow) -> Option<Presence>,
    ) -> Heard {
        let mut cameras = self.lock();
        let is_new = !cameras.contains_key(&camera);
        if is_new && cameras.len() >= CAMERA_LIMIT {
            let presence = change(&mut new_row(camera, now));
            return Heard {
                presence,
                ..Heard::default()
            };
        }
        let known = cameras.entry(camera).or_insert_with(|| Known {
            row: new_row(camera, now),
            written: now,
        });
        let before = known.row.clone();
        let presence = change(&mut known.row);
        let mut comparable = before.clone();
        comparable.last_seen = known.row.last_seen;
        let changed = is_new || comparable != known.row;
        let stale = before.last_seen != known.row.last_seen
            && now.duration_since(known.written) >= LAST_SEEN_EVERY;
        let row = (changed || stale).then(|| {
            known.written = now;
            known.row.updated_at = now;
            known.row.clone()
        });
        Heard {
            row,
            changed: changed.then(|| snapshot(&known.row)),
            presence,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CameraId, Known>> {
        // Each critical section changes one entry, so a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

fn shorten(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).collect()
}

/// A camera of which nothing is known but that it exists.
pub(crate) fn new_row(camera: CameraId, now: Timestamp) -> CameraRow {
    CameraRow {
        camera,
        name: None,
        ip_address: None,
        firmware_version: None,
        hardware: None,
        serial_number: None,
        status: None,
        connection: ConnectionState::Unknown,
        last_seen: None,
        created_at: now,
        updated_at: now,
    }
}

fn online(row: &CameraRow) -> Option<bool> {
    match row.connection {
        ConnectionState::Unknown => None,
        ConnectionState::Connected => Some(true),
        ConnectionState::Disconnected => Some(false),
    }
}

fn snapshot(row: &CameraRow) -> CameraSnapshot {
    CameraSnapshot {
        camera: row.camera,
        name: row.name.clone(),
        online: online(row),
        last_seen: row.last_seen,
        firmware: row.firmware_version.clone(),
        hardware: row.hardware.clone(),
        address: row.ip_address.clone(),
        status: row.status.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiary_wire::camera::Status;

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

    #[test]
    fn a_hello_makes_a_camera_known_and_online() {
        let cameras = Cameras::default();
        let heard = cameras.heard(
            camera(1),
            &connection(ConnectionStatus::Connected),
            false,
            at(0),
        );
        assert_eq!(heard.presence, Some(Presence::Hello));
        let row = heard.row.unwrap();
        assert_eq!(row.connection, ConnectionState::Connected);
        assert_eq!(row.firmware_version.as_deref(), Some("V2"));
        let changed = heard.changed.unwrap();
        assert_eq!(changed.online, Some(true));
        assert_eq!(changed.address.as_deref(), Some("192.168.1.9"));
        assert_eq!(cameras.all(), [changed]);
        let gone = cameras.heard(
            camera(1),
            &connection(ConnectionStatus::Disconnected),
            false,
            at(1),
        );
        assert_eq!(gone.presence, Some(Presence::Gone));
        assert_eq!(cameras.online(camera(1)), Some(false));
    }

    #[test]
    fn a_retained_hello_is_no_restart() {
        let cameras = Cameras::default();
        let heard = cameras.heard(
            camera(1),
            &connection(ConnectionStatus::Connected),
            true,
            at(0),
        );
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
        assert!(
            cameras
                .heard(camera(1), &status, false, at(0))
                .changed
                .is_some()
        );
        let mut rows = 0;
        for second in 1..=600 {
            let heard = cameras.heard(camera(1), &status, false, at(second));
            assert_eq!(heard.changed, None);
            rows += usize::from(heard.row.is_some());
        }
        assert_eq!(rows, 10, "one a minute");
    }

    #[test]
    fn presence_is_forgotten_only_with_an_embedded_broker() {
        let mut row = new_row(camera(1), at(0));
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
        cameras.heard(
            camera(1),
            &connection(ConnectionStatus::Connected),
            false,
            at(0),
        );
        let mut will = Connection {
            status: Some(ConnectionStatus::Disconnected),
            ..Connection::default()
        };
        will.device.serial_number = Some("x".repeat(10_000));
        let heard = cameras.heard(camera(1), &CameraMessage::Connection(will), false, at(1));
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
}
