//! What a worker does when its time has come, without a packet: feedback to cameras, reports and catching up.

use std::time::Instant;

use super::worker::{Worker, wall};

/// Whose timer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The stream's at this place.
    Stream(usize),
    /// The viewer's with this key.
    Viewer(usize),
}

impl Worker<'_> {
    /// Gives everybody whose time has come a turn.
    pub(super) fn handle_timers(&mut self, now: Instant) {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.turn(now, &mut fired);
        for timer in fired.drain(..) {
            match timer {
                Timer::Stream(place) => self.on_stream_timer(now, place),
                Timer::Viewer(key) => self.on_viewer_timer(now, key),
            }
        }
        self.fired = fired;
    }

    fn on_stream_timer(&mut self, now: Instant, place: usize) {
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        if stream.wakes_at.is_none_or(|at| at > now) {
            return; // set before another one that has fired already
        }
        stream.wakes_at = None;
        if stream.clocks_are_stale(now) {
            stream.refresh_clocks(now, wall());
        }
        self.feed_back(now, place);
        self.count_traffic(place);
    }

    fn on_viewer_timer(&mut self, now: Instant, key: usize) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        if viewer.wakes_at.is_none_or(|at| at > now) {
            return;
        }
        viewer.wakes_at = None;
        let waiting = viewer.is_waiting().then_some(viewer.camera);
        let skipped = viewer.take_skipped();
        viewer.session.handle_timeout(now);
        self.post.counts.viewers.skipped += skipped;
        self.settle(now, key);
        self.serve(now, key);
        if let Some(camera) = waiting {
            self.request_key_frame(now, camera);
        }
        self.set_viewer_timer(now, key);
    }

    /// Has the wheel wake a viewer in time.
    pub(super) fn set_viewer_timer(&mut self, now: Instant, key: usize) {
        if let Some(viewer) = self.viewers.get_mut(key) {
            viewer.set_timer(now, key, &mut self.wheel);
        }
    }
}
