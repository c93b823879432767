//! Slows down who guesses passwords, per account and per address, without locking anybody out for good.
//!
//! An attempt counts as failed when it begins, so that a thousand at once count a thousand times; a success takes its
//! account's count back. Whoever comes from an address at which the account was logged in before is slowed by the address
//! alone: a stranger cannot keep the owner out.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures of one account that cost nothing.
const FREE_PER_ACCOUNT: u32 = 5;
/// Failures from one address that cost nothing: a household has one address.
const FREE_PER_ADDRESS: u32 = 15;
/// The wait after the first failure that costs; doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Failures are forgotten after this time without a new one.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(900);
/// Accounts and addresses that are remembered, each; beyond that, the one that failed longest ago is forgotten.
const REMEMBERED: usize = 20_000;

/// Counts failures. Time is an argument.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    accounts: HashMap<String, Failures>,
    addresses: HashMap<IpAddr, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

/// A try to log in.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The name, in small letters.
    pub account: &'a str,
    /// From where, where that is known.
    pub address: Option<IpAddr>,
    /// The account was logged in at this address before.
    pub known_address: bool,
}

impl Throttle {
    /// Lets an attempt begin, or says how long to wait.
    ///
    /// # Errors
    /// The time after which it may be tried.
    pub fn begin(&self, now: Instant, attempt: Attempt<'_>) -> Result<(), Duration> {
        let mut tables = self.lock();
        let account = tables.accounts.get(attempt.account);
        let address = attempt
            .address
            .and_then(|address| tables.addresses.get(&network(address)));
        let by_account = account
            .filter(|_| !attempt.known_address)
            .map_or(Duration::ZERO, |failures| {
                failures.wait(FREE_PER_ACCOUNT, now)
            });
        let by_address = address.map_or(Duration::ZERO, |failures| {
            failures.wait(FREE_PER_ADDRESS, now)
        });
        let wait = by_account.max(by_address);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        count(&mut tables.accounts, attempt.account.to_owned(), now);
        if let Some(address) = attempt.address {
            count(&mut tables.addresses, network(address), now);
        }
        Ok(())
    }

    /// The attempt that began was the right one.
    pub fn succeeded(&self, attempt: Attempt<'_>) {
        let mut tables = self.lock();
        tables.accounts.remove(attempt.account);
        // Whoever has one account could wash an address clean of guesses at others: only this attempt is taken back.
        if let Some(failures) = attempt
            .address
            .and_then(|address| tables.addresses.get_mut(&network(address)))
        {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    /// A failure of an earlier run of the program.
    pub fn remember(&self, at: Instant, account: &str, address: Option<IpAddr>) {
        let mut tables = self.lock();
        count(&mut tables.accounts, account.to_owned(), at);
        if let Some(address) = address {
            count(&mut tables.addresses, network(address), at);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Each entry is whole by itself, so a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    fn wait(&self, free: u32, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.last);
        let Some(costly) = self
            .count
            .checked_sub(free)
            .filter(|_| since < FORGET_AFTER)
        else {
            return Duration::ZERO;
        };
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(costly));
        wait.min(LONGEST_WAIT).saturating_sub(since)
    }
}

fn count<K: Clone + Eq + Hash>(table: &mut HashMap<K, Failures>, key: K, now: Instant) {
    if table.len() >= REMEMBERED && !table.contains_key(&key) {
        let is_old = |failures: &Failures| now.saturating_duration_since(failures.last);
        table.retain(|_, failures| is_old(failures) < FORGET_AFTER);
        if table.len() >= REMEMBERED
            && let Some(oldest) = table.iter().min_by_key(|(_, failures)| failures.last)
        {
            let oldest = oldest.0.clone();
            table.remove(&oldest);
        }
    }
    let failures = table.entry(key).or_insert(Failures {
        count: 0,
        last: now,
    });
    if now.saturating_duration_since(failures.last) >= FORGET_AFTER {
        failures.count = 0;
    }
    failures.count = failures.count.saturating_add(1);
    failures.last = failures.last.max(now);
}

/// What one subscriber has: an IPv4 address, or 64 bits of an IPv6 one (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt<'a>(account: &'a str, address: &str) -> Attempt<'a> {
        Attempt {
            account,
            address: Some(address.parse().unwrap()),
            known_address: false,
        }
    }

    #[test]
    fn h07_an_account_is_slowed_whatever_the_address() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let mut begun = 0;
        for i in 0..1000_u32 {
            let address = format!("192.0.{}.{}", i / 250, i % 250);
            begun += u32::from(throttle.begin(now, attempt("queen", &address)).is_ok());
        }
        assert_eq!(begun, FREE_PER_ACCOUNT);
        assert!(throttle.begin(now, attempt("drone", "192.0.9.9")).is_ok());
        let owner = Attempt {
            known_address: true,
            ..attempt("queen", "198.51.100.1")
        };
        assert!(throttle.begin(now, owner).is_ok(), "the owner gets in");
    }

    #[test]
    fn h07_an_address_is_slowed_whatever_the_account() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let tried =
            |address: &str, i: u32| throttle.begin(now, attempt(&format!("bee{i}"), address));
        let begun = (0..100).filter(|i| tried("192.0.2.1", *i).is_ok()).count();
        assert_eq!(begun, FREE_PER_ADDRESS as usize);
        // One subscriber has a whole /64.
        let begun = (0..100)
            .filter(|i| tried(&format!("2001:db8::{i:x}"), 1000 + *i).is_ok())
            .count();
        assert_eq!(begun, FREE_PER_ADDRESS as usize);
        assert!(tried("2001:db8:0:1::1", 5000).is_ok());
    }

    #[test]
    fn waits_double_up_to_a_bound_and_are_forgotten() {
        let (throttle, mut now) = (Throttle::default(), Instant::now());
        for _ in 0..FREE_PER_ACCOUNT {
            throttle.begin(now, attempt("queen", "192.0.2.1")).unwrap();
        }
        let mut waits = Vec::new();
        for i in 0..12_u32 {
            let wait = throttle
                .begin(now, attempt("queen", &format!("192.0.3.{i}")))
                .unwrap_err();
            waits.push(wait.as_secs());
            now += wait;
            throttle
                .begin(now, attempt("queen", &format!("192.0.3.{i}")))
                .unwrap();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        now += FORGET_AFTER;
        for _ in 0..FREE_PER_ACCOUNT {
            throttle.begin(now, attempt("queen", "192.0.4.1")).unwrap();
        }
    }

    #[test]
    fn a_success_takes_the_account_back_but_not_the_address() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let mine = attempt("own", "192.0.2.1");
        for i in 0..FREE_PER_ADDRESS {
            throttle
                .begin(now, attempt(&format!("bee{i}"), "192.0.2.1"))
                .unwrap();
        }
        assert!(throttle.begin(now, mine).is_err());
        let later = now + FIRST_WAIT;
        throttle.begin(later, mine).unwrap();
        throttle.succeeded(mine);
        assert!(throttle.begin(later, attempt("bee0", "192.0.2.1")).is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for i in 0..REMEMBERED + 500 {
            throttle.remember(now + Duration::from_millis(i as u64), &i.to_string(), None);
        }
        assert_eq!(throttle.lock().accounts.len(), REMEMBERED);
        assert!(!throttle.lock().accounts.contains_key("0"));
    }
}
