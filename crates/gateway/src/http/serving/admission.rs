//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// A household, or an attacker, has all of such a network (RFC 6177), so it counts as one address.
const IPV6_SITE_BITS: u32 = 64;

/// Counts connections.
#[derive(Debug)]
pub(super) struct Admission {
    most: usize,
    most_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why one more connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// There are as many as may be.
    All,
    /// Its address has as many as one may have.
    Address,
}

/// The place of one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(super) fn new(most: usize, most_per_address: usize) -> Self {
        Self {
            most,
            most_per_address,
            taken: Mutex::default(),
        }
    }

    /// Loopback is bounded with all others only: a proxy on this machine brings everybody from there.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Full> {
        let address = site_of(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.most {
            return Err(Full::All);
        }
        let of_address = taken.by_address.entry(address).or_default();
        if *of_address >= self.most_per_address && !address.is_loopback() {
            return Err(Full::Address);
        }
        *of_address += 1;
        taken.all += 1;
        Ok(Permit {
            admission: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self
            .admission
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one address.
pub(in crate::http) fn site_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let site = u128::MAX << (u128::BITS - IPV6_SITE_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & site))
        }
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(admission: &Arc<Admission>, address: &str) -> Result<Permit, Full> {
        admission.admit(address.parse().unwrap())
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let admission = Arc::new(Admission::new(4, 2));
        let first = admit(&admission, "192.0.2.1").unwrap();
        let _second = admit(&admission, "::ffff:192.0.2.1").unwrap();
        assert_eq!(admit(&admission, "192.0.2.1").unwrap_err(), Full::Address);
        let _other = admit(&admission, "192.0.2.2").unwrap();
        drop(first);
        let _again = admit(&admission, "192.0.2.1").unwrap();
        let _last = admit(&admission, "192.0.2.3").unwrap();
        assert_eq!(admit(&admission, "192.0.2.4").unwrap_err(), Full::All);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address_and_loopback_as_none() {
        let admission = Arc::new(Admission::new(9, 1));
        let _one = admit(&admission, "2001:db8::1").unwrap();
        assert_eq!(
            admit(&admission, "2001:db8::ffff:2").unwrap_err(),
            Full::Address
        );
        let _elsewhere = admit(&admission, "2001:db8:0:1::1").unwrap();
        let _loopback = [
            admit(&admission, "::1").unwrap(),
            admit(&admission, "::1").unwrap(),
            admit(&admission, "127.0.0.1").unwrap(),
            admit(&admission, "127.0.0.1").unwrap(),
        ];
    }

    #[test]
    fn nothing_is_remembered_of_those_who_left() {
        let admission = Arc::new(Admission::new(2, 2));
        for host in 0..100 {
            drop(admit(&admission, &format!("192.0.2.{host}")).unwrap());
        }
        let taken = admission.taken.lock().unwrap();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0));
    }
}
