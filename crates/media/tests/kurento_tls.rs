//! A media server behind TLS (`wss://`): spoken to when its certificate is trusted, and named as untrusted when not.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails, and waits for what it names"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use apiary_media::kurento::KurentoConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use support::{Frame, House, show, spec_of};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// A certificate for a server, and what trusts it.
struct Tls {
    server: Arc<ServerConfig>,
    trusting: Arc<ClientConfig>,
}

fn tls(name: &str) -> Tls {
    let own = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let certificate = own.cert.der().clone();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let trusting = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Tls {
        server: Arc::new(server),
        trusting: Arc::new(trusting),
    }
}

/// Speaks TLS with who connects and passes the rest on to a server, until the process ends.
fn tls_in_front_of(server: SocketAddr, tls: Arc<ServerConfig>) -> SocketAddr {
    let listener = std::net::TcpListener::bind((server.ip(), 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let acceptor = TlsAcceptor::from(tls);
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(server).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    };
    std::thread::spawn(move || Runtime::new().unwrap().block_on(serve));
    address
}

/// A house whose server is behind TLS.
fn house(certificate_of: &str, trusted: impl Fn(&Tls) -> Arc<ClientConfig>) -> House {
    House::kurento_with(
        1,
        |_, _| {},
        |config: &mut KurentoConfig| {
            let plain = &config.servers[0].address;
            let server = format!("{}:{}", plain.host, plain.port).parse().unwrap();
            let name = match certificate_of {
                "its own" => plain.host.clone(),
                other => other.to_owned(),
            };
            let tls = tls(&name);
            config.tls = Some(trusted(&tls));
            let front = tls_in_front_of(server, tls.server);
            let mut spec = spec_of(&format!("ws://{front}/kurento"));
            spec.address.url = format!("wss://{front}/kurento");
            spec.address.tls = true;
            config.servers = vec![spec];
        },
    )
}

#[test]
fn a_server_behind_tls_is_spoken_to() {
    let house = house("its own", |tls| Arc::clone(&tls.trusting));
    house.wait_ready(1);
    let mut camera = house.open(1);
    let mut viewer = house.join(1, 1);
    viewer.connect();
    show(&mut camera, &mut viewer, &Frame::idr(1));
}

#[test]
fn a_certificate_that_is_not_trusted_is_named() {
    let stranger = || tls("kurento.example").trusting;
    for (certificate_of, trusted) in [("its own", false), ("kurento.example", true)] {
        let house = house(certificate_of, |tls| match trusted {
            true => Arc::clone(&tls.trusting),
            false => stranger(),
        });
        let health = house.wait_health(|health| {
            let error = health.servers[0].error.as_ref();
            error.is_some_and(|error| error.contains("TLS: invalid peer certificate"))
        });
        assert!(!health.servers[0].connected);
        assert!(health.trouble.unwrap().contains("wss://"));
    }
}
