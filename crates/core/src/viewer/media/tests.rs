use apiary_wire::rtp::{HeaderTemplate, RtpPacket};
use apiary_wire::units::Ssrc;

use super::*;
use crate::ring::{Inserted, PacketMeta, PictureRole, RingLimits};
use crate::srtp::{KeyingMaterial, SrtpProfile};

const VIDEO: Ssrc = Ssrc(0x0101_0101);
const RTX: Ssrc = Ssrc(0x0202_0202);
const VIDEO_TYPE: PayloadType = PayloadType::new(102).unwrap();
const RTX_TYPE: PayloadType = PayloadType::new(103).unwrap();
/// The video track's and the retransmissions' first sequence numbers.
const FIRST: u16 = 1_000;
const FIRST_RTX: u16 = 5_000;
const TICKS_PER_PICTURE: u32 = 3_000;

/// Keeps each packet apart.
#[derive(Default)]
struct Sent {
    packets: Vec<Vec<u8>>,
}

impl PacketSink for Sent {
    fn packet(&mut self, len: usize) -> &mut [u8] {
        self.packets.push(vec![0; len]);
        self.packets.last_mut().expect("one was just pushed")
    }
}

/// What a packet says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    ssrc: Ssrc,
    payload_type: PayloadType,
    sequence_number: u16,
    timestamp: u32,
    marker: bool,
}

fn header(packet: &[u8]) -> Header {
    let parsed = RtpPacket::parse(packet).expect("what is sent is RTP");
    Header {
        ssrc: parsed.ssrc,
        payload_type: parsed.payload_type,
        sequence_number: parsed.sequence_number,
        timestamp: parsed.timestamp,
        marker: parsed.marker,
    }
}

/// A viewer, the ring that it is served from, and a clock.
struct Rig {
    now: Instant,
    srtp: SrtpSender,
    ring: PacketRing,
    video: VideoOut,
    pictures: u32,
}

impl Rig {
    fn new(rtx: bool) -> Self {
        let rtx = rtx.then(|| RtxSender::new(HeaderTemplate::new(RTX), RTX_TYPE, FIRST_RTX));
        Self {
            now: Instant::now(),
            srtp: keys(),
            ring: PacketRing::new(RingLimits {
                bytes: 2 << 20,
                age: Duration::from_secs(60),
            }),
            video: VideoOut::new(
                TrackSender::new(HeaderTemplate::new(VIDEO), FIRST),
                VIDEO_TYPE,
                rtx,
            ),
            pictures: 0,
        }
    }

