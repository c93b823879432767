//! The packet path allocates nothing for a packet, whoever it is for: on the worker that serves the camera, on the way to
//! another worker, and toward viewers on both.
//!
//! An allocator of this binary counts what the workers' threads ask for. What they do now and then, beside packets, may
//! allocate: connectivity checks, a clock that is read.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails, and waits for what it names"
)]
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::{Camera, Frame, House, Viewer};

/// Allocations of all threads that are named like a worker.
static BY_WORKERS: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is left to the system's allocator; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps what `GlobalAlloc::alloc` asks of it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

fn count() {
    let mut name = [0_u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 octets (prctl(2)).
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    if name.starts_with(b"sfu-") {
        BY_WORKERS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Pictures sent without waiting for the engine.
const AT_ONCE: usize = 10;
/// A new group of pictures begins this often.
const GROUP: usize = 60;

/// Viewers say so often that they are there, well before they would count as gone.
const CHECK_IN_EVERY: Duration = Duration::from_secs(1);

/// Sends `pictures` with sound beside each. All the time the engine has read nearly all, and sent it to the viewers, so
/// that there are never more packets on their way than its buffers are made for. Viewers are numbered from 1.
fn send(house: &House, camera: &mut Camera, pictures: usize, viewers: &[Viewer]) {
    let mut checked_in = Instant::now();
    for begin in (0..pictures).step_by(AT_ONCE) {
        if checked_in.elapsed() > CHECK_IN_EVERY {
            checked_in = Instant::now();
            viewers.iter().for_each(Viewer::check_in);
        }
        let sent_before: Vec<u64> = (1..=viewers.len())
            .map(|viewer| house.sent_to(viewer as u8))
            .collect();
        let from_camera_before = camera.sent.get();
        for number in begin..begin + AT_ONCE {
            let frame = match number % GROUP {
                0 => Frame::idr(number as u8),
                _ => Frame::delta(number as u8),
            };
            camera.send(&frame);
            camera.send_sound(&[number as u8; 80]);
        }
        house.wait_read(1, camera);
        let from_camera = camera.sent.get() - from_camera_before;
        for (viewer, before) in (1..).zip(sent_before) {
            house.wait_sent(viewer, before + from_camera);
        }
    }
}

#[test]
fn packets_are_received_relayed_and_sent_without_allocating() {
    let house = House::new(2);
    let mut camera = house.open(1);
    send(&house, &mut camera, GROUP, &[]);
    let mut viewers = [house.join(1, 1), house.join(1, 2)];
    assert_ne!(viewers[0].engine, viewers[1].engine, "one on each worker");
    for viewer in &mut viewers {
        viewer.connect();
    }
    // Until the rings hold all that they will.
    send(&house, &mut camera, 3_000, &viewers);

    let (packets_before, allocations_before) =
        (house.stats(1).packets, BY_WORKERS.load(Ordering::Relaxed));
    send(&house, &mut camera, 3_000, &viewers);
    assert!(allocations_before > 0, "joining allocates, and is counted");
    let packets = house.stats(1).packets - packets_before;
    let allocations = BY_WORKERS.load(Ordering::Relaxed) - allocations_before;
    assert!(packets > 8_000, "{packets}");
    assert!(
        allocations * 100 < packets,
        "{allocations} allocations of the workers while {packets} packets came"
    );
}
