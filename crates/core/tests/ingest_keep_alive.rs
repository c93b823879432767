//! What keeps a camera sending: reports from the first packet on, whatever else happens or does not.

mod ingest_support;

use std::time::{Duration, Instant};

use apiary_core::ingest::{CameraIngest, IngestEvent, SILENT_AFTER, TrackKind, ViewerReport};
use apiary_wire::units::{Bitrate, NtpTime, Ssrc};
use ingest_support::{
    AUDIO_SSRC, BOUNDS, Feedback, MS, SECOND, VIDEO_SSRC, address, audio_packet, camera_audio_rtp,
    camera_rtcp, camera_rtp, config, config_with, drain, events, sender_report, video_packet,
    viewer,
};

fn feed_video(ingest: &mut CameraIngest, now: Instant, number: u16) {
    ingest
        .handle_rtp(
            now,
            TrackKind::Video,
            camera_rtp(),
            &video_packet(number, u32::from(number) * 3000),
        )
        .expect("a good packet counts");
}

/// A camera that sends 30 packets a second and nothing else; `from` on, for `seconds`.
fn run_camera(
    ingest: &mut CameraIngest,
    from: Instant,
    seconds: u32,
    mut each: impl FnMut(Instant, Feedback),
) {
    for step in 0..seconds * 30 {
        let now = from + SECOND * step / 30;
        feed_video(ingest, now, step as u16);
        for (_, feedback) in drain(ingest, now) {
            each(now, feedback);
        }
    }
}

#[test]
fn remb_goes_out_each_second_for_ten_minutes_without_viewer_or_sender_report() {
    let start = Instant::now();
    let mut ingest = CameraIngest::new(config());
    assert!(drain(&mut ingest, start).is_empty(), "nothing before RTP");
    assert_eq!(ingest.poll_timeout(), None);
    let mut last = None;
    let mut count = 0;
    run_camera(&mut ingest, start, 600, |now, feedback| {
        let Some((bitrate, ssrcs)) = feedback.remb else {
            return;
        };
        assert_eq!((bitrate, ssrcs), (BOUNDS.max, vec![VIDEO_SSRC]));
        let gap = now - last.replace(now).unwrap_or(start);
        assert!(gap <= SECOND + 50 * MS, "{gap:?}");
        count += 1;
    });
    assert!((599..=601).contains(&count), "{count}");
    let history = ingest.stats().remb;
    assert_eq!(history.count, count);
    assert!(history.max_gap <= SECOND + 50 * MS);
}

#[test]
fn the_first_packet_is_answered_at_once_and_timers_alone_go_on() {
    let start = Instant::now();
    let mut ingest = CameraIngest::new(config());
    feed_video(&mut ingest, start, 1);
    let first = drain(&mut ingest, start);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].0, camera_rtcp());
    assert!(first[0].1.remb.is_some());
    assert_eq!(first[0].1.report_blocks, 1);
    // The camera falls silent: its REMB must not, or it ends the stream for good.
    let mut now = start;
    let mut rembs = 0;
    while now < start + 20 * SECOND {
        now = ingest.poll_timeout().expect("reports go on");
        rembs += drain(&mut ingest, now)
            .iter()
            .filter(|(_, feedback)| feedback.remb.is_some())
            .count();
    }
    assert!((19..=21).contains(&rembs), "{rembs}");
}

#[test]
fn each_track_reports_to_its_own_address() {
    let now = Instant::now();
    let mut ingest = CameraIngest::new(config());
    feed_video(&mut ingest, now, 1);
    ingest
        .handle_rtp(now, TrackKind::Audio, camera_audio_rtp(), &audio_packet(1))
        .unwrap();
    let sent = drain(&mut ingest, now);
    let places: Vec<_> = sent.iter().map(|(to, f)| (f.from.unwrap(), *to)).collect();
    assert_eq!(
        places,
        [
            (TrackKind::Video, address("192.0.2.7:4001")),
            (TrackKind::Audio, address("192.0.2.7:4003")),
        ]
    );
    assert!(sent[1].1.remb.is_none(), "the REMB is about the picture");
    let report = sender_report(AUDIO_SSRC, 5);
    ingest.handle_rtcp(now, TrackKind::Audio, address("192.0.2.7:9"), &report);
    let later = drain(&mut ingest, now + SECOND);
    assert_eq!(later[0].0, address("192.0.2.7:4001"));
    assert_eq!(later[1].0, address("192.0.2.7:9"));
}

#[test]
fn both_possible_ports_are_served_while_no_rtcp_is_heard() {
    let start = Instant::now();
    let mut ingest = CameraIngest::new(config());
    feed_video(&mut ingest, start, 1);
    let ports: Vec<u16> = (0..10)
        .flat_map(|second| drain(&mut ingest, start + SECOND * second))
        .filter(|(_, feedback)| feedback.remb.is_some())
        .map(|(to, _)| to.port())
        .collect();
    assert_eq!(ports[..6], [4001; 6]);
    assert_eq!(ports[6..], [4000, 4001, 4000, 4001]);
}

