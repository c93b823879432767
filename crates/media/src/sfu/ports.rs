//! The ports on which cameras send: which are free, and the sockets on those that are not.
//!
//! A camera gets four ports that follow each other: RTP and RTCP of video, RTP and RTCP of audio (RFC 3550 section 11:
//! RTP even, RTCP the next). What arrives there is not of interest here.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sys::bind_udp;

/// Ports of one camera.
const BLOCK: u16 = 4;
/// What an RTP socket holds while its thread is busy: at 5 Mbit/s over a second, with the kernel's overhead.
const RTP_RECEIVE_BUFFER: usize = 2 * 1024 * 1024;
/// What an RTCP socket holds: a few hundred reports.
const RTCP_RECEIVE_BUFFER: usize = 128 * 1024;
/// For feedback to the camera, a packet at a time.
const SEND_BUFFER: usize = 128 * 1024;

/// The free ports of a range, handed out in turn: ports that were just freed come last, so that a camera that was not
/// told to stop does not send into another's stream.
pub(crate) struct PortPairs {
    bind: IpAddr,
    range: RangeInclusive<u16>,
    free: Arc<Mutex<VecDeque<u16>>>,
}

/// Four bound sockets. Dropping them frees their ports.
#[derive(Debug)]
pub(crate) struct IngestSockets {
    pub(crate) video_rtp: UdpSocket,
    pub(crate) video_rtcp: UdpSocket,
    /// Shared with whoever talks to the camera.
    pub(crate) audio_rtp: Arc<UdpSocket>,
    pub(crate) audio_rtcp: UdpSocket,
    /// The port of video RTP; RTCP is the next.
    pub(crate) video_port: u16,
    /// The port of audio RTP; RTCP is the next.
    pub(crate) audio_port: u16,
    /// Last, because fields are dropped in order: the ports are free only once the sockets are closed.
    pub(crate) _lease: PortLease,
}

/// The claim to four ports; given back when dropped. Keep it as long as their sockets.
#[derive(Debug)]
pub(crate) struct PortLease {
    first: u16,
    free: Arc<Mutex<VecDeque<u16>>>,
}

