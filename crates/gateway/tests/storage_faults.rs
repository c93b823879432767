//! What happens to the database while the program runs as a process of its own: it is locked, its disk is full, the program
//! is killed. Streams go on, history waits and says so, and what was acknowledged is there afterwards.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

mod process_support;
mod program_support;

#[path = "../../store/tests/postgres_support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "shared with tests that need more of it"
)]
mod postgres_support;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use apiary_sim::{Broker, Simulator, SimulatorConfig};
use apiary_store::{
    CameraRow, PostgresStore, PostgresTarget, SessionStatus, SqliteStore, Store, Write,
};
use apiary_wire::id::CameraId;
use jiff::Timestamp;
use postgres_support::Cluster;
use process_support::{Log, Running, serve};
use program_support::viewer::{Noticed, Viewer};
use program_support::{cheap, until, within};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn database(dir: &Path) -> PathBuf {
    dir.join("apiary-data/apiary.db")
}

async fn raw(dir: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(database(dir));
    options.connect().await.unwrap()
}

/// The addresses in the record of the log that says that the program is ready.
fn address(ready: &Value, which: &str) -> String {
    let addresses = ready[which].as_str().unwrap();
    addresses
        .trim_start_matches("Some(")
        .trim_matches(['[', ']', ')'])
        .to_owned()
}

/// A running program with two cameras.
struct House {
    dir: TempDir,
    program: Running,
    log: Log,
    http: String,
    client: reqwest::Client,
    simulator: Simulator,
}

impl House {
    /// On a server where a URL names one, and in a file otherwise.
    async fn start(udp: u16, url: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = serve(dir.path(), udp);
        command.envs(url.map(|url| ("APIARY_DATABASE_URL", url)));
        let mut program = Running::start(&mut with_file_limits(&command, dir.path()));
        let mut log = Log::of(&mut program);
        let ready = log.until("ready");
        let broker: std::net::SocketAddr = address(&ready, "broker").parse().unwrap();
        let cameras = vec![cheap(1, LOCALHOST), cheap(2, LOCALHOST)];
        let config = SimulatorConfig::new(Broker::local(broker.port()), cameras);
        let simulator = Simulator::start(config).await.unwrap();
        let house = Self {
            dir,
            program,
            log,
            http: format!("http://{}", address(&ready, "http")),
            client: reqwest::Client::new(),
            simulator,
        };
        for camera in [0, 1] {
            let path = format!("/cameras/{}", house.camera(camera));
            house.until(&path, |camera| camera["online"] == true).await;
        }
        house
    }

    fn camera(&self, index: usize) -> CameraId {
        self.simulator.cameras()[index].id()
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("{}{path}", self.http);
        self.client.get(url).send().await.unwrap()
    }

