//! Virtual time, one rule a test; then random inputs against the invariants.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 5006);

fn stream(number: u64) -> StreamId {
    format!("{number:08x}-0000-4000-8000-000000000000")
        .parse()
        .unwrap()
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A machine and its clock; outputs other than reports are collected with the time at which they came.
struct Rig {
    machine: Lifecycle,
    begin: Instant,
    now: Instant,
    seen: Vec<(Duration, Output)>,
    reports: Vec<Report>,
    /// Answers publishes as a broker that works would.
    broker_works: bool,
}

impl Rig {
    fn new() -> Self {
        let now = Instant::now();
        let mut next = 0;
        let machine = Lifecycle::new(Rules::default(), move || {
            next += 1;
            stream(next)
        });
        Self {
            machine,
            begin: now,
            now,
            seen: Vec::new(),
            reports: Vec::new(),
            broker_works: true,
        }
    }

    /// Up to play and keepalive 0 having been acknowledged.
    fn started() -> Self {
        let mut rig = Self::new();
        rig.input(Input::StartAsked);
        rig.opened(1);
        rig
    }

    fn active() -> Self {
        let mut rig = Self::started();
        rig.input(Input::RtpFlowing);
        rig.seen.clear();
        rig
    }

    fn stalled() -> Self {
        let mut rig = Self::active();
        rig.advance(secs(10));
        rig.input(Input::RtpSilent {
            silent_for: secs(2),
        });
        rig.seen.clear();
        rig
    }

    fn opened(&mut self, number: u64) {
        self.input(Input::LegOpened {
            stream: stream(number),
            address: ADDRESS,
        });
    }

    fn input(&mut self, input: Input) {
        self.machine.handle_input(self.now, input);
        let mut answers = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            match &output {
                Output::PublishPlay { stream } if self.broker_works => {
                    answers.push(Input::PlayAcknowledged { stream: *stream });
                }
                Output::PublishKeepalive { stream, .. } if self.broker_works => {
                    answers.push(Input::KeepaliveAcknowledged { stream: *stream });
                }
                Output::Report(report) => {
                    self.reports.push(*report);
                    continue;
                }
                Output::PublishPlay { .. }
                | Output::PublishKeepalive { .. }
                | Output::OpenLeg { .. }
                | Output::RearmLeg { .. }
                | Output::PublishStop { .. }
                | Output::RequestKeyFrame
                | Output::CloseLeg { .. } => {}
            }
            self.seen.push((self.now - self.begin, output));
        }
        for answer in answers {
            self.input(answer);
        }
    }

    /// Lets time pass, waking the machine whenever it asked for it.
    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            assert!(due >= self.now, "a timeout lies in the past");
            self.now = due;
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    /// What came since the last call, keepalives left out.
    fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.seen)
            .into_iter()
            .map(|(_, output)| output)
            .filter(|output| !matches!(output, Output::PublishKeepalive { .. }))
            .collect()
    }

    fn keepalives(&self) -> Vec<(u64, u64)> {
        self.seen
            .iter()
            .filter_map(|(at, output)| match output {
                Output::PublishKeepalive { count, .. } => Some((at.as_secs(), *count)),
                Output::PublishPlay { .. }
                | Output::OpenLeg { .. }
                | Output::RearmLeg { .. }
                | Output::PublishStop { .. }
                | Output::RequestKeyFrame
                | Output::CloseLeg { .. }
                | Output::Report(_) => None,
            })
            .collect()
    }

    fn failure(&self) -> String {
        assert_eq!(self.machine.phase(), Phase::Error);
        self.machine.failure().unwrap().to_string()
    }
}

#[test]
fn a_start_opens_the_leg_then_plays_and_keeps_alive_at_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.machine.phase(), Phase::Idle);
    rig.input(Input::StartAsked);
    assert_eq!(rig.take(), [Output::OpenLeg { stream: stream(1) }]);
    assert_eq!(rig.machine.phase(), Phase::Starting);
    rig.input(Input::StartAsked);
    assert_eq!(rig.take(), [], "a second start changes nothing");
    rig.opened(1);
    assert_eq!(
        rig.seen
            .iter()
            .map(|(_, output)| output.clone())
            .collect::<Vec<_>>(),
        [
            Output::PublishPlay { stream: stream(1) },
            Output::PublishKeepalive {
                stream: stream(1),
                count: 0
            }
        ]
    );
}

