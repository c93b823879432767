//! What the gateway and the cameras say to each other over MQTT: commands down, messages up.
//!
//! Topics carry a camera's id. Ids are checked where a topic is read, and only checked ids are written into one,
//! so that no text from outside can widen a topic.

mod command;
mod message;
mod settings;

pub use command::{Command, CommandError};
pub use message::{
    Activity, CameraMessage, CameraMessageError, Connection, ConnectionStatus, Device, Status,
};
pub use settings::{
    Detection, Lights, Mode, Picture, Schedule, Settings, SettingsError, Sound, UnknownMode,
    is_word,
};

use crate::id::CameraId;

/// `sourceType` of every command, and the part of the topics that names the kind of device.
pub const DEVICE_TYPE: &str = "hive-cam";
/// Messages above this many bytes are refused unread.
pub const MAX_PAYLOAD_LEN: usize = 256 * 1024;

/// What the gateway subscribes to in order to hear all cameras.
pub const SUBSCRIPTIONS: [&str; 4] = [
    "prod/device/connection/hive-cam/+",
    "prod/device/status/hive-cam/+",
    "prod/device/message/hive-cam/+/activity/+",
    "prod/device/message/hive-cam/+/camera/state",
];

/// What one camera subscribes to in order to hear its commands.
pub fn command_filter(camera: CameraId) -> String {
    format!("{COMMAND_ROOT}/{camera}/#")
}

const COMMAND_ROOT: &str = "prod/honeycomb";
