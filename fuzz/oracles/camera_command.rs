//! A command that is read is written and read again the same. Input: topic, line feed, payload.

use apiary_wire::camera::Command;
use jiff::Timestamp;
use uuid::Uuid;

use crate::json;

pub(crate) fn check(data: &[u8]) {
    let end = data
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(data.len());
    let (topic, payload) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Ok(topic) = std::str::from_utf8(topic) else {
        return;
    };
    let Ok((camera, command)) = Command::parse(topic, payload) else {
        return;
    };
    assert_eq!(command.topic(camera).to_lowercase(), topic.to_lowercase());
    let write = |command: &Command| command.to_json(camera, Uuid::nil(), Timestamp::UNIX_EPOCH);
    let written = write(&command);
    let (same_camera, again) = Command::parse(&command.topic(camera), written.as_bytes())
        .expect("what is written is understood");
    assert_eq!(same_camera, camera);
    json::assert_same(&written, &write(&again));
}
