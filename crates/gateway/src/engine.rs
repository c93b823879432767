//! The media engine that the configuration asks for, and what of it can be changed while it runs.

use std::sync::Arc;

use apiary_media::engine::MediaEngine;
use apiary_media::kurento::{self, Kurento, ServerAddress, ServerSpec};
use apiary_media::sfu::{Sfu, SfuConfig, SfuStartError};

use crate::config::{Config, Engine, KurentoConfig, KurentoUrl};
use crate::mqtt::tls::{self, TlsFileError};

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineStartError {
    /// The built-in one cannot start.
    #[error(transparent)]
    Sfu(#[from] SfuStartError),
    /// The certificate authority of the media servers cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
}

/// The engine that runs.
#[derive(Clone)]
pub struct StartedEngine {
    /// What everybody uses of it.
    pub engine: Arc<dyn MediaEngine>,
    /// The pool of media servers, where that is the engine.
    pub kurento: Option<Arc<Kurento>>,
}

/// Starts the engine that `media.engine` names. Media servers are connected to in the background.
///
/// # Errors
/// When it cannot start.
pub fn start(config: &Config) -> Result<StartedEngine, EngineStartError> {
    match config.media.engine {
        Engine::Sfu => Ok(StartedEngine {
            engine: Arc::new(sfu(config)?),
            kurento: None,
        }),
        Engine::Kurento => {
            let kurento = Arc::new(pool(config)?);
            Ok(StartedEngine {
                engine: Arc::clone(&kurento) as Arc<dyn MediaEngine>,
                kurento: Some(kurento),
            })
        }
    }
}

fn sfu(config: &Config) -> Result<Sfu, SfuStartError> {
    Sfu::start(SfuConfig {
        workers: config.media.workers,
        udp_port: config.media.udp_port,
        bind: config.media.bind,
        advertised: config.candidate_addresses(),
        ingest_bind: config.ingest.bind,
        ingest_ports: config.ingest.ports.clone(),
        max_viewers_per_stream: config.media.max_viewers_per_stream,
    })
}

fn pool(config: &Config) -> Result<Kurento, TlsFileError> {
    let kurento = &config.kurento;
    // Made even where no server needs it now: a reload may bring one.
    let trusted = tls::trusting("kurento.ca", kurento.ca.as_deref());
    let tls = match trusted {
        Ok(tls) => Some(Arc::new(tls)),
        Err(error) if kurento.servers.iter().any(|server| server.tls) => return Err(error),
        Err(_) => None,
    };
    Ok(Kurento::start(kurento::KurentoConfig {
        servers: server_specs(kurento),
        tls,
        pipeline_prefix: kurento.pipeline_prefix.clone(),
        request_timeout: kurento.request_timeout,
        ping_interval: kurento.ping_interval,
        failover_after: kurento.failover_after,
        max_viewers_per_stream: config.media.max_viewers_per_stream,
    }))
}

fn server_specs(kurento: &KurentoConfig) -> Vec<ServerSpec> {
    let spec = |url: &KurentoUrl| {
        let mut advertised = kurento.advertised.iter();
        let advertised = advertised.find(|(host, _)| host.eq_ignore_ascii_case(&url.host));
        ServerSpec {
            address: ServerAddress {
                url: url.to_string(),
                tls: url.tls,
                host: url.host.clone(),
                port: url.port,
                path: url.path.clone(),
            },
            advertised: advertised.map(|(_, address)| *address),
            drain: kurento
                .drain
                .iter()
                .any(|drained| drained.is_same_server(url)),
        }
    };
    kurento.servers.iter().map(spec).collect()
}

impl StartedEngine {
    /// Takes over what can be changed while it runs: the pool of media servers, and which of them are drained.
    pub fn reload(&self, config: &Config) {
        if let Some(kurento) = &self.kurento {
            kurento.reconfigure(server_specs(&config.kurento));
        }
    }
}
