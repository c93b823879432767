//! The gateway: everything around the packet path, wired into one program.
//!
//! Here belong configuration, the control of cameras over MQTT, the supervisor of streams, HTTP and the command line.
//! Parsing of protocols does not: it lives in `apiary-wire`; nor does the handling of packets (`apiary-core`,
//! `apiary-media`).

pub mod app;
pub mod auth;
mod backoff;
pub mod check;
pub mod cli;
pub mod config;
pub mod engine;
pub mod fetch;
pub mod http;
pub mod import;
pub mod kurento_files;
pub mod kurento_probe;
pub mod logging;
pub mod metrics;
pub mod mqtt;
pub mod oidc;
pub mod operation;
pub mod push;
pub mod reason;
pub mod recent_log;
pub mod secret;
pub mod supervisor;
pub mod telemetry;
pub mod tls;
pub mod turn;
pub mod webhooks;
