//! The task that holds one server's WebSocket: it connects, keeps the session alive, gives each request its id and each
//! reply to who waits for it, and notices when the server is gone.
//!
//! The server keeps the objects of a session while its socket is gone, so a connection that breaks is taken up again, and
//! nothing is lost. Only when the server cannot be reached for [`ConnectionConfig::failover_after`], or at once when it refuses
//! connections, does not answer, or comes back as another run of itself, it is told to be lost.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use apiary_wire::kurento::{Event, Incoming, ObjectId, Reply, Request, RpcError, ServerSession};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;

use super::client::{Call, CallError};
use super::{ServerAddress, TlsClientConfig};

/// Requests that may wait for their replies; more are refused.
const MAX_PENDING: usize = 1024;
/// Longer messages end the connection. A server's own description has some 5 KiB, an SDP at most 64.
const MAX_MESSAGE: usize = 1 << 20;
/// How often overdue requests are looked for.
const TICK: Duration = Duration::from_millis(100);
/// The reply to a `create` that nobody waits for any more is waited for as long as this many requests may take, so that the object
/// can be released. Then the connection is begun anew, since the search after that finds the object too.
const ORPHAN_PATIENCE: u32 = 6;
/// Requests in a row, without an answer to any since, after which the server counts as not answering.
const MAX_TIMEOUTS: u32 = 3;
/// Shortest and longest pause between two attempts to connect.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// How long the server is asked to keep the session after its last ping.
const SESSION_LIFE_MS: u32 = 240_000;
/// Time for the goodbye.
const GOODBYE: Duration = Duration::from_millis(200);

/// How a connection behaves.
#[derive(Clone, Debug)]
pub(super) struct ConnectionConfig {
    pub(super) address: ServerAddress,
    pub(super) tls: Option<TlsClientConfig>,
    pub(super) request_timeout: Duration,
    pub(super) ping_interval: Duration,
    pub(super) failover_after: Duration,
}

impl ConnectionConfig {
    /// Longest that connecting may take, and beginning a session: a server that is silent for longer is given up anyway.
    fn patience(&self) -> Duration {
        self.request_timeout.min(self.failover_after)
    }
}

/// Who is told what happens. Nothing here may block: the connection waits for it.
pub(super) trait Listener: Send + Sync + 'static {
    /// The session is up.
    fn on_up(&self, up: Up);
    /// The connection ended; it is being taken up again.
    fn on_down(&self, why: &str);
    /// The server is given up, or has forgotten what it had: `forgotten` says that nothing is left on it.
    fn on_lost(&self, why: &str, forgotten: bool);
    /// An event of any object.
    fn on_event(&self, event: Event);
    /// An object was made for a request that nobody waits for any more.
    fn on_stray(&self, object: ObjectId);
}

