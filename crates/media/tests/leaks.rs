//! Streams and viewers that come and go leave nothing open. Alone in its program, because it counts the program's files.

#![allow(clippy::unwrap_used, reason = "a test that goes wrong fails")]

mod support;

use apiary_media::engine::CloseReason;
use support::{House, camera_id, offer, viewer_id};

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn two_hundred_streams_and_viewers_leave_no_file_open() {
    let house = House::with(2, 1, 2);
    let offer = offer(house.address);
    let before = open_files();
    for _ in 0..200 {
        house.open(1);
        house.try_join(1, 1, &offer).unwrap();
        house.try_join(1, 2, &offer).unwrap();
        house.ask(house.engine.leave(viewer_id(1))).unwrap();
        // The other one goes with its stream.
        let close = house.engine.close(camera_id(1), CloseReason::Stopped);
        house.ask(close).unwrap();
        assert!(house.ask(house.engine.viewer_stats(viewer_id(2))).is_none());
    }
    assert_eq!(open_files(), before);
}
