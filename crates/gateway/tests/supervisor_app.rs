//! The program as a whole: it starts, serves, ends, and says what to do when it cannot.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod supervisor_support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use apiary::app::{self, AppError};
use apiary::config::Config;
use apiary_store::{SqliteStore, StoreError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Whatever a test waits for must come within this time.
const DEADLINE: Duration = Duration::from_secs(30);

fn config(dir: &tempfile::TempDir) -> Config {
    let mut config = supervisor_support::config();
    config.data.dir = dir.path().to_owned();
    config
}

/// Runs a program that cannot start and gives its reason.
async fn refused(config: Config) -> AppError {
    let (ready, _) = oneshot::channel();
    let ended = timeout(DEADLINE, app::run(config, CancellationToken::new(), ready));
    ended.await.unwrap().unwrap_err()
}

async fn taken() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let (_held, address) = taken().await;
    let mut http = config(&dir);
    http.http.listen = vec![address];
    let text = refused(http).await.to_string();
    assert!(
        text.contains("http.listen") && text.contains(&address.to_string()),
        "{text}"
    );
    assert!(text.contains("another program"), "{text}");
    let mut signaling = config(&dir);
    signaling.signaling.listen = vec![address];
    let text = refused(signaling).await.to_string();
    assert!(text.contains("signaling.listen"), "{text}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    config.http.listen = vec!["192.0.2.1:0".parse().unwrap()];
    let text = refused(config).await.to_string();
    assert!(
        text.contains("192.0.2.1") && text.contains("does not have that address"),
        "{text}"
    );
}

#[tokio::test]
async fn a_data_directory_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&dir);
    let _other = SqliteStore::open(&app::database(&config)).await.unwrap();
    let error = refused(config).await;
    assert!(
        matches!(error, AppError::Store(StoreError::InUse { .. })),
        "{error:?}"
    );
    assert!(error.to_string().contains("data.dir"), "{error}");
}
