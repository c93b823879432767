//! The firmware's rules in virtual time.

use apiary_wire::Ssrc;
use apiary_wire::rtcp::{self, RtcpPacket, RtcpWriter};
use apiary_wire::sdp::CameraSdp;
use uuid::Uuid;

use super::*;

const VIDEO: Ssrc = Ssrc(0x1111_2222);
const AUDIO: Ssrc = Ssrc(0x3333_4444);
const RECEIVER: Ssrc = Ssrc(9);
const UNIX: Duration = Duration::from_secs(1_790_000_000);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn stream(number: u128) -> StreamId {
    StreamId(Uuid::from_u128(number))
}

fn sdp() -> String {
    CameraSdp {
        session_id: 1,
        version: 1,
        address: "192.0.2.7".parse().unwrap(),
        audio_port: 5008,
        video_port: 5006,
        audio_ssrc: AUDIO,
        video_ssrc: VIDEO,
        cname: "user@host".to_owned(),
    }
    .to_string()
}

fn play(number: u128) -> Command {
    Command::Play {
        stream: stream(number),
        sdp: sdp(),
    }
}

fn keepalive(number: u128, count: u64) -> Command {
    Command::KeepAlive {
        stream: stream(number),
        count,
    }
}

fn frame(idr: bool, sizes: &[usize]) -> VideoFrame {
    VideoFrame {
        packets: sizes.iter().map(|&len| Bytes::from(vec![7; len])).collect(),
        slices_at: usize::from(idr),
        idr,
    }
}

