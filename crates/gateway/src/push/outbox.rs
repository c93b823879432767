//! What waits to be sent, and when it is. Time is an argument; nothing is sent here.
//!
//! - A browser is told of one kind of thing at one camera at most once in [`QUIET_AFTER`]; more is dropped.
//! - What still waits when the like happens again says the newer from then on.
//! - What fails is tried again after growing pauses, or after what the push service asks for, until it is too old.

use std::collections::HashMap;
use std::time::Duration;

use apiary_store::{PushKind, SubscriptionId};
use apiary_wire::id::CameraId;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::counts::{self, Counts};
use super::note::Note;
use crate::backoff::Backoff;

/// For so long after one message there is no other of its kind.
const QUIET_AFTER: Duration = Duration::from_secs(60);
/// Most messages that wait; one more is dropped.
const MAX_WAITING: usize = 4096;
/// Most attempts at once.
const MAX_UNDER_WAY: usize = 16;
/// Attempts after which a message is given up.
const MAX_ATTEMPTS: u32 = 8;
/// The first pause after an attempt that failed.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest, where the push service asks for none.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The longest that a push service may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// What there is at most one message of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) subscription: SubscriptionId,
    pub(super) camera: CameraId,
    pub(super) kind: PushKind,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The push service took it.
    Taken,
    /// It may take it later, after this time where it says so.
    Later(Option<Duration>),
    /// It will never take it, or it is not to be sent any more.
    Never(&'static str),
}

struct Waiting {
    note: Note,
    /// None while an attempt is under way.
    due: Option<Instant>,
    expires: Instant,
    attempts: u32,
    backoff: Backoff,
}

/// A message whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) slot: Slot,
    pub(super) note: Note,
    /// For how long it is still of interest, in seconds.
    pub(super) ttl_s: u64,
}

/// See the module.
pub(super) struct Outbox {
    waiting: HashMap<Slot, Waiting>,
    /// When the last message of each kind came.
    last: HashMap<Slot, Instant>,
    under_way: usize,
    random: StdRng,
}