#[test]
fn only_rtp_makes_a_stream_active() {
    let mut rig = Rig::started();
    rig.advance(secs(29));
    rig.input(Input::CameraHello);
    rig.input(Input::ViewersChanged { count: 3 });
    assert_eq!(rig.machine.phase(), Phase::Starting);
    let mut rig = Rig::started();
    rig.input(Input::RtpFlowing);
    assert_eq!(rig.machine.phase(), Phase::Active);
    rig.advance(secs(100));
    assert_eq!(
        rig.machine.phase(),
        Phase::Active,
        "the start timeout is over with the first RTP"
    );
    let phases: Vec<_> = rig.reports.iter().map(|report| report.phase).collect();
    assert_eq!(phases, [Phase::Starting, Phase::Active]);
}

#[test]
fn rtp_before_the_leg_is_opened_is_of_an_earlier_run() {
    let mut rig = Rig::new();
    rig.input(Input::StartAsked);
    rig.input(Input::RtpFlowing);
    assert_eq!(rig.machine.phase(), Phase::Starting);

    let mut rig = Rig::stalled();
    rig.advance(secs(4)); // asks to rearm
    rig.input(Input::RtpFlowing);
    rig.opened(2);
    assert_eq!(rig.machine.health(), Health::Stalled);
    rig.input(Input::RtpFlowing);
    assert_eq!(rig.machine.health(), Health::Good);
}

#[test]
fn keepalives_come_each_interval_and_count_from_zero() {
    let mut rig = Rig::started();
    rig.input(Input::RtpFlowing);
    rig.advance(secs(20));
    assert_eq!(
        rig.keepalives(),
        [(0, 0), (4, 1), (8, 2), (12, 3), (16, 4), (20, 5)]
    );
    let stats = rig.machine.keepalive_stats();
    assert_eq!((stats.sent, stats.acknowledged, stats.failed), (6, 6, 0));
    assert_eq!(stats.last_success, Some(rig.now));
}

#[test]
fn a_late_driver_does_not_make_keepalives_burst() {
    let mut rig = Rig::started();
    rig.now += secs(60);
    rig.machine.handle_input(rig.now, Input::RtpFlowing);
    let keepalives = std::iter::from_fn(|| rig.machine.poll_output())
        .filter(|output| matches!(output, Output::PublishKeepalive { .. }))
        .count();
    assert!(keepalives <= 1);
}

#[test]
fn five_failed_keepalives_degrade_and_one_success_heals() {
    let mut rig = Rig::active();
    let failed = |rig: &mut Rig| {
        rig.input(Input::KeepaliveFailed {
            stream: stream(1),
            reason: "no broker".to_owned(),
        });
    };
    for _ in 0..4 {
        failed(&mut rig);
    }
    assert_eq!(rig.machine.health(), Health::Good);
    failed(&mut rig);
    assert_eq!(rig.machine.health(), Health::Degraded);
    assert_eq!(
        rig.machine.phase(),
        Phase::Active,
        "a stream that flows is never stopped"
    );
    rig.broker_works = false;
    rig.seen.clear();
    rig.advance(secs(8));
    assert_eq!(rig.keepalives().len(), 2, "it goes on trying");
    rig.input(Input::KeepaliveAcknowledged { stream: stream(1) });
    assert_eq!(rig.machine.health(), Health::Good);
    let stats = rig.machine.keepalive_stats();
    assert_eq!(stats.failed, 5);
    assert_eq!(stats.last_error.as_deref(), Some("no broker"));
}

#[test]
fn answers_for_an_earlier_stream_id_count_for_nothing() {
    let mut rig = Rig::stalled();
    rig.broker_works = false;
    rig.advance(secs(4));
    rig.opened(2);
    rig.seen.clear();
    rig.input(Input::PlayAcknowledged { stream: stream(1) });
    for _ in 0..9 {
        rig.input(Input::KeepaliveFailed {
            stream: stream(1),
            reason: String::new(),
        });
    }
    rig.input(Input::PlayFailed {
        stream: stream(1),
        reason: String::new(),
    });
    rig.advance(secs(2));
    assert_eq!(
        rig.take(),
        [],
        "play of stream 2 is neither acknowledged nor failed"
    );
    assert_eq!(rig.machine.keepalive_stats().failed, 0);
}

