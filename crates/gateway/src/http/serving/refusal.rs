//! What a connection is told for which there is no room.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::admission::Full;
use super::trouble::Trouble;

/// Most refusals that are being written at once; further connections are closed without a word.
const MAX_REFUSALS: usize = 64;
/// How long telling one may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// As much of a request as is read before the connection is closed: closing on unread octets would take the answer along.
const MAX_READ: u64 = 64 * 1024;
/// Seconds after which it is worth trying again.
const RETRY_AFTER_S: u32 = 5;

/// Tells connections that there is no room.
#[derive(Debug)]
pub(super) struct Refusals {
    running: Arc<Semaphore>,
    trouble: Mutex<Trouble>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(MAX_REFUSALS)),
            trouble: Mutex::default(),
        }
    }
}

impl Refusals {
    /// Closes the connection, after a 503 where there is time for one, and where it can be read: before a TLS handshake,
    /// which nobody gets who is not let in, it cannot.
    pub(super) fn refuse(
        &self,
        stream: TcpStream,
        full: Full,
        speaks_tls: bool,
        tasks: &mut JoinSet<()>,
    ) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.begins(Instant::now()) {
            let reason = reason(full);
            tracing::warn!(
                reason,
                "HTTP connections are refused; those that are open go on"
            );
        }
        if speaks_tls {
            return;
        }
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            tasks.spawn(async move {
                // Who does not listen is not told.
                _ = timeout(PATIENCE, tell(stream, full)).await;
                drop(permit);
            });
        }
    }
}

fn reason(full: Full) -> &'static str {
    match full {
        Full::All => "http.max_connections is reached",
        Full::Address => "http.max_connections_per_address is reached",
    }
}

async fn tell(mut stream: TcpStream, full: Full) -> std::io::Result<()> {
    let why = match full {
        Full::All => "this server has as many connections as it takes",
        Full::Address => {
            "this server has as many connections from your address as it takes from one"
        }
    };
    let body = format!("{{\"error\":\"{why}; try again shortly\"}}");
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Retry-After: {RETRY_AFTER_S}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MAX_READ), &mut tokio::io::sink()).await?;
    Ok(())
}
