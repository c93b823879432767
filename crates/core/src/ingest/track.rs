//! One RTP track of a camera: which of its packets count, and what is known of it.
//!
//! Plain RTP proves nothing: whoever can send from the camera's address with its SSRC, or sits on the path,
//! can forge it. What is checked here keeps everybody else out (h28): payload type and SSRC that were
//! handed out, the source of the first such packet, and a plausible sequence number.

use std::net::SocketAddr;
use std::time::Instant;

use apiary_wire::rtcp::{ReportBlock, SenderReport};
use apiary_wire::rtp::RtpPacket;
use apiary_wire::units::{PayloadType, Ssrc};
use smallvec::SmallVec;

use super::loss::{Filled, LossTracker, MissingList, Outlook};
use super::sequence::{Placed, Refused, SequenceTracker};
use super::statistics::{ReceptionStatistics, SenderClock};

/// A medium of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrackKind {
    /// The picture.
    Video,
    /// The sound.
    Audio,
}

/// What was handed out to the camera for a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackConfig {
    /// The medium.
    pub kind: TrackKind,
    /// The SSRC that the camera must send with.
    pub ssrc: Ssrc,
    /// Payload types that it may use, each with its clock rate in Hz.
    pub payload_types: SmallVec<[(PayloadType, u32); 2]>,
}

/// Why a packet does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// Its payload type was not handed out.
    #[error("payload type {0} was not handed out")]
    WrongPayloadType(PayloadType),
    /// Its SSRC was not handed out.
    #[error("SSRC {0} was not handed out")]
    WrongSsrc(Ssrc),
    /// It does not come from where the track's first packet came.
    #[error("{0} is not the track's source")]
    WrongSource(SocketAddr),
    /// It came before.
    #[error("duplicate")]
    Duplicate,
    /// Its sequence number is far from the last one and nothing confirms the jump yet.
    #[error("unconfirmed jump of the sequence number")]
    SequenceJump,
}

/// Why a sender report does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportIgnored {
    /// It speaks for another SSRC.
    #[error("sender report of foreign SSRC {0}")]
    WrongSsrc(Ssrc),
    /// Its sender knows no time (NTP 0, RFC 3550 §6.4.1).
    #[error("sender report without a time")]
    NoTime,
}

/// A track's packets since it was constructed; rearming goes on counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that count.
    pub received: u64,
    /// Their payload octets.
    pub octets: u64,
    /// Packets with the marker bit: for video the frames.
    pub markers: u64,
    /// Packets that came because they were asked for again.
    pub repaired: u64,
    /// Packets asked for, repetitions included.
    pub nacked: u64,
    /// [`Dropped::WrongPayloadType`].
    pub wrong_payload_type: u64,
    /// [`Dropped::WrongSsrc`].
    pub wrong_ssrc: u64,
    /// [`Dropped::WrongSource`].
    pub wrong_source: u64,
    /// [`Dropped::Duplicate`].
    pub duplicates: u64,
    /// [`Dropped::SequenceJump`].
    pub jumps: u64,
}

impl Counters {
    /// Packets that do not count, whatever the reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.wrong_payload_type + self.wrong_ssrc + self.wrong_source + self.duplicates + self.jumps
    }

    fn count(&mut self, dropped: Dropped) {
        let counter = match dropped {
            Dropped::WrongPayloadType(_) => &mut self.wrong_payload_type,
            Dropped::WrongSsrc(_) => &mut self.wrong_ssrc,
            Dropped::WrongSource(_) => &mut self.wrong_source,
            Dropped::Duplicate => &mut self.duplicates,
            Dropped::SequenceJump => &mut self.jumps,
        };
        *counter += 1;
    }
}

/// Takes a track's packets.
#[derive(Clone, Debug)]
pub struct TrackReceiver {
    config: TrackConfig,
    source: Option<SocketAddr>,
    sequence: SequenceTracker,
    statistics: ReceptionStatistics,
    /// Only for video: `nack` is negotiated for nothing else.
    loss: Option<LossTracker>,
    outlook: Outlook,
    clock: Option<SenderClock>,
    last_packet: Option<Instant>,
    counters: Counters,
}

impl TrackReceiver {
    /// A track that waits for its first packet.
    #[must_use]
    pub fn new(config: TrackConfig) -> Self {
        let loss = match config.kind {
            TrackKind::Video => Some(LossTracker::new()),
            TrackKind::Audio => None,
        };
        Self {
            config,
            source: None,
            sequence: SequenceTracker::new(),
            statistics: ReceptionStatistics::default(),
            loss,
            outlook: Outlook::Repairable,
            clock: None,
            last_packet: None,
            counters: Counters::default(),
        }
    }

