//! The last messages, numbered, for all sockets together.

use std::collections::VecDeque;

use apiary_store::CameraScope;
use apiary_wire::id::CameraId;
use axum::extract::ws::Utf8Bytes;

use crate::auth::Principal;

/// Most messages that are kept.
const MESSAGES: usize = 4096;
/// Most octets that they may have together.
const OCTETS: usize = 4 * 1024 * 1024;

/// Whom a message concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// All who may see this camera.
    WhoSee(CameraId),
    /// Those of them who have an account.
    UsersWhoSee(CameraId),
    /// All who have an account.
    Users,
    /// All who have a share link alone.
    Guests,
}

impl Audience {
    pub(super) fn includes(self, asker: &Principal) -> bool {
        match self {
            Self::WhoSee(camera) => asker.may_watch(camera),
            Self::UsersWhoSee(camera) => !asker.is_guest() && asker.may_watch(camera),
            Self::Users => !asker.is_guest(),
            Self::Guests => asker.is_guest(),
        }
    }
}

/// A message; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) number: u64,
    pub(super) audience: Audience,
    /// How often rights had changed when it was made.
    rights: u64,
    pub(super) text: Utf8Bytes,
}

/// What followed that place is not there any more, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooOld;

/// See the module. Numbers begin with 1 and have no gaps.
#[derive(Debug, Default)]
pub(super) struct Ring {
    messages: VecDeque<Message>,
    octets: usize,
    latest: u64,
}

impl Ring {
    pub(super) fn next_number(&self) -> u64 {
        self.latest + 1
    }

    pub(super) fn latest(&self) -> u64 {
        self.latest
    }

    /// Takes one more; the oldest make room.
    pub(super) fn push(&mut self, audience: Audience, rights: u64, text: Utf8Bytes) {
        self.latest += 1;
        self.octets += text.len();
        self.messages.push_back(Message {
            number: self.latest,
            audience,
            rights,
            text,
        });
        while self.messages.len() > MESSAGES || self.octets > OCTETS {
            let Some(oldest) = self.messages.pop_front() else {
                return;
            };
            self.octets -= oldest.text.len();
        }
    }

    /// Up to `limit` messages behind that place.
    pub(super) fn after(&self, place: u64, limit: usize) -> Result<Vec<Message>, TooOld> {
        let oldest = self.next_number() - self.messages.len() as u64;
        if place > self.latest || place + 1 < oldest {
            return Err(TooOld);
        }
        let known = usize::try_from(place + 1 - oldest).map_err(|_| TooOld)?;
        Ok(self.messages.range(known..).take(limit).cloned().collect())
    }

    /// Whether somebody who has seen all up to that place can go on from it. Where rights have changed since, even somebody
    /// else's, what they see may be another choice of cameras.
    pub(super) fn resumes(&self, place: u64, rights: u64) -> bool {
        let seen = place.checked_sub(1).map(|before| self.after(before, 1));
        matches!(seen, Some(Ok(seen)) if seen.first().is_some_and(|seen| seen.rights == rights))
    }
}

/// Which cameras are in one of two scopes and not in the other.
pub(super) fn only_in<'a>(
    one: &'a CameraScope,
    other: &'a CameraScope,
) -> impl Fn(CameraId) -> bool + 'a {
    |camera| one.contains(camera) && !other.contains(camera)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: usize, octets: usize) -> Ring {
        let mut ring = Ring::default();
        for _ in 0..count {
            ring.push(Audience::Users, 7, "x".repeat(octets).into());
        }
        ring
    }

    fn numbers(ring: &Ring, place: u64) -> Result<Vec<u64>, TooOld> {
        let messages = ring.after(place, 10)?;
        Ok(messages.iter().map(|message| message.number).collect())
    }

    #[test]
    fn what_followed_a_place_is_given_without_gaps() {
        let ring = filled(5, 1);
        assert_eq!(numbers(&ring, 0), Ok(vec![1, 2, 3, 4, 5]));
        assert_eq!(numbers(&ring, 3), Ok(vec![4, 5]));
        assert_eq!(numbers(&ring, 5), Ok(vec![]));
        assert_eq!(numbers(&ring, 6), Err(TooOld), "not of this run");
        assert_eq!(ring.after(0, 2).map(|all| all.len()), Ok(2));
        assert_eq!(numbers(&Ring::default(), 0), Ok(vec![]));
    }

    #[test]
    fn it_is_bounded_in_messages_and_in_octets() {
        let ring = filled(MESSAGES + 3, 1);
        assert_eq!(ring.messages.len(), MESSAGES);
        assert_eq!(numbers(&ring, 2), Err(TooOld));
        assert_eq!(ring.after(3, 1).unwrap()[0].number, 4);
        let ring = filled(10, OCTETS / 3);
        assert_eq!(numbers(&ring, 7), Ok(vec![8, 9, 10]));
        assert_eq!(numbers(&ring, 6), Err(TooOld));
        assert!(ring.octets <= OCTETS);
    }

    #[test]
    fn a_place_counts_while_it_is_there_and_rights_are_as_they_were() {
        let mut ring = filled(3, 1);
        assert!(ring.resumes(3, 7) && ring.resumes(1, 7));
        assert!(!ring.resumes(3, 8), "rights have changed");
        assert!(!ring.resumes(0, 7) && !ring.resumes(4, 7) && !ring.resumes(u64::MAX, 7));
        ring.push(Audience::Guests, 8, Utf8Bytes::default());
        assert!(ring.resumes(4, 8) && !ring.resumes(3, 8));
    }
}