#[test]
fn silence_stalls_and_asks_for_a_key_frame() {
    let mut rig = Rig::active();
    rig.advance(secs(10));
    rig.take();
    rig.input(Input::RtpSilent {
        silent_for: secs(2),
    });
    assert_eq!(rig.take(), [Output::RequestKeyFrame]);
    assert_eq!(rig.machine.health(), Health::Stalled);
    assert_eq!(rig.machine.phase(), Phase::Active);
    rig.input(Input::RtpFlowing);
    assert_eq!(rig.machine.health(), Health::Good);
    assert_eq!(
        rig.take(),
        [Output::RequestKeyFrame],
        "what was lost broke the picture"
    );
    rig.advance(secs(60));
    assert_eq!(rig.take(), [], "no replay once it flows");
}

#[test]
fn after_six_seconds_of_silence_the_old_stream_is_stopped_and_a_fresh_one_played() {
    let mut rig = Rig::stalled();
    rig.advance(Duration::from_millis(3_999));
    assert_eq!(rig.take(), []);
    rig.advance(Duration::from_millis(1));
    assert_eq!(
        rig.take(),
        [
            Output::PublishStop { stream: stream(1) },
            Output::RearmLeg { stream: stream(2) }
        ]
    );
    rig.opened(2);
    assert_eq!(rig.keepalives(), [(14, 0)], "the sequence starts again");
    assert_eq!(rig.take(), [Output::PublishPlay { stream: stream(2) }]);
    assert_eq!(rig.machine.stream(), Some(stream(2)));
}

#[test]
fn replays_back_off_to_thirty_seconds() {
    let mut rig = Rig::stalled();
    let mut at = Vec::new();
    for number in 2..=7 {
        while !rig
            .seen
            .iter()
            .any(|(_, output)| matches!(output, Output::RearmLeg { .. }))
        {
            rig.advance(secs(1));
        }
        at.push((rig.now - rig.begin).as_secs());
        rig.opened(number);
        rig.seen.clear();
    }
    assert_eq!(
        at,
        [14, 20, 32, 56, 86, 116],
        "6, 12, 24, 30, 30 s after the first"
    );
}

#[test]
fn replays_start_from_the_short_pause_after_rtp_came_back() {
    let mut rig = Rig::stalled();
    for (number, pause) in [(2, 4), (3, 6), (4, 12), (5, 24)] {
        rig.advance(secs(pause));
        rig.opened(number);
    }
    rig.input(Input::RtpFlowing);
    rig.advance(secs(10));
    rig.input(Input::RtpSilent {
        silent_for: secs(2),
    });
    rig.take();
    rig.advance(secs(4));
    assert!(
        rig.take()
            .iter()
            .any(|output| matches!(output, Output::RearmLeg { .. }))
    );
}

#[test]
fn f01_a_hello_during_silence_plays_again_at_once() {
    let mut rig = Rig::stalled();
    rig.input(Input::CameraOffline);
    rig.advance(secs(1));
    assert_eq!(rig.take(), []);
    rig.input(Input::CameraHello);
    assert_eq!(
        rig.take(),
        [
            Output::PublishStop { stream: stream(1) },
            Output::RearmLeg { stream: stream(2) }
        ]
    );
}

#[test]
fn f01_a_hello_before_the_silence_shows_plays_again_with_it() {
    let mut rig = Rig::active();
    rig.advance(secs(10));
    rig.input(Input::CameraHello); // killed and back within the two seconds
    assert_eq!(rig.take(), [], "RTP may flow still");
    rig.advance(secs(1));
    rig.input(Input::RtpSilent {
        silent_for: secs(2),
    });
    assert_eq!(
        rig.take(),
        [
            Output::RequestKeyFrame,
            Output::PublishStop { stream: stream(1) },
            Output::RearmLeg { stream: stream(2) }
        ]
    );
}

