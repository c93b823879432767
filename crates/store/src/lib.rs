//! What outlives the process: sessions of streams and viewers, the cameras that are known, what happened to them, and accounts.
//!
//! [`Store`] is the interface of what is history, [`AccountStore`] that of accounts; behind both are [`SqliteStore`], the embedded database, and [`PostgresStore`], one on a server.
//! [`StoreWriter`] is the queue through which everything that must not wait writes. Rules about streams or cameras do not belong here.

#![forbid(unsafe_code)]

mod accounts;
mod columns;
mod copy;
mod error;
mod export;
mod health;
mod migrations;
mod postgres;
mod registry;
mod retention;
mod rows;
mod sqlite;
mod writer;

use async_trait::async_trait;
use jiff::Timestamp;

use apiary_wire::id::CameraId;

pub use accounts::{
    AccountStore, AccountTables, AccountWrite, ApiTokenRow, AuditOutcome, AuditRow, CameraScope,
    CameraScopeError, LoginId, LoginRow, PushKind, PushKinds, QuietHours, QuietHoursError, Role,
    SecretHash, SecretHashError, ShareId, ShareRow, SubscriptionId, SubscriptionRow, TimeOfDay,
    TokenId, UserId, UserRow,
};
pub use copy::CopyError;
pub use error::{FileProblem, Place, StoreError};
pub use export::Line;
pub use health::{DatabaseHealth, Trouble};
pub use postgres::{
    Limits, PostgresStore, PostgresTarget, ServerFacts, ServerProblem, TargetError,
};
pub use registry::{REGISTRY_LIMIT, RegisteredCamera, RegistryError, read_registry};
pub use retention::{PRUNE_BATCH, Pruned, Retention};
pub use rows::{
    CameraEvent, CameraLabel, CameraReport, CameraRow, ConnectionState, EventFilter, EventId,
    EventKind, InterruptedSession, SessionStatus, StreamSession, ViewerSession, Write,
};
pub use sqlite::SqliteStore;
pub use writer::{NotKept, QUEUE_LIMIT, StoreWriter, WriterTask};

/// A database. Every write is an upsert of a whole row, so that repeating one does no harm.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Does all of the writes, or none.
    ///
    /// # Errors
    /// [`StoreError::Query`]; [`StoreError::is_passing`] says whether trying again can help.
    async fn apply(&self, writes: &[Write]) -> Result<(), StoreError>;

    /// Closes what a crash left open: streams become `interrupted`, viewers disconnected, both at `now`. Returns those
    /// streams, so that their cameras can be told to stop.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::BadRow`].
    async fn interrupt_open_sessions(
        &self,
        now: Timestamp,
    ) -> Result<Vec<InterruptedSession>, StoreError>;

    /// All known cameras, by id.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::BadRow`].
    async fn cameras(&self) -> Result<Vec<CameraRow>, StoreError>;

    /// What happened to cameras, newest first: the last `limit` of those before `before`.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::BadRow`].
    async fn camera_events(
        &self,
        filter: EventFilter,
        limit: u32,
        before: Option<EventId>,
    ) -> Result<Vec<CameraEvent>, StoreError>;

    /// The last sessions of one camera, or of all, newest first.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::BadRow`].
    async fn stream_sessions(
        &self,
        camera: Option<CameraId>,
        limit: u32,
    ) -> Result<Vec<StreamSession>, StoreError>;

    /// Who watched a session, in the order of arrival.
    ///
    /// # Errors
    /// [`StoreError::Query`] or [`StoreError::BadRow`].
    async fn viewer_sessions(&self, session_id: &str) -> Result<Vec<ViewerSession>, StoreError>;

    /// Deletes some of what was kept for long enough at `now`: at most [`PRUNE_BATCH`] rows of each table, so that whatever
    /// writes meanwhile hardly waits.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    async fn prune(&self, retention: &Retention, now: Timestamp) -> Result<Pruned, StoreError>;

    /// Finishes what runs and lets the database go.
    async fn close(&self);
}
