//! A Kurento Media Server for tests: it answers as a recorded Kurento 7.3 does, and it moves media for real.
//!
//! Cameras send RTP to its RtpEndpoints and are sent RTCP with REMB; viewers connect to its WebRtcEndpoints, which are str0m
//! peers, and are sent the same packets. What goes wrong in the field can be switched on ([`KurentoDouble`]).
//!
//! Where it is less than a real one:
//! - It transcodes nothing. A viewer whose first video codec is not H.264 is sent no video
//!   ([`KurentoDouble::transcoding_viewers`]).
//! - It sends media only to viewers that have offered. One that it has offered to is connected to, but sent nothing, and an
//!   RtpEndpoint that has offered does not even open ports.
//! - Media that comes from a viewer goes nowhere, and there are no data channels.
//! - Loss and delay change no estimate; retransmission is not asked for.
//! - Elements other than the two endpoints can be created and do nothing.
//! - Sessions do not time out.
//!
//! It runs in one thread of its own and ends with its handle.

mod control;
mod endpoint;
mod fault;
mod faults;
mod links;
mod media;
mod objects;
mod options;
mod rpc;
mod sdp;
mod server;
mod sessions;
mod stats;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub use fault::RpcFault;
pub use faults::RequestView;
pub use objects::Kind;
pub use options::{Generation, Options};
pub use sessions::SubscriptionView;

use control::{Command, Order};
use faults::Fate;
use objects::Endpoint;
use server::Shared;

/// One pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineView {
    /// Its id.
    pub id: String,
    /// Its name, which is its id until it is given one.
    pub name: String,
    /// What is in it, in the order of creation.
    pub endpoints: Vec<EndpointView>,
}

/// One element of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointView {
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: Kind,
}

/// What becomes of a request whose reply never comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is carried out all the same.
    CarriedOut,
    /// Nothing happens.
    Lost,
}

/// A running server. Everything can be called from any thread, and within an async runtime too.
///
/// Where a call takes an `op`, that is the method (`"create"`), the operation of an `invoke` (`"processOffer"`), or the type of
/// a `create` or `subscribe` (`"WebRtcEndpoint"`).
#[derive(Debug)]
pub struct KurentoDouble {
    address: SocketAddr,
    shared: Shared,
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl KurentoDouble {
    /// Starts it.
    ///
    /// # Errors
    /// When the address or port cannot be had, or no thread.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((options.address, options.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let shared = Shared::new(options, runtime.handle().clone());
        let (commands, orders) = unbounded_channel();
        let run = control::run(listener, shared.clone(), orders);
        let thread = std::thread::Builder::new()
            .name("kurento-double".to_owned())
            .spawn(move || runtime.block_on(run))?;
        Ok(Self {
            address,
            shared,
            commands: Some(commands),
            thread: Some(thread),
        })
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("ws://{}/kurento", self.address)
    }

    /// The address that it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of the process that it plays; another one after a restart.
    pub fn server_id(&self) -> String {
        self.shared.lock().id.clone()
    }

    /// The pipelines with what is in them, in the order of creation.
    pub fn pipelines(&self) -> Vec<PipelineView> {
        let server = self.shared.lock();
        let view = |pipeline: &objects::Object| PipelineView {
            id: pipeline.id.clone(),
            name: pipeline.name.clone(),
            endpoints: server
                .objects
                .children(&pipeline.id)
                .map(|child| EndpointView {
                    id: child.id.clone(),
                    kind: child.kind,
                })
                .collect(),
        };
        server.objects.pipelines().map(view).collect()
    }

    /// The ids of the sessions.
    pub fn sessions(&self) -> Vec<String> {
        self.shared.lock().sessions.ids()
    }

    /// All subscriptions of all sessions.
    pub fn subscriptions(&self) -> Vec<SubscriptionView> {
        self.shared.lock().sessions.subscriptions().to_vec()
    }

    /// Every request since the start, restarts included, in order.
    pub fn requests(&self) -> Vec<RequestView> {
        self.shared.lock().journal.all()
    }

    /// How many requests of this name have come.
    pub fn count(&self, op: &str) -> usize {
        self.shared.lock().journal.count(op)
    }

    /// Viewers whose answer does not begin with H.264 for video: a real Kurento would encode for each of them.
    pub fn transcoding_viewers(&self) -> usize {
        let server = self.shared.lock();
        let transcodes = |object: &&objects::Object| match &object.endpoint {
            Endpoint::WebRtc(endpoint) => endpoint.facts.lock().would_transcode,
            Endpoint::Rtp(_) | Endpoint::None => false,
        };
        let pipelines = server.objects.pipelines();
        pipelines
            .flat_map(|pipeline| server.objects.children(&pipeline.id))
            .filter(transcodes)
            .count()
    }

