//! A server with cameras, and those who watch.

use std::net::Ipv4Addr;

use crate::audience::{Audience, Member, Place, spread};
use crate::camera::Cameras;
use crate::error::BenchError;
use crate::process::ProcessSample;
use crate::relay::{Lane, Path, Relay};
use crate::rest::Rest;
use crate::server::{Server, ServerSettings};
use crate::swarm::Swarm;
use crate::viewer::Opens;
use crate::whep::WhepClient;

use super::Setup;

/// Where cameras are told to send when a relay stands before the server, and where the server sees them come from.
const RELAY_FRONT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const RELAY_BACK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const NEEDS_OWN_SERVER: BenchError = BenchError::NeedsOwnServer {
    scenario: "this scenario",
};

/// What a scenario works with. [`Stage::end`] takes it down in order.
pub(crate) struct Stage {
    pub(crate) audience: Audience,
    /// The server's process, where it is known.
    pub(crate) pid: Option<u32>,
    /// The CPU that it has for itself, if so.
    pub(crate) server_cpu: Option<usize>,
    own: Option<Own>,
}

/// What was started for this stage.
struct Own {
    server: Server,
    cameras: Cameras,
}

impl Stage {
    /// A fresh server with this many workers and cameras; or the one that runs already, whatever it has.
    pub(crate) async fn open(
        setup: &Setup,
        workers: usize,
        cameras: usize,
    ) -> Result<Self, BenchError> {
        let options = &setup.options;
        let swarm = Swarm::start(options.rhythm(setup.cpus.bench))?;
        let Some(binary) = &setup.binary else {
            let urls = options.target.server.clone().into_iter();
            let streams = urls.map(WhepClient::new).collect();
            return Ok(Self {
                audience: Audience::new(swarm, streams, options.report_interval())?,
                pid: options.target.pid,
                server_cpu: None,
                own: None,
            });
        };
        let server = Server::start(&ServerSettings {
            binary,
            cpu: setup.cpus.server,
            workers,
            cameras,
            advertised: Ipv4Addr::LOCALHOST,
        })
        .await?;
        Self::with(server, cameras, swarm, setup).await
    }

    /// The same, and as many who watch the first camera and have settled.
    pub(crate) async fn open_watched(
        setup: &Setup,
        workers: usize,
        cameras: usize,
        watching: usize,
    ) -> Result<(Self, Vec<Member>), BenchError> {
        let options = &setup.options;
        let mut stage = Self::open(setup, workers, cameras).await?;
        stage.warm_up(setup).await?;
        let places = spread(watching, options.load.sample, options.load.timed);
        let members = stage.audience.join_many(places).await?;
        tokio::time::sleep(options.settle()).await;
        Ok((stage, members))
    }

    /// A fresh server with one camera, whose packets and the RTCP for it go through a relay.
    pub(crate) async fn open_behind_relay(
        setup: &Setup,
        path: Path,
        seed: u64,
    ) -> Result<(Self, Relay), BenchError> {
        let options = &setup.options;
        let swarm = Swarm::start(options.rhythm(setup.cpus.bench))?;
        let binary = setup.binary.as_deref().ok_or(NEEDS_OWN_SERVER)?;
        let server = Server::start(&ServerSettings {
            binary,
            cpu: setup.cpus.server,
            workers: options.load.workers,
            cameras: 1,
            advertised: RELAY_FRONT,
        })
        .await?;
        let lanes = Lane::of_camera(
            RELAY_FRONT.into(),
            RELAY_BACK.into(),
            Ipv4Addr::LOCALHOST.into(),
            server.ingest_ports(),
        );
        let relay = Relay::start(&lanes, path, seed, setup.cpus.bench)?;
        let stage = Self::with(server, 1, swarm, setup).await?;
        Ok((stage, relay))
    }

    async fn with(
        server: Server,
        cameras: usize,
        swarm: Swarm,
        setup: &Setup,
    ) -> Result<Self, BenchError> {
        let cameras = Cameras::start(server.mqtt(), cameras).await?;
        let streams = cameras
            .ids()
            .map(|id| WhepClient::new(server.whep(id)))
            .collect();
        Ok(Self {
            audience: Audience::new(swarm, streams, setup.options.report_interval())?,
            pid: Some(server.pid()),
            server_cpu: setup.cpus.server,
            own: Some(Own { server, cameras }),
        })
    }

    /// A look at the server, where its process is known.
    pub(crate) fn sample(&self) -> Result<Option<ProcessSample>, BenchError> {
        self.pid.map(ProcessSample::read).transpose()
    }

    /// Its cameras and its REST API, where it was started for this.
    pub(crate) fn cameras(&self) -> Result<(&Cameras, Rest), BenchError> {
        let own = self.own.as_ref().ok_or(NEEDS_OWN_SERVER)?;
        Ok((&own.cameras, Rest::new(own.server.rest())))
    }

    /// The URL of its signaling, where it was started for this.
    pub(crate) fn signaling(&self) -> Result<String, BenchError> {
        let own = self.own.as_ref().ok_or(NEEDS_OWN_SERVER)?;
        Ok(own.server.signaling())
    }

    /// Has the first stream run with nobody watching: a viewer wakes the camera and leaves again, so that what is
    /// measured next begins with the stream's own memory filled.
    pub(crate) async fn warm_up(&mut self, setup: &Setup) -> Result<(), BenchError> {
        let place = Place {
            opens: Opens::UntilFirstIdr,
            ..Place::default()
        };
        let (first, _) = self.audience.join(place).await?;
        tokio::time::sleep(setup.options.settle()).await;
        self.audience.leave(first).await
    }

    /// Takes everything down. Viewers are not seen off one by one where their server goes too.
    pub(crate) async fn end(self) {
        drop(self.audience);
        if let Some(Own { server, cameras }) = self.own {
            cameras.stop().await;
            drop(server);
        }
    }
}
