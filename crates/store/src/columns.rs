//! The way from a row to a typed value, the same for all databases: each column is read as text, unless it is a number.

use std::error::Error;
use std::str::FromStr;

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use crate::accounts::{ApiTokenRow, AuditRow, LoginRow, ShareRow, SubscriptionRow, UserRow};
use crate::error::StoreError;
use crate::rows::{
    CameraEvent, CameraLabel, CameraReport, CameraRow, InterruptedSession, StreamSession,
    ViewerSession,
};

/// How much of a value that is not understood an error repeats.
const SHOWN_CHARS: usize = 60;

/// A row of which each column can be read as text, or as a number where it is one.
pub(crate) trait TextRow {
    fn text(&self, column: &str) -> Result<Option<String>, sqlx::Error>;
    fn integer(&self, column: &str) -> Result<Option<i64>, sqlx::Error>;
    fn real(&self, column: &str) -> Result<Option<f64>, sqlx::Error>;
}

macro_rules! text_row {
    ($row:ty) => {
        impl TextRow for $row {
            fn text(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
                self.try_get(column)
            }

            fn integer(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
                self.try_get(column)
            }

            fn real(&self, column: &str) -> Result<Option<f64>, sqlx::Error> {
                self.try_get(column)
            }
        }
    };
}

text_row!(SqliteRow);
text_row!(PgRow);

/// A row of one table, read by column.
struct Columns<'a, R> {
    table: &'static str,
    row: &'a R,
}

