//! JSON-RPC 2.0 over WebSocket, with the liberties that the recorded server takes.

mod envelope;
mod invoke;
mod manager;
mod methods;
mod params;
mod socket;

pub(crate) use envelope::event_text;
pub(crate) use socket::{Outgoing, Switches, serve};
