//! What is known of a camera for the moment only: what it notices just now, and for how long it has been up. None of it
//! outlives the program, and none is written.

use std::time::Duration;

use apiary_wire::camera::{Activity, CameraMessage, ConnectionStatus};
use jiff::Timestamp;

use super::cameras::shorten;
use super::snapshot::Noticed;

/// How often [`Moment::look`] is called.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// An activity whose end was not heard is taken for over after so many looks: five minutes.
const LOOKS: u32 = 60;
/// Activities of one camera that may go on at once; one more takes the place of the oldest.
const AT_ONCE: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Moment {
    uptime_s: Option<f64>,
    /// Oldest first.
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    event_id: Option<String>,
    noticed: Noticed,
    looks_left: u32,
}

impl Moment {
    /// Takes over what a message says; whether anything is different now.
    pub(super) fn hear(&mut self, message: &CameraMessage, now: Timestamp) -> bool {
        match message {
            CameraMessage::ActivityStart(activity) => self.begin(activity, now),
            CameraMessage::ActivityStop(activity) => self.end(activity),
            CameraMessage::Status(status) => {
                let before = self.uptime_s;
                self.uptime_s = status.uptime.or(before);
                self.uptime_s != before
            }
            // Whoever restarts or goes notices nothing any more.
            CameraMessage::Connection(connection) => match connection.status {
                Some(ConnectionStatus::Connected | ConnectionStatus::Disconnected) => self.forget(),
                None => false,
            },
            CameraMessage::State(_) | CameraMessage::Other { .. } => false,
        }
    }

    /// Time passed; whether anything is over by that.
    pub(super) fn look(&mut self) -> bool {
        let before = self.running.len();
        self.running.retain_mut(|running| {
            running.looks_left -= 1;
            running.looks_left > 0
        });
        self.running.len() != before
    }

    /// Whether [`Moment::look`] has anything to look at.
    pub(super) fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// The latest of what goes on.
    pub(super) fn noticed(&self) -> Option<Noticed> {
        self.running.last().map(|running| running.noticed.clone())
    }

    pub(super) fn uptime_s(&self) -> Option<f64> {
        self.uptime_s
    }

    fn begin(&mut self, activity: &Activity, now: Timestamp) -> bool {
        let event_id = activity.event_id.as_deref().map(shorten);
        let known = |running: &Running| event_id.is_some() && running.event_id == event_id;
        if self.running.iter().any(known) {
            return false; // the broker may deliver a message twice
        }
        if self.running.len() == AT_ONCE {
            self.running.remove(0);
        }
        self.running.push(Running {
            event_id,
            noticed: Noticed {
                kind: activity.activity_type.as_deref().map(shorten),
                since: now,
            },
            looks_left: LOOKS,
        });
        true
    }

    /// An end that names no activity ends all.
    fn end(&mut self, activity: &Activity) -> bool {
        let before = self.running.len();
        match activity.event_id.as_deref().map(shorten) {
            Some(name) => self
                .running
                .retain(|running| running.event_id.as_ref() != Some(&name)),
            None => self.running.clear(),
        }
        self.running.len() != before
    }

    fn forget(&mut self) -> bool {
        let anything = self.is_busy() || self.uptime_s.is_some();
        *self = Self::default();
        anything
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiary_wire::camera::{Connection, Status};

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0).unwrap()
    }

    fn activity(name: Option<&str>, kind: &str) -> Activity {
        Activity {
            event_id: name.map(str::to_owned),
            activity_type: Some(kind.to_owned()),
            ..Activity::default()
        }
    }

    fn start(name: &str, kind: &str) -> CameraMessage {
        CameraMessage::ActivityStart(activity(Some(name), kind))
    }

    fn stop(name: Option<&str>) -> CameraMessage {
        CameraMessage::ActivityStop(activity(name, "MOTION"))
    }

    fn kind(moment: &Moment) -> Option<String> {
        moment.noticed()?.kind
    }

    #[test]
    fn the_latest_activity_shows_until_it_ends() {
        let mut moment = Moment::default();
        assert!(moment.hear(&start("a", "MOTION"), at(1)));
        assert!(
            !moment.hear(&start("a", "MOTION"), at(2)),
            "delivered twice"
        );
        assert!(moment.hear(&start("b", "PERSON"), at(3)));
        assert_eq!(kind(&moment).as_deref(), Some("PERSON"));
        assert!(moment.hear(&stop(Some("b")), at(4)));
        let noticed = moment.noticed().unwrap();
        assert_eq!(
            (noticed.kind.as_deref(), noticed.since),
            (Some("MOTION"), at(1))
        );
        assert!(
            !moment.hear(&stop(Some("c")), at(5)),
            "the end of something else"
        );
        assert!(moment.hear(&stop(None), at(6)));
        assert_eq!(moment.noticed(), None);
    }

    #[test]
    fn an_activity_whose_end_is_lost_ends_by_itself() {
        let mut moment = Moment::default();
        moment.hear(&start("a", "MOTION"), at(1));
        assert!((1..LOOKS).all(|_| !moment.look()));
        assert!(moment.is_busy());
        assert!(moment.look());
        assert!(!moment.is_busy());
    }

    #[test]
    fn a_restart_forgets_and_many_activities_are_bounded() {
        let mut moment = Moment::default();
        for number in 0..1000 {
            moment.hear(&start(&number.to_string(), "MOTION"), at(number));
        }
        assert_eq!(moment.running.len(), AT_ONCE);
        let status = CameraMessage::Status(Status {
            uptime: Some(600.0),
            ..Status::default()
        });
        assert!(moment.hear(&status, at(1)));
        assert!(!moment.hear(&status, at(2)));
        assert_eq!(moment.uptime_s(), Some(600.0));
        let hello = CameraMessage::Connection(Connection {
            status: Some(ConnectionStatus::Connected),
            ..Connection::default()
        });
        assert!(moment.hear(&hello, at(3)));
        assert_eq!((moment.uptime_s(), moment.noticed()), (None, None));
        assert!(!moment.hear(&hello, at(4)));
    }
}
