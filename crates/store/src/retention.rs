//! What is deleted when its time is over: which rows of which table, and when.
//!
//! It goes in small batches: whatever writes meanwhile waits for a few
//! milliseconds, not for a year's rows. When it goes is the matter of [`crate::StoreWriter`].

use jiff::{SignedDuration, Timestamp};

/// Most rows of one table that go in one transaction.
pub const PRUNE_BATCH: u32 = 500;
/// Logins, tokens and share links whose time has come count no more; they go after this time, and are listed until then.
const EXPIRED_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long things are kept; `None` is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Sessions of streams, after their end.
    pub stream_sessions: Option<SignedDuration>,
    /// Sessions of viewers, after their end.
    pub viewer_sessions: Option<SignedDuration>,
    /// What happened to cameras.
    pub camera_events: Option<SignedDuration>,
    /// The audit log.
    pub audit_log: Option<SignedDuration>,
}

/// What one [`crate::Store::prune`] deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Rows of all tables.
    pub rows: u64,
    /// A table may have more of them.
    pub more: bool,
}

impl Pruned {
    pub(crate) fn add(&mut self, rows: u64) {
        self.rows += rows;
        self.more |= rows >= u64::from(PRUNE_BATCH);
    }
}

/// Rows of a table whose time in that column is before another.
pub(crate) struct Old {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    pub(crate) before: Timestamp,
}

/// All that goes at this time. A row without a time in its column is open, or has no end, and stays.
pub(crate) fn old(retention: &Retention, now: Timestamp) -> Vec<Old> {
    let expired = Some(EXPIRED_KEPT);
    [
        ("stream_sessions", "ended_at", retention.stream_sessions),
        (
            "viewer_sessions",
            "disconnected_at",
            retention.viewer_sessions,
        ),
        ("camera_events", "at", retention.camera_events),
        ("audit_log", "at", retention.audit_log),
        ("login_sessions", "expires_at", expired),
        ("api_tokens", "expires_at", expired),
        ("share_links", "expires_at", expired),
    ]
    .into_iter()
    .filter_map(|(table, column, kept)| {
        // What is kept for longer than there is time stays.
        let before = now.checked_sub(kept?).ok()?;
        Some(Old {
            table,
            column,
            before,
        })
    })
    .collect()
}
