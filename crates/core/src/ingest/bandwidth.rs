//! How much the camera may send: from what viewers can take and what is lost on the way here.
//!
//! A browser's REMB falls on queueing but not on loss (design.md), so loss in its reports lowers a limit
//! of its own, in the way of the loss-based controller of draft-ietf-rmcat-gcc-02 §6. The same holds for
//! loss between camera and here. Sending the result is done elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use apiary_wire::id::ViewerId;
use apiary_wire::units::Bitrate;

/// Viewers that have a say at most; further ones are ignored until one leaves.
const MAX_VIEWERS: usize = 8192;
/// A viewer that has not reported for this long has no say. Browsers report each second.
const EXPIRY: Duration = Duration::from_secs(10);
/// Time between two evaluations, however many reports come.
const EVALUATION_INTERVAL: Duration = Duration::from_millis(100);
/// Loss above which the limit falls, in 1/256 (10 %).
const LOSS_HIGH: u8 = 26;
/// Loss below which the limit rises, in 1/256 (2 %).
const LOSS_LOW: u8 = 5;
/// Least time between two reductions, so that one burst counts once.
const DECREASE_INTERVAL: Duration = Duration::from_millis(300);
/// Least time between two raises, each of 8 %.
const INCREASE_INTERVAL: Duration = Duration::from_secs(1);

/// Whose limit counts when viewers differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ViewerPolicy {
    /// The one that can take the least: nobody stutters.
    Slowest,
    /// The middle one (of an even number the lower): one bad link does not spoil the picture for all.
    #[default]
    Median,
    /// The one that can take the most.
    Fastest,
}

/// Bounds of what is asked of the camera, both inclusive. Where they cross, `max` wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitrateBounds {
    /// Never less.
    pub min: Bitrate,
    /// Never more.
    pub max: Bitrate,
}

impl BitrateBounds {
    /// The nearest value within the bounds.
    #[must_use]
    pub fn clamp(self, value: Bitrate) -> Bitrate {
        value.max(self.min).min(self.max)
    }
}

/// What a viewer reported. What is `None` was not in this report; the last value stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewerReport {
    /// Its REMB.
    pub remb: Option<Bitrate>,
    /// Fraction lost of the picture in 1/256 (RFC 3550 §6.4.1).
    pub fraction_lost: Option<u8>,
}

/// Keeps what viewers reported and decides the target.
#[derive(Clone, Debug)]
pub struct BandwidthPolicy {
    bounds: BitrateBounds,
    policy: ViewerPolicy,
    viewers: BTreeMap<ViewerId, Viewer>,
    upstream: LossLimit,
    target: Bitrate,
    /// When to evaluate; `None` while nothing changed and nobody can expire.
    due: Option<Instant>,
    evaluated: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Viewer {
    remb: Option<Bitrate>,
    loss: LossLimit,
    heard: Instant,
}

impl Viewer {
    fn limit(&self) -> Bitrate {
        self.remb.unwrap_or(Bitrate::MAX).min(self.loss.limit)
    }

    fn is_expired(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) >= EXPIRY
    }
}

/// A limit that follows loss.
#[derive(Clone, Copy, Debug)]
struct LossLimit {
    limit: Bitrate,
    changed: Option<Instant>,
}

impl LossLimit {
    const NONE: Self = Self {
        limit: Bitrate::MAX,
        changed: None,
    };

    /// Loss of `fraction` / 256 was seen while `current` was asked of the camera.
    fn on_loss(&mut self, now: Instant, fraction: u8, current: Bitrate, bounds: BitrateBounds) {
        let since = self
            .changed
            .map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        let limit = self.limit.min(current).as_bps();
        if fraction > LOSS_HIGH && since >= DECREASE_INTERVAL {
            // (1 - loss / 2), in 1/512.
            let lowered = limit.saturating_mul(512 - u64::from(fraction)) / 512;
            self.limit = Bitrate::from_bps(lowered).max(bounds.min);
            self.changed = Some(now);
        } else if fraction < LOSS_LOW && since >= INCREASE_INTERVAL && self.limit < bounds.max {
            let raised = self.limit.as_bps().saturating_mul(108) / 100 + 1000;
            self.limit = Bitrate::from_bps(raised).min(bounds.max);
            self.changed = Some(now);
        }
    }
}

impl BandwidthPolicy {
    /// Without viewers the target is the upper bound.
    #[must_use]
    pub fn new(bounds: BitrateBounds, policy: ViewerPolicy) -> Self {
        Self {
            bounds,
            policy,
            viewers: BTreeMap::new(),
            upstream: LossLimit::NONE,
            target: bounds.clamp(Bitrate::MAX),
            due: None,
            evaluated: None,
        }
    }