    /// Ends like a process that is killed: connections are reset, the port refuses, objects and their media are gone.
    pub fn kill(&self) {
        self.order(Order::Kill);
    }

    /// Starts it again after a kill, or kills it first: the same port, another server id, and nothing in it. Faults stay
    /// switched on.
    ///
    /// # Panics
    /// When the port has gone to somebody else.
    pub fn restart(&self) {
        self.order(Order::Kill);
        self.order(Order::Start);
    }

    /// Resets all connections. Sessions and objects stay.
    pub fn drop_sockets(&self) {
        self.order(Order::DropSockets);
    }

    /// From now on it neither accepts nor reads anything. Media goes on.
    pub fn freeze(&self) {
        self.order(Order::Freeze(true));
    }

    /// Goes on where it froze.
    pub fn thaw(&self) {
        self.order(Order::Freeze(false));
    }

    /// All replies come this much later; events do not.
    pub fn delay_replies(&self, delay: Duration) {
        self.shared.lock().faults.reply_delay = delay;
    }

    /// Never answers an operation any more.
    pub fn swallow(&self, op: &str, effect: Effect) {
        let carried_out = effect == Effect::CarriedOut;
        let fate = Fate::Swallow { carried_out };
        self.shared.lock().faults.always(op, fate);
    }

    /// Answers the next request of this name with an error and does not carry it out. Several add up.
    pub fn fail_next(&self, op: &str, fault: RpcFault) {
        self.shared.lock().faults.next(op, Fate::Fail(fault));
    }

    /// Answers an operation with an error from now on.
    pub fn fail_always(&self, op: &str, fault: RpcFault) {
        self.shared.lock().faults.always(op, Fate::Fail(fault));
    }

    /// Drops the connection at the next request of this name, in place of a reply.
    pub fn drop_on(&self, op: &str, effect: Effect) {
        let carried_out = effect == Effect::CarriedOut;
        let fate = Fate::Drop { carried_out };
        self.shared.lock().faults.next(op, fate);
    }

    /// Switches off all faults of requests and replies.
    pub fn clear_faults(&self) {
        self.shared.lock().faults = faults::Faults::default();
    }

    /// Sends everybody who is connected as many events of a type that nobody knows.
    pub fn flood_events(&self, count: usize) {
        let server = self.shared.lock();
        for number in 0..count {
            let data = json!({ "number": number, "tags": [] });
            server.send_to_all(&rpc::event_text("nobody_kurento.Nothing", "Nothing", &data));
        }
    }

    /// Tells the subscribers of an object of an event that has not happened, like `Error`. `data` gets what all events have.
    pub fn emit_event(&self, object: &str, event: &str, data: Value) {
        self.shared.lock().emit_by_name(object, event, data);
    }

    /// Sends everybody who is connected one frame of text.
    pub fn send_raw(&self, text: &str) {
        self.shared.lock().send_to_all(text);
    }

    /// A pipeline with both endpoints that an earlier client has left; no session holds it. Returns its id.
    pub fn create_garbage(&self, name: &str) -> String {
        let mut server = self.shared.lock();
        let pipeline = server.create("", Kind::MediaPipeline, None, false);
        for kind in [Kind::RtpEndpoint, Kind::WebRtcEndpoint] {
            server.create("", kind, Some(pipeline.clone()), false);
        }
        if let Ok(object) = server.objects.get_mut(&pipeline) {
            name.clone_into(&mut object.name);
        }
        pipeline
    }

    /// Ends a session as when it has timed out; with it goes what only it has used.
    pub fn expire_session(&self, session: &str) {
        self.shared.lock().close_session(session);
    }

    /// What `getUsedCpu` says, in percent.
    pub fn set_load(&self, cpu: f64) {
        self.shared.lock().load = cpu;
    }

    /// Has the thread do something and waits until it has.
    fn order(&self, order: Order) {
        let (done, answer) = mpsc::channel();
        let commands = self.commands.as_ref().expect("there until it is dropped");
        commands
            .send(Command { order, done })
            .expect("the thread runs as long as the handle is there");
        answer
            .recv()
            .expect("the thread answers every order")
            .expect("the port is still this double's");
    }
}

impl Drop for KurentoDouble {
    fn drop(&mut self) {
        // The thread ends when nobody can order anything any more.
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed, and a second one would hide the test's own.
            let _ = thread.join();
        }
    }
}
