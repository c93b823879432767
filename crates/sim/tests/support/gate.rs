//! A TCP port in front of the broker that can be closed and opened, so that a broker can be gone without
//! losing its port to someone else.

use std::net::Ipv4Addr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::PATIENCE;

pub(crate) struct Gate {
    port: u16,
    open: watch::Sender<bool>,
    refused: watch::Receiver<u32>,
    task: JoinHandle<()>,
}

impl Gate {
    /// A closed gate before the broker at `broker`.
    pub(crate) async fn before(broker: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, is_open) = watch::channel(false);
        let (refused_sender, refused) = watch::channel(0);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *is_open.borrow() {
                    tokio::spawn(relay(client, broker, is_open.clone()));
                } else {
                    refused_sender.send_modify(|count| *count += 1);
                }
            }
        });
        Self {
            port,
            open,
            refused,
            task,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Cuts all connections and takes no more.
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    /// Waits until so many connections have been refused.
    pub(crate) async fn refused(&self, times: u32) {
        let mut refused = self.refused.clone();
        let reached =
            tokio::time::timeout(PATIENCE, refused.wait_for(|count| *count >= times)).await;
        reached.expect("the camera tries again").unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(mut client: TcpStream, broker: u16, mut is_open: watch::Receiver<bool>) {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, broker))
        .await
        .unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = is_open.wait_for(|open| !open) => {}
    }
}