#[test]
fn a_viewer_that_can_take_less_is_heard_at_once() {
    let start = Instant::now();
    let mut ingest = CameraIngest::new(config());
    feed_video(&mut ingest, start, 1);
    drain(&mut ingest, start);
    let now = start + 300 * MS;
    let report = ViewerReport {
        remb: Some(Bitrate::from_kbps(1234)),
        fraction_lost: Some(0),
    };
    ingest.set_viewer_report(now, viewer(1), report);
    let sent = drain(&mut ingest, now);
    let (bitrate, _) = sent[0].1.remb.clone().expect("not with the next second");
    let told = bitrate.as_bps();
    assert!(
        (1_233_000..=1_234_000).contains(&told),
        "rounded down: {told}"
    );
    ingest.remove_viewer(now, viewer(1));
    let sent = drain(&mut ingest, now + SECOND);
    assert_eq!(sent[0].1.remb.clone().unwrap().0, BOUNDS.max);
}

#[test]
fn many_falls_are_not_many_rembs() {
    let start = Instant::now();
    let mut ingest = CameraIngest::new(config());
    feed_video(&mut ingest, start, 1);
    let mut rembs = 0;
    for step in 0..1000_u64 {
        let now = start + MS * step as u32;
        let report = ViewerReport {
            remb: Some(Bitrate::from_kbps(5000 - step * 4)),
            fraction_lost: None,
        };
        ingest.set_viewer_report(now, viewer(1), report);
        rembs += drain(&mut ingest, now).len();
    }
    assert!((4..=6).contains(&rembs), "one each 200 ms: {rembs}");
}

#[test]
fn h20_key_frames_are_asked_for_once_a_second_on_the_wire() {
    let start = Instant::now();
    let mut ingest = CameraIngest::new(config());
    let mut asked: Vec<Instant> = Vec::new();
    for step in 0..10_000 {
        let now = start + MS * step;
        if step % 33 == 0 {
            feed_video(&mut ingest, now, (step / 33) as u16);
        }
        ingest.request_key_frame(now);
        for (_, feedback) in drain(&mut ingest, now) {
            if feedback.plis + feedback.firs > 0 {
                asked.push(now);
                ingest.on_key_frame(1);
            }
        }
    }
    assert_eq!(asked.len(), 10);
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= SECOND));
}

#[test]
fn silence_of_the_picture_is_said_once_even_while_sound_goes_on() {
    let start = Instant::now();
    let mut ingest = CameraIngest::new(config());
    feed_video(&mut ingest, start, 1);
    assert_eq!(
        events(&mut ingest),
        [IngestEvent::RtpStarted {
            source: camera_rtp()
        }]
    );
    let mut silences = Vec::new();
    let mut plis = 0;
    for step in 0..500_u16 {
        let now = start + 20 * MS * u32::from(step);
        ingest
            .handle_rtp(
                now,
                TrackKind::Audio,
                camera_audio_rtp(),
                &audio_packet(step),
            )
            .unwrap();
        plis += drain(&mut ingest, now)
            .iter()
            .filter(|(_, feedback)| feedback.plis > 0)
            .count();
        silences.extend(events(&mut ingest).into_iter().map(|event| (now, event)));
    }
    let at = start + SILENT_AFTER;
    assert_eq!(silences, [(at, IngestEvent::Silent { for_: SILENT_AFTER })]);
    assert!(plis > 0, "the camera is asked for a picture");
    feed_video(&mut ingest, start + 10 * SECOND, 2);
    assert_eq!(events(&mut ingest), [IngestEvent::Resumed]);
}

#[test]
fn sound_alone_does_not_start_a_stream() {
    let now = Instant::now();
    let mut ingest = CameraIngest::new(config());
    ingest
        .handle_rtp(now, TrackKind::Audio, camera_audio_rtp(), &audio_packet(1))
        .unwrap();
    assert_eq!(events(&mut ingest), []);
}

#[test]
fn h28_a_second_source_changes_nothing() {
    let now = Instant::now();
    let mut ingest = CameraIngest::new(config());
    feed_video(&mut ingest, now, 100);
    drain(&mut ingest, now);
    events(&mut ingest);
    let stranger = address("198.51.100.66:4000");
    for number in 0..5000_u16 {
        let packet = video_packet(number, 0);
        ingest
            .handle_rtp(now, TrackKind::Video, stranger, &packet)
            .unwrap_err();
    }
    ingest.handle_rtcp(
        now,
        TrackKind::Video,
        stranger,
        &sender_report(VIDEO_SSRC, 1),
    );
    assert!(drain(&mut ingest, now).is_empty(), "no request, no answer");
    assert_eq!(events(&mut ingest), []);
    assert_eq!(ingest.clock(TrackKind::Video), None);
    let stats = ingest.stats();
    assert_eq!(stats.video.counters.wrong_source, 5000);
    assert_eq!(stats.rtcp.wrong_source, 1);
    assert_eq!(stats.video.source, Some(camera_rtp()));
    feed_video(&mut ingest, now, 101);
    assert_eq!(ingest.stats().video.lost, 0);
}

