//! One WebSocket, from the handshake to its end.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::envelope::{self, Outcome};
use crate::server::{ConnectionId, Shared};

const PATH: &str = "/kurento";

/// A message on its way to a client.
#[derive(Debug)]
pub(crate) struct Outgoing(pub(crate) String);

/// What holds for all sockets at once.
#[derive(Clone, Debug)]
pub(crate) struct Switches {
    /// Nothing is read any more.
    pub(crate) frozen: watch::Receiver<bool>,
    /// Changes when all connections are to be reset.
    pub(crate) reset: watch::Receiver<()>,
}

/// Serves one client until the connection ends.
pub(crate) async fn serve(stream: TcpStream, shared: Shared, mut switches: Switches) {
    // Only a matter of speed.
    let _ = stream.set_nodelay(true);
    let mut path = String::new();
    let handshake = tokio_tungstenite::accept_hdr_async(stream, AcceptAny(&mut path));
    let Ok(mut socket) = handshake.await else {
        return;
    };
    if path != PATH {
        refuse(socket).await;
        return;
    }
    let (outgoing, messages) = unbounded_channel();
    let id = shared.lock().connected(outgoing.clone());
    converse(
        &mut socket,
        id,
        &shared,
        &mut switches,
        (outgoing, messages),
    )
    .await;
    shared.lock().disconnected(id);
}

/// Accepts whatever path is asked for and notes it.
struct AcceptAny<'p>(&'p mut String);

impl tokio_tungstenite::tungstenite::handshake::server::Callback for AcceptAny<'_> {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(self.0);
        let mut response = response;
        let server = HeaderValue::from_static("WebSocket++/0.8.2");
        response.headers_mut().insert("Server", server);
        Ok(response)
    }
}

async fn refuse(mut socket: WebSocketStream<TcpStream>) {
    let close = CloseFrame {
        code: CloseCode::Protocol,
        reason: "Invalid path".into(),
    };
    if socket.close(Some(close)).await.is_err() {
        return;
    }
    // Until the other side has closed too.
    while let Some(Ok(_)) = socket.next().await {}
}

async fn converse(
    socket: &mut WebSocketStream<TcpStream>,
    id: ConnectionId,
    shared: &Shared,
    switches: &mut Switches,
    (outgoing, mut messages): (UnboundedSender<Outgoing>, UnboundedReceiver<Outgoing>),
) {
    loop {
        let frozen = *switches.frozen.borrow_and_update();
        tokio::select! {
            // In this order, so that nothing is read after a freeze.
            biased;
            _ = switches.reset.changed() => {
                // Where that is refused, it ends without a reset.
                let _ = socket.get_ref().set_zero_linger();
                return;
            }
            changed = switches.frozen.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            Some(Outgoing(text)) = messages.recv() => {
                if socket.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
            message = socket.next(), if !frozen => {
                let Some(Ok(message)) = message else {
                    return;
                };
                let Some(text) = text_of(&message) else {
                    continue;
                };
                let outcome = envelope::handle(&mut shared.lock(), id, &text);
                match outcome {
                    Outcome::Reply(text) => {
                        let delay = shared.lock().faults.reply_delay;
                        reply(&outgoing, text, delay);
                    }
                    Outcome::Silence => {}
                    Outcome::Drop => return,
                }
            }
        }
    }
}

/// Text and binary frames are read alike.
fn text_of(message: &Message) -> Option<String> {
    match message {
        Message::Text(text) => Some(text.to_string()),
        Message::Binary(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => None,
    }
}

fn reply(outgoing: &UnboundedSender<Outgoing>, text: String, delay: Duration) {
    if delay.is_zero() {
        // It is read in the same task.
        let _ = outgoing.send(Outgoing(text));
        return;
    }
    let outgoing = outgoing.clone();
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let _ = outgoing.send(Outgoing(text));
    });
}
