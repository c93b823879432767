//! Pictures encoded once and sent over and over by any number of cameras: load at next to no cost.

use std::sync::Arc;
use std::time::Duration;

use apiary_wire::Bitrate;

use super::card::{Scene, TestCard};
use super::encoder::CardEncoder;
use super::{EncodeError, VideoFrame};

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
const FPS: u32 = 30;
/// Two seconds, with the only IDR in front: as far apart as a camera's.
const FRAMES: u64 = 60;
/// With the payload size below and the sound this makes about 1.65 Mbit/s in 254 packets a second,
/// which is what a camera sends on an ordinary home network.
const BITRATE: Bitrate = Bitrate::from_kbps(1580);
const MAX_PAYLOAD: usize = 1050;

/// The encoded loop.
#[derive(Debug)]
pub(crate) struct ReplayLoop {
    frames: Vec<VideoFrame>,
}

impl ReplayLoop {
    /// From one picture to the next.
    pub(crate) const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / FPS as u64);

    /// Draws and encodes the loop, which takes some hundred milliseconds.
    pub(crate) fn encode() -> Result<Arc<Self>, EncodeError> {
        let mut card = TestCard::new((WIDTH, HEIGHT), "Replay", 210.0, 1);
        let mut encoder = CardEncoder::new(BITRATE, FPS)?;
        // A first round lets the rate control settle; the second one is kept.
        let mut frames = Vec::new();
        for number in 0..2 * FRAMES {
            if number % FRAMES == 0 {
                encoder.request_idr();
                frames.clear();
            }
            let frame = number % FRAMES;
            let canvas = card.draw(Scene {
                // The loop is half as long as the block's way there and back.
                frame: frame * 4,
                clock: &format!("00:00:{:02}.{}", frame / 30, frame % 30 / 3),
                bitrate_kbps: BITRATE.as_kbps(),
            });
            if let Some(unit) = encoder.encode(canvas)? {
                frames.push(VideoFrame::packetize(&unit, MAX_PAYLOAD));
            }
        }
        Ok(Arc::new(Self { frames }))
    }
}

/// Where one camera stands in the loop.
#[derive(Debug, Clone)]
pub(crate) struct ReplayCursor {
    source: Arc<ReplayLoop>,
    next: usize,
}

impl ReplayCursor {
    /// At the IDR.
    pub(crate) fn new(source: Arc<ReplayLoop>) -> Self {
        Self { source, next: 0 }
    }

    /// The next picture.
    pub(crate) fn next(&mut self) -> &VideoFrame {
        let index = self.next % self.source.frames.len();
        self.next = index + 1;
        &self.source.frames[index]
    }

    /// Makes the next picture the IDR.
    pub(crate) fn request_idr(&mut self) {
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_costs_what_a_camera_costs() {
        const RTP_HEADER: usize = 12;
        let source = ReplayLoop::encode().unwrap();
        let seconds = FRAMES as f64 / f64::from(FPS);
        let audio = crate::audio::AudioCodec::Opus.tone();
        let packets = source.frames.iter().flat_map(|frame| &frame.packets);
        let video_bytes: usize = packets.clone().map(|p| p.len() + RTP_HEADER).sum();
        let audio_bytes: usize = audio.iter().map(|p| p.len() + RTP_HEADER).sum();
        let kbps = (video_bytes as f64 / seconds + audio_bytes as f64 / 4.0) * 8.0 / 1000.0;
        let per_second = packets.count() as f64 / seconds + 50.0;
        assert!((1600.0..1700.0).contains(&kbps), "{kbps} kbit/s");
        assert!(
            (244.0..264.0).contains(&per_second),
            "{per_second} packets/s"
        );
    }

    #[test]
    fn the_only_idr_stands_in_front_and_comes_when_asked_for() {
        let source = ReplayLoop::encode().unwrap();
        let idrs: Vec<bool> = source.frames.iter().map(|frame| frame.idr).collect();
        assert!(idrs[0] && !idrs[1..].contains(&true));
        let mut cursor = ReplayCursor::new(source);
        assert!(cursor.next().idr && !cursor.next().idr);
        cursor.request_idr();
        assert!(cursor.next().idr);
    }
}
