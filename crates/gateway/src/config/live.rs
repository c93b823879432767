//! Which settings a running program takes over when they are read again; all others need a restart.

use super::Config;
use super::values::BrokerTarget;

/// A key whose value is taken over, and how.
struct Live {
    key: &'static str,
    take: fn(&mut Config, &Config),
}

/// Always. What is about streams counts for those that start from then on.
const LIVE: &[Live] = &[
    Live {
        key: "log.level",
        take: |running, new| running.log.level = new.log.level,
    },
    Live {
        key: "stream.start_timeout_s",
        take: |running, new| running.stream.start_timeout = new.stream.start_timeout,
    },
    Live {
        key: "stream.idle_timeout_s",
        take: |running, new| running.stream.idle_timeout = new.stream.idle_timeout,
    },
    Live {
        key: "stream.replay_timeout_s",
        take: |running, new| running.stream.replay_timeout = new.stream.replay_timeout,
    },
    Live {
        key: "stream.replay_backoff_max_s",
        take: |running, new| running.stream.replay_backoff_max = new.stream.replay_backoff_max,
    },
    Live {
        key: "stream.max_streams",
        take: |running, new| running.stream.max_streams = new.stream.max_streams,
    },
    Live {
        key: "media.max_total_mbps",
        take: |running, new| running.media.max_total_mbps = new.media.max_total_mbps,
    },
    Live {
        key: "media.min_bitrate_kbps",
        take: |running, new| running.media.min_bitrate = new.media.min_bitrate,
    },
    Live {
        key: "media.max_bitrate_kbps",
        take: |running, new| running.media.max_bitrate = new.media.max_bitrate,
    },
    Live {
        key: "network.local_networks",
        take: |running, new| {
            let networks = &new.network.local_networks;
            running.network.local_networks.clone_from(networks);
        },
    },
    Live {
        key: "mqtt.keepalive_interval_s",
        take: |running, new| running.mqtt.keepalive_interval = new.mqtt.keepalive_interval,
    },
    Live {
        key: "kurento.servers",
        take: |running, new| running.kurento.servers.clone_from(&new.kurento.servers),
    },
    Live {
        key: "kurento.drain",
        take: |running, new| running.kurento.drain.clone_from(&new.kurento.drain),
    },
    Live {
        key: "kurento.advertised",
        take: |running, new| {
            let advertised = &new.kurento.advertised;
            running.kurento.advertised.clone_from(advertised);
        },
    },
];

/// With the embedded broker.
const LIVE_AT_THE_BROKER: &[Live] = &[
    Live {
        key: "mqtt.extra_clients",
        take: |running, new| {
            let clients = &new.mqtt.access.extra_clients;
            running.mqtt.access.extra_clients.clone_from(clients);
        },
    },
    Live {
        key: "mqtt.revoked",
        take: |running, new| {
            let revoked = &new.mqtt.access.revoked;
            running.mqtt.access.revoked.clone_from(revoked);
        },
    },
    Live {
        key: "mqtt.ca",
        take: |running, new| running.mqtt.tls.ca.clone_from(&new.mqtt.tls.ca),
    },
    Live {
        key: "mqtt.cert",
        take: |running, new| running.mqtt.tls.cert.clone_from(&new.mqtt.tls.cert),
    },
    Live {
        key: "mqtt.key",
        take: |running, new| running.mqtt.tls.key.clone_from(&new.mqtt.tls.key),
    },
];

/// All keys that a running program takes over, with the embedded broker.
pub fn keys() -> impl Iterator<Item = &'static str> {
    let live = LIVE.iter().chain(LIVE_AT_THE_BROKER);
    live.map(|live| live.key)
}

/// What became of the settings that were another when they were read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys that count from now on.
    pub applied: Vec<&'static str>,
    /// Keys that count after a restart.
    pub needs_restart: Vec<&'static str>,
}

