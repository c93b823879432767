//! Timers of everything on a worker, in one wheel: setting one costs the same however many there are.

use std::time::{Duration, Instant};

use super::slots::Slots;

/// The precision of timers: they fire within this after their time.
const STEP: Duration = Duration::from_millis(2);
/// Steps of one turn of the wheel, 1 s. Longer timers fire at its end, before their time, and their owner sets them again.
const STEPS: usize = 512;

/// A wheel of timers that name their owner with a `T`.
///
/// Timers cannot be taken back. An owner remembers for when its last timer was set, and takes no notice of one that fires
/// before that.
pub(super) struct TimerWheel<T> {
    /// The first timer of each step; the others are chained behind it.
    slots: Box<[Option<usize>; STEPS]>,
    timers: Slots<Chained<T>>,
    begin: Instant,
    /// The step that fires next, counted from `begin`.
    next: u64,
}

struct Chained<T> {
    owner: T,
    behind: Option<usize>,
}

impl<T> TimerWheel<T> {
    /// A wheel without timers.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            slots: Box::new([None; STEPS]),
            timers: Slots::default(),
            begin: now,
            next: 0,
        }
    }

    /// Sets a timer; gives the time at which it fires, at `at` or a little later, or at the end of the wheel.
    pub(super) fn set(&mut self, at: Instant, owner: T) -> Instant {
        let after = at.saturating_duration_since(self.begin).as_nanos();
        let step = u64::try_from(after.div_ceil(STEP.as_nanos())).unwrap_or(u64::MAX);
        let step = step.clamp(self.next, self.next + STEPS as u64 - 1);
        let first = &mut self.slots[slot(step)];
        let behind = *first;
        *first = Some(self.timers.insert(Chained { owner, behind }));
        self.time_of(step)
    }

    /// When the first timer fires; `None` without any.
    pub(super) fn next_at(&self) -> Option<Instant> {
        if self.timers.is_empty() {
            return None;
        }
        (self.next..self.next + STEPS as u64)
            .find(|&step| self.slots[slot(step)].is_some())
            .map(|step| self.time_of(step))
    }

    /// Moves the owners of all timers that have fired by `now` to `fired`.
    pub(super) fn turn(&mut self, now: Instant, fired: &mut Vec<T>) {
        let passed = now.saturating_duration_since(self.begin).as_nanos() / STEP.as_nanos();
        let until = u64::try_from(passed).unwrap_or(u64::MAX) + 1;
        // After a long sleep one turn of the wheel has met every slot.
        for step in self.next..until.min(self.next + STEPS as u64) {
            let mut first = self.slots[slot(step)].take();
            while let Some(timer) = first.and_then(|place| self.timers.remove(place)) {
                fired.push(timer.owner);
                first = timer.behind;
            }
        }
        self.next = self.next.max(until);
    }

    fn time_of(&self, step: u64) -> Instant {
        self.begin + Duration::from_nanos(step * STEP.as_nanos() as u64)
    }
}

fn slot(step: u64) -> usize {
    (step % STEPS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HORIZON: Duration = Duration::from_millis(2 * (STEPS as u64 - 1));

    #[test]
    fn a_wheel_without_timers_has_no_next() {
        let now = Instant::now();
        let mut wheel = TimerWheel::<()>::new(now);
        assert_eq!(wheel.next_at(), None);
        let mut fired = Vec::new();
        wheel.turn(now + Duration::from_secs(3_600), &mut fired);
        assert!(fired.is_empty());
    }

    #[test]
    fn what_is_due_already_fires_at_the_next_turn() {
        let begin = Instant::now();
        let mut wheel = TimerWheel::new(begin);
        let mut fired = Vec::new();
        let now = begin + Duration::from_millis(501);
        wheel.turn(now, &mut fired);
        let at = wheel.set(begin, 'a');
        assert!(at > now && at <= now + STEP, "{:?}", at - now);
        wheel.turn(at, &mut fired);
        assert_eq!(fired, ['a']);
    }

    #[test]
    fn a_long_timer_fires_at_the_end_of_the_wheel() {
        let now = Instant::now();
        let mut wheel = TimerWheel::new(now);
        let at = wheel.set(now + Duration::from_secs(60), ());
        assert_eq!(at, now + HORIZON);
    }

    proptest! {
        /// Each timer fires once: never before its time, and no later than at the first turn after it.
        #[test]
        fn timers_fire_in_time(
            steps in prop::collection::vec((0u64..3_000, 0u64..40), 1..200)
        ) {
            let mut now = Instant::now();
            let mut wheel = TimerWheel::new(now);
            let mut waiting: Vec<(usize, Instant)> = Vec::new();
            for (number, (delay_ms, pass_ms)) in steps.into_iter().enumerate() {
                let at = now + Duration::from_millis(delay_ms);
                let fires = wheel.set(at, number);
                prop_assert!(fires >= at.min(now + HORIZON - STEP) && fires <= at + STEP);
                waiting.push((number, fires));
                prop_assert_eq!(wheel.next_at(), waiting.iter().map(|(_, at)| *at).min());
                now += Duration::from_millis(pass_ms);
                let mut fired = Vec::new();
                wheel.turn(now, &mut fired);
                fired.sort_unstable();
                let mut due: Vec<usize> =
                    waiting.iter().filter(|(_, at)| *at <= now).map(|(n, _)| *n).collect();
                due.sort_unstable();
                waiting.retain(|(_, at)| *at > now);
                prop_assert_eq!(fired, due);
            }
        }
    }
}
