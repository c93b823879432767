//! Everything that people may want to take elsewhere, as JSON lines: what a database holds but secrets.
//!
//! Works while a program has the database. Each line is an object with the `table` it is of, and its columns by name. Hashes
//! of passwords and tokens, logins, and the installation's own keys are left out.

use std::io;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::copy::CopyError;
use crate::error::StoreError;

/// Who takes each line.
pub type Line<'a> = &'a mut (dyn FnMut(&str) -> io::Result<()> + Send);

/// Rows that are read at once.
const PAGE: u32 = 500;

/// A table: its name, its key, and the columns beside it that are given away.
struct Table {
    name: &'static str,
    key: &'static str,
    columns: &'static [Column],
}

enum Column {
    /// Text or number.
    Plain(&'static str),
    Time(&'static str),
}

use Column::{Plain, Time};

const TABLES: [Table; 8] = [
    Table {
        name: "cameras",
        key: "camera_id",
        columns: &[
            Plain("name"),
            Plain("room"),
            Plain("position"),
            Plain("ip_address"),
            Plain("firmware_version"),
            Plain("hardware"),
            Plain("serial_number"),
            Plain("status"),
            Plain("mode"),
            Plain("settings"),
            Plain("battery_percent"),
            Plain("signal"),
            Plain("temperature"),
            Plain("connection_status"),
            Time("last_seen"),
            Time("created_at"),
            Time("updated_at"),
        ],
    },
    Table {
        name: "camera_events",
        key: "id",
        columns: &[
            Plain("camera_id"),
            Plain("kind"),
            Time("at"),
            Plain("event_id"),
            Plain("activity_type"),
            Plain("confidence"),
            Plain("detail"),
            Plain("payload"),
        ],
    },
    Table {
        name: "stream_sessions",
        key: "session_id",
        columns: &[
            Plain("camera_id"),
            Plain("pipeline_id"),
            Plain("rtp_endpoint_id"),
            Plain("webrtc_endpoint_id"),
            Plain("stream_id"),
            Plain("status"),
            Time("created_at"),
            Time("updated_at"),
            Time("ended_at"),
            Plain("error_message"),
        ],
    },
    Table {
        name: "viewer_sessions",
        key: "viewer_id",
        columns: &[
            Plain("stream_session_id"),
            Plain("webrtc_endpoint_id"),
            Plain("user_agent"),
            Plain("ip_address"),
            Time("connected_at"),
            Time("disconnected_at"),
        ],
    },
    Table {
        name: "users",
        key: "user_id",
        columns: &[
            Plain("name"),
            Plain("external_subject"),
            Plain("role"),
            Plain("cameras"),
            Time("created_at"),
            Time("updated_at"),
        ],
    },
    Table {
        name: "api_tokens",
        key: "token_id",
        columns: &[
            Plain("user_id"),
            Plain("name"),
            Plain("role"),
            Plain("cameras"),
            Time("created_at"),
            Time("expires_at"),
        ],
    },
    Table {
        name: "share_links",
        key: "share_id",
        columns: &[
            Plain("user_id"),
            Plain("camera_id"),
            Plain("label"),
            Time("created_at"),
            Time("expires_at"),
        ],
    },
    Table {
        name: "audit_log",
        key: "audit_id",
        columns: &[
            Time("at"),
            Plain("action"),
            Plain("outcome"),
            Plain("actor"),
            Plain("subject"),
            Plain("ip_address"),
            Plain("detail"),
        ],
    },
];

/// The two ways of writing the same question.
#[derive(Clone, Copy)]
enum Dialect {
    Sqlite,
    Postgres,
}

impl Table {
    /// Asks for the keys and objects of a page behind a key. All of it is of this file, so it is safe as a statement.
    fn page(&self, dialect: Dialect) -> String {
        let Self { name, key, .. } = self;
        let time = |column: &str| match dialect {
            Dialect::Sqlite => column.to_owned(),
            Dialect::Postgres => {
                format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            }
        };
        let mut fields = vec![format!("'table', '{name}', '{key}', {key}")];
        fields.extend(self.columns.iter().map(|column| match column {
            Plain(column) => format!("'{column}', {column}"),
            Time(column) => format!("'{column}', {}", time(column)),
        }));
        let fields = fields.join(", ");
        match dialect {
            Dialect::Sqlite => format!(
                "SELECT {key}, json_object({fields}) FROM {name} WHERE ?1 IS NULL OR {key} > ?1 ORDER BY {key} LIMIT ?2"
            ),
            Dialect::Postgres => format!(
                "SELECT {key}, json_build_object({fields})::text FROM {name} \
                 WHERE $1 IS NULL OR {key} COLLATE \"C\" > $1 ORDER BY {key} COLLATE \"C\" LIMIT $2"
            ),
        }
    }
}

pub(crate) fn unreadable(source: sqlx::Error) -> StoreError {
    StoreError::Query {
        operation: "read what is to be exported",
        source,
    }
}

/// Gives each row to `line`, page by page.
macro_rules! every_row {
    ($connection:expr, $dialect:expr, $line:expr) => {{
        for table in &TABLES {
            let statement = table.page($dialect);
            let mut last: Option<String> = None;
            loop {
                let page: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(statement.clone()))
                    .bind(last.as_deref())
                    .bind(i64::from(PAGE))
                    .fetch_all(&mut *$connection)
                    .await
                    .map_err(unreadable)?;
                for (_, row) in &page {
                    $line(row).map_err(CopyError::Output)?;
                }
                let is_full = page.len() == PAGE as usize;
                match page.into_iter().next_back() {
                    Some((key, _)) if is_full => last = Some(key),
                    Some(_) | None => break,
                }
            }
        }
        Ok(())
    }};
}

pub(crate) async fn sqlite(
    connection: &mut SqliteConnection,
    line: Line<'_>,
) -> Result<(), CopyError> {
    every_row!(connection, Dialect::Sqlite, line)
}

pub(crate) async fn postgres(
    connection: &mut PgConnection,
    line: Line<'_>,
) -> Result<(), CopyError> {
    every_row!(connection, Dialect::Postgres, line)
}
