//! Certificates: those we present to browsers and cameras, and the local authority that can make them.
//!
//! Here belong reading, checking, making, watching and renewing certificates, and the rustls configuration of the HTTP side.
//! TLS of the MQTT client and broker belongs to `mqtt`; who is redirected where belongs to `http`.

pub(crate) mod acme;
pub mod authority;
pub mod bundle;
pub mod facts;
mod https;
pub mod name;
pub mod own_names;
pub mod pair;
pub mod private_file;
mod resolver;
mod upkeep;
mod watch;

pub use https::Https;
pub use upkeep::{DIRECTORY, Tls, TlsStartError};
