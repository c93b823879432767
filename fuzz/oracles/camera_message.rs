//! What is understood of a message is written and understood again the same. Input: topic, line feed, payload.

use apiary_wire::camera::CameraMessage;

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
    let Ok((camera, message)) = CameraMessage::parse(topic, payload) else {
        return;
    };
    assert!(topic.to_uppercase().contains(&camera.to_string()));
    let written = message.to_json();
    let (same_camera, again) = CameraMessage::parse(&message.topic(camera), written.as_bytes())
        .expect("what is written is understood");
    assert_eq!(same_camera, camera);
    assert_eq!(
        std::mem::discriminant(&again),
        std::mem::discriminant(&message)
    );
    json::assert_same(&written, &again.to_json());
}