    /// What to ask of the camera.
    #[must_use]
    pub fn target(&self) -> Bitrate {
        self.target
    }

    /// Viewers that have a say now.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.viewers.len()
    }

    /// A viewer reported.
    pub fn set_viewer_report(&mut self, now: Instant, viewer: ViewerId, report: ViewerReport) {
        if self.viewers.len() >= MAX_VIEWERS && !self.viewers.contains_key(&viewer) {
            return;
        }
        let entry = self.viewers.entry(viewer).or_insert(Viewer {
            remb: None,
            loss: LossLimit::NONE,
            heard: now,
        });
        entry.heard = now;
        if let Some(remb) = report.remb {
            entry.remb = Some(remb);
        }
        if let Some(fraction) = report.fraction_lost {
            entry.loss.on_loss(now, fraction, self.target, self.bounds);
        }
        self.evaluate_soon(now);
    }

    /// A viewer left.
    pub fn remove_viewer(&mut self, now: Instant, viewer: ViewerId) {
        if self.viewers.remove(&viewer).is_some() {
            self.evaluate_soon(now);
        }
    }

    /// Loss between camera and here, in 1/256.
    pub fn on_upstream_loss(&mut self, now: Instant, fraction: u8) {
        self.upstream
            .on_loss(now, fraction, self.target, self.bounds);
        self.evaluate_soon(now);
    }

    /// Another camera run: its path is judged anew.
    pub fn forget_upstream(&mut self, now: Instant) {
        self.upstream = LossLimit::NONE;
        self.evaluate_soon(now);
    }

    /// When [`BandwidthPolicy::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Evaluates the reports when that is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.viewers.retain(|_, viewer| !viewer.is_expired(now));
        let limit = self.viewers_limit().min(self.upstream.limit);
        self.target = self.bounds.clamp(limit);
        self.evaluated = Some(now);
        self.due = self
            .viewers
            .values()
            .map(|viewer| viewer.heard + EXPIRY)
            .min();
    }

    fn evaluate_soon(&mut self, now: Instant) {
        let at = self
            .evaluated
            .map_or(now, |evaluated| now.max(evaluated + EVALUATION_INTERVAL));
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn viewers_limit(&self) -> Bitrate {
        let limits = self.viewers.values().map(Viewer::limit);
        let limit = match self.policy {
            ViewerPolicy::Slowest => limits.min(),
            ViewerPolicy::Fastest => limits.max(),
            ViewerPolicy::Median => median(limits.collect()),
        };
        limit.unwrap_or(Bitrate::MAX)
    }
}

