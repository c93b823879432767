//! Whether the program can do its work: broker, engine and database, each with since when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apiary_media::engine::MediaEngine;
use apiary_store::StoreWriter;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::mqtt::BrokerState;

/// How often it is looked at without anybody's asking, so that `since` is about right.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a part does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Why it does not work; `None` when it does.
    pub trouble: Option<String>,
    /// Since when it has worked, or not.
    pub since: Timestamp,
}

impl Look {
    /// It works.
    pub fn is_up(&self) -> bool {
        self.trouble.is_none()
    }

    fn new(trouble: Option<String>, now: Timestamp) -> Self {
        Self {
            trouble,
            since: now,
        }
    }

    fn update(&mut self, trouble: Option<String>, now: Timestamp) {
        if trouble.is_some() == self.is_up() {
            self.since = now;
        }
        self.trouble = trouble;
    }
}

/// How all parts do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The MQTT broker.
    pub broker: Look,
    /// The media engine.
    pub engine: Look,
    /// The database.
    pub database: Look,
}

impl Report {
    /// All of them by name.
    pub fn parts(&self) -> [(&'static str, &Look); 3] {
        [
            ("broker", &self.broker),
            ("engine", &self.engine),
            ("database", &self.database),
        ]
    }

    /// All of them work.
    pub fn is_ready(&self) -> bool {
        self.parts().iter().all(|(_, look)| look.is_up())
    }
}

/// Looks at the parts; clones see the same.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    broker: watch::Receiver<BrokerState>,
    engine: Arc<dyn MediaEngine>,
    writer: StoreWriter,
    seen: Mutex<Report>,
}

impl Readiness {
    /// Looks at these from now on.
    pub fn new(
        broker: watch::Receiver<BrokerState>,
        engine: Arc<dyn MediaEngine>,
        writer: StoreWriter,
    ) -> Self {
        let now = Timestamp::now();
        let seen = Report {
            broker: Look::new(broker_trouble(&broker), now),
            engine: Look::new(engine.health().trouble, now),
            database: Look::new(database_trouble(&writer), now),
        };
        Self(Arc::new(Inner {
            broker,
            engine,
            writer,
            seen: Mutex::new(seen),
        }))
    }

    /// How the parts do now.
    pub fn look(&self) -> Report {
        let inner = &self.0;
        let now = Timestamp::now();
        let broker = broker_trouble(&inner.broker);
        let engine = inner.engine.health().trouble;
        let database = database_trouble(&inner.writer);
        // Each field is whole at each step.
        let mut seen = inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.broker.update(broker, now);
        seen.engine.update(engine, now);
        seen.database.update(database, now);
        seen.clone()
    }

    /// Looks again and again, without end.
    pub(super) async fn keep_looking(&self) {
        loop {
            self.look();
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn database_trouble(writer: &StoreWriter) -> Option<String> {
    writer.health().trouble.map(|trouble| trouble.what)
}

fn broker_trouble(broker: &watch::Receiver<BrokerState>) -> Option<String> {
    match &*broker.borrow() {
        BrokerState::Connected => None,
        BrokerState::Connecting => Some("it is being connected to".to_owned()),
        BrokerState::Unreachable { cause, .. } => Some(cause.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_changes_only_when_it_begins_or_ceases_to_work() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut look = Look::new(None, at(1));
        look.update(None, at(2));
        assert_eq!(look.since, at(1));
        look.update(Some("away".to_owned()), at(3));
        look.update(Some("still away".to_owned()), at(4));
        assert_eq!(look.since, at(3));
        assert_eq!(look.trouble.as_deref(), Some("still away"));
        look.update(None, at(5));
        assert_eq!((look.is_up(), look.since), (true, at(5)));
    }
}