impl Config {
    /// Takes over from a configuration that was read anew what can be changed while the program runs.
    pub fn take_over(&mut self, new: &Self) -> Changes {
        let at_the_broker = match self.mqtt.broker {
            BrokerTarget::Embedded => LIVE_AT_THE_BROKER,
            BrokerTarget::External(_) => &[],
        };
        let mut changes = Changes {
            applied: Vec::new(),
            needs_restart: self.written.differing(&new.written),
        };
        for Live { key, take } in LIVE.iter().chain(at_the_broker) {
            take(self, new);
            self.written.take(key, &new.written);
            if let Some(at) = changes.needs_restart.iter().position(|other| other == key) {
                changes.applied.push(changes.needs_restart.remove(at));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, keys};

    fn config(variables: &[(&str, &str)]) -> Config {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment {
            variables: variables.collect(),
            ..Environment::default()
        };
        Config::load(None, &environment).unwrap()
    }

    #[test]
    fn every_live_key_is_one() {
        for key in super::keys() {
            assert!(keys::find(key).is_some(), "{key}");
        }
    }

    #[test]
    fn what_needs_a_restart_is_named_until_it_had_one() {
        let mut running = config(&[("APIARY_LOG_LEVEL", "info"), ("APIARY_MEDIA_WORKERS", "1")]);
        assert_eq!(running.clone().take_over(&running), Changes::default());
        let new = config(&[
            ("APIARY_LOG_LEVEL", "debug"),
            ("APIARY_MEDIA_WORKERS", "2"),
            ("APIARY_STREAM_IDLE_TIMEOUT_S", "7"),
        ]);
        let changes = running.take_over(&new);
        assert_eq!(changes.applied, ["log.level", "stream.idle_timeout_s"]);
        assert_eq!(changes.needs_restart, ["media.workers"]);
        assert_eq!(running.log.level, tracing::Level::DEBUG);
        assert_eq!(running.stream.idle_timeout.as_secs(), 7);
        assert_eq!(running.media.workers, 1, "as it runs");
        let again = running.take_over(&new);
        assert_eq!((again.applied.len(), again.needs_restart.len()), (0, 1));
        // Back to how it runs: nothing is to be done.
        let back = config(&[
            ("APIARY_LOG_LEVEL", "debug"),
            ("APIARY_MEDIA_WORKERS", "1"),
            ("APIARY_STREAM_IDLE_TIMEOUT_S", "7"),
        ]);
        assert_eq!(running.take_over(&back), Changes::default());
    }

    /// To an external broker the certificates are the client's, which stays connected.
    #[test]
    fn certificates_are_taken_by_the_embedded_broker_alone() {
        let [one, two] = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
        let with_ca = |broker: &str, ca: &tempfile::NamedTempFile| {
            let ca = ca.path().to_str().unwrap();
            let tls = ("APIARY_MQTT_LISTEN_TLS", "127.0.0.1:0");
            let files = ["CA", "CERT", "KEY"].map(|name| format!("APIARY_MQTT_{name}"));
            let mut variables = vec![("APIARY_MQTT_BROKER", broker)];
            variables.extend(files.iter().map(|name| (name.as_str(), ca)));
            if broker == "embedded" {
                variables.push(tls);
            }
            config(&variables)
        };
        for (broker, applied, needs_restart) in
            [("embedded", 3, 0), ("mqtts://broker.example", 0, 3)]
        {
            let changes = with_ca(broker, &one).take_over(&with_ca(broker, &two));
            let counts = (changes.applied.len(), changes.needs_restart.len());
            assert_eq!(counts, (applied, needs_restart), "{broker}: {changes:?}");
        }
    }

    #[test]
    fn a_secret_is_compared_and_not_printed() {
        let url = |password| format!("postgres://apiary:{password}@127.0.0.1/apiary");
        let mut running = config(&[("APIARY_DATABASE_URL", &url("canary-one"))]);
        let new = config(&[("APIARY_DATABASE_URL", &url("canary-two"))]);
        let changes = running.take_over(&new);
        assert_eq!(changes.needs_restart, ["database.url"]);
        assert!(!format!("{running:?}{changes:?}").contains("canary"));
    }
}