#[test]
fn an_old_hello_says_nothing_about_a_silence() {
    let mut rig = Rig::active();
    rig.input(Input::CameraHello);
    rig.advance(secs(10));
    rig.input(Input::RtpSilent {
        silent_for: secs(2),
    });
    assert_eq!(rig.take(), [Output::RequestKeyFrame]);
}

#[test]
fn a_hello_storm_plays_again_once_a_second_at_most() {
    let mut rig = Rig::stalled();
    let mut number = 2;
    for _ in 0..50 {
        rig.input(Input::CameraHello);
        if rig.machine.stream() == Some(stream(number)) {
            rig.opened(number);
            number += 1;
        }
        rig.advance(Duration::from_millis(100));
    }
    let plays = rig
        .take()
        .iter()
        .filter(|output| matches!(output, Output::PublishPlay { .. }))
        .count();
    assert!((2..=6).contains(&plays), "{plays} plays in 5 s");
}

#[test]
fn a_hello_while_starting_plays_again_after_the_guard() {
    let mut rig = Rig::started();
    rig.take();
    rig.input(Input::CameraHello);
    assert_eq!(rig.take(), []);
    rig.advance(HELLO_GUARD);
    assert_eq!(
        rig.take(),
        [
            Output::PublishStop { stream: stream(1) },
            Output::RearmLeg { stream: stream(2) }
        ]
    );
    // The start is still one: its timeout counts from the first asking.
    rig.opened(2);
    rig.advance(secs(29));
    assert_eq!(rig.machine.phase(), Phase::Error);
}

#[test]
fn a_rearm_that_fails_is_tried_again_with_the_next_replay() {
    let mut rig = Rig::stalled();
    rig.advance(secs(4));
    rig.take();
    rig.input(Input::LegFailed {
        stream: stream(2),
        reason: "busy".to_owned(),
    });
    rig.advance(secs(6));
    assert_eq!(
        rig.take(),
        [Output::RearmLeg { stream: stream(3) }],
        "stream 2 was never played, so it is not stopped"
    );
}

#[test]
fn a_play_that_fails_is_published_again_until_the_broker_is_back() {
    let mut rig = Rig::new();
    rig.broker_works = false;
    rig.input(Input::StartAsked);
    rig.opened(1);
    for _ in 0..5 {
        assert!(
            rig.take()
                .contains(&Output::PublishPlay { stream: stream(1) })
        );
        rig.input(Input::PlayFailed {
            stream: stream(1),
            reason: "connection refused".to_owned(),
        });
        rig.advance(PLAY_RETRY);
    }
    rig.input(Input::PlayAcknowledged { stream: stream(1) });
    rig.take();
    rig.advance(secs(5));
    assert_eq!(rig.take(), []);
    rig.input(Input::RtpFlowing);
    assert_eq!(rig.machine.phase(), Phase::Active);
}

#[test]
fn a_play_that_times_out_after_rtp_flows_is_not_repeated() {
    let mut rig = Rig::new();
    rig.broker_works = false;
    rig.input(Input::StartAsked);
    rig.opened(1);
    rig.input(Input::RtpFlowing);
    rig.take();
    rig.input(Input::PlayFailed {
        stream: stream(1),
        reason: "timeout".to_owned(),
    });
    rig.advance(secs(60));
    assert_eq!(rig.take(), []);
}

#[test]
fn start_timeout_names_the_broker() {
    let mut rig = Rig::new();
    rig.broker_works = false;
    rig.input(Input::StartAsked);
    rig.opened(1);
    rig.input(Input::PlayFailed {
        stream: stream(1),
        reason: "connection refused".to_owned(),
    });
    rig.advance(secs(30));
    let text = rig.failure();
    assert!(
        text.contains("connection refused") && text.contains("mqtt.broker"),
        "{text}"
    );
}

#[test]
fn start_timeout_names_the_offline_camera() {
    let mut rig = Rig::started();
    rig.input(Input::CameraOffline);
    rig.advance(secs(30));
    assert!(rig.failure().contains("offline"), "{}", rig.failure());
}

