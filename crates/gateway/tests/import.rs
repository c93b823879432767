//! `apiary import`: what it takes from an older installation, what it leaves, and what it refuses.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

mod process_support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use apiary::config::Config;
use apiary::config::keys::LEGACY;
use apiary_store::{CameraRow, SqliteStore, Store as _};
use process_support::apiary;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _};

const REGISTRY: &str = "CREATE TABLE camera_registry (camera_id TEXT PRIMARY KEY, camera_name TEXT, ip_address TEXT, \
    firmware_version TEXT, status TEXT, connection_status TEXT, last_seen TIMESTAMP, more TEXT);";

/// An older installation that runs still, in directory `old`.
async fn older(dir: &Path, sql: &'static str, env: &str) -> SqliteConnection {
    let old = dir.join("old");
    std::fs::create_dir_all(&old).unwrap();
    if !env.is_empty() {
        std::fs::write(old.join(".env"), env).unwrap();
    }
    let mut database = SqliteConnectOptions::new()
        .filename(old.join("camera_events.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
    database
}

/// The database of the new installation.
async fn opened(dir: &Path) -> SqliteStore {
    let path = dir.join("apiary-data/apiary.db");
    SqliteStore::open(&path).await.unwrap()
}

async fn cameras_of(dir: &Path) -> Vec<CameraRow> {
    let store = opened(dir).await;
    let cameras = store.cameras().await.unwrap();
    store.close().await;
    cameras
}

fn import(dir: &Path, arguments: &[&str]) -> Output {
    apiary(dir, &["import"]).args(arguments).output().unwrap()
}

/// What goes to standard output, and what is said about it.
fn done(dir: &Path, arguments: &[&str]) -> (String, String) {
    let output = import(dir, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    (String::from_utf8(output.stdout).unwrap(), said)
}

fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output = import(dir, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

fn contains_all(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "{wanted:?} is missing in:\n{text}");
    }
}

#[tokio::test]
async fn cameras_are_taken_once_while_the_older_installation_runs() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let sql = rows();
    let _runs = older(dir, sql, "").await;
    let (settings, said) = done(dir, &["old"]);
    assert_eq!(settings, "");
    contains_all(
        &said,
        &[
            "old/camera_events.db: 2 cameras taken, 0 known already",
            "left: a row: ",
            "left: camera_name of camera 0123456789ABCDEF0123456789ABCDEF: it holds a control character",
            "left: ip_address of camera 0123456789ABCDEF0123456789ABCDEF: it is no address",
        ],
    );
    assert!(!said.contains('\u{1b}'), "{said}");
    let first = cameras_of(dir).await;
    assert_eq!(first.len(), 2);
    assert_eq!(first[0].label.name, None);
    assert_eq!(first[1].label.name.as_deref(), Some("Front door \u{1f41d}"));
    let seen = first[1].last_seen.unwrap();
    assert_eq!(seen.to_string(), "2025-11-02T10:20:30.5Z");

    let (_, said) = done(dir, &["old"]);
    contains_all(&said, &[": 0 cameras taken, 2 known already"]);
    assert_eq!(cameras_of(dir).await, first);
}

/// Rows as they are, and as they might be.
fn rows() -> &'static str {
    "CREATE TABLE camera_registry (camera_id TEXT PRIMARY KEY, camera_name TEXT, ip_address TEXT, \
     firmware_version TEXT, status TEXT, connection_status TEXT, last_seen TIMESTAMP, more TEXT); \
     INSERT INTO camera_registry VALUES \
     ('56c1cadcf1fa4c6caeba3e2fd85efebf', 'Front door \u{1f41d}', '192.168.1.20', 'V2_0_00_126', 'ONLINE', 'connected', \
      '2025-11-02T10:20:30.5', 'x'), \
     ('0123456789ABCDEF0123456789ABCDEF', char(27) || '[2J', x'ff00fe', 7, NULL, '', NULL, NULL), \
     ('''; DROP TABLE cameras; --', 'Robert', NULL, NULL, NULL, NULL, NULL, NULL)"
}

