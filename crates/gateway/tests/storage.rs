//! The database as those who run the program have it: kept for as long as they say, backed up, put back, exported.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

mod process_support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Output;

use apiary_store::{
    AccountStore as _, AccountWrite, CameraLabel, CameraRow, CameraScope, LoginId, LoginRow, Role,
    SecretHash, SqliteStore, Store as _, UserId, UserRow, ViewerSession, Write,
};
use apiary_wire::id::{CameraId, ViewerId};
use jiff::{SignedDuration, Timestamp};
use process_support::{Log, Running, apiary, serve};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use uuid::Uuid;

/// What a password's hash looks like, and a token's.
const PASSWORD_HASH: &str = "$argon2id$canary";
const SECRET: SecretHash = SecretHash([0xab; 32]);

/// A user that nobody is.
const SERVICE: u32 = 54_321;

fn database(dir: &Path) -> PathBuf {
    dir.join("apiary-data/apiary.db")
}

fn camera() -> CameraId {
    CameraId::from_bytes([7; 16])
}

fn camera_row(name: &str) -> CameraRow {
    CameraRow {
        label: CameraLabel {
            name: Some(name.to_owned()),
            ..CameraLabel::default()
        },
        ..CameraRow::new(camera(), Timestamp::now())
    }
}

fn viewer(number: u8, gone: Timestamp) -> ViewerSession {
    ViewerSession {
        viewer: ViewerId(Uuid::from_bytes([number; 16])),
        session_id: "s".to_owned(),
        webrtc_endpoint_id: None,
        user_agent: None,
        ip_address: Some("192.0.2.7".to_owned()),
        connected_at: gone,
        disconnected_at: Some(gone),
    }
}

/// A database with a camera, viewers of long ago and of now, and somebody who is logged in.
async fn furnish(dir: &Path) {
    let now = Timestamp::now();
    let store = SqliteStore::open(&database(dir)).await.unwrap();
    store
        .apply(&[
            Write::Camera(camera_row("Porch")),
            Write::ViewerSession(viewer(1, now - SignedDuration::from_hours(24 * 91))),
            Write::ViewerSession(viewer(2, now - SignedDuration::from_hours(24 * 89))),
        ])
        .await
        .unwrap();
    let bee = UserRow {
        user: UserId(Uuid::from_bytes([1; 16])),
        name: "bee".to_owned(),
        password_hash: Some(PASSWORD_HASH.to_owned()),
        external_subject: None,
        role: Role::Admin,
        cameras: CameraScope::All,
        created_at: now,
        updated_at: now,
    };
    let login = LoginRow {
        login: LoginId(Uuid::from_bytes([2; 16])),
        user: bee.user,
        secret: SECRET,
        user_agent: None,
        ip_address: None,
        created_at: now,
        expires_at: now + SignedDuration::from_hours(24),
    };
    let writes = [AccountWrite::User(bee), AccountWrite::Login(login)];
    store.apply_accounts(&writes).await.unwrap();
    store.server_key("share", "c0ffee").await.unwrap();
    store.close().await;
}

/// `apiary db …`
fn db(dir: &Path, arguments: &[&str]) -> Output {
    apiary(dir, &["db"]).args(arguments).output().unwrap()
}