fn rtcp(write: impl FnOnce(&mut RtcpWriter<'_>)) -> Vec<u8> {
    let mut compound = Vec::new();
    let mut writer = RtcpWriter::new(&mut compound);
    writer.receiver_report(RECEIVER, &[]);
    write(&mut writer);
    compound
}

fn remb(kbps: u64) -> Vec<u8> {
    rtcp(|w| _ = w.remb(RECEIVER, Bitrate::from_kbps(kbps), &[VIDEO]))
}

fn nack(numbers: &[u16]) -> Vec<u8> {
    rtcp(|w| _ = w.nack(RECEIVER, VIDEO, numbers.iter().copied()))
}

fn pli() -> Vec<u8> {
    rtcp(|w| _ = w.pli(RECEIVER, VIDEO))
}

/// A firmware under a clock that stands still unless told otherwise.
struct Bench {
    firmware: Firmware,
    now: Instant,
    /// Everything that came out and was not taken yet.
    out: Vec<Output>,
}

impl Bench {
    fn new(faults: &[Misbehaviour]) -> Self {
        let now = Instant::now();
        let firmware = Firmware::new(FirmwareConfig {
            rules: FirmwareRules::default(),
            misbehaviour: faults.to_vec(),
            audio: AudioCodec::Opus,
            clock: WallClock::new(now, UNIX),
            seed: 1,
        });
        Self {
            firmware,
            now,
            out: Vec::new(),
        }
    }

    /// A camera that streams since now.
    fn playing(faults: &[Misbehaviour]) -> Self {
        let mut bench = Self::new(faults);
        bench.command(play(1));
        assert!(bench.state().is_streaming());
        bench.take();
        bench
    }

    fn command(&mut self, command: Command) {
        self.firmware.handle_command(self.now, command);
        self.collect();
    }

    fn rtcp(&mut self, datagram: &[u8]) {
        self.firmware.handle_rtcp(self.now, datagram);
        self.collect();
    }

    fn video(&mut self, frame: &VideoFrame) {
        self.firmware.handle_video(self.now, self.now, frame, None);
        self.collect();
    }

    /// Lets `span` pass, with every timer on the way.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.firmware.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.firmware.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    /// Lets time pass while the receiver keeps the stream alive each second.
    fn pass_kept_alive(&mut self, count: u64, kbps: u64) {
        for number in 0..count {
            self.rtcp(&remb(kbps));
            self.command(keepalive(1, number));
            self.pass(seconds(1));
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.firmware.poll_output() {
            self.out.push(output);
        }
    }

    fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    fn state(&self) -> CameraState {
        self.firmware.state(self.now)
    }

    fn rtp(&mut self) -> Vec<(Track, RtpHeader, Bytes)> {
        let mut taken = Vec::new();
        for output in self.take() {
            if let Output::Rtp {
                track,
                header,
                payload,
            } = output
            {
                taken.push((track, header, payload));
            }
        }
        taken
    }

    fn key_frames(&mut self) -> usize {
        let taken = self.take();
        taken
            .iter()
            .filter(|o| matches!(o, Output::KeyFrame))
            .count()
    }

    fn bitrates(&mut self) -> Vec<u64> {
        let mut taken = Vec::new();
        for output in self.take() {
            if let Output::Bitrate(bitrate) = output {
                taken.push(bitrate.as_kbps());
            }
        }
        taken
    }
}

#[test]
fn play_starts_towards_the_ports_of_the_sdp() {
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.state().stream, StreamState::Idle);
    bench.command(play(1));
    let taken = bench.take();
    let [Output::Bitrate(first), Output::Start(plan)] = taken.as_slice() else {
        panic!("{taken:?}");
    };
    assert_eq!(first.as_kbps(), 5000);
    assert_eq!(plan.video.rtp.to_string(), "192.0.2.7:5006");
    assert_eq!(plan.video.rtcp.to_string(), "192.0.2.7:5007");
    assert_eq!(plan.audio.rtp.to_string(), "192.0.2.7:5008");
    assert_eq!(plan.audio.rtcp.to_string(), "192.0.2.7:5009");
}

#[test]
fn an_sdp_that_the_firmware_would_not_take_is_refused() {
    let lf_only = sdp().replace("\r\n", "\n");
    let renamed = sdp().replace("s=Kurento Media Server", "s=Another Media Server");
    let no_cname = sdp().replace("a=x-skl-cname:user@host\r\n", "");
    for wrong in [
        lf_only,
        renamed,
        no_cname,
        String::new(),
        "hello".to_owned(),
    ] {
        let mut bench = Bench::new(&[]);
        bench.command(Command::Play {
            stream: stream(1),
            sdp: wrong.clone(),
        });
        assert!(bench.take().is_empty(), "{wrong}");
        assert_eq!(bench.state().stream, StreamState::Idle);
        assert!(bench.state().refusal.is_some());
        bench.command(play(2));
        assert_eq!(bench.state().refusal, None);
    }
}

#[test]
fn a_refused_play_leaves_the_running_stream_alone() {
    let mut bench = Bench::playing(&[]);
    bench.command(Command::Play {
        stream: stream(2),
        sdp: "v=0".to_owned(),
    });
    assert!(bench.state().is_streaming() && bench.state().refusal.is_some());
}

#[test]
fn packets_carry_what_the_sdp_commands() {
    let mut bench = Bench::playing(&[]);
    bench.video(&frame(true, &[10, 1200, 300]));
    bench
        .firmware
        .handle_audio(bench.now, Bytes::from_static(&[1; 80]));
    bench.collect();
    let rtp = bench.rtp();
    let marks: Vec<_> = rtp.iter().map(|(_, header, _)| header.marker).collect();
    assert_eq!(marks, [false, false, true, true]);
    for (track, header, _) in &rtp[..3] {
        assert_eq!(
            (*track, header.ssrc, header.payload_type.get()),
            (Track::Video, VIDEO, 103)
        );
        assert_eq!(header.timestamp, rtp[0].1.timestamp);
    }
    let first = rtp[0].1.sequence_number;
    assert_eq!(rtp[2].1.sequence_number, first.wrapping_add(2));
    let (track, header, _) = &rtp[3];
    assert_eq!(
        (*track, header.ssrc, header.payload_type.get()),
        (Track::Audio, AUDIO, 96)
    );
}

#[test]
fn the_time_stamp_stands_between_parameter_sets_and_slices() {
    let mut bench = Bench::playing(&[]);
    let stamp = Some(Bytes::from_static(b"stamp"));
    bench
        .firmware
        .handle_video(bench.now, bench.now, &frame(true, &[10, 99]), stamp.clone());
    bench
        .firmware
        .handle_video(bench.now, bench.now, &frame(false, &[50]), stamp);
    bench.collect();
    let rtp = bench.rtp();
    let shape: Vec<_> = rtp
        .iter()
        .map(|(_, h, payload)| (payload.len(), h.marker))
        .collect();
    assert_eq!(
        shape,
        [(10, false), (5, false), (99, true), (5, false), (50, true)]
    );
}

#[test]
fn media_clocks_run_at_their_rates_and_agree_with_the_sender_reports() {
    let mut bench = Bench::playing(&[]);
    bench.video(&frame(true, &[10, 100]));
    bench
        .firmware
        .handle_audio(bench.now, Bytes::from_static(&[1; 80]));
    bench.collect();
    let first = bench.rtp();
    bench.pass(millis(1200));
    let mut reports = Vec::new();
    for output in bench.take() {
        if let Output::Rtcp { track, compound } = output {
            reports.push((track, compound));
        }
    }
    assert_eq!(reports.len(), 4, "two media, after 0.2 s and 1.2 s");
    for (track, compound) in &reports[2..] {
        let (rate, start) = match track {
            Track::Video => (90_000, first[0].1),
            Track::Audio => (48_000, first[2].1),
        };
        let packets: Vec<_> = rtcp::parse_compound(compound).map(Result::unwrap).collect();
        let [
            RtcpPacket::SenderReport(report),
            RtcpPacket::SourceDescription(sdes),
        ] = packets[..]
        else {
            panic!("{packets:?}");
        };
        assert_eq!(report.ssrc, start.ssrc);
        assert_eq!(
            report.rtp_time.wrapping_sub(start.timestamp),
            rate * 12 / 10
        );
        let unix = report.ntp.to_unix();
        assert!(
            unix.abs_diff(UNIX + millis(1200)) < Duration::from_micros(1),
            "{unix:?}"
        );
        assert_eq!(
            report.packet_count,
            if *track == Track::Video { 2 } else { 1 }
        );
        assert_eq!(
            report.octet_count,
            if *track == Track::Video { 110 } else { 80 }
        );
        assert_eq!(sdes.cname(start.ssrc), Some(b"user@host".as_slice()));
    }
}

#[test]
fn stops_30_s_after_the_last_remb_for_its_video_ssrc() {
    let mut bench = Bench::playing(&[]);
    bench.pass(seconds(10));
    bench.rtcp(&remb(1000));
    for count in 0..29 {
        bench.pass(seconds(1));
        bench.command(keepalive(1, count));
        let foreign = rtcp(|w| _ = w.remb(RECEIVER, Bitrate::from_kbps(900), &[AUDIO]));
        bench.rtcp(&foreign);
    }
    bench.pass(millis(999));
    assert!(bench.state().is_streaming());
    bench.pass(millis(1));
    assert_eq!(bench.state().stop_reason(), Some(StopReason::NoRemb));
    assert!(
        bench
            .take()
            .iter()
            .any(|output| matches!(output, Output::Stop))
    );
    let feedback = bench.state().feedback;
    assert_eq!(
        (feedback.remb.count, feedback.remb.max_gap),
        (1, seconds(30))
    );
    assert_eq!(feedback.foreign, 29);
}

#[test]
fn stops_30_s_after_the_last_keepalive_for_its_stream() {
    let mut bench = Bench::playing(&[]);
    for count in 0..29 {
        bench.rtcp(&remb(1000));
        bench.command(keepalive(2, count));
        bench.pass(seconds(1));
    }
    bench.rtcp(&remb(1000));
    bench.pass(millis(999));
    assert!(bench.state().is_streaming());
    bench.pass(millis(1));
    assert_eq!(bench.state().stop_reason(), Some(StopReason::NoKeepalive));
}

#[test]
fn streams_on_for_hours_while_it_is_kept_alive() {
    let mut bench = Bench::playing(&[]);
    bench.pass_kept_alive(2 * 3600, 1500);
    assert!(bench.state().is_streaming());
    let feedback = bench.state().feedback;
    assert_eq!(feedback.remb.max_gap, seconds(1));
    assert_eq!(
        (feedback.keepalive.max_gap, feedback.last_keepalive),
        (seconds(1), Some(7199))
    );
}

#[test]
fn without_direction_passive_it_streams_and_ignores_rtcp() {
    let mut bench = Bench::new(&[]);
    bench.command(Command::Play {
        stream: stream(1),
        sdp: sdp().replace("a=direction:passive\r\n", ""),
    });
    assert!(bench.state().is_streaming());
    bench.take();
    for count in 0..29 {
        bench.rtcp(&remb(1000));
        bench.rtcp(&pli());
        bench.command(keepalive(1, count));
        bench.pass(seconds(1));
    }
    assert!(bench.bitrates().is_empty());
    bench.pass(seconds(1));
    assert_eq!(bench.state().stop_reason(), Some(StopReason::NoRemb));
}

#[test]
fn follows_remb_each_five_seconds_within_its_bounds() {
    let mut bench = Bench::playing(&[]);
    bench.rtcp(&remb(1200));
    bench.pass(millis(4999));
    assert!(bench.bitrates().is_empty());
    bench.rtcp(&remb(1500));
    bench.pass(millis(1));
    assert_eq!(bench.bitrates(), [1500]);
    bench.rtcp(&remb(100));
    bench.pass(seconds(5));
    assert_eq!(bench.bitrates(), [500]);
    bench.rtcp(&remb(90_000));
    bench.pass(seconds(5));
    assert_eq!(bench.bitrates(), [5000]);
    assert_eq!(bench.state().bitrate(), Some(Bitrate::from_kbps(5000)));
    bench.pass(seconds(5));
    assert!(bench.bitrates().is_empty(), "nothing changed");
}

#[test]
fn asks_for_an_idr_every_two_seconds_of_its_own() {
    let mut bench = Bench::playing(&[]);
    bench.pass_kept_alive(10, 1000);
    assert_eq!(bench.key_frames(), 5);
    // An IDR that came early counts.
    bench.pass(seconds(1));
    bench.video(&frame(true, &[10, 10]));
    bench.take();
    bench.pass(millis(1999));
    assert_eq!(bench.key_frames(), 0);
    bench.pass(millis(1));
    assert_eq!(bench.key_frames(), 1);
}

#[test]
fn answers_pli_and_fir_with_an_idr_at_most_once_a_second() {
    let mut bench = Bench::playing(&[]);
    bench.pass(millis(1100));
    bench.rtcp(&pli());
    assert_eq!(bench.key_frames(), 1, "at once");
    for _ in 0..50 {
        bench.pass(millis(10));
        bench.rtcp(&pli());
    }
    assert_eq!(bench.key_frames(), 0, "within the second");
    bench.pass(millis(500));
    assert_eq!(bench.key_frames(), 1, "when it is over");
    bench.pass(millis(1000));
    let fir = |sequence| rtcp(|w| _ = w.fir(RECEIVER, VIDEO, sequence));
    bench.rtcp(&fir(4));
    assert_eq!(bench.key_frames(), 1);
    bench.pass(millis(1100));
    bench.rtcp(&fir(4));
    assert_eq!(bench.key_frames(), 0, "a repetition of the same request");
    bench.rtcp(&fir(5));
    assert_eq!(bench.key_frames(), 1);
    let feedback = bench.state().feedback;
    assert_eq!((feedback.plis, feedback.firs), (51, 2));
}

#[test]
fn h20_thousand_plis_a_second_give_one_idr_a_second() {
    let mut bench = Bench::playing(&[]);
    for _ in 0..10_000 {
        bench.rtcp(&pli());
        bench.pass(millis(1));
    }
    assert_eq!(bench.key_frames(), 10);
}

#[test]
fn answers_nack_from_a_second_of_history() {
    let mut bench = Bench::playing(&[]);
    bench.video(&frame(true, &[10, 500, 500]));
    let sent = bench.rtp();
    let first = sent[0].1.sequence_number;
    bench.pass(millis(900));
    bench.take();
    bench.rtcp(&nack(&[
        first.wrapping_add(1),
        first.wrapping_add(2),
        first.wrapping_add(77),
    ]));
    assert_eq!(bench.rtp(), sent[1..], "the very same packets again");
    bench.pass(millis(101));
    bench.take();
    bench.rtcp(&nack(&[first]));
    assert!(bench.rtp().is_empty(), "too old");
    let nacks = bench.state().feedback.nack;
    assert_eq!((nacks.requests, nacks.asked, nacks.answered), (2, 4, 2));
}

#[test]
fn a_new_play_replaces_the_running_stream() {
    let mut bench = Bench::playing(&[]);
    bench.video(&frame(true, &[10, 10]));
    bench.take();
    bench.command(play(2));
    let taken = bench.take();
    assert!(
        matches!(
            taken[..],
            [Output::Stop, Output::Bitrate(_), Output::Start(_)]
        ),
        "{taken:?}"
    );
    assert_eq!(bench.state().sent, Sent::default());
    bench.command(Command::Stop { stream: stream(1) });
    assert!(
        bench.state().is_streaming(),
        "the old stream's stop comes late"
    );
}

#[test]
fn stop_ends_it_and_may_come_again() {
    let mut bench = Bench::playing(&[]);
    bench.command(Command::Stop { stream: stream(1) });
    assert_eq!(bench.state().stop_reason(), Some(StopReason::Commanded));
    assert!(matches!(bench.take()[..], [Output::Stop]));
    bench.command(Command::Stop { stream: stream(1) });
    bench.video(&frame(true, &[10, 10]));
    bench.pass(seconds(60));
    assert!(bench.take().is_empty());
    assert_eq!(bench.firmware.poll_timeout(), None);
}

#[test]
fn privacy_ignores_play_and_ends_the_running_stream() {
    let mut bench = Bench::playing(&[]);
    bench.command(Command::SetMode(Mode::Privacy));
    assert_eq!(bench.state().stop_reason(), Some(StopReason::Privacy));
    bench.command(play(2));
    assert!(!bench.state().is_streaming());
    assert!(bench.state().refusal.is_some());
    bench.command(Command::SetMode(Mode::LiveStreamOnly));
    bench.command(play(3));
    assert!(bench.state().is_streaming());
}

#[test]
fn mode_and_settings_are_reported_when_they_change() {
    let mut bench = Bench::new(&[]);
    bench.command(Command::SetMode(Mode::Armed));
    let mut settings = Settings::default();
    settings.picture.invert_image = true;
    bench.command(Command::UpdateSettings(Box::new(settings)));
    let taken = bench.take();
    let [Output::Report(first), Output::Report(second)] = taken.as_slice() else {
        panic!("{taken:?}");
    };
    assert_eq!(first["mode"], "ARMED");
    assert_eq!(second["settings"]["invertImage"], true);
}

#[test]
fn a_reboot_is_handed_on_and_loss_of_power_forgets_everything() {
    let mut bench = Bench::playing(&[]);
    bench.command(Command::SetMode(Mode::LiveStreamOnly));
    bench.command(Command::Reboot);
    assert!(
        bench
            .take()
            .iter()
            .any(|output| matches!(output, Output::Reboot))
    );
    bench.firmware.handle_power_off(bench.now);
    let state = bench.state();
    assert_eq!(state.stop_reason(), Some(StopReason::PowerOff));
    assert_eq!((state.mode, state.commands), (Mode::Armed, 0));
}

#[test]
fn garbage_in_place_of_rtcp_is_counted_and_forgotten() {
    let mut bench = Bench::playing(&[]);
    let whole = rtcp(|w| {
        _ = w
            .pli(RECEIVER, VIDEO)
            .remb(RECEIVER, Bitrate::MAX, &[VIDEO])
    });
    for cut in 0..whole.len() {
        bench.rtcp(&whole[..cut]);
    }
    for first in 0..=255 {
        bench.rtcp(&[first, 206, 0xFF, 0xFF, 1, 2, 3]);
    }
    bench.rtcp(&rtcp(|w| _ = w.pli(RECEIVER, Ssrc(5))));
    assert!(bench.state().feedback.foreign > 256);
    assert!(bench.state().is_streaming());
}

#[test]
fn each_fault_of_the_firmware_does_what_it_says() {
    let mut bench = Bench::new(&[Misbehaviour::NeverAnswersPlay]);
    bench.command(play(1));
    assert!(bench.take().is_empty());
    assert_eq!(bench.state().commands, 1);

    let mut bench = Bench::playing(&[Misbehaviour::IgnoresPli]);
    bench.pass(millis(1500));
    bench.rtcp(&pli());
    assert_eq!(bench.key_frames(), 0);

    let mut bench = Bench::playing(&[Misbehaviour::IgnoresNack]);
    bench.video(&frame(false, &[10]));
    let sequence = bench.rtp()[0].1.sequence_number;
    bench.rtcp(&nack(&[sequence]));
    assert!(bench.rtp().is_empty());

    let mut bench = Bench::playing(&[Misbehaviour::IgnoresRemb]);
    bench.rtcp(&remb(700));
    bench.pass(seconds(6));
    assert!(bench.bitrates().is_empty());

    let mut bench = Bench::playing(&[Misbehaviour::NoSenderReports]);
    bench.video(&frame(false, &[10]));
    bench.pass(seconds(5));
    assert!(
        !bench
            .take()
            .iter()
            .any(|output| matches!(output, Output::Rtcp { .. }))
    );

    let mut bench = Bench::playing(&[Misbehaviour::WrongSsrc]);
    bench.video(&frame(false, &[10]));
    assert_eq!(bench.rtp()[0].1.ssrc, Ssrc(!VIDEO.0));

    let mut bench = Bench::playing(&[Misbehaviour::WrongPayloadType]);
    bench.video(&frame(false, &[10]));
    assert_eq!(bench.rtp()[0].1.payload_type.get(), 111);
}

#[test]
fn f06_starts_near_the_wrap_when_asked_to() {
    let mut bench = Bench::playing(&[Misbehaviour::StartsNearWrap]);
    let mut headers = Vec::new();
    for _ in 0..60 {
        bench.video(&frame(false, &[10]));
        headers.push(bench.rtp()[0].1);
        bench.rtcp(&remb(1000));
        bench.pass(millis(33));
    }
    let wraps = |of: fn(&RtpHeader) -> u64| {
        headers
            .windows(2)
            .filter(|pair| of(&pair[1]) < of(&pair[0]))
            .count()
    };
    assert_eq!(wraps(|header| header.sequence_number.into()), 1);
    assert_eq!(wraps(|header| header.timestamp.into()), 1);
}

#[test]
fn a_slow_start_can_be_stopped_before_it_begins() {
    let slow = [Misbehaviour::SlowStart { delay: seconds(3) }];
    let mut bench = Bench::new(&slow);
    bench.command(play(1));
    assert_eq!(
        bench.state().stream,
        StreamState::Starting { stream: stream(1) }
    );
    bench.pass(millis(2999));
    assert!(!bench.state().is_streaming());
    bench.pass(millis(1));
    assert!(bench.state().is_streaming());

    let mut bench = Bench::new(&slow);
    bench.command(play(1));
    bench.command(Command::Stop { stream: stream(1) });
    bench.pass(seconds(10));
    assert_eq!(bench.state().stop_reason(), Some(StopReason::Commanded));
}

#[test]
fn a_voice_is_heard_while_a_stream_runs_and_in_its_formats_only() {
    let mut bench = Bench::new(&[]);
    let packet = |payload_type: u8| {
        let mut packet = Vec::new();
        apiary_wire::rtp::RtpPacket {
            marker: false,
            payload_type: apiary_wire::PayloadType::new(payload_type).unwrap(),
            sequence_number: 1,
            timestamp: 960,
            ssrc: RECEIVER,
            extension: None,
            payload: b"voice",
        }
        .write(&mut packet);
        packet
    };
    bench.firmware.handle_voice(&packet(96));
    bench.command(play(1));
    for payload_type in [96, 0, 96, 111, 103] {
        bench.firmware.handle_voice(&packet(payload_type));
    }
    bench.firmware.handle_voice(&[0x80, 96]);
    let heard = bench.state().feedback;
    assert_eq!((heard.heard, heard.heard_bytes, heard.unheard), (3, 15, 3));
}