#[test]
fn h28_lying_rtcp_moves_neither_clock_nor_destination() {
    let now = Instant::now();
    let mut ingest = CameraIngest::new(config());
    let early = sender_report(VIDEO_SSRC, 1);
    ingest.handle_rtcp(now, TrackKind::Video, camera_rtcp(), &early);
    assert_eq!(ingest.stats().rtcp.wrong_source, 1, "before any RTP");
    feed_video(&mut ingest, now, 1);
    events(&mut ingest);
    // The right host, a foreign SSRC, from another port.
    let lying = sender_report(Ssrc(666), 1);
    ingest.handle_rtcp(now, TrackKind::Video, address("192.0.2.7:5555"), &lying);
    // The sound's SSRC on the picture's port.
    let crossed = sender_report(AUDIO_SSRC, 1);
    ingest.handle_rtcp(now, TrackKind::Video, camera_rtcp(), &crossed);
    // A length that lies.
    let mut cut = sender_report(VIDEO_SSRC, 1);
    cut.truncate(20);
    ingest.handle_rtcp(now, TrackKind::Video, camera_rtcp(), &cut);
    ingest.handle_rtcp(now, TrackKind::Video, camera_rtcp(), &[]);
    assert_eq!(ingest.clock(TrackKind::Video), None);
    assert_eq!(events(&mut ingest), []);
    assert_eq!(drain(&mut ingest, now)[0].0, camera_rtcp());
    let stats = ingest.stats();
    assert_eq!((stats.rtcp.foreign_ssrc, stats.rtcp.malformed), (2, 2));
    let honest = sender_report(VIDEO_SSRC, 77);
    ingest.handle_rtcp(now, TrackKind::Video, address("192.0.2.7:6000"), &honest);
    assert_eq!(events(&mut ingest), [IngestEvent::RtcpSeen]);
    let clock = ingest.clock(TrackKind::Video).unwrap();
    assert_eq!(clock.ntp, NtpTime(77 << 32));
    let next = drain(&mut ingest, now + SECOND);
    assert_eq!(next[0].0, address("192.0.2.7:6000"));
    ingest.handle_rtcp(now, TrackKind::Video, camera_rtcp(), &honest);
    assert_eq!(
        ingest.stats().rtcp.wrong_source,
        2,
        "held to the latched port"
    );
}

#[test]
fn a_foreign_ssrc_is_reported_once() {
    let now = Instant::now();
    let mut ingest = CameraIngest::new(config());
    for ssrc in [Ssrc(5), Ssrc(6), Ssrc(5)] {
        let mut packet = video_packet(1, 0);
        packet.ssrc = ssrc;
        ingest
            .handle_rtp(now, TrackKind::Video, camera_rtp(), &packet)
            .unwrap_err();
    }
    assert_eq!(
        events(&mut ingest),
        [IngestEvent::ForeignSsrc { ssrc: Ssrc(5) }]
    );
    assert!(
        drain(&mut ingest, now).is_empty(),
        "nothing goes to strangers"
    );
}

#[test]
fn rearming_takes_the_camera_from_another_address_and_number() {
    let start = Instant::now();
    let mut ingest = CameraIngest::new(config());
    let first = ingest
        .handle_rtp(
            start,
            TrackKind::Video,
            camera_rtp(),
            &video_packet(60_000, 0),
        )
        .unwrap();
    assert!(first.first);
    drain(&mut ingest, start);
    events(&mut ingest);
    let now = start + 6 * SECOND;
    ingest.rearm(now, config_with(Ssrc(71), Ssrc(72)));
    // What is still on its way from the run before is no news.
    ingest
        .handle_rtp(
            now,
            TrackKind::Video,
            camera_rtp(),
            &video_packet(60_001, 0),
        )
        .unwrap_err();
    assert!(drain(&mut ingest, now).is_empty(), "nobody to talk to");
    assert_eq!(events(&mut ingest), []);
    let moved = address("192.0.2.99:4100");
    let mut packet = video_packet(3, 0);
    packet.ssrc = Ssrc(71);
    let again = ingest
        .handle_rtp(now, TrackKind::Video, moved, &packet)
        .unwrap();
    assert!(again.first && again.ext_seq > first.ext_seq);
    assert_eq!(
        events(&mut ingest),
        [IngestEvent::RtpStarted { source: moved }]
    );
    let sent = drain(&mut ingest, now);
    assert_eq!(sent[0].0, address("192.0.2.99:4101"));
    assert_eq!(sent[0].1.remb.clone().unwrap().1, [Ssrc(71)]);
    assert_eq!(ingest.stats().video.counters.received, 2);
}

#[test]
fn rates_are_those_of_the_last_second() {
    let start = Instant::now();
    let mut ingest = CameraIngest::new(config());
    run_camera(&mut ingest, start, 3, |_, _| {});
    let stats = ingest.stats();
    assert_eq!(stats.frames_per_second, 30);
    let kbps = stats.bitrate.as_kbps();
    assert!(
        (235..=245).contains(&kbps),
        "30 packets of 1000 bytes: {kbps}"
    );
    drain(&mut ingest, start + Duration::from_secs(10));
    drain(&mut ingest, start + Duration::from_secs(20));
    assert_eq!(ingest.stats().bitrate, Bitrate::ZERO);
}