/// What it says, having done it.
fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = db(dir, arguments);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it says, having refused it.
fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output = db(dir, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// The files of a directory with their content.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

async fn names(path: &Path) -> Vec<Option<String>> {
    let store = SqliteStore::open(path).await.unwrap();
    let cameras = store.cameras().await.unwrap();
    store.close().await;
    cameras.into_iter().map(|row| row.label.name).collect()
}

fn named(name: &str) -> Vec<Option<String>> {
    vec![Some(name.to_owned())]
}

/// Where the program answers.
fn http(ready: &Value) -> String {
    let addresses = ready["http"].as_str().unwrap();
    format!("http://{}", addresses.trim_matches(['[', ']']))
}

/// Gives the camera another name; what is answered is the status.
async fn rename(client: &reqwest::Client, http: &str, name: &str) -> reqwest::Result<u16> {
    let url = format!("{http}/cameras/{}", camera());
    let sent = client
        .patch(url)
        .json(&json!({ "name": name }))
        .send()
        .await;
    sent.map(|response| response.status().as_u16())
}

#[tokio::test]
async fn a_backup_of_the_running_program_can_be_put_back_once_it_has_ended() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    furnish(dir).await;
    assert_eq!(mode(&database(dir)), 0o600);
    let mut program = Running::start(&mut serve(dir, 31_600));
    let mut log = Log::of(&mut program);
    let ready = log.until("ready");
    done(dir, &["backup", "first.db"]);
    assert_eq!(mode(&dir.join("first.db")), 0o600);

    // The program has it, and goes on.
    let in_use = refused(dir, &["restore", "first.db"]);
    assert!(
        in_use.contains("in use by another running apiary"),
        "{in_use}"
    );
    let client = reqwest::Client::new();
    assert_eq!(rename(&client, &http(&ready), "Barn").await.unwrap(), 200);
    let exists = refused(dir, &["backup", "first.db"]);
    assert!(exists.contains("--overwrite"), "{exists}");
    done(dir, &["backup", "second.db"]);
    done(dir, &["backup", "second.db", "--overwrite"]);
    program.signal("TERM");
    assert_eq!(program.end().code(), Some(0));
    assert_eq!(names(&database(dir)).await, named("Barn"));

    let said = done(dir, &["restore", "first.db"]);
    assert_eq!(names(&database(dir)).await, named("Porch"));
    assert_eq!(mode(&database(dir)), 0o600);
    let kept = said.split("kept: ").nth(1).unwrap().lines().next().unwrap();
    assert_eq!(names(&dir.join(kept)).await, named("Barn"));
    let store = SqliteStore::open(&database(dir)).await.unwrap();
    let accounts = store.account_tables().await.unwrap();
    assert_eq!((accounts.users.len(), accounts.logins), (1, vec![]));
    store.close().await;
    drop(store);

    done(dir, &["restore", "second.db"]);
    assert_eq!(names(&database(dir)).await, named("Barn"));
}

#[tokio::test]
async fn a_backup_may_be_put_where_there_is_no_database() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let nothing = refused(dir, &["backup", "b.db"]);
    assert!(nothing.contains("there is no database at"), "{nothing}");
    furnish(dir).await;
    done(dir, &["backup", "b.db"]);
    std::fs::remove_dir_all(dir.join("apiary-data")).unwrap();
    let said = done(dir, &["restore", "b.db"]);
    assert!(!said.contains("kept"), "{said}");
    assert_eq!(names(&database(dir)).await, named("Porch"));
}

/// As with a package: the service has a user of its own, and who administers it is root.
#[tokio::test]
async fn what_root_restores_belongs_to_the_user_of_the_service() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    if dir.metadata().unwrap().uid() != 0 {
        return; // only root can give files away
    }
    furnish(dir).await;
    done(dir, &["backup", "b.db"]);
    let data = dir.join("apiary-data");
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    chown(&data, Some(SERVICE), Some(SERVICE)).unwrap();
    for _ in ["where there was none", "over another"] {
        done(dir, &["restore", "b.db"]);
        for entry in std::fs::read_dir(&data).unwrap() {
            let path = entry.unwrap().path();
            let of = path.metadata().unwrap();
            assert_eq!(
                (of.uid(), of.gid()),
                (SERVICE, SERVICE),
                "{}",
                path.display()
            );
        }
    }
}

/// Runs statements on a database past the store.
async fn change(path: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(path);
    let mut raw = options.create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut raw).await.unwrap();
    raw.close().await.unwrap();
}

#[tokio::test]
async fn what_is_no_good_backup_is_refused_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    furnish(dir).await;
    done(dir, &["backup", "good.db"]);
    let good = std::fs::read(dir.join("good.db")).unwrap();
    let write = |name: &str, content: &[u8]| std::fs::write(dir.join(name), content).unwrap();
    write(
        "letter.db",
        &b"this is a letter, not a database. ".repeat(300),
    );
    write("half.db", &good[..good.len() / 2]);
    write("empty.db", b"");
    change(&dir.join("foreign.db"), "CREATE TABLE cameras (x TEXT)").await;
    write("newer.db", &good);
    change(
        &dir.join("newer.db"),
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', 1, x'00', 1)",
    )
    .await;
    // An index that does not fit its table.
    write("torn.db", &good);
    change(
        &dir.join("torn.db"),
        "PRAGMA writable_schema = ON; \
         UPDATE sqlite_schema SET sql = 'CREATE INDEX audit_log_by_time ON audit_log (action)' WHERE name = 'audit_log_by_time'; \
         PRAGMA writable_schema = RESET; \
         INSERT INTO audit_log (audit_id, at, action, outcome) VALUES ('1', 'b', 'a', 'done'); \
         PRAGMA writable_schema = ON; \
         UPDATE sqlite_schema SET sql = 'CREATE INDEX audit_log_by_time ON audit_log (at)' WHERE name = 'audit_log_by_time'",
    )
    .await;
    let data = dir.join("apiary-data");
    let before = files(&data);
    for (file, said) in [
        ("letter.db", "is damaged or is no SQLite database"),
        ("half.db", "damaged"),
        ("empty.db", "a schema that this program did not make"),
        ("foreign.db", "a schema that this program did not make"),
        ("newer.db", "newer version of apiary"),
        ("torn.db", "is damaged"),
        ("none.db", "there is no file none.db"),
        ("apiary-data/apiary.db", "belongs to the database itself"),
    ] {
        let complaint = refused(dir, &["restore", file]);
        assert!(complaint.contains(said), "{file}: {complaint}");
        assert_eq!(files(&data), before, "{file}");
    }
    for own in ["apiary-data/apiary.db", "apiary-data/apiary.db.lock"] {
        let complaint = refused(dir, &["backup", own, "--overwrite"]);
        assert!(
            complaint.contains("belongs to the database itself"),
            "{complaint}"
        );
    }
    let complaint = refused(dir, &["backup", "nowhere/b.db"]);
    assert!(
        complaint.contains("cannot write into nowhere"),
        "{complaint}"
    );
    assert_eq!(files(&data), before);
}

