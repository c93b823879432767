//! The connections that have not said who they are yet, and how many there may be.
//!
//! One too many does not keep others out: it takes the place of the oldest from its own address, or of the oldest of
//! all. Who is served soon is never old, so it is the idle ones that go.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Most such connections of one address (IPv6: of one /64, which one machine usually has). Loopback is this machine,
/// where thousands of simulated cameras may begin at once: only the other bound counts there.
const MAX_OF_ONE_ADDRESS: usize = 64;
/// Most such connections of all.
const MAX_OF_ALL: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct WaitingRoom {
    waiting: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// The oldest first.
    places: VecDeque<Place>,
}

#[derive(Debug)]
struct Place {
    number: u64,
    from: IpAddr,
    evicted: CancellationToken,
}

/// A place, until dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    room: Arc<WaitingRoom>,
    number: u64,
    evicted: CancellationToken,
}

impl WaitingRoom {
    /// Takes a place, making room where there is none.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Ticket {
        let from = neighbourhood(from);
        let evicted = CancellationToken::new();
        let mut queue = self.queue();
        let of_same = queue
            .places
            .iter()
            .filter(|place| place.from == from)
            .count();
        let oldest = if of_same >= MAX_OF_ONE_ADDRESS && !from.is_loopback() {
            queue.places.iter().position(|place| place.from == from)
        } else {
            (queue.places.len() >= MAX_OF_ALL).then_some(0)
        };
        if let Some(place) = oldest.and_then(|oldest| queue.places.remove(oldest)) {
            place.evicted.cancel();
        }
        let number = queue.next;
        queue.next += 1;
        queue.places.push_back(Place {
            number,
            from,
            evicted: evicted.clone(),
        });
        Ticket {
            room: Arc::clone(self),
            number,
            evicted,
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Done when the place was given to another connection.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queue = self.room.queue();
        queue.places.retain(|place| place.number != self.number);
    }
}

fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let network = u128::from(v6) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn h33_one_address_evicts_only_its_own() {
        let room = Arc::new(WaitingRoom::default());
        let other = room.enter(address("192.0.2.7"));
        let attackers: Vec<Ticket> = (0..10_000)
            .map(|_| room.enter(address("192.0.2.1")))
            .collect();
        let left = attackers
            .iter()
            .filter(|ticket| !ticket.evicted.is_cancelled());
        assert_eq!(left.count(), MAX_OF_ONE_ADDRESS);
        assert!(!other.evicted.is_cancelled());
        assert!(
            attackers[9_999].evicted.is_cancelled().eq(&false),
            "the newest is served"
        );
        drop(attackers);
        assert_eq!(
            room.queue().places.len(),
            1,
            "a dropped ticket frees its place"
        );
    }

    #[test]
    fn h33_a_network_of_attackers_is_bounded_too() {
        let room = Arc::new(WaitingRoom::default());
        let from = |i: u32| IpAddr::V4(std::net::Ipv4Addr::from(0x0a00_0000 + i));
        let attackers: Vec<Ticket> = (0..10_000).map(|i| room.enter(from(i))).collect();
        assert_eq!(room.queue().places.len(), MAX_OF_ALL);
        assert!(attackers[0].evicted.is_cancelled() && !attackers[9_999].evicted.is_cancelled());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let room = Arc::new(WaitingRoom::default());
        let from = |i: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, i, 2, 3, 4));
        let attackers: Vec<Ticket> = (0..1000).map(|i| room.enter(from(i))).collect();
        assert_eq!(room.queue().places.len(), MAX_OF_ONE_ADDRESS);
        drop(attackers);
        let mapped: Vec<Ticket> = (0..100)
            .map(|_| room.enter(address("::ffff:192.0.2.1")))
            .collect();
        assert_eq!(
            room.queue().places.len(),
            MAX_OF_ONE_ADDRESS,
            "{}",
            mapped.len()
        );
    }
}
