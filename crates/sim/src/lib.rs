//! A simulated VBC01: a camera that is commanded over MQTT, sends RTP and obeys its firmware's rules.
//!
//! It speaks `wire` only, so that it cannot share a mistake with the receiver. [`Simulator`] runs any
//! number of cameras; [`CameraHandle`] shows what each does and does things to it; [`CameraConfig`] says
//! what it is like and how it misbehaves.
//!
//! | module | is |
//! | --- | --- |
//! | `firmware` | the camera's rules, without sockets, clocks or threads |
//! | `video`, `audio` | test card, encoders, loops |
//! | `device` | ports, link and timers of all cameras on one thread |
//! | `mqtt` | connection, last will, commands, one task a camera |
//! | `simulator` | puts these together |

mod audio;
mod camera;
mod config;
mod device;
mod firmware;
mod misbehaviour;
mod mqtt;
mod simulator;
mod state;
mod tls;
mod video;

pub use audio::AudioCodec;
pub use camera::{CameraHandle, CameraUnreachable, MAX_REMEMBERED_COMMANDS, WaitTimeout};
pub use config::{
    Broker, BrokerIdentity, BrokerTls, BrokerUrlError, CameraConfig, SimulatorConfig, VideoSource,
};
pub use firmware::FirmwareRules;
pub use misbehaviour::{Misbehaviour, UnknownMisbehaviour};
pub use simulator::{Simulator, SimulatorError};
pub use state::{
    Beat, CameraState, Feedback, Nacks, ReceivedCommand, Sent, StopReason, StreamState,
};
pub use tls::TlsError;
pub use video::{EncodeError, TIMESTAMP_UUID, find_timestamp};