#[test]
fn start_timeout_names_address_and_port() {
    let mut rig = Rig::started();
    rig.advance(Duration::from_millis(29_999));
    assert_eq!(rig.machine.phase(), Phase::Starting);
    rig.advance(Duration::from_millis(1));
    let text = rig.failure();
    assert!(
        text.contains("192.0.2.1:5006") && text.contains("firewall"),
        "{text}"
    );
    assert!(text.contains("not been heard"), "{text}");

    let mut rig = Rig::new();
    rig.input(Input::CameraHello);
    rig.input(Input::StartAsked);
    rig.opened(1);
    rig.advance(secs(30));
    assert!(!rig.failure().contains("not been heard"));
}

#[test]
fn start_timeout_names_the_foreign_ssrc() {
    let mut rig = Rig::started();
    rig.input(Input::ForeignSsrc {
        ssrc: Ssrc(0xdead_beef),
    });
    rig.advance(secs(30));
    assert!(rig.failure().contains("0xdeadbeef"), "{}", rig.failure());
}

#[test]
fn an_error_stops_the_camera_and_frees_the_leg() {
    let mut rig = Rig::started();
    rig.advance(secs(29));
    rig.take();
    rig.advance(secs(1));
    assert_eq!(
        rig.take(),
        [
            Output::PublishStop { stream: stream(1) },
            Output::CloseLeg {
                reason: LegClose::Failed
            }
        ]
    );
    assert_eq!(rig.machine.poll_timeout(), None);
}

#[test]
fn a_leg_that_cannot_be_opened_is_an_error_at_once() {
    let mut rig = Rig::new();
    rig.input(Input::StartAsked);
    rig.take();
    rig.input(Input::LegFailed {
        stream: stream(1),
        reason: "no free ports".to_owned(),
    });
    assert!(rig.failure().contains("no free ports"));
    assert_eq!(
        rig.take(),
        [Output::CloseLeg {
            reason: LegClose::Failed
        }]
    );
}

#[test]
fn f10_a_lost_leg_starts_anew() {
    let mut rig = Rig::active();
    rig.advance(secs(100));
    rig.take();
    rig.input(Input::LegLost);
    assert_eq!(
        rig.take(),
        [
            Output::PublishStop { stream: stream(1) },
            Output::OpenLeg { stream: stream(2) }
        ]
    );
    assert_eq!(rig.machine.phase(), Phase::Starting);
    rig.opened(2);
    rig.input(Input::RtpFlowing);
    rig.advance(secs(100));
    assert_eq!(rig.machine.phase(), Phase::Active);
}

#[test]
fn the_last_viewer_gone_for_the_idle_timeout_stops_the_stream() {
    let mut rig = Rig::active();
    rig.input(Input::ViewersChanged { count: 1 });
    rig.input(Input::ViewersChanged { count: 0 });
    rig.advance(secs(299));
    rig.input(Input::ViewersChanged { count: 2 });
    rig.advance(secs(1_000));
    assert_eq!(rig.machine.phase(), Phase::Active, "watched again");
    rig.input(Input::ViewersChanged { count: 1 });
    rig.advance(secs(1_000));
    assert_eq!(rig.machine.phase(), Phase::Active, "one still watches");
    rig.input(Input::ViewersChanged { count: 0 });
    rig.take();
    rig.advance(Duration::from_millis(299_999));
    assert_eq!(rig.take(), []);
    rig.advance(Duration::from_millis(1));
    assert_eq!(
        rig.take(),
        [
            Output::PublishStop { stream: stream(1) },
            Output::CloseLeg {
                reason: LegClose::Stopped(StopReason::Idle)
            }
        ]
    );
}

#[test]
fn a_stream_that_nobody_ever_watched_runs_on() {
    let mut rig = Rig::active();
    rig.advance(secs(3_600));
    assert_eq!(rig.machine.phase(), Phase::Active);
}

#[test]
fn stop_publishes_closes_and_waits_for_both() {
    let mut rig = Rig::active();
    rig.input(Input::StopAsked {
        reason: StopReason::Asked,
    });
    assert_eq!(
        rig.take(),
        [
            Output::PublishStop { stream: stream(1) },
            Output::CloseLeg {
                reason: LegClose::Stopped(StopReason::Asked)
            }
        ]
    );
    assert_eq!(rig.machine.phase(), Phase::Stopping);
    rig.input(Input::StopAsked {
        reason: StopReason::Shutdown,
    });
    assert_eq!(rig.take(), [], "stop is idempotent");
    rig.input(Input::LegClosed);
    assert_eq!(rig.machine.phase(), Phase::Stopping);
    rig.input(Input::StopSettled { stream: stream(1) });
    assert_eq!(rig.machine.phase(), Phase::Stopped);
    assert_eq!(rig.machine.poll_timeout(), None);
    assert_eq!(rig.machine.stream(), Some(stream(1)));
    rig.advance(secs(100));
    assert_eq!(rig.take(), []);
}