/// A session that is up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Up {
    /// Where the server is.
    pub(super) peer: IpAddr,
    /// The server is on this machine.
    pub(super) is_here: bool,
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}
type Socket = WebSocketStream<Box<dyn Bytes>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("{0}")]
    Tcp(#[source] std::io::Error),
    #[error("TLS: {0}")]
    Tls(#[source] std::io::Error),
    #[error("TLS: there are no certificates to trust; see kurento.ca")]
    NoTls,
    #[error("it does not speak WebSocket: {0}")]
    WebSocket(#[source] Box<tungstenite::Error>),
    #[error("it did not answer in time")]
    Timeout,
}

impl ConnectError {
    /// Nobody listens: the server's process is gone, and its objects with it.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Tcp(error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
    }
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// It is not wanted any more.
    Stopped,
    /// It broke.
    Broken(String),
    /// The server is there and answers nothing.
    Unresponsive(String),
}

/// A request without its reply.
struct Pending {
    request: &'static str,
    creates: bool,
    sent: Instant,
    /// `None`: nobody waits any more.
    reply: Option<oneshot::Sender<Result<Reply, CallError>>>,
}

/// Where the server stands.
enum Standing {
    /// It has our objects, if any, as far as is known.
    Trusted {
        /// Since when it is not connected.
        down_since: Option<Instant>,
    },
    /// Its objects are given up.
    Lost,
}

pub(super) struct Connection {
    config: ConnectionConfig,
    calls: mpsc::Receiver<Call>,
    listener: Arc<dyn Listener>,
    stop: CancellationToken,
    session: Option<ServerSession>,
    standing: Standing,
    /// Ids are never used twice in a session, nor in two.
    next_id: u64,
    pending: HashMap<u64, Pending>,
    /// When the last request was answered; pings do not count.
    answered_at: Option<Instant>,
    timeouts_in_a_row: u32,
}

impl Connection {
    pub(super) fn new(
        config: ConnectionConfig,
        calls: mpsc::Receiver<Call>,
        listener: Arc<dyn Listener>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            config,
            calls,
            listener,
            stop,
            session: None,
            standing: Standing::Lost,
            next_id: 1,
            pending: HashMap::new(),
            answered_at: None,
            timeouts_in_a_row: 0,
        }
    }

    /// Runs until it is stopped.
    pub(super) async fn run(mut self) {
        let mut pause = RETRY_PAUSES.0;
        loop {
            let opened = tokio::select! {
                () = self.stop.cancelled() => return,
                opened = open(&self.config) => opened,
                () = refuse(&mut self.calls) => return,
            };
            match opened {
                Ok((socket, up)) => match self.serve(socket, up).await {
                    End::Stopped => return,
                    End::Broken(why) => {
                        self.on_down(&why);
                        pause = RETRY_PAUSES.0;
                    }
                    End::Unresponsive(why) => {
                        self.on_down(&why);
                        self.transition_to_lost(&why, false);
                    }
                },
                Err(error) => self.on_connect_error(&error),
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(pause) => {}
                () = refuse(&mut self.calls) => return,
            }
            pause = (pause * 2).min(RETRY_PAUSES.1);
        }
    }

    fn on_connect_error(&mut self, error: &ConnectError) {
        let why = error.to_string();
        match self.standing {
            Standing::Lost => self.listener.on_down(&why),
            Standing::Trusted { down_since } => {
                self.listener.on_down(&why);
                let down_for = down_since.map_or(Duration::ZERO, |since| since.elapsed());
                if error.is_refusal() || down_for >= self.config.failover_after {
                    self.transition_to_lost(&why, false);
                }
            }
        }
    }

    fn on_down(&mut self, why: &str) {
        // First, so that whoever is told that a request failed finds the server down.
        self.listener.on_down(why);
        for (_, pending) in self.pending.drain() {
            if let Some(reply) = pending.reply {
                let _ = reply.send(Err(CallError::Disconnected));
            }
        }
        self.timeouts_in_a_row = 0;
        if let Standing::Trusted { down_since } = &mut self.standing {
            *down_since = Some(Instant::now());
        }
    }

    fn transition_to_lost(&mut self, why: &str, forgotten: bool) {
        if let Standing::Trusted { .. } = self.standing {
            self.standing = Standing::Lost;
            self.listener.on_lost(why, forgotten);
        } else if forgotten {
            self.listener.on_lost(why, true);
        }
    }

    /// Serves one WebSocket to its end.
    async fn serve(&mut self, mut socket: Socket, up: Up) -> End {
        if let Err(end) = self.begin_session(&mut socket).await {
            return end;
        }
        self.standing = Standing::Trusted { down_since: None };
        self.listener.on_up(up);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pings = interval(self.config.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ping: Option<(u64, Instant)> = None;
        loop {
            let stepped = tokio::select! {
                () = self.stop.cancelled() => Err(End::Stopped),
                call = self.calls.recv() => match call {
                    Some(call) => self.send_call(&mut socket, call).await,
                    None => Err(End::Stopped), // no handle is left
                },
                frame = socket.next() => self.on_frame(frame).map(|answered| {
                    if let (Some(id), Some((awaited, _))) = (answered, ping) && id == awaited {
                        ping = None;
                    }
                }),
                _ = pings.tick(), if ping.is_none() => {
                    let id = self.take_id();
                    ping = Some((id, Instant::now()));
                    self.send(&mut socket, &Request::Ping { interval_ms: SESSION_LIFE_MS }, id).await
                }
                _ = ticks.tick() => self.on_tick(ping.map(|(_, sent)| sent)),
            };
            if let Err(end) = stepped {
                if let End::Stopped = end {
                    self.say_goodbye(&mut socket).await;
                }
                return end;
            }
        }
    }

    /// Takes the session up again, or begins one.
    async fn begin_session(&mut self, socket: &mut Socket) -> Result<(), End> {
        let known = self.session.clone();
        let reply = match self.connect(socket).await? {
            Ok(reply) => reply,
            // Servers of 6.x refuse sessions that they do not know; 7.x adopts them.
            Err(_) if known.is_some() => {
                self.session = None;
                self.connect(socket).await?.map_err(not_a_session)?
            }
            Err(error) => return Err(not_a_session(error)),
        };
        let session = reply
            .session()
            .ok_or_else(|| End::Broken("its answer names no session".to_owned()))?;
        if known.is_some_and(|known| known != session) {
            self.transition_to_lost("it was started anew", true);
        }
        self.session = Some(session);
        Ok(())
    }

    async fn connect(&mut self, socket: &mut Socket) -> Result<Result<Reply, RpcError>, End> {
        let id = self.take_id();
        self.send(socket, &Request::Connect, id).await?;
        let answer = async {
            loop {
                match read(socket.next().await)? {
                    Some(Incoming::Reply { id: of, outcome }) if of == id => return Ok(outcome),
                    Some(Incoming::Complaint(error)) => return Ok(Err(error)),
                    Some(Incoming::Event(event)) => self.listener.on_event(event),
                    Some(Incoming::Reply { .. } | Incoming::Unknown) | None => {}
                }
            }
        };
        match timeout(self.config.patience(), answer).await {
            Ok(answered) => answered,
            Err(_) => Err(End::Unresponsive("it does not answer".to_owned())),
        }
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    async fn send_call(&mut self, socket: &mut Socket, call: Call) -> Result<(), End> {
        let Call { request, reply } = call;
        if reply.is_closed() {
            return Ok(()); // it waited too long already
        }
        if self.pending.len() >= MAX_PENDING {
            let _ = reply.send(Err(CallError::Overloaded));
            return Ok(());
        }
        let id = self.take_id();
        let pending = Pending {
            request: request.name(),
            creates: request.creates(),
            sent: Instant::now(),
            reply: Some(reply),
        };
        self.pending.insert(id, pending);
        self.send(socket, &request, id).await
    }

    async fn send(&self, socket: &mut Socket, request: &Request, id: u64) -> Result<(), End> {
        let session = self.session.as_ref();
        let text = request.to_json(id, session.map(|session| session.session_id.as_str()));
        tracing::trace!(id, request = request.name(), "asking");
        let sent = socket.send(Message::text(text));
        match timeout(self.config.failover_after, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Broken(error.to_string())),
            Err(_) => Err(End::Unresponsive("it reads nothing any more".to_owned())),
        }
    }

    /// Gives the id of the request that was answered.
    fn on_frame(
        &mut self,
        frame: Option<Result<Message, tungstenite::Error>>,
    ) -> Result<Option<u64>, End> {
        match read(frame)? {
            Some(Incoming::Reply { id, outcome }) => {
                if let Some(pending) = self.pending.remove(&id) {
                    self.timeouts_in_a_row = 0;
                    self.answered_at = Some(Instant::now());
                    self.on_reply(pending, outcome);
                }
                return Ok(Some(id));
            }
            Some(Incoming::Event(event)) => self.listener.on_event(event),
            Some(Incoming::Complaint(error)) => {
                tracing::warn!(server = %self.config.address, %error, "the media server understood a request not at all");
            }
            Some(Incoming::Unknown) | None => {}
        }
        Ok(None)
    }

    fn on_reply(&self, pending: Pending, outcome: Result<Reply, RpcError>) {
        let outcome = outcome.map_err(CallError::Refused);
        let unwanted = match pending.reply {
            Some(reply) => reply.send(outcome).err(),
            None => Some(outcome),
        };
        if pending.creates
            && let Some(Ok(reply)) = unwanted
            && let Some(object) = reply.object()
        {
            self.listener.on_stray(object);
        }
    }

    /// Looks for what is overdue.
    fn on_tick(&mut self, ping_sent: Option<Instant>) -> Result<(), End> {
        if ping_sent.is_some_and(|sent| sent.elapsed() >= self.config.failover_after) {
            return Err(End::Unresponsive("it does not answer".to_owned()));
        }
        let (limit, mut overdue) = (self.config.request_timeout, 0);
        for pending in self.pending.values_mut() {
            let is_overdue = pending.sent.elapsed() >= limit;
            if is_overdue && pending.reply.take().is_some() {
                // One object that hangs is not the server: others may have been answered since.
                let answered_since = self.answered_at.is_some_and(|at| at > pending.sent);
                overdue += u32::from(!answered_since);
                tracing::warn!(server = %self.config.address, request = pending.request, "the media server does not answer a request");
            }
        }
        self.pending
            .retain(|_, pending| pending.reply.is_some() || pending.creates);
        let given_up = |pending: &Pending| pending.sent.elapsed() >= limit * ORPHAN_PATIENCE;
        if self.pending.values().any(given_up) {
            return Err(End::Broken("it never said what it has made".to_owned()));
        }
        self.timeouts_in_a_row += overdue;
        if self.timeouts_in_a_row >= MAX_TIMEOUTS {
            let why = format!(
                "it left {} requests in a row unanswered",
                self.timeouts_in_a_row
            );
            return Err(End::Unresponsive(why));
        }
        Ok(())
    }

    /// Ends the session, so that the server need not wait for it to time out.
    async fn say_goodbye(&mut self, socket: &mut Socket) {
        let id = self.take_id();
        let goodbye = async {
            if self.send(socket, &Request::CloseSession, id).await.is_err() {
                return;
            }
            // Waited for: closing with something unread would reset the connection, and the server never read the request.
            while let Ok(answered) = read(socket.next().await) {
                if matches!(answered, Some(Incoming::Reply { id: of, .. }) if of == id) {
                    break;
                }
            }
            let _ = socket.close(None).await;
        };
        // Whoever does not take it in time does without.
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

fn not_a_session(error: RpcError) -> End {
    End::Broken(format!("it gives no session: {error}"))
}

/// Answers requests while there is no connection. Completes when no handle is left.
async fn refuse(calls: &mut mpsc::Receiver<Call>) {
    while let Some(call) = calls.recv().await {
        let _ = call.reply.send(Err(CallError::Disconnected));
    }
}

/// What a frame says; `None` where it says nothing, or nothing that can be understood.
fn read(frame: Option<Result<Message, tungstenite::Error>>) -> Result<Option<Incoming>, End> {
    let text = match frame {
        None => return Err(End::Broken("it closed the connection".to_owned())),
        Some(Err(error)) => return Err(End::Broken(error.to_string())),
        Some(Ok(Message::Text(text))) => text,
        Some(Ok(Message::Close(frame))) => {
            let reason = frame
                .map(|frame| frame.reason.to_string())
                .unwrap_or_default();
            return Err(End::Broken(match reason.as_str() {
                "" => "it closed the connection".to_owned(),
                reason => format!("it closed the connection: {reason}"),
            }));
        }
        Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
            return Ok(None);
        }
    };
    match Incoming::parse(&text) {
        Ok(incoming) => Ok(Some(incoming)),
        Err(error) => {
            tracing::debug!(%error, "a message of the media server means nothing");
            Ok(None)
        }
    }
}

async fn open(config: &ConnectionConfig) -> Result<(Socket, Up), ConnectError> {
    match timeout(config.patience(), open_socket(config)).await {
        Ok(opened) => opened,
        Err(_) => Err(ConnectError::Timeout),
    }
}

async fn open_socket(config: &ConnectionConfig) -> Result<(Socket, Up), ConnectError> {
    let address = &config.address;
    let tcp = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(ConnectError::Tcp)?;
    // Requests are small and waited for.
    tcp.set_nodelay(true).map_err(ConnectError::Tcp)?;
    let peer = tcp.peer_addr().map_err(ConnectError::Tcp)?.ip();
    let local = tcp.local_addr().map_err(ConnectError::Tcp)?.ip();
    let up = Up {
        peer: peer.to_canonical(),
        is_here: peer.is_loopback() || peer == local,
    };
    let bytes: Box<dyn Bytes> = match address.tls.then_some(&config.tls) {
        None => Box::new(tcp),
        Some(None) => return Err(ConnectError::NoTls),
        Some(Some(tls)) => {
            let name = ServerName::try_from(address.host.clone())
                .map_err(|error| ConnectError::Tls(std::io::Error::other(error)))?;
            let connector = TlsConnector::from(Arc::clone(tls));
            let stream = connector.connect(name, tcp).await;
            Box::new(stream.map_err(ConnectError::Tls)?)
        }
    };
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let (socket, _) = client_async_with_config(address.request_url(), bytes, Some(limits))
        .await
        .map_err(|error| ConnectError::WebSocket(Box::new(error)))?;
    Ok((socket, up))
}
