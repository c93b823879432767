//! Kurento Media Server's protocol: JSON-RPC 2.0 over a WebSocket (`/kurento`).
//!
//! What is written ([`Request`]), what comes back ([`Incoming`]: replies and events) and the values in replies that
//! somebody needs. Ids, sessions and time-outs belong to the client in `media`.
//!
//! Sources: the protocol's own description (doc-kurento, "Kurento Protocol") and a recorded conversation with a 7.3 server;
//! where 6.x is known to differ it is said.

mod error;
mod event;
mod incoming;
mod request;
mod stats;

#[cfg(test)]
mod tests;

pub use error::{RpcError, RpcErrorKind};
pub use event::{ConnectionState, Event, EventData, EventName, FlowState, IceState};
pub use incoming::{Incoming, IncomingError, Reply, ServerSession, server_version, text_list};
pub use request::{IceCandidate, MediaType, ObjectId, Operation, Request, SERVER_MANAGER};
pub use stats::{InboundRtp, MediaStats, OutboundRtp};