    /// A figure of the program's.
    async fn figure(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text().await.unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("{name} is missing in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Asks until it is as wanted.
    async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        within(path, async {
            loop {
                let answer = self.get(path).await.json().await.unwrap();
                if wanted(&answer) {
                    return answer;
                }
                sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await
    }

    async fn until_database(&self, state: &str) {
        self.until("/health/ready", |ready| ready["database"]["state"] == state)
            .await;
    }

    /// Somebody watches a camera from now on; their pictures are counted.
    async fn watch(&self, camera: CameraId) -> Watching {
        let mut viewer = Viewer::new(LOCALHOST).await;
        let request = self
            .client
            .post(format!("{}/whep/{camera}", self.http))
            .header("content-type", "application/sdp");
        let answer = request.body(viewer.offer().to_owned()).send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        viewer.accept(&answer.text().await.unwrap());
        let pictures = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&pictures);
        let task = tokio::spawn(async move {
            loop {
                if viewer.next().await == Noticed::Picture {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let watching = Watching { pictures, task };
        watching.goes_on().await;
        watching
    }

    /// Gives a camera another name; status and text of the answer.
    async fn rename(&self, camera: CameraId, name: &str) -> (StatusCode, String) {
        let url = format!("{}/cameras/{camera}", self.http);
        let request = self.client.patch(url).json(&json!({ "name": name }));
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Streams begin and go on while `spoil` lasts, and what was to be written then is there in the end.
    /// `cause` is a word of the log's.
    async fn lives_through<M: AsyncFnOnce()>(
        mut self,
        cause: &str,
        spoil: impl AsyncFnOnce(&Self) -> M,
    ) -> TempDir {
        let first = self.watch(self.camera(0)).await;
        assert_eq!(self.rename(self.camera(0), "Porch").await.0, StatusCode::OK);
        let mend = spoil(&self).await;

        let (status, text) = self.rename(self.camera(0), "Garden").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
        assert!(text.contains("remembered"), "{text}");
        self.until_database("down").await;
        let said = self.log.until("the database cannot be written");
        assert_eq!(said["level"], "ERROR");
        let error = said["error"].as_str().unwrap();
        assert!(error.contains(cause), "{error}");
        // Also what begins only now.
        let second = self.watch(self.camera(1)).await;
        first.goes_on().await;
        self.until_database("down").await;
        assert!(self.figure("apiary_database_queue").await > 0.0);

        mend().await;
        self.until_database("up").await;
        self.log.until("the database can be written again");
        let (status, text) = self.rename(self.camera(1), "Barn").await;
        assert_eq!(status, StatusCode::OK, "{text}");
        first.goes_on().await;
        second.goes_on().await;
        for lost in ["dropped", "refused"] {
            let lost = format!("apiary_database_rows_{lost}_total");
            assert!(self.figure(&lost).await < 1.0, "{lost}");
        }
        self.program.signal("TERM");
        assert_eq!(self.program.end().code(), Some(0));
        self.simulator.shutdown().await;
        self.dir
    }
}

/// What [`House::lives_through`] leaves behind.
async fn holds_all(store: &impl Store) {
    let cameras = store.cameras().await.unwrap();
    let mut names: Vec<_> = cameras
        .into_iter()
        .filter_map(|row| row.label.name)
        .collect();
    names.sort();
    assert_eq!(names, ["Barn", "Garden"]);
    let sessions = store.stream_sessions(None, 9).await.unwrap();
    assert_eq!(sessions.len(), 2);
    for session in sessions {
        assert_eq!(session.status, SessionStatus::Stopped);
        let viewers = store.viewer_sessions(&session.session_id).await.unwrap();
        assert_eq!(viewers.len(), 1);
        assert!(viewers[0].disconnected_at.is_some());
    }
}

async fn file_holds_all(dir: &TempDir) {
    let store = SqliteStore::open(&database(dir.path())).await.unwrap();
    holds_all(&store).await;
}

struct Watching {
    pictures: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Watching {
    /// More pictures come.
    async fn goes_on(&self) {
        let so_far = self.pictures.load(Ordering::Relaxed);
        until("ten more pictures", || {
            self.pictures.load(Ordering::Relaxed) >= so_far + 10
        })
        .await;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_while_the_database_is_locked_streams_go_on_and_history_waits() {
    let house = House::start(31_700, None).await;
    let lock = async |house: &House| {
        let mut other = raw(house.dir.path()).await;
        let begin = sqlx::raw_sql("BEGIN EXCLUSIVE");
        begin.execute(&mut other).await.unwrap();
        async move || other.close().await.unwrap()
    };
    file_holds_all(&house.lives_through("locked", lock).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_while_the_database_server_is_away_streams_go_on_and_history_waits() {
    let cluster = Cluster::start();
    let database = cluster.database_here().await;
    let house = House::start(31_820, Some(&database.url())).await;
    let cluster = &cluster;
    let kill = async |_: &House| {
        cluster.kill();
        async move || cluster.bring_up()
    };
    house.lives_through("database", kill).await;
    let target = PostgresTarget::parse(&database.url()).unwrap();
    holds_all(&PostgresStore::open(&target, 1).await.unwrap()).await;
}

/// The command, with writes beyond a limit on the size of files refused to it instead of ending it.
fn with_file_limits(command: &Command, dir: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(dir)
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    shell
}

/// No write beyond that many bytes succeeds from now on.
fn limit_files(program: u32, bytes: &str) {
    let limited = Command::new("prlimit")
        .arg(format!("--pid={program}"))
        .arg(format!("--fsize={bytes}:unlimited"))
        .status();
    assert!(limited.unwrap().success());
}

/// A full disk cannot be had without one of one's own; a limit on the size of files does the same to each write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_while_the_disk_is_full_streams_go_on_and_history_waits() {
    let house = House::start(31_740, None).await;
    let program = house.program.0.id();
    let fill = async |_: &House| {
        limit_files(program, "4096");
        async move || limit_files(program, "unlimited")
    };
    file_holds_all(&house.lives_through("disk", fill).await).await;
}

/// How often the program is killed.
const KILLS: u64 = 8;
/// Who writes at the same time, each to a camera of its own.
const WRITERS: u8 = 4;

/// Names a camera 1, 2, 3, … until the program is gone; `acknowledged` is the last number that was answered with 200.
async fn keep_renaming(client: reqwest::Client, url: String, acknowledged: Arc<AtomicU64>) -> u64 {
    let mut number = acknowledged.load(Ordering::Relaxed);
    loop {
        number += 1;
        let request = client
            .patch(&url)
            .json(&json!({ "name": number.to_string() }));
        match request.send().await {
            Ok(answer) => {
                assert_eq!(answer.status(), StatusCode::OK);
                acknowledged.store(number, Ordering::Relaxed);
            }
            Err(_) => return number,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f04_nothing_acknowledged_is_lost_however_often_the_program_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let cameras: Vec<CameraId> = (1..=WRITERS)
        .map(|number| CameraId::from_bytes([number; 16]))
        .collect();
    let store = SqliteStore::open(&database(dir)).await.unwrap();
    let rows = cameras
        .iter()
        .map(|camera| Write::Camera(CameraRow::new(*camera, Timestamp::now())));
    store.apply(&rows.collect::<Vec<_>>()).await.unwrap();
    store.close().await;
    drop(store);
    let acknowledged: Vec<Arc<AtomicU64>> = cameras.iter().map(|_| Arc::default()).collect();
    let total = || -> u64 {
        let all = acknowledged.iter();
        all.map(|last| last.load(Ordering::Relaxed)).sum()
    };
    for round in 0..KILLS {
        let mut program = Running::start(&mut serve(dir, 31_780));
        let ready = Log::of(&mut program).until("ready");
        let http = format!("http://{}", address(&ready, "http"));
        let client = reqwest::Client::new();
        let writers: Vec<_> = cameras
            .iter()
            .zip(&acknowledged)
            .map(|(camera, last)| {
                let url = format!("{http}/cameras/{camera}");
                tokio::spawn(keep_renaming(client.clone(), url, Arc::clone(last)))
            })
            .collect();
        // At another point of a write each time.
        let enough = total() + 5 + 13 * round;
        until("so many are acknowledged", || total() >= enough).await;
        program.0.kill().unwrap();
        program.0.wait().unwrap();
        let mut sent = Vec::new();
        for writer in writers {
            sent.push(writer.await.unwrap());
        }

        let store = SqliteStore::open(&database(dir)).await.unwrap();
        let rows = store.cameras().await.unwrap();
        store.close().await;
        assert_eq!(rows.len(), cameras.len());
        for ((row, last), sent) in rows.iter().zip(&acknowledged).zip(sent) {
            let found: u64 = row.label.name.as_deref().unwrap_or("0").parse().unwrap();
            let last = last.swap(found, Ordering::Relaxed);
            assert!(
                (last..=sent).contains(&found),
                "round {round}: {last} was acknowledged, {sent} sent, {found} is there"
            );
        }
    }
    let mut other = raw(dir).await;
    let whole = sqlx::query_scalar::<_, String>("PRAGMA integrity_check");
    assert_eq!(whole.fetch_all(&mut other).await.unwrap(), ["ok"]);
}
