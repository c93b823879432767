//! A PostgreSQL server of the tests' own, in a directory of its own and reached over a Unix socket there, and a way to it
//! that can be cut.

mod cut;

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

pub(crate) use cut::{Fault, Way};

/// Where Debian's package `postgresql` puts its programs, by version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Who runs the server where the tests are run by root, which PostgreSQL refuses.
const SERVER_USER: &str = "postgres";
const ADMIN: &str = "queen";
/// Stands in no message, ever. Has what must be escaped in a URL.
pub(crate) const PASSWORD: &str = "hunter2@/:%";
/// [`PASSWORD`] in a URL.
pub(crate) const PASSWORD_IN_URL: &str = "hunter2%40%2F%3A%25";
/// Who owns the databases of the tests.
pub(crate) const OWNER: &str = "bee";

/// A server. It ends, and its directory goes, when this is dropped or the process is gone, however that ends.
pub(crate) struct Cluster {
    dir: PathBuf,
    programs: PathBuf,
    /// Its end of file tells the keeper to clean up.
    life: Option<ChildStdin>,
    keeper: Child,
    databases: AtomicU32,
    reach: Reach,
}

/// How a server is reached.
#[derive(Clone, Copy)]
enum Reach {
    Socket,
    /// And over TLS on this port of this machine.
    Tls {
        port: u16,
    },
}

/// The port in the name of a Unix socket.
const SOCKET_PORT: u16 = 5432;

impl Cluster {
    /// The one that the tests of this process share. A test that stops the server starts its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    pub(crate) fn start() -> Self {
        let cluster = Self::new(Reach::Socket);
        cluster.bring_up();
        cluster
    }

    /// One that also listens on a port of this machine, with TLS.
    pub(crate) fn start_with_tls(certificate: &str, key: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let cluster = Self::new(Reach::Tls { port });
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = cluster.dir.join(name);
            std::fs::write(&path, text).unwrap();
            // PostgreSQL takes no key that others can read.
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            if let Some((user, group)) = server_user() {
                chown(&path, Some(user), Some(group)).unwrap();
            }
        }
        drop(free);
        cluster.bring_up();
        cluster
    }

    fn new(reach: Reach) -> Self {
        let programs = programs();
        let dir = tempfile::Builder::new()
            .prefix("apiary-postgresql-")
            .tempdir()
            .unwrap()
            .keep();
        std::fs::write(dir.join("password"), PASSWORD).unwrap();
        if let Some((user, group)) = server_user() {
            for path in [&dir, &dir.join("password")] {
                chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let mut keeper = keeper(&programs, &dir);
        let cluster = Self {
            life: keeper.stdin.take(),
            dir,
            programs,
            keeper,
            databases: AtomicU32::new(0),
            reach,
        };
        cluster.run(
            "initdb",
            &[
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "--auth=scram-sha-256",
                "--pwfile=password",
                &format!("--username={ADMIN}"),
                "--pgdata=data",
            ],
        );
        cluster
    }

    /// Starts the server, or starts it again.
    pub(crate) fn bring_up(&self) {
        let listen = match self.reach {
            Reach::Socket => "-c listen_addresses=''".to_owned(),
            Reach::Tls { port } => format!(
                "-c listen_addresses=127.0.0.1 -c port={port} -c ssl=on -c ssl_cert_file=../server.crt \
                 -c ssl_key_file=../server.key"
            ),
        };
        let options = format!(
            "{listen} -c unix_socket_directories='{}' -c fsync=off -c shared_buffers=16MB \
             -c max_wal_size=64MB -c autovacuum=off",
            self.dir.display()
        );
        self.run(
            "pg_ctl",
            &["start", "-w", "-D", "data", "-l", "log", "-o", &options],
        );
    }

    /// Ends the server as a crash would, in the middle of everything.
    pub(crate) fn kill(&self) {
        self.run("pg_ctl", &["stop", "-w", "-D", "data", "-m", "immediate"]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let status = as_server(&self.programs.join(program))
            .args(arguments)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        assert!(status.success(), "{program} {arguments:?}: {status}\n{log}");
    }

    /// A fresh database that [`OWNER`] owns.
    pub(crate) async fn database(&'static self) -> Database<'static> {
        self.database_here().await
    }

    /// [`Cluster::database`] of a cluster that one test has.
    pub(crate) async fn database_here(&self) -> Database<'_> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("hive_{number}");
        let mut admin = self.admin("postgres").await;
        let make_owner = format!(
            "DO $$ BEGIN CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'; EXCEPTION WHEN duplicate_object THEN END $$"
        );
        run(&mut admin, &make_owner).await;
        run(&mut admin, &format!("CREATE DATABASE {name} OWNER {OWNER}")).await;
        Database {
            cluster: self,
            name,
        }
    }

    /// A connection as the superuser.
    pub(crate) async fn admin(&self, database: &str) -> PgConnection {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.dir)
            .port(self.port())
            .username(ADMIN)
            .password(PASSWORD)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
            .connect()
            .await
            .unwrap()
    }

    /// The socket's directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn port(&self) -> u16 {
        match self.reach {
            Reach::Socket => SOCKET_PORT,
            Reach::Tls { port } => port,
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.join(format!(".s.PGSQL.{}", self.port()))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.life.take());
        let _ = self.keeper.wait();
    }
}

/// One test's database.
pub(crate) struct Database<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl Database<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its URL, over the Unix socket.
    pub(crate) fn url(&self) -> String {
        let dir = self.cluster.directory().display();
        format!(
            "postgres://{OWNER}:{PASSWORD_IN_URL}@/{}?host={dir}",
            self.name
        )
    }

    /// Its URL over a port of this machine.
    pub(crate) fn url_over(&self, port: u16) -> String {
        format!(
            "postgres://{OWNER}:{PASSWORD_IN_URL}@127.0.0.1:{port}/{}",
            self.name
        )
    }

    /// A connection past the store.
    pub(crate) async fn raw(&self) -> PgConnection {
        self.cluster.admin(&self.name).await
    }

    /// A way to it that can be cut.
    pub(crate) async fn way(&self) -> Way {
        Way::open(self.cluster.socket()).await
    }
}

/// Runs statements that the test wrote itself.
pub(crate) async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .unwrap();
}

/// The directory of the newest version's programs.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let found = versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max_by_key(|bin| {
            let version = bin.parent().and_then(Path::file_name);
            version.and_then(|name| name.to_str()?.parse::<u32>().ok())
        });
    found.expect("PostgreSQL is needed: apt-get install postgresql")
}

/// User and group to run the server as, where the tests are run by root.
fn server_user() -> Option<(u32, u32)> {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    is_root.then(|| {
        let number = |flag| {
            let output = Command::new("id")
                .args([flag, SERVER_USER])
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.trim().parse().expect("there is a user postgres")
        };
        (number("-u"), number("-g"))
    })
}

fn as_server(program: &Path) -> Command {
    let Some((user, group)) = server_user() else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={group}"))
        .arg("--clear-groups")
        .arg(program);
    command
}

/// A process that stops the server and removes its directory once our end of its input is closed. Of a process group of its
/// own, so that it outlives us when we are killed.
fn keeper(programs: &Path, dir: &Path) -> Child {
    let script = "cat >/dev/null; \"$@\" stop -D data -m immediate; cd /; rm -rf -- \"$0\"";
    let stop = as_server(&programs.join("pg_ctl"));
    Command::new("sh")
        .args(["-c", script])
        .arg(dir)
        .arg(stop.get_program())
        .args(stop.get_args())
        .current_dir(dir)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
