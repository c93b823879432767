//! Logins that were begun and did not come back yet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use url::Url;

use crate::secret::Secret;

/// How long a login may take at the provider.
pub const LIFETIME: Duration = Duration::from_secs(600);
/// Most logins that are under way; one more takes the place of the oldest. Strangers begin them, each address no faster
/// than `http.requests_per_second`.
const MOST: usize = 10_000;

/// A login that was begun.
#[derive(Debug)]
pub(super) struct Login {
    /// What the browser that began it must show.
    pub(super) browser: Secret,
    /// What the ID token must hold.
    pub(super) nonce: String,
    /// What the code is worthless without (RFC 7636).
    pub(super) verifier: Secret,
    /// Where it comes back to.
    pub(super) callback: Url,
    /// Where it ends.
    pub(super) return_to: String,
    pub(super) begun: Instant,
}

/// By their states.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<HashMap<String, Login>>);

impl Pending {
    pub(super) fn add(&self, state: String, login: Login) {
        let mut logins = self.lock();
        if logins.len() >= MOST {
            let now = login.begun;
            logins.retain(|_, login| is_fresh(login, now));
        }
        if logins.len() >= MOST
            && let Some(oldest) = logins.iter().min_by_key(|(_, login)| login.begun)
        {
            let oldest = oldest.0.clone();
            logins.remove(&oldest);
        }
        logins.insert(state, login);
    }

    /// Takes a login out, if it is the browser's that asks: a stranger who knows the state does not end it.
    pub(super) fn take(
        &self,
        state: &str,
        now: Instant,
        is_theirs: impl FnOnce(&Login) -> bool,
    ) -> Option<Login> {
        let mut logins = self.lock();
        if !is_theirs(logins.get(state)?) {
            return None;
        }
        logins.remove(state).filter(|login| is_fresh(login, now))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Login>> {
        // Each entry is whole by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(login: &Login, now: Instant) -> bool {
    now.saturating_duration_since(login.begun) < LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(begun: Instant) -> Login {
        Login {
            browser: Secret::new("browser"),
            nonce: String::new(),
            verifier: Secret::new("verifier"),
            callback: Url::parse("http://127.0.0.1/callback").unwrap(),
            return_to: "/".to_owned(),
            begun,
        }
    }

    #[test]
    fn a_login_comes_back_once_in_time_and_to_its_browser() {
        let (pending, now) = (Pending::default(), Instant::now());
        pending.add("a".to_owned(), login(now));
        pending.add("b".to_owned(), login(now));
        assert!(pending.take("a", now, |_| false).is_none());
        let before = LIFETIME - Duration::from_secs(1);
        assert!(pending.take("a", now + before, |_| true).is_some());
        assert!(pending.take("a", now, |_| true).is_none(), "once");
        assert!(
            pending.take("b", now + LIFETIME, |_| true).is_none(),
            "in time"
        );
        assert!(pending.take("c", now, |_| true).is_none());
    }

    #[test]
    fn those_under_way_are_bounded() {
        let (pending, now) = (Pending::default(), Instant::now());
        for i in 0..MOST + 10 {
            let begun = now + Duration::from_millis(i as u64);
            pending.add(i.to_string(), login(begun));
        }
        assert_eq!(pending.lock().len(), MOST);
        assert!(!pending.lock().contains_key("9"));
        pending.add("late".to_owned(), login(now + 2 * LIFETIME));
        assert_eq!(pending.lock().len(), 1, "those that are over go first");
    }
}
