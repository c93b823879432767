//! Incoming messages: parsed by `apiary-wire`, counted, and logged without letting a camera write the log.
//!
//! A message that is none is dropped; the first of each kind is a warning, the rest are counted.

use std::sync::atomic::{AtomicU64, Ordering};

use apiary_wire::CameraId;
use apiary_wire::camera::{CameraMessage, CameraMessageError};

use crate::logging::printable;

/// How many messages came, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Taken.
    pub accepted: u64,
    /// On a topic that is none of a camera's.
    pub foreign_topic: u64,
    /// On a topic whose id is no camera id.
    pub no_camera_id: u64,
    /// Longer than any camera's.
    pub too_long: u64,
    /// Not JSON, or no object.
    pub not_json: u64,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    accepted: AtomicU64,
    foreign_topic: AtomicU64,
    no_camera_id: AtomicU64,
    too_long: AtomicU64,
    not_json: AtomicU64,
}

impl Inbox {
    /// Understands one message, or counts why it cannot be.
    pub(super) fn take(&self, topic: &[u8], payload: &[u8]) -> Option<(CameraId, CameraMessage)> {
        // It only took away what a broker kept (MQTT 3.1.1 §3.3.1.3).
        if payload.is_empty() {
            return None;
        }
        let Ok(topic) = std::str::from_utf8(topic) else {
            self.refuse(
                &self.foreign_topic,
                &String::from_utf8_lossy(topic),
                "its topic is no UTF-8",
            );
            return None;
        };
        match CameraMessage::parse(topic, payload) {
            Ok(taken) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                Some(taken)
            }
            Err(error) => {
                let count = match &error {
                    CameraMessageError::Topic { .. } => &self.foreign_topic,
                    CameraMessageError::Camera(_) => &self.no_camera_id,
                    CameraMessageError::TooLong { .. } => &self.too_long,
                    CameraMessageError::NotJson { .. } | CameraMessageError::NotAnObject { .. } => {
                        &self.not_json
                    }
                };
                self.refuse(count, topic, &error.to_string());
                None
            }
        }
    }

    fn refuse(&self, count: &AtomicU64, topic: &str, reason: &str) {
        let topic = &*printable(topic);
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                topic,
                reason,
                "ignored an MQTT message; more of its kind are only counted"
            );
        } else {
            tracing::debug!(topic, reason, "ignored an MQTT message");
        }
    }

    pub(super) fn counts(&self) -> MessageCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        MessageCounts {
            accepted: read(&self.accepted),
            foreign_topic: read(&self.foreign_topic),
            no_camera_id: read(&self.no_camera_id),
            too_long: read(&self.too_long),
            not_json: read(&self.not_json),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";

    #[test]
    fn h32_ids_that_are_no_camera_ids_are_ignored_and_counted() {
        let inbox = Inbox::default();
        let long = "A".repeat(60_000);
        for id in [
            "",
            "+",
            "#",
            "$SYS",
            "..",
            "\0",
            "56C1CADCF1FA4C6CAEBA3E2FD85EFEB",
            "é",
            "\u{1b}[31m",
            &long,
        ] {
            let topic = format!("prod/device/connection/hive-cam/{id}");
            assert_eq!(inbox.take(topic.as_bytes(), b"{}"), None, "{id}");
        }
        assert_eq!(inbox.take(b"prod/device/connection/hive-cam/+", b""), None);
        let counts = inbox.counts();
        assert_eq!(counts.no_camera_id + counts.foreign_topic, 10);
        assert_eq!(counts.accepted, 0);
    }

    #[test]
    fn bad_messages_are_counted_by_kind() {
        let inbox = Inbox::default();
        let topic = format!("prod/device/status/hive-cam/{CAMERA}");
        assert_eq!(inbox.take(topic.as_bytes(), b"{"), None);
        assert_eq!(inbox.take(topic.as_bytes(), b"[]"), None);
        assert_eq!(inbox.take(topic.as_bytes(), &vec![b' '; 1 << 20]), None);
        assert_eq!(inbox.take(b"\xff\xfe", b"{}"), None);
        assert!(inbox.take(topic.as_bytes(), b"{\"unknown\":1}").is_some());
        let expected = MessageCounts {
            accepted: 1,
            foreign_topic: 1,
            no_camera_id: 0,
            too_long: 1,
            not_json: 2,
        };
        assert_eq!(inbox.counts(), expected);
    }
}
