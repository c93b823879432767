//! The camera control client against two brokers: the embedded one, and Debian's Mosquitto. The same functions run over both.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "mqtt/brokers.rs"]
mod brokers;
#[path = "mqtt/certificates.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of the embedded broker's security"
)]
mod certificates;
#[path = "mqtt/client.rs"]
mod client;
#[path = "mqtt/suite.rs"]
mod suite;

use brokers::{EmbeddedKind, MosquittoKind};

/// Runs each function of the suite over both brokers.
macro_rules! over_both_brokers {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::suite::$name::<super::EmbeddedKind>().await;
            })*
        }
        mod mosquitto {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::suite::$name::<super::MosquittoKind>().await;
            })*
        }
    };
}

over_both_brokers!(
    commands_are_acknowledged_and_reach_the_camera,
    messages_of_cameras_are_heard,
    last_will_of_a_killed_camera_is_heard,
    f09_sends_fail_at_once_while_the_broker_is_away_and_recover,
    two_instances_with_one_client_id_live_side_by_side,
    h32_no_camera_id_reaches_the_program,
    tls_with_a_client_certificate,
    tls_without_a_client_certificate_is_refused,
    tls_from_another_authority_is_refused,
    tls_checks_the_name_unless_told_otherwise,
    shutdown_ends_waiting_sends,
);