impl<R: TextRow> Columns<'_, R> {
    fn optional_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.row.text(column).map_err(unreadable)
    }

    fn optional_real(&self, column: &'static str) -> Result<Option<f64>, StoreError> {
        self.row.real(column).map_err(unreadable)
    }

    /// A number that somebody made too large or negative counts as the nearest one.
    fn optional_u32(&self, column: &'static str) -> Result<Option<u32>, StoreError> {
        let number = self.row.integer(column).map_err(unreadable)?;
        Ok(number.map(|number| u32::try_from(number.max(0)).unwrap_or(u32::MAX)))
    }

    fn optional<T>(&self, column: &'static str) -> Result<Option<T>, StoreError>
    where
        T: FromStr,
        T::Err: Error + Send + Sync + 'static,
    {
        self.optional_text(column)?
            .map(|text| self.parse(column, &text))
            .transpose()
    }

    fn required<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: FromStr,
        T::Err: Error + Send + Sync + 'static,
    {
        let text = self.optional_text(column)?.unwrap_or_default();
        self.parse(column, &text)
    }

    fn parse<T>(&self, column: &'static str, text: &str) -> Result<T, StoreError>
    where
        T: FromStr,
        T::Err: Error + Send + Sync + 'static,
    {
        text.parse().map_err(|source| StoreError::BadRow {
            table: self.table,
            column,
            found: text.chars().take(SHOWN_CHARS).collect(),
            source: Box::new(source),
        })
    }
}

fn unreadable(source: sqlx::Error) -> StoreError {
    StoreError::Query {
        operation: "read a column",
        source,
    }
}

pub(crate) fn camera<R: TextRow>(row: &R) -> Result<CameraRow, StoreError> {
    let columns = Columns {
        table: "cameras",
        row,
    };
    Ok(CameraRow {
        camera: columns.required("camera_id")?,
        label: CameraLabel {
            name: columns.optional_text("name")?,
            room: columns.optional_text("room")?,
            position: columns.optional_u32("position")?,
        },
        ip_address: columns.optional_text("ip_address")?,
        firmware_version: columns.optional_text("firmware_version")?,
        hardware: columns.optional_text("hardware")?,
        serial_number: columns.optional_text("serial_number")?,
        report: CameraReport {
            status: columns.optional_text("status")?,
            mode: columns.optional_text("mode")?,
            settings: columns.optional_text("settings")?,
            battery_percent: columns.optional_real("battery_percent")?,
            signal: columns.optional_real("signal")?,
            temperature: columns.optional_real("temperature")?,
        },
        connection: columns.required("connection_status")?,
        last_seen: columns.optional("last_seen")?,
        created_at: columns.required("created_at")?,
        updated_at: columns.required("updated_at")?,
    })
}

pub(crate) fn camera_event<R: TextRow>(row: &R) -> Result<CameraEvent, StoreError> {
    let columns = Columns {
        table: "camera_events",
        row,
    };
    Ok(CameraEvent {
        id: columns.required("id")?,
        camera: columns.required("camera_id")?,
        kind: columns.required("kind")?,
        at: columns.required("at")?,
        event_id: columns.optional_text("event_id")?,
        activity_type: columns.optional_text("activity_type")?,
        confidence: columns.optional_real("confidence")?,
        detail: columns.optional_text("detail")?,
        payload: columns.optional_text("payload")?,
    })
}

pub(crate) fn stream_session<R: TextRow>(row: &R) -> Result<StreamSession, StoreError> {
    let columns = Columns {
        table: "stream_sessions",
        row,
    };
    Ok(StreamSession {
        session_id: columns.required("session_id")?,
        camera: columns.required("camera_id")?,
        stream: columns.required("stream_id")?,
        pipeline_id: columns.optional_text("pipeline_id")?,
        rtp_endpoint_id: columns.optional_text("rtp_endpoint_id")?,
        webrtc_endpoint_id: columns.optional_text("webrtc_endpoint_id")?,
        status: columns.required("status")?,
        created_at: columns.required("created_at")?,
        updated_at: columns.required("updated_at")?,
        ended_at: columns.optional("ended_at")?,
        error_message: columns.optional_text("error_message")?,
    })
}

pub(crate) fn viewer_session<R: TextRow>(row: &R) -> Result<ViewerSession, StoreError> {
    let columns = Columns {
        table: "viewer_sessions",
        row,
    };
    Ok(ViewerSession {
        viewer: columns.required("viewer_id")?,
        session_id: columns.required("stream_session_id")?,
        webrtc_endpoint_id: columns.optional_text("webrtc_endpoint_id")?,
        user_agent: columns.optional_text("user_agent")?,
        ip_address: columns.optional_text("ip_address")?,
        connected_at: columns.required("connected_at")?,
        disconnected_at: columns.optional("disconnected_at")?,
    })
}

pub(crate) fn interrupted_session<R: TextRow>(row: &R) -> Result<InterruptedSession, StoreError> {
    let columns = Columns {
        table: "stream_sessions",
        row,
    };
    Ok(InterruptedSession {
        session_id: columns.required("session_id")?,
        camera: columns.required("camera_id")?,
        stream: columns.required("stream_id")?,
    })
}

pub(crate) fn user<R: TextRow>(row: &R) -> Result<UserRow, StoreError> {
    let columns = Columns {
        table: "users",
        row,
    };
    Ok(UserRow {
        user: columns.required("user_id")?,
        name: columns.required("name")?,
        password_hash: columns.optional_text("password_hash")?,
        external_subject: columns.optional_text("external_subject")?,
        role: columns.required("role")?,
        cameras: columns.required("cameras")?,
        created_at: columns.required("created_at")?,
        updated_at: columns.required("updated_at")?,
    })
}

pub(crate) fn login<R: TextRow>(row: &R) -> Result<LoginRow, StoreError> {
    let columns = Columns {
        table: "login_sessions",
        row,
    };
    Ok(LoginRow {
        login: columns.required("login_id")?,
        user: columns.required("user_id")?,
        secret: columns.required("secret_hash")?,
        user_agent: columns.optional_text("user_agent")?,
        ip_address: columns.optional_text("ip_address")?,
        created_at: columns.required("created_at")?,
        expires_at: columns.required("expires_at")?,
    })
}

pub(crate) fn api_token<R: TextRow>(row: &R) -> Result<ApiTokenRow, StoreError> {
    let columns = Columns {
        table: "api_tokens",
        row,
    };
    Ok(ApiTokenRow {
        token: columns.required("token_id")?,
        user: columns.required("user_id")?,
        name: columns.required("name")?,
        secret: columns.required("secret_hash")?,
        role: columns.required("role")?,
        cameras: columns.required("cameras")?,
        created_at: columns.required("created_at")?,
        expires_at: columns.optional("expires_at")?,
    })
}

pub(crate) fn share<R: TextRow>(row: &R) -> Result<ShareRow, StoreError> {
    let columns = Columns {
        table: "share_links",
        row,
    };
    Ok(ShareRow {
        share: columns.required("share_id")?,
        user: columns.required("user_id")?,
        camera: columns.required("camera_id")?,
        label: columns.required("label")?,
        created_at: columns.required("created_at")?,
        expires_at: columns.required("expires_at")?,
    })
}

pub(crate) fn subscription<R: TextRow>(row: &R) -> Result<SubscriptionRow, StoreError> {
    let columns = Columns {
        table: "push_subscriptions",
        row,
    };
    Ok(SubscriptionRow {
        subscription: columns.required("subscription_id")?,
        user: columns.optional("user_id")?,
        login: columns.optional("login_id")?,
        endpoint: columns.required("endpoint")?,
        p256dh: columns.required("p256dh")?,
        auth: columns.required("auth")?,
        site: columns.optional_text("site")?,
        name: columns.required("name")?,
        cameras: columns.required("cameras")?,
        kinds: columns.required("kinds")?,
        quiet: columns.optional("quiet")?,
        paused_at: columns.optional("paused_at")?,
        created_at: columns.required("created_at")?,
    })
}

pub(crate) fn audit<R: TextRow>(row: &R) -> Result<AuditRow, StoreError> {
    let columns = Columns {
        table: "audit_log",
        row,
    };
    Ok(AuditRow {
        id: columns.required("audit_id")?,
        at: columns.required("at")?,
        action: columns.required("action")?,
        outcome: columns.required("outcome")?,
        actor: columns.optional_text("actor")?,
        subject: columns.optional_text("subject")?,
        ip_address: columns.optional_text("ip_address")?,
        detail: columns.optional_text("detail")?,
    })
}
