//! The double's own thread: it accepts clients, and does what the handle orders.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::mpsc::Sender;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::objects::Endpoint;
use crate::rpc::{Switches, serve};
use crate::server::Shared;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// All at once, as by SIGKILL.
    Kill,
    /// After a kill, on the same port.
    Start,
    DropSockets,
    Freeze(bool),
}

/// An order, and where to say how it went.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) order: Order,
    pub(crate) done: Sender<io::Result<()>>,
}

struct House {
    address: SocketAddr,
    listener: Option<TcpListener>,
    sockets: JoinSet<()>,
    shared: Shared,
    frozen: watch::Sender<bool>,
    reset: watch::Sender<()>,
}

/// Until the handle is gone.
pub(crate) async fn run(
    listener: StdListener,
    shared: Shared,
    mut commands: UnboundedReceiver<Command>,
) -> io::Result<()> {
    let mut house = House {
        address: listener.local_addr()?,
        listener: Some(TcpListener::from_std(listener)?),
        sockets: JoinSet::new(),
        shared,
        frozen: watch::Sender::new(false),
        reset: watch::Sender::new(()),
    };
    loop {
        let frozen = *house.frozen.borrow();
        tokio::select! {
            // Orders first, so that nobody is accepted after a freeze.
            biased;
            command = commands.recv() => {
                let Some(command) = command else {
                    return Ok(());
                };
                let done = house.obey(command.order).await;
                // A handle that does not wait for it needs no answer.
                let _ = command.done.send(done);
            }
            Some(_) = house.sockets.join_next() => {}
            Some(stream) = accept(house.listener.as_ref()), if !frozen => house.serve(stream),
        }
    }
}

/// Nothing where there is no listener, or a client that is gone already.
async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

impl House {
    fn serve(&mut self, stream: TcpStream) {
        let switches = Switches {
            frozen: self.frozen.subscribe(),
            reset: self.reset.subscribe(),
        };
        self.sockets
            .spawn(serve(stream, self.shared.clone(), switches));
    }

    async fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Kill => {
                self.listener = None;
                self.drop_sockets().await;
                self.end_media().await;
                self.frozen.send_replace(false);
            }
            Order::Start if self.listener.is_none() => {
                self.listener = Some(TcpListener::bind(self.address).await?);
            }
            Order::Start => {}
            Order::DropSockets => self.drop_sockets().await,
            Order::Freeze(frozen) => {
                self.frozen.send_replace(frozen);
            }
        }
        Ok(())
    }

    async fn drop_sockets(&mut self) {
        self.reset.send_replace(());
        // Those that are still shaking hands have not heard of it.
        tokio::task::yield_now().await;
        self.sockets.shutdown().await;
    }

    async fn end_media(&mut self) {
        let objects = self.shared.lock().forget_everything();
        for object in objects {
            let task = match object.endpoint {
                Endpoint::Rtp(endpoint) => endpoint.abort(),
                Endpoint::WebRtc(endpoint) => endpoint.abort(),
                Endpoint::None => continue,
            };
            // That it was aborted is what was wanted.
            let _ = task.await;
        }
    }
}