    /// Waits for a first packet again, by what is handed out now. Extended sequence numbers go on growing.
    pub fn rearm(&mut self, config: TrackConfig) {
        self.config = config;
        self.source = None;
        self.sequence.rearm();
        self.statistics.end_run();
        if let Some(loss) = &mut self.loss {
            loss.clear();
        }
        self.outlook = Outlook::Repairable;
        self.clock = None;
        self.last_packet = None;
    }

    /// Takes a packet; its extended sequence number when it counts.
    ///
    /// # Errors
    /// [`Dropped`] says why it does not count; it has been counted as that.
    pub fn handle_rtp(
        &mut self,
        now: Instant,
        source: SocketAddr,
        packet: &RtpPacket<'_>,
    ) -> Result<u64, Dropped> {
        self.accept(now, source, packet)
            .inspect_err(|dropped| self.counters.count(*dropped))
    }

    fn accept(
        &mut self,
        now: Instant,
        source: SocketAddr,
        packet: &RtpPacket<'_>,
    ) -> Result<u64, Dropped> {
        let clock_rate = self.clock_rate(packet.payload_type)?;
        if packet.ssrc != self.config.ssrc {
            return Err(Dropped::WrongSsrc(packet.ssrc));
        }
        if self.source.is_some_and(|latched| latched != source) {
            return Err(Dropped::WrongSource(source));
        }
        let placed =
            self.sequence
                .place(packet.sequence_number)
                .map_err(|refused| match refused {
                    Refused::Duplicate => Dropped::Duplicate,
                    Refused::Jump => Dropped::SequenceJump,
                })?;
        self.source = Some(source);
        self.last_packet = Some(now);
        self.counters.received += 1;
        self.counters.octets += packet.payload.len() as u64;
        self.counters.markers += u64::from(packet.marker);
        let extended = self.on_placed(now, placed);
        if !matches!(placed, Placed::Late { .. }) {
            self.statistics
                .measure_jitter(now, packet.timestamp, clock_rate);
        }
        Ok(extended)
    }

    fn clock_rate(&self, payload_type: PayloadType) -> Result<u32, Dropped> {
        self.config
            .payload_types
            .iter()
            .find(|(allowed, _)| *allowed == payload_type)
            .map(|(_, clock_rate)| *clock_rate)
            .ok_or(Dropped::WrongPayloadType(payload_type))
    }

    fn on_placed(&mut self, now: Instant, placed: Placed) -> u64 {
        match placed {
            Placed::First { extended } => {
                self.statistics.start(extended);
                extended
            }
            Placed::Next { extended, skipped } => {
                self.statistics.advance(extended);
                self.on_next(now, extended, skipped);
                extended
            }
            Placed::Late { extended } => {
                let filled = self
                    .loss
                    .as_mut()
                    .map_or(Filled::Reordered, |loss| loss.on_late(now, extended));
                let repaired = filled == Filled::Repaired;
                self.counters.repaired += u64::from(repaired);
                self.statistics.fill(extended, repaired);
                extended
            }
            Placed::Restarted { extended } => {
                self.statistics.start(extended);
                // What the jump left behind cannot be repaired; the packet before this one, refused for
                // want of proof, can.
                self.outlook = Outlook::KeyFrameNeeded;
                if let Some(loss) = &mut self.loss {
                    loss.clear();
                }
                self.on_next(now, extended, 1);
                extended
            }
        }
    }

    fn on_next(&mut self, now: Instant, extended: u64, skipped: u64) {
        if let Some(loss) = &mut self.loss
            && loss.on_next(now, extended, skipped) == Outlook::KeyFrameNeeded
        {
            self.outlook = Outlook::KeyFrameNeeded;
        }
    }

    /// A key frame begins with the packet of this extended sequence number.
    pub fn on_key_frame(&mut self, extended: u64) {
        if let Some(loss) = &mut self.loss {
            loss.on_key_frame(extended);
        }
        // A repaired beginning says nothing about what came after it.
        if self.sequence.highest() == Some(extended) {
            self.outlook = Outlook::Repairable;
        }
    }