#[tokio::test]
async fn an_export_has_all_rows_and_no_secret() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    furnish(dir).await;
    let store = SqliteStore::open(&database(dir)).await.unwrap();
    // More than are read at once, and the program has the database.
    let now = Timestamp::now();
    let many: Vec<Write> = (0..1200_u128)
        .map(|number| {
            Write::ViewerSession(ViewerSession {
                viewer: ViewerId(Uuid::from_u128(number)),
                ..viewer(0, now)
            })
        })
        .collect();
    store.apply(&many).await.unwrap();
    let text = done(dir, &["export"]);
    for secret in [PASSWORD_HASH, &"ab".repeat(32), "c0ffee"] {
        assert!(!text.contains(secret), "{secret}");
    }
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of =
        |table: &str| -> Vec<&Value> { rows.iter().filter(|row| row["table"] == table).collect() };
    assert_eq!(of("viewer_sessions").len(), 1202);
    let cameras = of("cameras");
    assert_eq!(cameras.len(), 1);
    assert_eq!(cameras[0]["camera_id"], camera().to_string());
    assert_eq!(cameras[0]["name"], "Porch");
    let seen: Timestamp = cameras[0]["created_at"].as_str().unwrap().parse().unwrap();
    assert!(seen <= now);
    assert_eq!(of("users")[0]["name"], "bee");
    assert_eq!(of("login_sessions").len(), 0);

    done(dir, &["export", "rows.jsonl"]);
    let file = dir.join("rows.jsonl");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let exists = refused(dir, &["export", "rows.jsonl"]);
    assert!(exists.contains("cannot make rows.jsonl"), "{exists}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    // As with `apiary db export | head -1`.
    let mut program = apiary(dir, &["db", "export"]);
    let mut program = Running::start(&mut program);
    let mut first = String::new();
    let mut out = BufReader::with_capacity(16, program.0.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    drop(out);
    assert_eq!(program.end().code(), Some(0));
    assert!(text.starts_with(&first));
}

#[test]
fn a_database_on_a_server_is_left_to_its_tools() {
    let home = tempfile::tempdir().unwrap();
    for (task, tool) in [
        ("backup", "pg_dump --format=custom"),
        ("restore", "pg_restore"),
    ] {
        let output = apiary(home.path(), &["db", task, "bees.dump"])
            .env(
                "APIARY_DATABASE_URL",
                "postgres://bee:hunter2@db.example/hive",
            )
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains(tool) && said.contains("'postgres://bee@db.example:5432/hive'"),
            "{said}"
        );
        assert!(
            said.contains("'bees.dump'") && !said.contains("hunter2"),
            "{said}"
        );
    }
    assert_eq!(files(home.path()), BTreeMap::new());
}

#[tokio::test]
async fn what_was_kept_for_long_enough_is_deleted_by_the_running_program() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    furnish(dir).await;
    let mut program = Running::start(&mut serve(dir, 31_640));
    Log::of(&mut program).until("deleted what was kept for long enough");
    program.signal("TERM");
    assert_eq!(program.end().code(), Some(0));
    let store = SqliteStore::open(&database(dir)).await.unwrap();
    let viewers = store.viewer_sessions("s").await.unwrap();
    let left: Vec<_> = viewers
        .iter()
        .map(|row| row.viewer.0.as_bytes()[0])
        .collect();
    assert_eq!(left, [2]);
}
