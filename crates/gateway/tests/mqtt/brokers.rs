//! The two brokers, behind one interface.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use apiary::config::{Config, Environment, MqttConfig, TlsFiles};
use apiary::mqtt::EmbeddedBroker;

use crate::client::own_login;

/// A broker that can be started, on a port of its own, and stopped.
pub(crate) trait Broker: Sized + Send {
    /// Starts it; plain on `port` (0: any free one), and with TLS on any free port where certificates are given.
    fn start(port: u16, tls: Option<TlsFiles>) -> impl Future<Output = Self> + Send;
    fn port(&self) -> u16;
    fn tls_port(&self) -> u16;
    fn stop(self) -> impl Future<Output = ()> + Send;
    /// Whether a camera can publish on topics of others.
    const LETS_CAMERAS_PUBLISH_ANYWHERE: bool;
}

/// The defaults, with the embedded broker on loopback.
pub(crate) fn embedded_config(port: u16) -> MqttConfig {
    let mut config = Config::load(None, &Environment::default()).unwrap().mqtt;
    config.embedded.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    config.credentials = Some(own_login());
    config
}

pub(crate) struct EmbeddedKind(EmbeddedBroker);

impl Broker for EmbeddedKind {
    const LETS_CAMERAS_PUBLISH_ANYWHERE: bool = false;

    async fn start(port: u16, tls: Option<TlsFiles>) -> Self {
        let mut config = embedded_config(port);
        if let Some(tls) = tls {
            config.embedded.listen_tls = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
            config.tls = tls;
        }
        Self(EmbeddedBroker::start(&config).await.unwrap())
    }

    fn port(&self) -> u16 {
        self.0.address().port()
    }

    fn tls_port(&self) -> u16 {
        self.0.tls_address().unwrap().port()
    }

    async fn stop(self) {
        self.0.stop().await;
    }
}

pub(crate) struct MosquittoKind {
    child: Child,
    port: u16,
    tls_port: u16,
    _dir: tempfile::TempDir,
}

/// A port that was free a moment ago. Mosquitto cannot be told to choose one and report it.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

impl Broker for MosquittoKind {
    const LETS_CAMERAS_PUBLISH_ANYWHERE: bool = true;

    async fn start(port: u16, tls: Option<TlsFiles>) -> Self {
        let port = if port == 0 { free_port() } else { port };
        let tls_port = free_port();
        let dir = tempfile::tempdir().unwrap();
        let mut config = format!(
            "per_listener_settings true\nlistener {port} 127.0.0.1\nallow_anonymous true\n"
        );
        if let Some(TlsFiles {
            ca: Some(ca),
            cert: Some(cert),
            key: Some(key),
        }) = tls
        {
            config += &format!(
                "listener {tls_port} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\n\
                 cafile {}\ncertfile {}\nkeyfile {}\n",
                ca.display(),
                cert.display(),
                key.display()
            );
        }
        let path = dir.path().join("mosquitto.conf");
        std::fs::write(&path, config).unwrap();
        let program = ["/usr/sbin/mosquitto", "mosquitto"];
        let child = program.iter().find_map(|program| {
            Command::new(program)
                .arg("-c")
                .arg(&path)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        });
        let child = child.expect("mosquitto is missing: run ./test.sh, which installs it");
        let broker = Self {
            child,
            port,
            tls_port,
            _dir: dir,
        };
        listening(port).await;
        broker
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn tls_port(&self) -> u16 {
        self.tls_port
    }

    async fn stop(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for MosquittoKind {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

async fn listening(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .is_err()
    {
        assert!(
            Instant::now() < deadline,
            "mosquitto does not listen on {port}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
