//! The camera registry of an older installation: table `camera_registry` of its `camera_events.db`, read as it is.
//!
//! It may be in use, and nothing in it is believed: texts are shortened, and what they mean is judged elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

/// Most cameras that are taken.
pub const REGISTRY_LIMIT: usize = 100_000;
/// Longest text that is read of a field, in characters.
const TEXT_LIMIT: u32 = 256;
/// How long to wait for a program that writes to it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The columns that are read, in the order of [`RegisteredCamera`]'s fields; only the first must be there.
const COLUMNS: [&str; 7] = [
    "camera_id",
    "camera_name",
    "ip_address",
    "firmware_version",
    "status",
    "connection_status",
    "last_seen",
];

/// A row of the registry, as texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisteredCamera {
    /// Supposedly 32 hexadecimal digits.
    pub camera_id: String,
    /// What its owner calls it.
    pub camera_name: Option<String>,
    /// Its address.
    pub ip_address: Option<String>,
    /// Its firmware.
    pub firmware_version: Option<String>,
    /// The word in its last status message.
    pub status: Option<String>,
    /// Whether it was connected.
    pub connection_status: Option<String>,
    /// When it was last heard.
    pub last_seen: Option<String>,
}

/// Why the registry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It is not there, no database, or locked.
    #[error("{} cannot be read as a SQLite database: give the camera_events.db of the older installation", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// It is another database.
    #[error("{} has no table camera_registry with a column camera_id: give the camera_events.db of the older installation", .0.display())]
    NoRegistry(PathBuf),
    /// Nobody has so many.
    #[error("{} names more than {REGISTRY_LIMIT} cameras, which is more than Apiary remembers; nothing was taken", .0.display())]
    TooMany(PathBuf),
}

/// Reads all of it, by camera id.
///
/// # Errors
/// [`RegistryError`]; each text says what to do.
pub async fn read_registry(path: &Path) -> Result<Vec<RegisteredCamera>, RegistryError> {
    let rows = read(path)
        .await
        .map_err(|source| RegistryError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    match rows {
        None => Err(RegistryError::NoRegistry(path.to_owned())),
        Some(rows) if rows.len() > REGISTRY_LIMIT => Err(RegistryError::TooMany(path.to_owned())),
        Some(rows) => Ok(rows),
    }
}

/// `None` where there is no registry; one row more than are taken, where there are more.
async fn read(path: &Path) -> Result<Option<Vec<RegisteredCamera>>, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT);
    let mut database = options.connect().await?;
    let Some(sql) = question(&mut database).await? else {
        return Ok(None);
    };
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(i64::try_from(REGISTRY_LIMIT).unwrap_or(i64::MAX) + 1)
        .fetch_all(&mut database)
        .await?;
    database.close().await?;
    let rows = rows.iter().map(|row| {
        // SQLite does not see to it that text is UTF-8.
        let field = |index: usize| -> Result<Option<String>, sqlx::Error> {
            let octets: Option<Vec<u8>> = row.try_get(index)?;
            Ok(octets.map(|octets| String::from_utf8_lossy(&octets).into_owned()))
        };
        Ok(RegisteredCamera {
            camera_id: field(0)?.unwrap_or_default(),
            camera_name: field(1)?,
            ip_address: field(2)?,
            firmware_version: field(3)?,
            status: field(4)?,
            connection_status: field(5)?,
            last_seen: field(6)?,
        })
    });
    rows.collect::<Result<_, sqlx::Error>>().map(Some)
}

/// The statement that reads the columns that are there; `None` where there is no such table.
async fn question(database: &mut SqliteConnection) -> Result<Option<String>, sqlx::Error> {
    // A view could be anything.
    let sql = "SELECT column.name FROM sqlite_schema AS entry, pragma_table_info(entry.name) AS column \
               WHERE entry.type = 'table' AND entry.name = 'camera_registry'";
    let there: Vec<String> = sqlx::query_scalar(sql).fetch_all(database).await?;
    let is_there = |column: &str| there.iter().any(|there| there == column);
    if !is_there(COLUMNS[0]) {
        return Ok(None);
    }
    // All names are constants of ours.
    let fields = COLUMNS.map(|column| {
        if is_there(column) {
            format!("CAST(substr(CAST({column} AS TEXT), 1, {TEXT_LIMIT}) AS BLOB)")
        } else {
            "NULL".to_owned()
        }
    });
    let fields = fields.join(", ");
    Ok(Some(format!(
        "SELECT {fields} FROM camera_registry ORDER BY camera_id LIMIT ?1"
    )))
}
