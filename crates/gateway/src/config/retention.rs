//! The section `[retention]`: how long history is kept.

use apiary_store::Retention;
use jiff::SignedDuration;

use super::reader::Reader;
use super::values::integer;

/// A hundred years.
const MAX_DAYS: i64 = 36_500;
const HOURS_A_DAY: i64 = 24;

pub(super) fn load(reader: &mut Reader) -> Retention {
    Retention {
        stream_sessions: days(reader, "retention.stream_sessions_days", 90),
        viewer_sessions: days(reader, "retention.viewer_sessions_days", 90),
        camera_events: days(reader, "retention.camera_events_days", 90),
        audit_log: days(reader, "retention.audit_log_days", 365),
    }
}

/// 0 days are for ever.
fn days(reader: &mut Reader, key: &'static str, default: i64) -> Option<SignedDuration> {
    let days = reader.read(key, integer(0..=MAX_DAYS)).unwrap_or(default);
    (days > 0).then(|| SignedDuration::from_hours(days * HOURS_A_DAY))
}
