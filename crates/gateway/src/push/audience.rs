//! Who is to be told of something: who wants to hear of it now, and may.

use apiary_store::{QuietHours, SubscriptionRow, TimeOfDay};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::note::Note;
use crate::auth::Accounts;

/// Whether a browser wants to hear of something at that time.
pub(super) fn wants(row: &SubscriptionRow, note: &Note, at: Timestamp) -> bool {
    row.paused_at.is_none()
        && row.kinds.0.contains(&note.kind)
        && row.cameras.contains(note.camera)
        && !row.quiet.as_ref().is_some_and(|quiet| is_quiet(quiet, at))
}

/// Whether the one behind it may see the camera: still logged in there, still a user, still with a right to it.
pub(super) fn may_hear(accounts: &Accounts, row: &SubscriptionRow, note: &Note) -> bool {
    let recipient = accounts.recipient(row);
    recipient.is_some_and(|recipient| recipient.may_watch(note.camera))
}

/// Whether there is a time zone of that name.
pub fn is_zone(name: &str) -> bool {
    zone(name).is_some()
}

fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

fn is_quiet(quiet: &QuietHours, at: Timestamp) -> bool {
    // Names are checked when they are chosen; a database of zones that lost one since silences nobody.
    let Some(zone) = zone(&quiet.zone) else {
        return false;
    };
    let clock = at.to_zoned(zone).time();
    let minutes = i16::from(clock.hour()) * 60 + i16::from(clock.minute());
    let time = u16::try_from(minutes)
        .ok()
        .and_then(TimeOfDay::from_minutes);
    time.is_some_and(|time| quiet.contain(time))
}

#[cfg(test)]
mod tests {
    use apiary_store::{CameraScope, PushKind, PushKinds, SubscriptionId};
    use apiary_wire::id::CameraId;
    use uuid::Uuid;

    use super::*;

    const CAMERA: CameraId = CameraId::from_bytes([7; 16]);
    const OTHER: CameraId = CameraId::from_bytes([8; 16]);

    fn row() -> SubscriptionRow {
        SubscriptionRow {
            subscription: SubscriptionId(Uuid::nil()),
            user: None,
            login: None,
            endpoint: String::new(),
            p256dh: String::new(),
            auth: String::new(),
            site: None,
            name: String::new(),
            cameras: CameraScope::Only([CAMERA].into()),
            kinds: PushKinds([PushKind::Person].into()),
            quiet: None,
            paused_at: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn note() -> Note {
        Note {
            camera: CAMERA,
            kind: PushKind::Person,
            activity: None,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn only_what_was_chosen_is_told() {
        let now = Timestamp::UNIX_EPOCH;
        assert!(wants(&row(), &note(), now));
        let of_another = Note {
            camera: OTHER,
            ..note()
        };
        assert!(!wants(&row(), &of_another, now));
        let motion = Note {
            kind: PushKind::Motion,
            ..note()
        };
        assert!(!wants(&row(), &motion, now));
        let paused = SubscriptionRow {
            paused_at: Some(now),
            ..row()
        };
        assert!(!wants(&paused, &note(), now));
    }

    #[test]
    fn quiet_hours_are_those_of_the_clock_on_the_wall_summer_and_winter() {
        let quiet = SubscriptionRow {
            quiet: Some("22:00-07:00 Europe/Berlin".parse().unwrap()),
            ..row()
        };
        let table = [
            // Winter: an hour ahead of UTC.
            ("2026-01-15T20:59:59Z", true),
            ("2026-01-15T21:00:00Z", false),
            ("2026-01-16T05:59:59Z", false),
            ("2026-01-16T06:00:00Z", true),
            // Summer: two.
            ("2026-07-15T19:59:59Z", true),
            ("2026-07-15T20:00:00Z", false),
            ("2026-07-16T04:59:59Z", false),
            ("2026-07-16T05:00:00Z", true),
            // The night in which the clocks are put back, at 03:00 to 02:00: quiet throughout, and over at seven.
            ("2026-10-25T00:30:00Z", false),
            ("2026-10-25T01:30:00Z", false),
            ("2026-10-25T05:59:59Z", false),
            ("2026-10-25T06:00:00Z", true),
        ];
        for (at, is_told) in table {
            assert_eq!(wants(&quiet, &note(), at.parse().unwrap()), is_told, "{at}");
        }
    }

    #[test]
    fn zones_are_known_by_name_whatever_the_system_has() {
        assert!(zone("America/Argentina/Buenos_Aires").is_some());
        assert!(zone("UTC").is_some());
        assert!(zone("Europe/Hive").is_none());
        assert!(zone("../../etc/passwd").is_none());
    }
}
