//! Why a stream failed, in words that a user can act on.

use std::net::SocketAddrV4;
use std::time::Duration;

use apiary_wire::units::Ssrc;

use super::leg::{Delivery, Setup};
use super::state::{Presence, Starting};

/// Why a stream ended in `error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The media engine could not prepare the leg.
    #[error("the stream could not be prepared: {reason}")]
    Leg {
        /// What the engine said.
        reason: String,
    },
    /// `stream/play` never reached the broker.
    #[error(
        "the camera could not be told to play, the MQTT broker is not reachable: {cause}; \
         check that the broker runs and that mqtt.broker names it"
    )]
    BrokerUnreachable {
        /// The last failure.
        cause: String,
    },
    /// The camera's last will says that it is gone.
    #[error(
        "the camera is offline: the broker reported that its connection was lost; \
         check its power and its network, then start it again"
    )]
    CameraOffline,
    /// The broker took the play, and nothing came.
    #[error(
        "the camera was told to play but no RTP arrived at {address} (UDP) within {} s{}: \
         check that no firewall stops it and that network.local_ip and network.external_ip are addresses \
         at which the camera reaches this machine",
        .waited.as_secs(),
        if *.heard { "" } else { " and it has not been heard on the broker yet, so it may be switched off or use another broker" }
    )]
    NoRtp {
        /// The advertised address and port of the picture.
        address: SocketAddrV4,
        /// How long it was waited for.
        waited: Duration,
        /// The camera has said something on the broker.
        heard: bool,
    },
    /// RTP came, but not the stream that was asked for.
    #[error(
        "RTP arrived at {address} with SSRC {:#010x}, which was not given to the camera: it may still send an \
         older stream, or another device sends to this port; restart the camera or free the port",
        .ssrc.0
    )]
    ForeignSsrc {
        /// The advertised address and port of the picture.
        address: SocketAddrV4,
        /// The SSRC that came.
        ssrc: Ssrc,
    },
}

impl Failure {
    /// The reason why no valid RTP came in time.
    pub(super) fn of_start(starting: &Starting, presence: Presence, waited: Duration) -> Self {
        match &starting.leg.setup {
            Setup::Opening => Self::Leg {
                reason: "the media engine did not answer in time".to_owned(),
            },
            Setup::Played {
                address, delivery, ..
            } => {
                if let Some(ssrc) = starting.foreign_ssrc {
                    return Self::ForeignSsrc {
                        address: *address,
                        ssrc,
                    };
                }
                match (delivery, presence) {
                    (Delivery::Pending { last_failure }, _) => Self::BrokerUnreachable {
                        cause: last_failure
                            .clone()
                            .unwrap_or_else(|| "it has not acknowledged the message".to_owned()),
                    },
                    (Delivery::Acknowledged, Presence::Offline) => Self::CameraOffline,
                    (Delivery::Acknowledged, Presence::NeverHeard | Presence::Online) => {
                        Self::NoRtp {
                            address: *address,
                            waited,
                            heard: presence == Presence::Online,
                        }
                    }
                }
            }
        }
    }
}