#[test]
fn stop_does_not_wait_for_a_dead_broker_for_long() {
    let mut rig = Rig::active();
    rig.input(Input::StopAsked {
        reason: StopReason::Asked,
    });
    rig.input(Input::LegClosed);
    rig.advance(STOP_TIMEOUT);
    assert_eq!(rig.machine.phase(), Phase::Stopped);
}

#[test]
fn stop_works_in_every_phase() {
    let stop = Input::StopAsked {
        reason: StopReason::Asked,
    };
    let mut idle = Rig::new();
    idle.input(stop.clone());
    assert_eq!(idle.machine.phase(), Phase::Stopped);
    assert_eq!(idle.take(), []);
    let mut opening = Rig::new();
    opening.input(Input::StartAsked);
    let mut rearming = Rig::stalled();
    rearming.advance(secs(4));
    for (mut rig, number) in [
        (opening, 1),
        (Rig::started(), 1),
        (Rig::active(), 1),
        (Rig::stalled(), 1),
        (rearming, 2),
    ] {
        rig.take();
        rig.input(stop.clone());
        assert_eq!(
            rig.take(),
            [
                Output::PublishStop {
                    stream: stream(number)
                },
                Output::CloseLeg {
                    reason: LegClose::Stopped(StopReason::Asked)
                }
            ]
        );
        rig.opened(number); // an answer on its way
        assert_eq!(rig.take(), []);
    }
}

// ---- random inputs ----

#[derive(Clone, Debug)]
enum Step {
    Input(Input),
    /// The answer to the last open or rearm.
    LegAnswer {
        opened: bool,
    },
    Wait(u64),
}

fn any_stream() -> impl Strategy<Value = StreamId> {
    (1u64..5).prop_map(stream)
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::StartAsked),
        Just(Input::LegLost),
        Just(Input::LegClosed),
        any_stream().prop_map(|stream| Input::PlayAcknowledged { stream }),
        any_stream().prop_map(|stream| Input::PlayFailed {
            stream,
            reason: "x".to_owned()
        }),
        any_stream().prop_map(|stream| Input::KeepaliveAcknowledged { stream }),
        any_stream().prop_map(|stream| Input::KeepaliveFailed {
            stream,
            reason: "x".to_owned()
        }),
        any_stream().prop_map(|stream| Input::StopSettled { stream }),
        Just(Input::RtpFlowing),
        (0u64..10_000).prop_map(|ms| Input::RtpSilent {
            silent_for: Duration::from_millis(ms)
        }),
        Just(Input::ForeignSsrc { ssrc: Ssrc(7) }),
        Just(Input::CameraHello),
        Just(Input::CameraOffline),
        (0usize..3).prop_map(|count| Input::ViewersChanged { count }),
        Just(Input::Timeout),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any_input().prop_map(Step::Input),
        1 => Just(Step::Input(Input::StopAsked { reason: StopReason::Asked })),
        3 => proptest::bool::weighted(0.9).prop_map(|opened| Step::LegAnswer { opened }),
        4 => (0u64..9_000).prop_map(Step::Wait),
    ]
}

/// Follows the outputs and says when a rule is broken.
#[derive(Default)]
struct Auditor {
    leg_open: bool,
    pending_leg: Option<StreamId>,
    /// The stream the camera was last told to play and not yet to stop.
    playing: Option<StreamId>,
    last_keepalive: Option<(StreamId, u64, Instant)>,
    streams: Vec<StreamId>,
    over: bool,
}

impl Auditor {
    fn fresh(&mut self, stream: StreamId) {
        assert!(
            !self.streams.contains(&stream),
            "stream ids are never reused"
        );
        self.streams.push(stream);
        self.pending_leg = Some(stream);
    }

