//! A port in front of a server's Unix socket, on which a connection can be cut or stopped at a chosen statement.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinSet;

/// What happens to the first connection on which the client sends a statement with these words.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The server never sees the statement; both sides see the end.
    CutBefore(&'static str),
    /// The server sees it; the client sees the end instead of an answer.
    CutAfter(&'static str),
    /// Nothing passes any more, and nobody is told.
    Hang(&'static str),
}

impl Fault {
    fn words(self) -> &'static str {
        match self {
            Self::CutBefore(words) | Self::CutAfter(words) | Self::Hang(words) => words,
        }
    }
}

/// The port, for as long as this lives.
pub(crate) struct Way {
    port: u16,
    fault: Arc<Mutex<Option<Fault>>>,
    _connections: JoinSet<()>,
}

impl Way {
    pub(crate) async fn open(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fault = Arc::new(Mutex::new(None));
        let next = Arc::clone(&fault);
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.unwrap();
                passing.spawn(pass(client, server, Arc::clone(&next)));
            }
        });
        Self {
            port,
            fault,
            _connections: connections,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Does this once.
    pub(crate) fn next(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    /// Whether what [`Way::next`] was told has happened.
    pub(crate) fn is_done(&self) -> bool {
        self.fault.lock().unwrap().is_none()
    }
}

/// Passes on both directions until one ends or the fault strikes.
async fn pass(
    client: impl AsyncRead + AsyncWrite,
    server: impl AsyncRead + AsyncWrite,
    fault: Arc<Mutex<Option<Fault>>>,
) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let asking = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = from_client.read(&mut buffer).await.unwrap_or(0);
            if length == 0 {
                return None;
            }
            match strikes(&fault, &buffer[..length]) {
                None => {}
                Some(Fault::CutBefore(_)) => return None,
                Some(Fault::CutAfter(_)) => return Some(buffer[..length].to_vec()),
                Some(Fault::Hang(_)) => std::future::pending().await,
            }
            if to_server.write_all(&buffer[..length]).await.is_err() {
                return None;
            }
        }
    };
    let answering = tokio::io::copy(&mut from_server, &mut to_client);
    let last = tokio::select! {
        last = asking => last,
        _ = answering => None,
    };
    // Only now, when no answer passes any more; the end of file comes after it.
    if let Some(last) = last {
        let _ = to_server.write_all(&last).await;
        let _ = to_server.shutdown().await;
    }
}

fn strikes(fault: &Mutex<Option<Fault>>, sent: &[u8]) -> Option<Fault> {
    let mut fault = fault.lock().unwrap();
    let words = (*fault)?.words().as_bytes();
    if sent.windows(words.len()).any(|window| window == words) {
        fault.take()
    } else {
        None
    }
}