    /// Takes a sender report from the track's RTCP source.
    ///
    /// # Errors
    /// [`ReportIgnored`] when it says nothing about this track's clock.
    pub fn handle_sender_report(
        &mut self,
        now: Instant,
        report: &SenderReport<'_>,
    ) -> Result<(), ReportIgnored> {
        if report.ssrc != self.config.ssrc {
            return Err(ReportIgnored::WrongSsrc(report.ssrc));
        }
        if report.ntp.0 == 0 {
            return Err(ReportIgnored::NoTime);
        }
        self.clock = Some(SenderClock {
            ntp: report.ntp,
            rtp_time: report.rtp_time,
            received: now,
        });
        Ok(())
    }

    /// What is expected of the camera.
    #[must_use]
    pub fn config(&self) -> &TrackConfig {
        &self.config
    }

    /// Where the track comes from, once known.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        self.source
    }

    /// The sender's clock, once a sender report came.
    #[must_use]
    pub fn clock(&self) -> Option<SenderClock> {
        self.clock
    }

    /// When the last packet that counts came.
    #[must_use]
    pub fn last_packet(&self) -> Option<Instant> {
        self.last_packet
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Packets missing, for good or still awaited.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.statistics.lost()
    }

    /// Interarrival jitter in units of the track's RTP clock.
    #[must_use]
    pub fn jitter(&self) -> u32 {
        self.statistics.jitter()
    }

    /// Packets that are awaited as repairs.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.loss.as_ref().map_or(0, LossTracker::len)
    }

    /// Reception since the last call, for an RR or SR. `None` before the first packet.
    pub fn report_block(&mut self, now: Instant) -> Option<ReportBlock> {
        self.statistics
            .report_block(now, self.config.ssrc, self.clock.as_ref())
    }

    /// Fraction lost on the path since the last call in 1/256, repaired packets included.
    pub fn path_loss(&mut self) -> u8 {
        self.statistics.path_loss()
    }

    /// When [`TrackReceiver::missing`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.loss.as_ref().and_then(LossTracker::poll_timeout)
    }

    /// Appends the sequence numbers that are due for a NACK, ascending in sending order.
    pub fn missing(&mut self, now: Instant, out: &mut MissingList) {
        let Some(loss) = &mut self.loss else {
            return;
        };
        let before = out.len();
        if loss.collect(now, out) == Outlook::KeyFrameNeeded {
            self.outlook = Outlook::KeyFrameNeeded;
        }
        self.counters.nacked += (out.len() - before) as u64;
    }

    /// Whether the picture is lost for good until a key frame comes. Said once per loss.
    pub fn take_key_frame_needed(&mut self) -> bool {
        let needed = self.outlook == Outlook::KeyFrameNeeded;
        self.outlook = Outlook::Repairable;
        needed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use apiary_wire::rtcp::SenderInfo;
    use apiary_wire::units::NtpTime;
    use smallvec::smallvec;

    use super::*;

    const SSRC: Ssrc = Ssrc(42);

    fn payload_type(number: u8) -> PayloadType {
        PayloadType::new(number).unwrap()
    }

    fn camera() -> SocketAddr {
        "192.0.2.1:4000".parse().unwrap()
    }

    fn video() -> TrackReceiver {
        TrackReceiver::new(TrackConfig {
            kind: TrackKind::Video,
            ssrc: SSRC,
            payload_types: smallvec![(payload_type(103), 90_000)],
        })
    }

    fn packet(sequence_number: u16) -> RtpPacket<'static> {
        RtpPacket {
            marker: false,
            payload_type: payload_type(103),
            sequence_number,
            timestamp: 0,
            ssrc: SSRC,
            extension: None,
            payload: &[1, 2, 3],
        }
    }

    #[test]
    fn h28_only_what_was_handed_out_from_the_first_source_counts() {
        let now = Instant::now();
        let mut track = video();
        let stranger: SocketAddr = "198.51.100.9:4000".parse().unwrap();
        let mut wrong_type = packet(1);
        wrong_type.payload_type = payload_type(96);
        let mut wrong_ssrc = packet(1);
        wrong_ssrc.ssrc = Ssrc(43);
        assert_eq!(
            track.handle_rtp(now, stranger, &wrong_type),
            Err(Dropped::WrongPayloadType(payload_type(96)))
        );
        assert_eq!(
            track.handle_rtp(now, stranger, &wrong_ssrc),
            Err(Dropped::WrongSsrc(Ssrc(43)))
        );
        assert_eq!(track.source(), None, "nothing of this latches");
        assert_eq!(track.handle_rtp(now, camera(), &packet(1)), Ok(0x1_0001));
        assert_eq!(track.source(), Some(camera()));
        assert_eq!(
            track.handle_rtp(now, stranger, &packet(2)),
            Err(Dropped::WrongSource(stranger))
        );
        assert_eq!(
            track.handle_rtp(now, camera(), &packet(1)),
            Err(Dropped::Duplicate)
        );
        assert_eq!(
            track.handle_rtp(now, camera(), &packet(30_000)),
            Err(Dropped::SequenceJump)
        );
        let counters = *track.counters();
        assert_eq!(counters.dropped(), 5);
        assert_eq!((counters.received, counters.octets), (1, 3));
        assert_eq!(counters.wrong_payload_type, 1);
        assert_eq!(counters.wrong_ssrc, 1);
        assert_eq!(counters.wrong_source, 1);
        assert_eq!(counters.duplicates, 1);
        assert_eq!(counters.jumps, 1);
    }

    #[test]
    fn a_late_packet_fills_its_gap() {
        let now = Instant::now();
        let mut track = video();
        for number in [1, 2, 5, 4] {
            track.handle_rtp(now, camera(), &packet(number)).unwrap();
        }
        assert_eq!((track.lost(), track.awaited()), (1, 1));
        let mut list = MissingList::new();
        track.missing(now + Duration::from_millis(10), &mut list);
        assert_eq!(list.as_slice(), [3]);
        track.handle_rtp(now, camera(), &packet(3)).unwrap();
        assert_eq!((track.lost(), track.awaited()), (0, 0));
        assert_eq!(track.counters().repaired, 1);
        assert_eq!(track.counters().nacked, 1);
    }

    #[test]
    fn after_a_confirmed_jump_the_refused_packet_is_asked_for_and_a_key_frame_too() {
        let now = Instant::now();
        let mut track = video();
        track.handle_rtp(now, camera(), &packet(1)).unwrap();
        track
            .handle_rtp(now, camera(), &packet(20_000))
            .unwrap_err();
        track.handle_rtp(now, camera(), &packet(20_001)).unwrap();
        let mut list = MissingList::new();
        track.missing(now + Duration::from_millis(10), &mut list);
        assert_eq!(list.as_slice(), [20_000]);
        assert!(track.take_key_frame_needed());
        assert!(!track.take_key_frame_needed(), "once");
    }

    #[test]
    fn sound_is_never_asked_for_again() {
        let now = Instant::now();
        let mut track = TrackReceiver::new(TrackConfig {
            kind: TrackKind::Audio,
            ssrc: SSRC,
            payload_types: smallvec![(payload_type(103), 48_000)],
        });
        for number in [1, 9] {
            track.handle_rtp(now, camera(), &packet(number)).unwrap();
        }
        assert_eq!(track.poll_timeout(), None);
        assert_eq!(track.lost(), 7);
    }

    #[test]
    fn h28_a_foreign_senders_report_does_not_move_the_clock() {
        let now = Instant::now();
        let mut track = video();
        let mut info = SenderInfo {
            ssrc: Ssrc(43),
            ntp: NtpTime(7 << 32),
            rtp_time: 99,
            packet_count: 0,
            octet_count: 0,
        };
        assert_eq!(
            track.handle_sender_report(now, &info.into()),
            Err(ReportIgnored::WrongSsrc(Ssrc(43)))
        );
        info.ssrc = SSRC;
        track.handle_sender_report(now, &info.into()).unwrap();
        info.ntp = NtpTime(0);
        info.rtp_time = 5;
        assert_eq!(
            track.handle_sender_report(now, &info.into()),
            Err(ReportIgnored::NoTime)
        );
        assert_eq!(track.clock().map(|clock| clock.rtp_time), Some(99));
    }

    #[test]
    fn rearming_forgets_source_and_clock_but_not_the_counters() {
        let now = Instant::now();
        let mut track = video();
        let before = track.handle_rtp(now, camera(), &packet(7)).unwrap();
        let mut config = track.config().clone();
        config.ssrc = Ssrc(77);
        track.rearm(config);
        assert_eq!(track.source(), None);
        assert!(track.report_block(now).is_none());
        let mut fresh = packet(3);
        fresh.ssrc = Ssrc(77);
        let elsewhere: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let after = track.handle_rtp(now, elsewhere, &fresh).unwrap();
        assert!(after > before);
        assert_eq!(track.counters().received, 2);
    }
}
