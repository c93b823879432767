//! An ingest against a camera over a seeded lossy link, in virtual time (f03, f06).

mod ingest_support;

use apiary_core::ingest::IngestEvent;
use ingest_support::{BOUNDS, Faults, SECOND, World, camera_rtp};

const SEEDS: u64 = 8;

fn run(seed: u64, faults: Faults, seconds: u32) -> World {
    let mut world = World::new(seed, faults);
    world.run_until(world.start + SECOND * seconds);
    world
}

/// Numbers missing at the end that were not sent just now.
fn lost_for_good(world: &World) -> usize {
    let settled = world.next_number - 300;
    world
        .missing()
        .into_iter()
        .filter(|number| *number < settled)
        .count()
}

#[test]
fn a_clean_link_needs_no_request() {
    let world = run(1, Faults::default(), 30);
    assert_eq!(lost_for_good(&world), 0);
    let asked = world
        .feedback
        .iter()
        .filter(|(_, feedback)| !feedback.nacked.is_empty() || feedback.plis > 0);
    assert_eq!(asked.count(), 0);
    assert_eq!(world.ingest.stats().video.counters.dropped(), 0);
}

#[test]
fn f03_reordering_and_duplicates_cost_nothing() {
    let faults = Faults {
        reorder: 5,
        duplicate: 5,
        ..Faults::default()
    };
    for seed in 0..SEEDS {
        let world = run(seed, faults, 30);
        assert!(world.injected.reordered > 100 && world.injected.duplicated > 100);
        assert_eq!(lost_for_good(&world), 0, "seed {seed}");
        let stats = world.ingest.stats();
        assert_eq!(stats.video.lost, 0, "seed {seed}");
        assert!(stats.video.counters.duplicates >= world.injected.duplicated - 5);
        assert_eq!(stats.key_frame_requests, 0, "seed {seed}");
    }
}

#[test]
fn f03_what_is_lost_is_asked_for_until_it_comes() {
    for loss in [1, 2, 5] {
        let faults = Faults {
            loss,
            reorder: 5,
            duplicate: 1,
            ..Faults::default()
        };
        for seed in 0..SEEDS {
            let world = run(seed, faults, 60);
            assert!(world.injected.lost > 50 * loss, "the link did lose");
            let stats = world.ingest.stats();
            assert!(stats.video.counters.repaired * 10 >= world.injected.lost * 9);
            assert_eq!(lost_for_good(&world), 0, "seed {seed} at {loss} %");
        }
    }
}

#[test]
fn f03_bursts_are_repaired_too() {
    let faults = Faults {
        loss: 1,
        burst: 20,
        ..Faults::default()
    };
    for seed in 0..SEEDS {
        let world = run(seed, faults, 60);
        assert!(world.injected.lost > 1000);
        let lost = lost_for_good(&world);
        assert_eq!(lost, 0, "seed {seed}");
    }
}

#[test]
fn a_camera_that_does_not_retransmit_is_asked_for_key_frames_once_a_second() {
    let faults = Faults {
        loss: 2,
        ..Faults::default()
    };
    let mut world = World::new(3, faults);
    world.answers_nack = false;
    world.run_until(world.start + 30 * SECOND);
    let needed: Vec<_> = world
        .events
        .iter()
        .filter(|(_, event)| *event == IngestEvent::KeyFrameNeeded)
        .map(|(at, _)| *at)
        .collect();
    assert!(needed.len() >= 10, "{}", needed.len());
    for pair in needed.windows(2) {
        let answered = world
            .idrs
            .iter()
            .any(|idr| *idr <= pair[1] && *idr >= pair[0] - SECOND / 10);
        assert!(answered, "said again without a key frame in between");
    }
    let requests: Vec<_> = world
        .feedback
        .iter()
        .filter(|(_, feedback)| feedback.plis + feedback.firs > 0)
        .map(|(at, _)| *at)
        .collect();
    assert!(requests.len() >= 10, "{}", requests.len());
    for pair in requests.windows(2) {
        assert!(pair[1] - pair[0] >= SECOND);
    }
}

#[test]
fn a_camera_without_an_answer_to_pli_gets_fir_in_turn() {
    let mut world = World::new(4, Faults::default());
    world.answers_pli = false;
    world.idr_every = u32::MAX;
    world.run_until(world.start + 2 * SECOND);
    world.ingest.request_key_frame(world.now);
    world.run_until(world.now + 6 * SECOND);
    let kinds: Vec<_> = world
        .feedback
        .iter()
        .map(|(_, feedback)| (feedback.plis, feedback.firs))
        .filter(|kinds| *kinds != (0, 0))
        .collect();
    assert_eq!(kinds[..5], [(1, 0), (1, 0), (0, 1), (1, 0), (0, 1)]);
    world.answers_pli = true;
    let idrs = world.idrs.len();
    world.run_until(world.now + 3 * SECOND);
    assert_eq!(
        world.idrs.len(),
        idrs + 1,
        "answered, and no longer asked for"
    );
}

#[test]
fn heavy_loss_lowers_what_is_asked_of_the_camera_and_stays_within_bounds() {
    let faults = Faults {
        loss: 25,
        ..Faults::default()
    };
    let world = run(5, faults, 60);
    let rembs: Vec<_> = world
        .feedback
        .iter()
        .filter_map(|(_, feedback)| feedback.remb.as_ref())
        .map(|(bitrate, _)| *bitrate)
        .collect();
    assert_eq!(rembs.first(), Some(&BOUNDS.max));
    assert_eq!(rembs.last(), Some(&BOUNDS.min));
    for remb in rembs {
        assert!((BOUNDS.min..=BOUNDS.max).contains(&remb), "{remb}");
    }
}

#[test]
fn light_loss_leaves_the_bitrate_alone() {
    let faults = Faults {
        loss: 1,
        ..Faults::default()
    };
    let world = run(6, faults, 60);
    assert_eq!(world.ingest.stats().target, BOUNDS.max);
}

#[test]
fn requests_are_bounded_under_any_loss() {
    for loss in [10, 50, 90] {
        let faults = Faults {
            loss,
            burst: 3,
            ..Faults::default()
        };
        let world = run(u64::from(loss as u8), faults, 20);
        let stats = world.ingest.stats();
        let sent = world.next_number - world.first_number;
        assert!(stats.video.counters.nacked <= 10 * sent, "at {loss} %");
        for (at, feedback) in &world.feedback {
            assert!(feedback.nacked.len() <= 64);
            assert!(
                feedback.plis + feedback.firs <= 1,
                "{:?}",
                *at - world.start
            );
        }
    }
}

#[test]
fn f06_the_wrap_of_numbers_and_timestamps_goes_unnoticed() {
    let world = run(7, Faults::default(), 60);
    assert!(
        world.next_number >> 16 > world.first_number >> 16,
        "wrapped"
    );
    assert_eq!(lost_for_good(&world), 0);
    assert!(
        world.ingest.stats().video.jitter < 90 * 40,
        "no wild jitter"
    );
    let events: Vec<_> = world.events.iter().map(|(_, event)| *event).collect();
    let source = camera_rtp();
    assert_eq!(
        events,
        [IngestEvent::RtpStarted { source }, IngestEvent::RtcpSeen]
    );
}
