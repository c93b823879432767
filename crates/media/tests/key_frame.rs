//! The last key frame of a stream, for whoever wants to see it without watching.

#![allow(clippy::unwrap_used, reason = "a test that goes wrong fails")]

mod support;

use apiary_media::engine::{CloseReason, KeyFrame};
use support::{Frame, House, camera_id};

#[test]
fn the_last_key_frame_is_given_once_all_of_it_came() {
    let house = House::new(2);
    let last = || house.ask(house.engine.key_frame(camera_id(1)));
    let picture = |frame: Option<KeyFrame>| Frame::from_annex_b(&frame.unwrap().annex_b);
    assert_eq!(last(), None, "no stream is open");
    let mut camera = house.open(1);
    assert_eq!(last(), None, "nothing came");
    camera.send(&Frame::idr(1));
    camera.send(&Frame::delta(2));
    house.wait_read(1, &camera);
    assert_eq!(picture(last()), Frame::idr(1));
    camera.send(&Frame::idr(3));
    house.wait_read(1, &camera);
    assert_eq!(picture(last()), Frame::idr(3));
    let closed = house.engine.close(camera_id(1), CloseReason::Stopped);
    house.ask(closed).unwrap();
    assert_eq!(last(), None);
}
