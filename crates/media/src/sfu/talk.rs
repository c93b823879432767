//! The way back: a viewer's voice to its camera.
//!
//! Each camera's leg has one [`TalkPort`]. Whoever may talk holds its [`Voice`], on whichever worker the viewer is, and sends from
//! there through the camera's own audio socket: no packet waits for another thread. The lock is taken when a talker begins and
//! ends. With the leg, or when the camera is told to play again, the port goes, and no voice gets through any more.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use apiary_core::talk::{MAX_TALK_PACKET, TalkTrack};
use apiary_wire::id::ViewerId;
use apiary_wire::rtp::RtpPacket;
use apiary_wire::units::Ssrc;

/// Where a camera listens, and whose turn it is.
pub(super) struct TalkPort {
    socket: Arc<UdpSocket>,
    camera: SocketAddr,
    floor: Mutex<Floor>,
}

enum Floor {
    Free(Box<TalkTrack>),
    HeldBy(ViewerId),
}

/// The right of one viewer to talk, and what it takes. Dropping it is the end of that right.
pub(super) struct Voice {
    viewer: ViewerId,
    port: Weak<TalkPort>,
    /// Gone only while it is being dropped.
    track: Option<Box<TalkTrack>>,
    packet: Box<[u8; MAX_TALK_PACKET]>,
}

impl TalkPort {
    /// A camera that sends its sound from `camera` to `socket`, and will be sent ours under `ssrc`.
    pub(super) fn new(socket: Arc<UdpSocket>, camera: SocketAddr, ssrc: Ssrc) -> Self {
        Self {
            socket,
            camera,
            floor: Mutex::new(Floor::Free(Box::new(TalkTrack::new(ssrc)))),
        }
    }

    /// Gives the voice to a viewer; `None` while another has it, or it has it already.
    pub(super) fn lend(self: &Arc<Self>, viewer: ViewerId) -> Option<Voice> {
        let mut floor = self.floor();
        match std::mem::replace(&mut *floor, Floor::HeldBy(viewer)) {
            Floor::Free(mut track) => {
                track.begin();
                Some(Voice {
                    viewer,
                    port: Arc::downgrade(self),
                    track: Some(track),
                    packet: Box::new([0; MAX_TALK_PACKET]),
                })
            }
            held @ Floor::HeldBy(_) => {
                *floor = held;
                None
            }
        }
    }

    /// Who talks.
    pub(super) fn talker(&self) -> Option<ViewerId> {
        match *self.floor() {
            Floor::Free(_) => None,
            Floor::HeldBy(viewer) => Some(viewer),
        }
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        // It is replaced as a whole.
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Voice {
    /// Passes a packet of the talker on; what does not get through is lost, as on the way.
    pub(super) fn send(&mut self, now: Instant, ext_seq: u64, packet: &RtpPacket<'_>) {
        let (Some(port), Some(track)) = (self.port.upgrade(), &mut self.track) else {
            return;
        };
        if let Some(len) = track.write(now, ext_seq, packet, &mut self.packet) {
            let _ = port.socket.send_to(&self.packet[..len], port.camera);
        }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        let (Some(port), Some(track)) = (self.port.upgrade(), self.track.take()) else {
            return;
        };
        debug_assert_eq!(port.talker(), Some(self.viewer));
        *port.floor() = Floor::Free(track);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(number: u8) -> ViewerId {
        format!("00000000-0000-4000-9000-0000000000{number:02x}")
            .parse()
            .unwrap()
    }

    fn port() -> Arc<TalkPort> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let camera = "127.0.0.1:9".parse().unwrap();
        Arc::new(TalkPort::new(Arc::new(socket), camera, Ssrc(1)))
    }

    #[test]
    fn one_talks_at_a_time_and_the_next_when_that_ends() {
        let (one, other) = (viewer(1), viewer(2));
        let port = port();
        let voice = port.lend(one).unwrap();
        assert_eq!(port.talker(), Some(one));
        assert!(port.lend(other).is_none() && port.lend(one).is_none());
        drop(voice);
        assert_eq!(port.talker(), None);
        assert!(port.lend(other).is_some());
    }

    #[test]
    fn a_voice_outlives_its_port_and_does_not_keep_it() {
        let port = port();
        let voice = port.lend(viewer(1));
        let gone = Arc::downgrade(&port);
        drop(port);
        assert!(gone.upgrade().is_none());
        drop(voice);
    }
}
