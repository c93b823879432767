//! Everything that browsers and programs reach over HTTP: the REST API, WebSocket signaling, WHEP, the pages.
//!
//! Here belong routes, their request and answer shapes, and the rules of HTTP. What streams and viewers do does not:
//! that is the supervisor's, which these routes ask. Nor does anything of media: that is the engine's.
//!
//! A request passes [`guard`] (who may ask, what every answer carries) and then its route; each route is registered
//! together with its description, so that `/openapi.json` cannot forget one.

mod accounts;
mod admin;
mod allowance;
mod assets;
mod client;
mod error;
mod extract;
mod guard;
mod host;
mod ice_servers;
mod identity;
mod live;
pub mod openapi;
mod operation;
mod origin;
mod policy;
mod push;
mod rate;
pub(crate) mod redirect;
mod rest;
mod server;
mod serving;
mod signaling;
mod socket;
mod state;
mod trace;
mod views;
mod webhooks;
mod whep;

pub use server::{HttpServer, router, signaling_router};
pub use serving::{Bounds, Connection};
pub use state::{HttpListeners, HttpParts, HttpState};