    fn saw(&mut self, now: Instant, output: &Output) {
        assert!(!self.over, "{output:?} after the end");
        match output {
            Output::OpenLeg { stream } => {
                assert!(!self.leg_open, "two legs open");
                self.leg_open = true;
                self.fresh(*stream);
            }
            Output::RearmLeg { stream } => {
                assert!(self.leg_open && self.playing.is_none());
                self.fresh(*stream);
            }
            Output::PublishPlay { stream } => {
                assert!(self.playing.is_none_or(|playing| playing == *stream));
                assert!(self.leg_open && self.streams.last() == Some(stream));
                self.playing = Some(*stream);
            }
            Output::PublishKeepalive { stream, count } => {
                assert_eq!(self.playing, Some(*stream));
                match self.last_keepalive {
                    Some((last, number, at)) if last == *stream => {
                        assert_eq!(*count, number + 1);
                        assert!(now - at >= secs(4), "too soon");
                    }
                    Some(_) | None => assert_eq!(*count, 0),
                }
                self.last_keepalive = Some((*stream, *count, now));
            }
            Output::PublishStop { stream } => {
                assert_eq!(self.streams.last(), Some(stream));
                self.playing = None;
                self.last_keepalive = None;
            }
            Output::CloseLeg { .. } => {
                assert!(self.leg_open && self.playing.is_none(), "stop comes first");
                self.leg_open = false;
            }
            Output::RequestKeyFrame => assert!(self.leg_open),
            Output::Report(report) => self.over = report.phase.is_over(),
        }
    }

    fn check(&self, now: Instant, machine: &Lifecycle) {
        if let Some(due) = machine.poll_timeout() {
            assert!(due > now, "a timeout lies in the past");
        }
        match machine.phase() {
            Phase::Starting | Phase::Active => {
                assert!(self.leg_open);
                if self.playing.is_some() {
                    let (_, _, at) = self.last_keepalive.expect("a keepalive with each play");
                    assert!(now - at < secs(4), "a keepalive is missing");
                }
                assert!(machine.poll_timeout().is_some(), "something must follow");
            }
            Phase::Stopping | Phase::Stopped | Phase::Error => {
                assert!(!self.leg_open && self.playing.is_none());
            }
            Phase::Idle => assert!(!self.leg_open),
        }
        assert_eq!(machine.failure().is_some(), machine.phase() == Phase::Error);
    }
}

fn feed(machine: &mut Lifecycle, auditor: &mut Auditor, now: Instant, input: Input) {
    // The engine says that it lost a leg only if it had it.
    if input == Input::LegLost && matches!(machine.phase(), Phase::Starting | Phase::Active) {
        auditor.leg_open = false;
    }
    machine.handle_input(now, input);
    while let Some(output) = machine.poll_output() {
        auditor.saw(now, &output);
    }
    auditor.check(now, machine);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn invariants_hold_under_random_inputs(steps in proptest::collection::vec(any_step(), 1..120)) {
        let mut now = Instant::now();
        let mut next = 0;
        let mut machine = Lifecycle::new(Rules::default(), move || { next += 1; stream(next) });
        let mut auditor = Auditor::default();
        for step in steps {
            match step {
                Step::Input(input) => feed(&mut machine, &mut auditor, now, input),
                Step::LegAnswer { opened } => if let Some(stream) = auditor.pending_leg.take() {
                    let input = if opened {
                        Input::LegOpened { stream, address: ADDRESS }
                    } else {
                        Input::LegFailed { stream, reason: "x".to_owned() }
                    };
                    feed(&mut machine, &mut auditor, now, input);
                },
                Step::Wait(ms) => {
                    let end = now + Duration::from_millis(ms);
                    while let Some(due) = machine.poll_timeout().filter(|due| *due <= end) {
                        now = due;
                        feed(&mut machine, &mut auditor, now, Input::Timeout);
                    }
                    now = end;
                }
            }
        }
        // Whatever came before, a stop ends it, with the camera told and the leg closed.
        feed(&mut machine, &mut auditor, now, Input::StopAsked { reason: StopReason::Shutdown });
        now += STOP_TIMEOUT;
        feed(&mut machine, &mut auditor, now, Input::Timeout);
        prop_assert!(machine.phase().is_over());
        prop_assert!(!auditor.leg_open);
    }
}
