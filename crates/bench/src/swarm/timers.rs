//! When each viewer wants to be called, without looking at all of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::ViewerKey;

/// One timer a viewer.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, ViewerKey)>>,
    /// The valid entry of each viewer; others in the heap are outdated.
    scheduled: Vec<Option<Instant>>,
}

impl Timers {
    /// Sets or clears a viewer's timer.
    pub(super) fn set(&mut self, key: ViewerKey, at: Option<Instant>) {
        if self.scheduled.len() <= key {
            self.scheduled.resize(key + 1, None);
        }
        if self.scheduled[key] == at {
            return;
        }
        self.scheduled[key] = at;
        if let Some(at) = at {
            self.heap.push(Reverse((at, key)));
        }
    }

    /// The earliest time at which something may be due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// A viewer whose time has come; its timer is cleared.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<ViewerKey> {
        while let Some(Reverse((at, key))) = self.heap.peek().copied() {
            if at > now {
                return None;
            }
            self.heap.pop();
            if self.scheduled[key] == Some(at) {
                self.scheduled[key] = None;
                return Some(key);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_the_last_time_set_counts() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.set(3, Some(at(10)));
        timers.set(1, Some(at(20)));
        timers.set(3, Some(at(30)));
        timers.set(0, Some(at(5)));
        timers.set(0, None);
        assert_eq!(timers.pop_due(at(15)), None);
        assert_eq!(timers.pop_due(at(40)), Some(1));
        assert_eq!(timers.pop_due(at(40)), Some(3));
        assert_eq!(timers.pop_due(at(40)), None);
        assert_eq!(timers.next(), None);
    }
}
