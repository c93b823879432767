//! Streams and viewers that come and go leave nothing behind. Alone in its program, because it counts the program's files
//! and memory.

#![allow(clippy::unwrap_used, reason = "a test that goes wrong fails")]
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use apiary_media::engine::CloseReason;
use support::{House, camera_id, offer, viewer_id};

/// How many octets more may be in use afterwards: what is kept to be used again varies by some 30,000, however many came
/// and went. It is less than the smallest object for each of them.
const VARIES_BY: usize = 64 * CYCLES;
const CYCLES: usize = 1000;

/// Octets that are in use.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is left to the system's allocator; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps what `GlobalAlloc::alloc` asks of it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A stream and two viewers come and go.
fn cycle(house: &House, offer: &str) {
    house.open(1);
    house.try_join(1, 1, offer).unwrap();
    house.try_join(1, 2, offer).unwrap();
    house.ask(house.engine.leave(viewer_id(1))).unwrap();
    // The other one goes with its stream.
    let close = house.engine.close(camera_id(1), CloseReason::Stopped);
    house.ask(close).unwrap();
    assert!(house.ask(house.engine.viewer_stats(viewer_id(2))).is_none());
}

#[test]
fn f08_a_thousand_streams_and_their_viewers_leave_no_file_and_no_memory() {
    let house = House::with(2, 1, 2);
    let offer = offer(house.address);
    // What is made once is made by the first few.
    (0..CYCLES / 10).for_each(|_| cycle(&house, &offer));
    let (files, memory) = (open_files(), IN_USE.load(Ordering::Relaxed));
    (0..CYCLES).for_each(|_| cycle(&house, &offer));
    assert_eq!(open_files(), files);
    let grown = IN_USE.load(Ordering::Relaxed).saturating_sub(memory);
    assert!(
        grown <= VARIES_BY,
        "{grown} octets are left of {CYCLES} streams"
    );
}
