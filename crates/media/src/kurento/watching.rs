//! What goes on beside each server's connection: looking its pipelines through after each (re)connection, reading the counters of
//! its streams, asking for its load.

use std::sync::{Arc, Weak};
use std::time::Duration;

use apiary_wire::id::CameraId;
use apiary_wire::kurento::{MediaStats, MediaType, ObjectId, Operation, RpcErrorKind};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::pool::Pool;
use super::server::Server;
use super::tables::{StreamLeg, Tables};
use crate::engine::{LegLoss, ViewerGoneReason};

/// How often the counters of streams are read; silence is noticed within this time after its two seconds.
const COUNT_EVERY: Duration = Duration::from_millis(500);
/// Counters asked for at once, so that other requests are not held up.
const COUNTS_AT_ONCE: usize = 16;
/// How often a server is asked for its load.
const LOAD_EVERY: Duration = Duration::from_secs(5);
/// Pause before a server's pipelines are looked through again, when that failed.
const SWEEP_RETRY: Duration = Duration::from_secs(1);

/// Looks a server's pipelines through until it says what it has, or the connection is another.
pub(super) async fn sweep(pool: Weak<Pool>, server: Arc<Server>, connection: u64) {
    while let Some(pool) = pool.upgrade() {
        let prefix = &pool.config.pipeline_prefix;
        let wanted = |id: &ObjectId| pool.tables.lock().has_pipeline(id);
        let swept = server.sweep(prefix, wanted).await;
        if !server.is_still(connection) {
            return; // the next connection has its own
        }
        match swept {
            Ok(there) => {
                let cause = LegLoss::Server(server.name().to_owned());
                let vanished =
                    |_: &Tables, _: CameraId, leg: &StreamLeg| !there.contains(&leg.leg.pipeline);
                pool.lose(&server, vanished, &ViewerGoneReason::ServerLost, cause);
                if server.transition_to_ready(connection) {
                    pool.on_server_ready();
                    server.ask_for_load().await;
                }
                return;
            }
            Err(error) => {
                tracing::warn!(server = server.name(), %error, "a media server does not say what it has; trying on");
                server.on_sweep_failed(error.to_string());
            }
        }
        drop(pool);
        sleep(SWEEP_RETRY).await;
    }
}

pub(super) async fn keep_asking_for_load(server: &Server) {
    let mut ticks = interval(LOAD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if server.is_up() {
            server.ask_for_load().await;
        }
    }
}

/// Reads the counters of a server's streams, and lets go of viewers that are gone.
pub(super) async fn keep_counting(pool: Weak<Pool>, server: Arc<Server>) {
    let mut ticks = interval(COUNT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        pool.expire_viewers();
        let endpoints: Vec<(CameraId, ObjectId)> = {
            let tables = pool.tables.lock();
            let cameras = tables.cameras_on(&server).into_iter();
            cameras
                .filter_map(|camera| Some((camera, tables.leg(camera)?.0.leg.endpoint.clone())))
                .collect()
        };
        let counts = endpoints.into_iter().map(|(camera, endpoint)| {
            let (pool, server) = (&pool, &server);
            async move {
                let operation = Operation::GetStats(MediaType::Video);
                match server.client.invoke(&endpoint, operation).await {
                    Ok(reply) => pool.on_counters(camera, &endpoint, MediaStats::of(&reply)),
                    Err(error) if error.kind() == Some(RpcErrorKind::UnknownObject) => {
                        pool.on_endpoint_vanished(server, &endpoint);
                    }
                    Err(_) => {} // noticed by the connection, if it is more than this once
                }
            }
        });
        stream::iter(counts)
            .buffer_unordered(COUNTS_AT_ONCE)
            .collect::<()>()
            .await;
    }
}