impl Outbox {
    pub(super) fn new(random: StdRng) -> Self {
        Self {
            waiting: HashMap::new(),
            last: HashMap::new(),
            under_way: 0,
            random,
        }
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a message, to be sent after `delay`; or says why not.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        subscription: SubscriptionId,
        note: &Note,
        delay: Duration,
    ) -> Result<(), &'static str> {
        let slot = Slot {
            subscription,
            camera: note.camera,
            kind: note.kind,
        };
        let expires = now + Duration::from_secs(note.ttl_s().into());
        if let Some(waiting) = self.waiting.get_mut(&slot)
            && waiting.due.is_some()
        {
            waiting.note = note.clone();
            waiting.expires = expires;
            // What has to last before it is told begins anew.
            if waiting.attempts == 0 && !delay.is_zero() {
                waiting.due = Some(now + delay);
            }
            return Ok(());
        }
        self.last.retain(|_, last| now < *last + QUIET_AFTER);
        if self.last.contains_key(&slot) || self.waiting.contains_key(&slot) {
            return Err(counts::TOO_OFTEN);
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(counts::QUEUE_FULL);
        }
        self.last.insert(slot, now);
        let waiting = Waiting {
            note: note.clone(),
            due: Some(now + delay),
            expires,
            attempts: 0,
            backoff: Backoff::between(FIRST_PAUSE, LONGEST_PAUSE),
        };
        self.waiting.insert(slot, waiting);
        Ok(())
    }

    /// The next message whose time has come; it is under way from now on, until [`Outbox::settle`].
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<Due> {
        if self.under_way >= MAX_UNDER_WAY {
            return None;
        }
        let due = |waiting: &Waiting| waiting.due.filter(|due| *due <= now);
        let next = self.waiting.iter_mut();
        let (slot, waiting) = next
            .filter(|(_, waiting)| due(waiting).is_some())
            .min_by_key(|(_, waiting)| waiting.due)?;
        waiting.due = None;
        waiting.attempts += 1;
        self.under_way += 1;
        Some(Due {
            slot: *slot,
            note: waiting.note.clone(),
            ttl_s: waiting.expires.saturating_duration_since(now).as_secs(),
        })
    }

    /// When the next message is due; `None` while none waits, or as many as may be are under way.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.under_way >= MAX_UNDER_WAY {
            return None;
        }
        self.waiting
            .values()
            .filter_map(|waiting| waiting.due)
            .min()
    }

    /// An attempt has ended.
    pub(super) fn settle(&mut self, now: Instant, slot: Slot, outcome: Outcome, counts: &Counts) {
        self.under_way = self.under_way.saturating_sub(1);
        let after = match outcome {
            Outcome::Taken => {
                counts.sent.add_one();
                self.waiting.remove(&slot);
                return;
            }
            Outcome::Never(why) => {
                counts.dropped.count(why);
                self.waiting.remove(&slot);
                return;
            }
            Outcome::Later(after) => after,
        };
        let Some(waiting) = self.waiting.get_mut(&slot) else {
            return;
        };
        let own = waiting.backoff.pause(&mut self.random);
        let pause = after.map_or(own, |after| after.min(LONGEST_ASKED).max(own));
        if waiting.attempts >= MAX_ATTEMPTS {
            counts.dropped.count(counts::REFUSED);
            self.waiting.remove(&slot);
        } else if now + pause >= waiting.expires {
            counts.dropped.count(counts::TOO_OLD);
            self.waiting.remove(&slot);
        } else {
            waiting.due = Some(now + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rand::SeedableRng as _;
    use uuid::Uuid;

    use super::*;

    const PHONE: SubscriptionId = SubscriptionId(Uuid::nil());
    const CAMERA: CameraId = CameraId::from_bytes([7; 16]);

    struct Rig {
        outbox: Outbox,
        counts: Counts,
        now: Instant,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                outbox: Outbox::new(StdRng::seed_from_u64(1)),
                counts: Counts::default(),
                now: Instant::now(),
            }
        }

        fn offer(&mut self, note: &Note) -> Result<(), &'static str> {
            self.outbox.offer(self.now, PHONE, note, Duration::ZERO)
        }

        fn due(&mut self) -> Option<Due> {
            self.outbox.poll_due(self.now)
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        /// The next attempt, as soon as it is due; and what comes of it.
        fn attempt(&mut self, outcome: Outcome) -> Option<Duration> {
            let at = self.outbox.poll_timeout()?;
            let waited = at.saturating_duration_since(self.now);
            self.now = self.now.max(at);
            let due = self.due().expect("its time has come");
            self.outbox
                .settle(self.now, due.slot, outcome, &self.counts);
            Some(waited)
        }

        fn dropped(&self) -> Vec<(&'static str, u64)> {
            let counts = self.counts.dropped.counts();
            counts.filter(|(_, count)| *count > 0).collect()
        }
    }

    fn note(camera: u8, kind: PushKind, second: i64) -> Note {
        Note {
            camera: CameraId::from_bytes([camera; 16]),
            kind,
            activity: None,
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn a_camera_is_told_of_once_a_minute_and_each_kind_apart() {
        let mut rig = Rig::new();
        let motion = note(7, PushKind::Motion, 1);
        assert_eq!(motion.camera, CAMERA);
        assert_eq!(rig.offer(&motion), Ok(()));
        let due = rig.due().unwrap();
        assert_eq!((&due.note, due.ttl_s), (&motion, 3600));
        assert_eq!(rig.offer(&motion), Err(counts::TOO_OFTEN), "under way");
        rig.outbox
            .settle(rig.now, due.slot, Outcome::Taken, &rig.counts);
        rig.pass(59);
        assert_eq!(rig.offer(&motion), Err(counts::TOO_OFTEN));
        assert_eq!(rig.offer(&note(7, PushKind::Person, 1)), Ok(()));
        assert_eq!(rig.offer(&note(8, PushKind::Motion, 1)), Ok(()));
        let other = SubscriptionId(Uuid::from_u128(1));
        let offered = rig.outbox.offer(rig.now, other, &motion, Duration::ZERO);
        assert_eq!(offered, Ok(()));
        rig.pass(1);
        assert_eq!(rig.offer(&motion), Ok(()));
        assert_eq!(rig.outbox.len(), 4);
        assert_eq!(rig.counts.sent.get(), 1);
    }

    #[test]
    fn what_waits_says_the_newest() {
        let mut rig = Rig::new();
        rig.offer(&note(7, PushKind::Motion, 1)).unwrap();
        assert!(rig.attempt(Outcome::Later(None)).is_some());
        rig.offer(&note(7, PushKind::Motion, 2)).unwrap();
        assert_eq!(rig.outbox.len(), 1);
        rig.pass(2);
        assert_eq!(rig.due().unwrap().note, note(7, PushKind::Motion, 2));
        assert_eq!(rig.due(), None);
    }

    #[test]
    fn what_has_to_last_begins_anew_when_it_happens_again() {
        let mut rig = Rig::new();
        let minute = Duration::from_secs(60);
        let offline = |rig: &mut Rig, second| {
            let note = note(7, PushKind::Offline, second);
            rig.outbox.offer(rig.now, PHONE, &note, minute).unwrap();
        };
        offline(&mut rig, 1);
        rig.pass(55);
        offline(&mut rig, 56);
        rig.pass(59);
        assert_eq!(rig.due(), None);
        rig.pass(1);
        assert_eq!(rig.due().unwrap().note, note(7, PushKind::Offline, 56));
    }

    #[test]
    fn pauses_grow_and_in_the_end_it_is_given_up() {
        let mut rig = Rig::new();
        rig.offer(&note(7, PushKind::Offline, 1)).unwrap();
        let mut pauses = Vec::new();
        while let Some(waited) = rig.attempt(Outcome::Later(None)) {
            pauses.push(waited);
        }
        assert_eq!(pauses.len(), 8, "{pauses:?}");
        assert_eq!(pauses[0], Duration::ZERO);
        assert!(pauses[7] > 10 * pauses[1], "{pauses:?}");
        assert_eq!(rig.dropped(), [("refused", 1)]);
        assert_eq!(rig.outbox.len(), 0);
    }

    #[test]
    fn a_push_service_says_when_to_come_back_within_reason() {
        let mut rig = Rig::new();
        rig.offer(&note(7, PushKind::Offline, 1)).unwrap();
        rig.attempt(Outcome::Later(Some(Duration::from_secs(900))));
        let waited = rig.attempt(Outcome::Later(Some(Duration::MAX)));
        assert_eq!(waited, Some(Duration::from_secs(900)));
        let waited = rig.attempt(Outcome::Later(Some(Duration::ZERO)));
        assert_eq!(waited, Some(LONGEST_ASKED));
        assert!(rig.attempt(Outcome::Taken) > Some(Duration::ZERO));
        // What nobody is interested in any more by then is not sent.
        rig.offer(&note(7, PushKind::Motion, 1)).unwrap();
        rig.attempt(Outcome::Later(Some(Duration::from_secs(3600))));
        assert_eq!(rig.dropped(), [("too_old", 1)]);
        assert_eq!(rig.outbox.poll_timeout(), None);
    }

    #[test]
    fn a_delay_is_waited_for() {
        let mut rig = Rig::new();
        let offline = note(7, PushKind::Offline, 1);
        let delay = Duration::from_secs(60);
        rig.outbox.offer(rig.now, PHONE, &offline, delay).unwrap();
        assert_eq!(rig.due(), None);
        assert_eq!(rig.outbox.poll_timeout(), Some(rig.now + delay));
        rig.pass(60);
        assert!(rig.due().is_some());
    }

    #[test]
    fn neither_what_waits_nor_what_is_under_way_is_without_bound() {
        let mut rig = Rig::new();
        let motion = note(7, PushKind::Motion, 1);
        let offers = (0..=MAX_WAITING).map(|number| {
            let browser = SubscriptionId(Uuid::from_u128(u128::try_from(number).unwrap()));
            let offered = rig.outbox.offer(rig.now, browser, &motion, Duration::ZERO);
            offered.is_err()
        });
        assert_eq!(offers.filter(|refused| *refused).count(), 1);
        let mut slots = Vec::new();
        while let Some(due) = rig.due() {
            slots.push(due.slot);
        }
        assert_eq!(slots.len(), MAX_UNDER_WAY);
        assert_eq!(rig.outbox.poll_timeout(), None);
        rig.outbox
            .settle(rig.now, slots[0], Outcome::Never("refused"), &rig.counts);
        assert!(rig.outbox.poll_timeout().is_some());
        assert!(rig.due().is_some());
        assert_eq!(rig.outbox.len(), MAX_WAITING - 1);
    }
}