fn median(mut limits: Vec<Bitrate>) -> Option<Bitrate> {
    let middle = limits.len().checked_sub(1)? / 2;
    let (_, median, _) = limits.select_nth_unstable(middle);
    Some(*median)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: BitrateBounds = BitrateBounds {
        min: Bitrate::from_kbps(500),
        max: Bitrate::from_kbps(5000),
    };
    const SECOND: Duration = Duration::from_secs(1);

    fn viewer(number: u32) -> ViewerId {
        format!("00000000-0000-4000-8000-0000{number:08x}")
            .parse()
            .unwrap()
    }

    fn remb(kbps: u64) -> ViewerReport {
        ViewerReport {
            remb: Some(Bitrate::from_kbps(kbps)),
            fraction_lost: None,
        }
    }

    fn loss(fraction: u8) -> ViewerReport {
        ViewerReport {
            remb: None,
            fraction_lost: Some(fraction),
        }
    }

    fn with_rembs(policy: ViewerPolicy, now: Instant, kbps: &[u64]) -> u64 {
        let mut bandwidth = BandwidthPolicy::new(BOUNDS, policy);
        for (number, kbps) in (0..).zip(kbps) {
            bandwidth.set_viewer_report(now, viewer(number), remb(*kbps));
        }
        bandwidth.handle_timeout(now);
        bandwidth.target().as_kbps()
    }

    #[test]
    fn nobody_watches_full_rate() {
        let bandwidth = BandwidthPolicy::new(BOUNDS, ViewerPolicy::default());
        assert_eq!(bandwidth.target(), BOUNDS.max);
    }

    #[test]
    fn the_policy_chooses_whose_limit_counts() {
        let now = Instant::now();
        let kbps = [3000, 800, 2000, 1000];
        assert_eq!(with_rembs(ViewerPolicy::Slowest, now, &kbps), 800);
        assert_eq!(with_rembs(ViewerPolicy::Median, now, &kbps), 1000);
        assert_eq!(with_rembs(ViewerPolicy::Fastest, now, &kbps), 3000);
        assert_eq!(with_rembs(ViewerPolicy::Median, now, &kbps[..3]), 2000);
    }

    #[test]
    fn the_bounds_hold() {
        let now = Instant::now();
        assert_eq!(with_rembs(ViewerPolicy::Slowest, now, &[1]), 500);
        assert_eq!(with_rembs(ViewerPolicy::Slowest, now, &[u64::MAX]), 5000);
        let crossed = BitrateBounds {
            min: Bitrate::from_kbps(900),
            max: Bitrate::from_kbps(600),
        };
        assert_eq!(crossed.clamp(Bitrate::ZERO), crossed.max);
    }

    #[test]
    fn loss_that_remb_does_not_show_lowers_the_target_and_its_end_raises_it() {
        let mut now = Instant::now();
        let mut bandwidth = BandwidthPolicy::new(BOUNDS, ViewerPolicy::Median);
        let mut after = |fraction: u8, seconds: u32| {
            for _ in 0..seconds {
                now += SECOND;
                let report = ViewerReport {
                    fraction_lost: Some(fraction),
                    ..remb(9000)
                };
                bandwidth.set_viewer_report(now, viewer(1), report);
                bandwidth.handle_timeout(now);
            }
            bandwidth.target().as_kbps()
        };
        assert_eq!(after(51, 1), 4501, "20 % loss takes 10 %");
        assert_eq!(after(51, 1), 4053);
        assert_eq!(after(13, 10), 4053, "5 % holds");
        let raised = after(0, 1);
        assert!((4350..4400).contains(&raised), "8 % up: {raised}");
        assert_eq!(after(0, 10), 5000);
        assert_eq!(after(255, 60), 500, "never below the bound");
    }

    #[test]
    fn one_burst_of_loss_counts_once() {
        let start = Instant::now();
        let mut bandwidth = BandwidthPolicy::new(BOUNDS, ViewerPolicy::Median);
        for report in 0..10 {
            let now = start + Duration::from_millis(20) * report;
            bandwidth.set_viewer_report(now, viewer(1), loss(51));
            bandwidth.handle_timeout(now);
        }
        bandwidth.handle_timeout(start + SECOND);
        assert_eq!(bandwidth.target().as_kbps(), 4501);
    }

    #[test]
    fn upstream_loss_counts_without_any_viewer() {
        let now = Instant::now();
        let mut bandwidth = BandwidthPolicy::new(BOUNDS, ViewerPolicy::Median);
        bandwidth.on_upstream_loss(now, 128);
        bandwidth.handle_timeout(now);
        assert_eq!(bandwidth.target().as_kbps(), 3750);
        bandwidth.forget_upstream(now + SECOND);
        bandwidth.handle_timeout(now + SECOND);
        assert_eq!(bandwidth.target(), BOUNDS.max);
    }

    #[test]
    fn viewers_without_a_word_lose_their_say() {
        let now = Instant::now();
        let mut bandwidth = BandwidthPolicy::new(BOUNDS, ViewerPolicy::Slowest);
        bandwidth.set_viewer_report(now, viewer(1), remb(600));
        bandwidth.handle_timeout(now);
        assert_eq!(bandwidth.target().as_kbps(), 600);
        let expiry = bandwidth.poll_timeout().unwrap();
        assert_eq!(expiry, now + EXPIRY);
        bandwidth.handle_timeout(expiry);
        assert_eq!((bandwidth.target(), bandwidth.viewers()), (BOUNDS.max, 0));
        assert_eq!(bandwidth.poll_timeout(), None);
    }

    #[test]
    fn a_viewer_that_leaves_has_no_say() {
        let now = Instant::now();
        let mut bandwidth = BandwidthPolicy::new(BOUNDS, ViewerPolicy::Slowest);
        bandwidth.set_viewer_report(now, viewer(1), remb(600));
        bandwidth.handle_timeout(now);
        bandwidth.remove_viewer(now, viewer(1));
        let due = bandwidth.poll_timeout().unwrap();
        assert_eq!(due, now + EVALUATION_INTERVAL, "not at each report");
        bandwidth.handle_timeout(due);
        assert_eq!(bandwidth.target(), BOUNDS.max);
    }

    #[test]
    fn h26_the_number_of_viewers_is_bounded() {
        let now = Instant::now();
        let mut bandwidth = BandwidthPolicy::new(BOUNDS, ViewerPolicy::Median);
        for number in 0..MAX_VIEWERS as u32 + 10 {
            bandwidth.set_viewer_report(now, viewer(number), remb(600));
        }
        assert_eq!(bandwidth.viewers(), MAX_VIEWERS);
    }
}