    /// A viewer that has just been sent its start picture (SPS, PPS and two slices) and is live.
    fn live(rtx: bool) -> Self {
        let mut rig = Self::new(rtx);
        rig.idr();
        assert_eq!(rig.send().len(), 6);
        rig
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn insert(&mut self, index: u64, role: PictureRole, marker: bool, octets: usize) -> Inserted {
        let meta = PacketMeta {
            timestamp: self.pictures * TICKS_PER_PICTURE,
            marker,
            codec: Codec::H264,
            role,
        };
        self.ring
            .insert(self.now, index, meta, &vec![index as u8; octets])
    }

    /// An IDR of two parameter sets and two slices; gives its first index.
    fn idr(&mut self) -> u64 {
        self.pictures += 1;
        let first = self.ring.head();
        self.insert(first, PictureRole::ParameterSet, false, 20);
        self.insert(first + 1, PictureRole::ParameterSet, false, 8);
        self.insert(first + 2, PictureRole::IdrStart, false, 1_000);
        self.insert(first + 3, PictureRole::Other, true, 1_000);
        first
    }

    /// Pictures of one packet each.
    fn others(&mut self, count: usize, octets: usize) {
        for _ in 0..count {
            self.pictures += 1;
            self.insert(self.ring.head(), PictureRole::Other, true, octets);
        }
    }

    fn send(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Sent::default();
        self.video.send(self.now, &self.srtp, &self.ring, &mut sent);
        sent.packets
    }

    fn send_repaired(&mut self, index: u64) -> Vec<Vec<u8>> {
        let mut sent = Sent::default();
        self.video
            .send_repaired(index, &self.srtp, &self.ring, &mut sent);
        sent.packets
    }

    fn nack(&mut self, sequence_number: u16) -> Vec<Vec<u8>> {
        let mut sent = Sent::default();
        self.video
            .retransmit(self.now, sequence_number, &self.srtp, &self.ring, &mut sent);
        sent.packets
    }
}

fn keys() -> SrtpSender {
    let profile = SrtpProfile::AeadAes128Gcm;
    let exported = [7; 2 * (16 + 12)];
    let (sender, ..) = KeyingMaterial::split(profile, &exported)
        .unwrap()
        .into_server_contexts();
    sender
}

fn numbers(packets: &[Vec<u8>]) -> Vec<u16> {
    packets
        .iter()
        .map(|packet| header(packet).sequence_number)
        .collect()
}

/// Sequence numbers counted from the track's first.
fn from_first(offsets: impl IntoIterator<Item = u16>) -> Vec<u16> {
    offsets.into_iter().map(|offset| FIRST + offset).collect()
}

#[test]
fn nothing_is_sent_before_the_first_idr() {
    let mut rig = Rig::new(true);
    rig.others(5, 100);
    assert!(rig.send().is_empty());
    assert!(rig.video.is_waiting());
    assert!(!rig.video.track().has_sent());
    assert!(
        rig.video.on_key_frame_wanted(rig.now),
        "the ring cannot help"
    );
}

#[test]
fn the_start_picture_goes_out_at_once_with_its_parameter_sets_twice() {
    let mut rig = Rig::new(true);
    rig.others(5, 100);
    rig.idr();
    let sent = rig.send();
    assert_eq!(numbers(&sent), from_first([0, 1, 2, 3, 0, 1]));
    assert_eq!(sent[4..], sent[..2], "the same octets, or keys are misused");
    assert_eq!(
        header(&sent[3]),
        Header {
            ssrc: VIDEO,
            payload_type: VIDEO_TYPE,
            sequence_number: FIRST + 3,
            timestamp: rig.pictures * TICKS_PER_PICTURE,
            marker: true,
        }
    );
    assert!(!rig.video.is_waiting());
    assert_eq!(rig.video.poll_timeout(), None, "it is live");
}

#[test]
fn a_newcomer_catches_up_at_the_pace_and_is_then_live() {
    let mut rig = Rig::new(true);
    rig.idr();
    rig.others(100, 1_000);
    assert_eq!(rig.send().len(), 6, "only the start picture at first");
    let mut expected = FIRST + 4;
    while let Some(due) = rig.video.poll_timeout() {
        assert!(rig.send().is_empty(), "not before it is due");
        let passed = due.duration_since(rig.now).as_millis() as u64;
        rig.now = due;
        let sent = rig.send();
        let octets = sent.len() as u64 * 1_000;
        assert!(octets > 0, "each step comes nearer");
        assert!(octets < passed * CATCH_UP_OCTETS_PER_MS + 1_000);
        for number in numbers(&sent) {
            assert_eq!(number, expected);
            expected += 1;
        }
    }
    assert_eq!(expected, FIRST + 104, "every packet once");
    rig.others(2, 1_000);
    assert_eq!(numbers(&rig.send()), from_first([104, 105]), "live at once");
    assert!(rig.send().is_empty());
}

#[test]
fn a_late_step_toward_the_present_is_no_burst() {
    let mut rig = Rig::new(true);
    rig.idr();
    rig.others(500, 1_000);
    rig.send();
    rig.wait(1_000);
    let octets = rig.send().len() as u64 * 1_000;
    assert_eq!(octets, CATCH_UP_STEP_MS * CATCH_UP_OCTETS_PER_MS);
}

#[test]
fn a_packet_that_came_late_is_sent_under_its_own_number() {
    let mut rig = Rig::live(true);
    let gap = rig.ring.head();
    rig.insert(gap + 1, PictureRole::Other, true, 100);
    assert_eq!(numbers(&rig.send()), from_first([5]));
    assert_eq!(
        rig.insert(gap, PictureRole::Other, true, 100),
        Inserted::Repair
    );
    assert!(rig.send().is_empty(), "it is not new");
    assert_eq!(numbers(&rig.send_repaired(gap)), from_first([4]));
}

#[test]
fn a_repair_that_the_viewer_has_not_come_to_is_left_to_the_regular_flow() {
    let mut rig = Rig::live(true);
    let ahead = rig.ring.head();
    rig.others(1, 100);
    assert!(rig.send_repaired(ahead).is_empty());
    assert_eq!(numbers(&rig.send()), from_first([4]));
}

#[test]
fn a_repair_from_before_the_start_picture_sends_nothing() {
    let mut rig = Rig::new(true);
    rig.others(1, 100);
    let gap = rig.ring.head();
    rig.insert(gap + 1, PictureRole::Other, true, 100);
    rig.idr();
    rig.send();
    assert_eq!(
        rig.insert(gap, PictureRole::Other, true, 100),
        Inserted::Repair
    );
    assert_eq!(rig.send_repaired(gap), Vec::<Vec<u8>>::new());
}

#[test]
fn a_nack_is_answered_on_the_retransmission_stream() {
    let mut rig = Rig::live(true);
    let sent = rig.nack(FIRST + 2);
    let again = rig.nack(FIRST + 2);
    let timestamp = rig.pictures * TICKS_PER_PICTURE;
    let expected = |sequence_number| Header {
        ssrc: RTX,
        payload_type: RTX_TYPE,
        sequence_number,
        timestamp,
        marker: false,
    };
    assert_eq!(header(&sent[0]), expected(FIRST_RTX));
    assert_eq!(header(&again[0]), expected(FIRST_RTX + 1));
    assert_eq!((sent.len(), again.len()), (1, 1));
    assert_eq!(rig.video.counts.retransmitted, 2);
    assert_eq!(rig.video.counts.unanswered, 0);
}

/// RFC 4588 §4: the original sequence number (OSN) stands before the original payload.
#[test]
fn a_retransmission_begins_with_the_original_sequence_number() {
    let mut rig = Rig::live(true);
    let sent = rig.nack(FIRST + 2);
    let (head, _) = sent[0].split_at(12);
    let index = rig.ring.picture_start().unwrap() + 2;
    let mut payload = (FIRST + 2).to_be_bytes().to_vec();
    payload.extend_from_slice(rig.ring.get(index).unwrap().payload);
    let mut expected = head.to_vec();
    expected.resize(keys().sealed_len(12, payload.len()), 0);
    keys().seal(&mut expected, 12, u64::from(FIRST_RTX), &payload);
    assert_eq!(sent[0], expected);
}

#[test]
fn without_a_retransmission_stream_a_nack_brings_the_same_octets() {
    let mut rig = Rig::new(false);
    rig.idr();
    let first = rig.send();
    assert_eq!(rig.nack(FIRST + 2), first[2..3]);
    rig.others(1, 100);
    assert_eq!(
        numbers(&rig.send()),
        from_first([4]),
        "no number is used up"
    );
}

#[test]
fn a_nack_for_what_was_never_sent_or_never_came_is_counted() {
    let mut rig = Rig::live(true);
    assert!(rig.nack(FIRST - 1).is_empty());
    assert!(rig.nack(FIRST + 4).is_empty());
    rig.insert(rig.ring.head() + 1, PictureRole::Other, true, 100);
    rig.send();
    assert!(rig.nack(FIRST + 4).is_empty(), "it is missing here as well");
    assert_eq!(rig.video.counts.unanswered, 3);
    assert_eq!(rig.video.counts.retransmitted, 0);
}

/// h20: whatever a viewer asks for, what it is sent again stays within its budget.
#[test]
fn a_flood_of_nacks_is_bounded() {
    const OCTETS: u64 = 1_000;
    let mut rig = Rig::live(true);
    let flood = |rig: &mut Rig| {
        (0..10_000)
            .map(|_| rig.nack(FIRST + 2).len() as u64)
            .sum::<u64>()
    };
    assert_eq!(flood(&mut rig), RETRANSMIT_BURST / OCTETS);
    assert_eq!(
        rig.video.counts.unanswered,
        10_000 - RETRANSMIT_BURST / OCTETS
    );
    rig.wait(100);
    let left = RETRANSMIT_BURST % OCTETS;
    assert_eq!(
        flood(&mut rig),
        (RETRANSMIT_OCTETS_PER_S / 10 + left) / OCTETS,
        "it refills at its rate"
    );
    rig.wait(3_600_000);
    assert_eq!(
        flood(&mut rig),
        RETRANSMIT_BURST / OCTETS,
        "silence saves up no more than the burst"
    );
}

#[test]
fn a_viewer_that_fell_out_of_the_ring_goes_on_at_the_next_idr() {
    let mut rig = Rig::live(true);
    let place = rig.ring.head();
    rig.others(2_500, 1_000);
    assert!(rig.ring.first() > place, "the ring has turned over");
    assert!(rig.send().is_empty());
    assert_eq!(rig.video.counts.skipped, 1);
    assert!(rig.video.is_waiting());
    assert!(rig.send().is_empty(), "no IDR is left");
    assert_eq!(rig.video.counts.skipped, 1, "counted once");
    rig.idr();
    assert_eq!(
        numbers(&rig.send()),
        from_first([4, 5, 6, 7, 4, 5]),
        "without a gap in the sequence numbers"
    );
    assert!(rig.nack(FIRST + 3).is_empty(), "from before the jump");
}

#[test]
fn an_early_request_for_a_key_frame_is_served_from_the_ring() {
    let mut rig = Rig::live(true);
    rig.others(3, 100);
    rig.send();
    rig.wait(2_999);
    assert!(!rig.video.on_key_frame_wanted(rig.now));
    let sent = rig.send();
    assert_eq!(numbers(&sent), from_first([7, 8, 9, 10, 7, 8]));
    assert_eq!(header(&sent[0]).timestamp, TICKS_PER_PICTURE);
}

#[test]
fn a_later_request_for_a_key_frame_goes_to_the_camera() {
    let mut rig = Rig::live(true);
    rig.wait(3_000);
    assert!(rig.video.on_key_frame_wanted(rig.now));
    assert!(rig.send().is_empty(), "and the flow is not disturbed");
    rig.others(1, 100);
    assert_eq!(numbers(&rig.send()), from_first([4]));
}

#[test]
fn h20_a_storm_of_key_frame_requests_is_not_served_from_the_ring() {
    let mut rig = Rig::live(true);
    let mut octets = 0;
    let mut passed_on = 0;
    for _ in 0..1_000 {
        rig.wait(1);
        passed_on += u32::from(rig.video.on_key_frame_wanted(rig.now));
        octets += rig.send().iter().map(Vec::len).sum::<usize>();
    }
    let one_picture: usize = {
        rig.video.restart();
        rig.send().iter().map(Vec::len).sum()
    };
    assert!(octets <= 3 * one_picture, "{octets} of {one_picture} each");
    assert_eq!(
        passed_on, 997,
        "to the ingest, which asks the camera once a second"
    );
}
