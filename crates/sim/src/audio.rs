//! The simulated microphone: loops of ready-made packets of 20 ms each.

use std::time::Duration;

use apiary_wire::PayloadType;
use apiary_wire::sdp::camera;
use bytes::Bytes;

/// How a simulated camera encodes sound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// Opus, 48 kHz, stereo: payload type 96.
    #[default]
    Opus,
    /// G.711 µ-law, 8 kHz, mono: payload type 0.
    Pcmu,
}

/// Each packet holds this much sound.
pub(crate) const PACKET_DURATION: Duration = Duration::from_millis(20);

/// Length-prefixed Opus packets; assets/README.md says how they were made.
static OPUS_TONE: &[u8] = include_bytes!("../assets/tone.opus-packets");

impl AudioCodec {
    /// The payload type that the cameras' SDP gives this codec.
    pub(crate) fn payload_type(self) -> PayloadType {
        match self {
            Self::Opus => camera::OPUS,
            Self::Pcmu => camera::PCMU,
        }
    }

    /// RTP clock rate in Hz (RFC 7587 §4.1, RFC 3551 table 4).
    pub(crate) const fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => camera::OPUS_CLOCK_RATE,
            Self::Pcmu => camera::PCMU_CLOCK_RATE,
        }
    }

    /// The loop's packets, to be sent one each [`PACKET_DURATION`], over and over.
    pub(crate) fn tone(self) -> Vec<Bytes> {
        match self {
            Self::Opus => length_prefixed(OPUS_TONE),
            Self::Pcmu => pcmu_tone(),
        }
    }
}

fn length_prefixed(mut file: &'static [u8]) -> Vec<Bytes> {
    let mut packets = Vec::new();
    while let Some((length, rest)) = file.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (packet, rest) = rest.split_at(length.min(rest.len()));
        packets.push(Bytes::from_static(packet));
        file = rest;
    }
    packets
}

/// Two seconds with a beep in each: 440 Hz, then 660 Hz, fading out before the next.
fn pcmu_tone() -> Vec<Bytes> {
    const RATE: usize = 8_000;
    const SAMPLES_PER_PACKET: usize = 160;
    let samples: Vec<u8> = (0..2 * RATE)
        .map(|index| {
            let hertz = if index < RATE { 440.0 } else { 660.0 };
            let second = (index % RATE) as f32 / RATE as f32;
            let envelope = (second * 80.0).min(1.0) * (-8.0 * second).exp();
            let wave = (second * hertz * std::f32::consts::TAU).sin();
            mu_law((wave * envelope * 8_000.0) as i16)
        })
        .collect();
    let samples = Bytes::from(samples);
    (0..samples.len() / SAMPLES_PER_PACKET)
        .map(|index| {
            let start = index * SAMPLES_PER_PACKET;
            samples.slice(start..start + SAMPLES_PER_PACKET)
        })
        .collect()
}

/// One sample in G.711 µ-law (ITU-T G.711 table 2a, with the bits inverted as sent).
fn mu_law(sample: i16) -> u8 {
    const BIAS: i32 = 132;
    const CLIP: i32 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    // The bias makes bit 7 the lowest one that can lead.
    let segment = (24 - magnitude.leading_zeros()).min(7);
    let mantissa = (magnitude >> (segment + 3)) & 0x0F;
    !(sign | (segment as i32) << 4 | mantissa) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opus_loop_is_four_seconds_of_20_ms_stereo_packets() {
        let packets = AudioCodec::Opus.tone();
        assert_eq!(packets.len(), 200);
        for packet in &packets {
            // RFC 6716 §3.1: configuration 31 is fullband CELT of 20 ms, then stereo, one frame.
            assert_eq!(packet[0], 31 << 3 | 1 << 2);
            assert!(packet.len() < 400);
        }
        let bytes: usize = packets.iter().map(Bytes::len).sum();
        assert_eq!(bytes + 2 * packets.len(), OPUS_TONE.len());
    }

    #[test]
    fn the_pcmu_loop_is_two_seconds_and_not_silent() {
        let packets = AudioCodec::Pcmu.tone();
        assert_eq!(packets.len(), 100);
        assert!(packets.iter().all(|packet| packet.len() == 160));
        let distinct: std::collections::HashSet<u8> = packets[1].iter().copied().collect();
        assert!(distinct.len() > 20);
    }

    #[test]
    fn mu_law_matches_the_table() {
        // Decision values and codes from ITU-T G.711 table 2a.
        for (sample, code) in [
            (0, 0xFF),
            (-1, 0x7F),
            (8, 0xFE),
            (i16::MAX, 0x80),
            (i16::MIN, 0x00),
            (1000, 0xCE),
            (-1000, 0x4E),
        ] {
            assert_eq!(mu_law(sample), code, "sample {sample}");
        }
    }
}
