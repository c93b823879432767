//! What the broker keeps between connections: sessions, subscriptions, kept messages. All of it in memory and bounded.
//!
//! `mqtt5` does the work. Its own listeners are not used: they accept whoever comes, and cannot tell whose certificate a
//! connection presented.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use apiary_wire::CameraId;
use mqtt5::QoS;
use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::config::BrokerConfig;
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::{MemoryBackend, QueueLimits};
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::transport::BrokerTransport;
use mqtt5::broker::{DynamicStorage, ResourceLimits, ResourceMonitor, StorageBackend};
use mqtt5::packet::publish::PublishPacket;
use tokio::sync::broadcast;

use super::admission::Admission;
use super::stream::Connection;

/// Largest packet a client may send.
const MAX_PACKET: usize = 256 << 10;
/// Largest message that is kept for new subscribers.
const MAX_RETAINED_SIZE: usize = 64 << 10;
/// Most such messages; later ones are refused.
const MAX_RETAINED: usize = 10_000;
/// Most subscriptions of one client.
const MAX_SUBSCRIPTIONS: usize = 64;
/// Messages that may wait for a client, connected or not; then the oldest go.
const MAX_QUEUED: usize = 1000;
/// Bytes that may wait for a client.
const MAX_QUEUED_BYTES: usize = 1 << 20;
/// How long the session of a client that is gone is kept, for those that ask for it.
const SESSION_EXPIRY: Duration = Duration::from_secs(600);
/// What cameras publish, with the id on the fifth level.
const ALL_MESSAGES: &str = "prod/device/+/hive-cam/#";

pub(super) struct Hub {
    settings: BrokerConfig,
    router: Arc<MessageRouter>,
    storage: Arc<DynamicStorage>,
    stats: Arc<BrokerStats>,
    monitor: Arc<ResourceMonitor>,
    shutdown: broadcast::Sender<()>,
}

impl Hub {
    pub(super) fn new() -> Self {
        let limits = || QueueLimits {
            max_messages: MAX_QUEUED,
            max_bytes: MAX_QUEUED_BYTES,
        };
        let storage = MemoryBackend::with_queue_limits(limits());
        let storage = Arc::new(DynamicStorage::Memory(storage));
        let router = MessageRouter::with_storage(Arc::clone(&storage))
            .with_fallback_queue_limits(limits())
            .with_retained_limits(MAX_RETAINED, MAX_RETAINED_SIZE);
        Self {
            settings: settings(),
            router: Arc::new(router),
            storage,
            stats: Arc::new(BrokerStats::new()),
            // Who may connect is decided elsewhere, and 0 is no limit for what a client sends.
            monitor: Arc::new(ResourceMonitor::new(ResourceLimits {
                max_message_rate_per_client: 0,
                max_bandwidth_per_client: 0,
                ..ResourceLimits::default()
            })),
            shutdown: broadcast::Sender::new(1),
        }
    }

    /// Serves one connection until it ends.
    pub(super) async fn serve(
        &self,
        connection: Connection,
        address: SocketAddr,
        admission: Arc<Admission>,
    ) -> mqtt5::error::Result<()> {
        let mut settings = self.settings.clone();
        settings.event_handler = Some(Arc::clone(&admission) as _);
        let handler = ClientHandler::new(
            BrokerTransport::WebSocket(Box::new(connection)),
            address,
            Arc::new(settings),
            Arc::clone(&self.router),
            admission,
            Some(Arc::clone(&self.storage)),
            Arc::clone(&self.stats),
            Arc::clone(&self.monitor),
            self.shutdown.subscribe(),
        );
        handler.run().await
    }

    /// Ends all connections, telling them.
    pub(super) fn shut_down(&self) {
        // Without connections nobody misses it.
        _ = self.shutdown.send(());
    }

    /// Clears away what expired.
    pub(super) async fn sweep(&self) {
        if let Err(error) = self.storage.cleanup_expired().await {
            tracing::warn!(%error, "the embedded MQTT broker cannot clear away expired sessions");
        }
        self.router.sweep_sessions().await;
    }

    /// Forgets all that revoked cameras left: sessions, subscriptions, what waits for them, last wills, and the messages
    /// that are kept of them.
    pub(super) async fn forget_cameras(&self, revoked: &HashSet<CameraId>) {
        if revoked.is_empty() {
            return;
        }
        let is_revoked = |id: &str| id.parse().is_ok_and(|id| revoked.contains(&id));
        let sessions = self.storage.session_client_ids().await;
        for session in sessions.unwrap_or_default() {
            if is_revoked(&session) {
                self.forget_session(&session).await;
            }
        }
        for kept in self.router.get_retained_messages(ALL_MESSAGES).await {
            let id = kept.topic_name.split('/').nth(4);
            if id.is_some_and(is_revoked) {
                self.clear_kept(kept.topic_name).await;
            }
        }
    }

    /// Forgets the session of one client.
    pub(super) async fn forget_session(&self, client_id: &str) {
        self.router.cancel_pending_will(client_id);
        self.router.unregister_client(client_id).await;
        self.storage.queue_handle(client_id).clear(None);
        let inflight = self.storage.remove_all_inflight_messages(client_id).await;
        let session = self.storage.remove_session(client_id).await;
        if let Err(error) = inflight.and(session) {
            tracing::warn!(%error, "the embedded MQTT broker cannot forget a session");
        }
    }

    /// An empty message takes a kept one away (MQTT 3.1.1 §3.3.1.3).
    async fn clear_kept(&self, topic: String) {
        let mut empty = PublishPacket::new(topic, Vec::new(), QoS::AtMostOnce);
        empty.retain = true;
        self.router.route_message(&empty, None).await;
    }
}

fn settings() -> BrokerConfig {
    BrokerConfig::new()
        .with_max_packet_size(MAX_PACKET)
        .with_maximum_qos(1)
        .with_session_expiry(SESSION_EXPIRY)
        .with_max_subscriptions_per_client(MAX_SUBSCRIPTIONS)
        .with_client_channel_capacity(MAX_QUEUED)
        .with_sys_topics_enabled(false)
}