/// Why there are no ports for one more camera.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReserveError {
    /// All of the range are in use, by cameras or by other programs.
    #[error(
        "no four free UDP ports are left between {} and {} for one more camera; widen the range or stop a stream",
        range.start(),
        range.end()
    )]
    Exhausted {
        /// The configured range.
        range: RangeInclusive<u16>,
    },
    /// A port is free and cannot be used all the same.
    #[error("cannot open UDP port {address} for a camera")]
    Io {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl PortPairs {
    /// All whole blocks of four ports in `range`, beginning at its first even port, on the address `bind`.
    pub(crate) fn new(bind: IpAddr, range: RangeInclusive<u16>) -> Self {
        // Port 0 is none.
        let first = u32::from(*range.start()).max(1).next_multiple_of(2);
        let last = u32::from(*range.end());
        let free = (first..=last)
            .step_by(usize::from(BLOCK))
            .filter(|first| first + u32::from(BLOCK) - 1 <= last)
            .filter_map(|first| u16::try_from(first).ok())
            .collect();
        Self {
            bind,
            range,
            free: Arc::new(Mutex::new(free)),
        }
    }

    /// Opens four sockets on the ports that have been free the longest. Ports that another program holds are passed
    /// over, and tried again when their turn comes.
    ///
    /// # Errors
    /// [`ReserveError::Exhausted`] when none are left; [`ReserveError::Io`] when the system refuses for another reason,
    /// as for an address that is not this machine's.
    pub(crate) fn reserve(&mut self) -> Result<IngestSockets, ReserveError> {
        let candidates = lock(&self.free).len();
        for _ in 0..candidates {
            let Some(first) = lock(&self.free).pop_front() else {
                break;
            };
            // Dropped on failure, which puts the ports last.
            let lease = PortLease {
                first,
                free: Arc::clone(&self.free),
            };
            match self.open(lease) {
                Err(ReserveError::Io { source, .. })
                    if source.kind() == io::ErrorKind::AddrInUse => {}
                result => return result,
            }
        }
        Err(ReserveError::Exhausted {
            range: self.range.clone(),
        })
    }

    fn open(&self, lease: PortLease) -> Result<IngestSockets, ReserveError> {
        let video_port = lease.first;
        let audio_port = video_port + 2;
        Ok(IngestSockets {
            video_rtp: self.bind(video_port, RTP_RECEIVE_BUFFER)?,
            video_rtcp: self.bind(video_port + 1, RTCP_RECEIVE_BUFFER)?,
            audio_rtp: Arc::new(self.bind(audio_port, RTP_RECEIVE_BUFFER)?),
            audio_rtcp: self.bind(audio_port + 1, RTCP_RECEIVE_BUFFER)?,
            video_port,
            audio_port,
            _lease: lease,
        })
    }

    fn bind(&self, port: u16, receive_buffer: usize) -> Result<UdpSocket, ReserveError> {
        let address = SocketAddr::new(self.bind, port);
        bind_udp(address, receive_buffer, SEND_BUFFER)
            .map_err(|source| ReserveError::Io { address, source })
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        lock(&self.free).push_back(self.first);
    }
}

/// Nothing can panic while the lock is held, and a list of ports is whole at any time.
fn lock(free: &Mutex<VecDeque<u16>>) -> MutexGuard<'_, VecDeque<u16>> {
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// An address of this test alone, so that fixed ports collide with nobody's.
    fn address(test: u8) -> IpAddr {
        let [.., high, low] = std::process::id().to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(127, 100 + test, high, low))
    }

    fn reserved(ports: &mut PortPairs) -> IngestSockets {
        ports.reserve().unwrap()
    }

    #[test]
    fn the_first_camera_gets_the_classic_layout() {
        let mut ports = PortPairs::new(address(0), 5006..=5099);
        let sockets = reserved(&mut ports);
        assert_eq!((sockets.video_port, sockets.audio_port), (5006, 5008));
        let bound = [
            &sockets.video_rtp,
            &sockets.video_rtcp,
            &*sockets.audio_rtp,
            &sockets.audio_rtcp,
        ]
        .map(|socket| socket.local_addr().unwrap());
        assert_eq!(
            bound,
            [5006, 5007, 5008, 5009].map(|port| SocketAddr::new(address(0), port))
        );
    }

    #[test]
    fn an_odd_start_and_an_incomplete_end_are_left_out() {
        let count = |range| lock(&PortPairs::new(address(1), range).free).len();
        assert_eq!(count(5005..=5009), 1);
        assert_eq!(count(5007..=5010), 0);
        assert_eq!(count(5006..=5012), 1);
        assert_eq!(count(0..=5), 1);
        assert_eq!(count(65_532..=65_535), 1);
        assert_eq!(count(65_534..=65_535), 0);
    }

    #[test]
    fn an_exhausted_range_recovers_when_sockets_are_dropped() {
        let mut ports = PortPairs::new(address(2), 20_006..=20_013);
        let first = reserved(&mut ports);
        let second = reserved(&mut ports);
        assert_eq!((first.video_port, second.video_port), (20_006, 20_010));
        let error = ports.reserve().unwrap_err();
        assert!(matches!(error, ReserveError::Exhausted { .. }));
        assert!(error.to_string().contains("between 20006 and 20013"));
        drop(first);
        assert_eq!(reserved(&mut ports).video_port, 20_006);
    }

    #[test]
    fn ports_that_were_just_freed_come_last() {
        let mut ports = PortPairs::new(address(3), 20_006..=20_017);
        let order = [0; 4].map(|_| reserved(&mut ports).video_port);
        assert_eq!(order, [20_006, 20_010, 20_014, 20_006]);
    }

    #[test]
    fn ports_of_other_programs_are_passed_over_and_tried_again_later() {
        let mut ports = PortPairs::new(address(4), 20_006..=20_013);
        let foreign = UdpSocket::bind((address(4), 20_009)).unwrap();
        let sockets = reserved(&mut ports);
        assert_eq!(sockets.video_port, 20_010);
        assert!(matches!(
            ports.reserve(),
            Err(ReserveError::Exhausted { .. })
        ));
        drop(foreign);
        assert_eq!(reserved(&mut ports).video_port, 20_006);
    }

    #[test]
    fn an_address_of_another_machine_is_an_error_that_names_it() {
        let mut ports = PortPairs::new("192.0.2.1".parse().unwrap(), 20_006..=20_009);
        let error = ports.reserve().unwrap_err();
        assert!(matches!(error, ReserveError::Io { .. }));
        assert!(error.to_string().contains("192.0.2.1:20006"));
        assert_eq!(lock(&ports.free).len(), 1);
    }
}
