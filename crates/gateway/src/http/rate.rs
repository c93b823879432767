//! How much one user, or one address of somebody unknown, may ask in how much time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use apiary_store::{ShareId, UserId};
use axum::http::StatusCode;

use super::allowance::{Allowance, Rate};
use super::error::ApiError;
use super::serving::site_of;
use crate::auth::Who;
use crate::reason::{Code, Reason};

/// Requests that may come at once, in seconds of their rate: a page loads a dozen files, a dashboard asks each two seconds.
const REQUESTS_BURST_S: u32 = 4;
/// Joins that may come at once, in seconds of their rate: a wall of cameras joins all of them.
const JOINS_BURST_S: u32 = 10;
/// Those that are remembered; who asked long ago is forgotten first.
const MOST_REMEMBERED: usize = 20_000;

/// Whom a limit counts together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Asking {
    User(UserId),
    Guest(ShareId),
    Site(IpAddr),
    Signed(String),
}

/// The limits of requests and of joins.
#[derive(Debug)]
pub(super) struct RateLimits {
    requests: Limit,
    joins: Limit,
}

#[derive(Debug)]
struct Limit {
    /// None: as much as anybody wants.
    rate: Option<Rate>,
    allowances: Mutex<HashMap<Asking, Allowance>>,
}

impl RateLimits {
    /// Both a second; 0 for no limit.
    pub(super) fn new(requests_per_second: u32, joins_per_second: u32) -> Self {
        Self {
            requests: Limit::new(requests_per_second, REQUESTS_BURST_S),
            joins: Limit::new(joins_per_second, JOINS_BURST_S),
        }
    }

    /// One more request.
    ///
    /// # Errors
    /// 429, where it is one too many.
    pub(super) fn request(&self, who: Option<&Who>, ip: Option<IpAddr>) -> Result<(), ApiError> {
        self.requests.take(who, ip, Instant::now())
    }

    /// One more viewer that wants to join.
    ///
    /// # Errors
    /// 429, where it is one too many.
    pub(super) fn join(&self, who: &Who, ip: Option<IpAddr>) -> Result<(), ApiError> {
        self.joins.take(Some(who), ip, Instant::now())
    }
}

impl Limit {
    fn new(per_second: u32, burst_s: u32) -> Self {
        Self {
            rate: (per_second > 0).then_some(Rate {
                per_second,
                burst: per_second.saturating_mul(burst_s),
            }),
            allowances: Mutex::default(),
        }
    }

    fn take(&self, who: Option<&Who>, ip: Option<IpAddr>, now: Instant) -> Result<(), ApiError> {
        let (Some(rate), Some(asking)) = (self.rate, asking(who, ip)) else {
            return Ok(());
        };
        let mut allowances = self
            .allowances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if allowances.len() >= MOST_REMEMBERED && !allowances.contains_key(&asking) {
            allowances.retain(|_, allowance| !allowance.is_full(now));
        }
        if allowances.len() >= MOST_REMEMBERED && !allowances.contains_key(&asking) {
            return Ok(()); // more ask than can be remembered: the bounds of connections must do
        }
        let allowance = allowances
            .entry(asking)
            .or_insert_with(|| Allowance::full(now));
        if allowance.take(now, 1, rate) {
            return Ok(());
        }
        let message = "too much was asked in too short a time; try again in a second";
        let reason = Reason::new(Code::TooFast, message);
        Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, reason).retry_after(Duration::ZERO))
    }
}

/// Nobody in particular on this machine is not limited: a proxy brings everybody from there.
fn asking(who: Option<&Who>, ip: Option<IpAddr>) -> Option<Asking> {
    match who {
        Some(Who::Login(user, _) | Who::Token(user, _)) => Some(Asking::User(*user)),
        Some(Who::Signed(token)) => Some(Asking::Signed(token.subject.clone())),
        Some(Who::Share(share)) => Some(Asking::Guest(*share)),
        Some(Who::Anybody) | None => {
            let site = site_of(ip?);
            (!site.is_loopback()).then_some(Asking::Site(site))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn each_has_an_allowance_of_their_own() {
        let limit = Limit::new(2, 3);
        let now = Instant::now();
        let takes =
            |who: Option<&Who>, ip| (0..20).filter(|_| limit.take(who, ip, now).is_ok()).count();
        assert_eq!(takes(None, of("192.0.2.1")), 6, "a burst");
        assert_eq!(takes(None, of("::ffff:192.0.2.1")), 0, "the same address");
        assert_eq!(takes(None, of("2001:db8::1")), 6);
        assert_eq!(takes(None, of("2001:db8::2")), 0, "the same site");
        assert_eq!(takes(None, of("127.0.0.1")), 20);
        assert_eq!(takes(None, None), 20);
        let user = UserId::random();
        let browser = Who::Login(user, apiary_store::LoginId::random());
        let program = Who::Token(user, apiary_store::TokenId::random());
        assert_eq!(takes(Some(&browser), of("127.0.0.1")), 6);
        assert_eq!(takes(Some(&program), of("192.0.2.9")), 0, "the same user");
        let guest = Who::Share(ShareId::random());
        assert_eq!(takes(Some(&guest), of("192.0.2.1")), 6);
        let later = now + Duration::from_secs(1);
        let again = (0..20).filter(|_| limit.take(None, of("192.0.2.1"), later).is_ok());
        assert_eq!(again.count(), 2, "what comes back in a second");
        assert_eq!(Limit::new(0, 3).rate.map(|_| ()), None);
    }

    #[test]
    fn a_flood_of_addresses_fills_no_memory() {
        let limit = Limit::new(1, 1);
        let now = Instant::now();
        for host in 0..u32::try_from(MOST_REMEMBERED).unwrap() + 1000 {
            let ip = IpAddr::from((0x0a00_0000 + host).to_be_bytes());
            limit.take(None, Some(ip), now).unwrap();
        }
        assert_eq!(limit.allowances.lock().unwrap().len(), MOST_REMEMBERED);
        let later = now + Duration::from_secs(10);
        limit.take(None, of("192.0.2.1"), later).unwrap();
        assert_eq!(
            limit.allowances.lock().unwrap().len(),
            1,
            "the others are forgotten"
        );
    }
}