#[tokio::test]
async fn settings_mean_what_the_env_meant() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let old = dir.join("old");
    std::fs::create_dir_all(old.join("certs")).unwrap();
    std::fs::write(old.join("certs/ca.crt"), "a certificate").unwrap();
    let env = "# theirs\nLOCAL_IP=192.168.1.10\nexport EXTERNAL_IP='203.0.113.7'\nLOCAL_NETWORK_PREFIX=192.168.1.,10.\n\
        KMS_MIN_PORT=5000\nKMS_MAX_PORT=5050\nEMQX_BROKER_HOST=broker.example\nEMQX_BROKER_PORT=8883\n\
        EMQX_LIVESTREAM_CLIENT_ID=live\nAPI_SERVER_HOST=0.0.0.0\nAPI_SERVER_PORT=8081\nSIGNALING_SERVER_HOST=127.0.0.1\nSIGNALING_SERVER_PORT=8766\nLOG_LEVEL=WARNING\n\
        AUTH_ENABLED=True\nTLS_ENABLED=false\nSTUN_SERVER=stun.example\nSTUN_PORT=3479\n\
        TURN_SERVER_URL=turn:turn.example\nTURN_SERVER_USERNAME=bee\nJWT_SECRET_KEY=hunter2-hunter2-hunter2-hunter2-hunter2\n\
        KURENTO_WS_URL=ws://kms:8888/kurento\nTURN_SERVER_PASSWORD=hunter2\nDATABASE_PATH=/data/camera_events.db\n\
        DEBUG=\nAPIARY_MEDIA_WORKERS=2\n";
    std::fs::write(old.join(".env"), env).unwrap();
    let (settings, said) = done(dir, &["old"]);
    contains_all(
        &said,
        &[
            "taken: LOCAL_IP as network.local_ip",
            "taken: KMS_MAX_PORT as ingest.ports",
            "left: KURENTO_WS_URL: not used: the built-in engine",
            "left: DATABASE_PATH: Apiary has no setting for it",
            "left: DEBUG: it is empty",
            "left: APIARY_MEDIA_WORKERS: it is a name of Apiary's own",
        ],
    );
    assert!(!said.contains("hunter2") && !settings.contains("hunter2"));
    done(dir, &["old", "--write", "made.toml"]);
    let made = Config::load(
        Some(&dir.join("made.toml")),
        &sources::environment(None, &[]),
    )
    .unwrap();
    let without_own = env.replace("APIARY_MEDIA_WORKERS=2\n", "");
    let meant = Config::load(None, &sources::environment(Some(&without_own), &[])).unwrap();
    for (name, _) in LEGACY {
        // Those of files are below.
        let is_there = env.contains(&format!("{name}="))
            || name.contains("CERT")
            || name.contains("_KEY_")
            || name.ends_with("CLIENT_KEY");
        assert!(is_there, "give {name} a value here");
    }
    let known = |config: Config| {
        let config = Config {
            notes: Vec::new(),
            // Not used by the built-in engine, and only shown.
            kurento: meant.kurento.clone(),
            // The same said otherwise.
            written: meant.written.clone(),
            ..config
        };
        format!("{config:#?}")
    };
    contains_all(
        &settings,
        &[
            "[kurento]\n# servers = [\"ws://kms:8888/kurento\"]",
            "# turn_password is secret",
            "# jwt_secret is secret",
        ],
    );
    assert_eq!(known(made), known(meant.clone()));

    // A path counts from where the file is.
    std::fs::write(
        old.join(".env"),
        format!("{env}EMQX_CA_CERT=certs/ca.crt\n"),
    )
    .unwrap();
    let (settings, _) = done(dir, &["--env", "old/.env"]);
    let path = dir.join("old/certs/ca.crt");
    contains_all(
        &settings,
        &[&format!("ca = {:?}", path.display().to_string())],
    );

    let (nothing, said) = done(dir, &["old", "--write", "apiary.toml"]);
    assert_eq!(nothing, "");
    contains_all(&said, &["apiary.toml: written"]);
    assert!(!said.contains("hunter2"), "{said}");
    let file = dir.join("apiary.toml");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let with_secrets = settings
        .replace(
            "# turn_password is secret, and not shown",
            "# turn_password = \"hunter2\"",
        )
        .replace(
            "# jwt_secret is secret, and not shown",
            "jwt_secret = \"hunter2-hunter2-hunter2-hunter2-hunter2\"",
        );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), with_secrets);
    let (_, said) = done(dir, &["old", "--write", "apiary.toml"]);
    contains_all(&said, &["apiary.toml: unchanged"]);
    std::fs::write(&file, "[log]\nlevel = 'warn'\n").unwrap();
    contains_all(
        &refused(dir, &["old", "--write", "apiary.toml"]),
        &["cannot make apiary.toml", "name a new file"],
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "[log]\nlevel = 'warn'\n"
    );
}

#[tokio::test]
async fn bad_input_is_named_and_nothing_is_imported() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    contains_all(
        &refused(dir, &["nowhere"]),
        &["nowhere has neither camera_events.db nor .env"],
    );
    let env = "LOCAL_IP=192.168.1.10\nAPI_SERVER_PORT=high\nno assignment\n";
    let runs = older(dir, REGISTRY, env).await;
    contains_all(
        &refused(dir, &["old", "--write", "made.toml"]),
        &[
            "nothing was imported",
            "2 errors",
            "old/.env line 2",
            "http.listen",
            "old/.env line 3",
        ],
    );
    std::fs::remove_file(dir.join("old/.env")).unwrap();
    runs.close().await.unwrap();

    for (sql, said) in [
        ("DROP TABLE camera_registry", "has no table camera_registry"),
        (
            "CREATE TABLE camera_registry (id TEXT)",
            "has no table camera_registry",
        ),
        (
            "DROP TABLE camera_registry; CREATE VIEW camera_registry AS SELECT 'x' AS camera_id",
            "has no table camera_registry",
        ),
    ] {
        older(dir, sql, "").await.close().await.unwrap();
        contains_all(&refused(dir, &["old"]), &[said, "old/camera_events.db"]);
    }
    let file = dir.join("old/camera_events.db");
    std::fs::write(&file, "this is a letter, not a database. ".repeat(300)).unwrap();
    contains_all(
        &refused(dir, &["old"]),
        &["cannot be read as a SQLite database"],
    );
    contains_all(
        &refused(dir, &["--cameras", "none.db"]),
        &["none.db cannot be read as a SQLite database"],
    );
    assert!(!dir.join("apiary-data").exists() && !dir.join("made.toml").exists());
}

#[tokio::test]
async fn a_database_in_use_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let _runs = older(dir, rows(), "LOCAL_IP=192.168.1.10").await;
    let store = opened(dir).await;
    contains_all(
        &refused(dir, &["old", "--write", "made.toml"]),
        &["in use by another running apiary"],
    );
    assert_eq!(store.cameras().await.unwrap(), []);
    assert!(!dir.join("made.toml").exists());
}
