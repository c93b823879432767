//! What a worker's viewers send: connectivity checks, handshakes and reports, and what follows from them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use apiary_core::ingest::ViewerReport;
use apiary_core::viewer::session::{SessionEnd, SessionEvent};
use apiary_wire::demux::{Protocol, classify};
use apiary_wire::units::NtpTime;
use is::stun::StunMessage;

use super::stream::Stream;
use super::viewer::Viewer;
use super::worker::{VIEWERS_TOKEN, Worker};
use crate::engine::{EngineEvent, ViewerGoneReason};
use crate::sys::ReceiveBatch;

/// The viewers' socket is left alone for this long after a read that brought only reports: many viewers' RTCP is then
/// read at once, instead of waking the worker for each datagram.
const REST: Duration = Duration::from_millis(3);

/// Reads in a row: all that thousands of viewers report during a turn that sends to all of them, so that one who is
/// connecting does not wait behind them; and few enough that a flood does not keep cameras' packets waiting (h23, h26).
const READS_IN_A_ROW: usize = 32;

/// Whether the worker hears of what comes to its viewers' socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attention {
    /// The poller will tell.
    Awaited,
    /// It is read again at this time.
    ReadAt(Instant),
}

/// What a read of the viewers' socket brought, the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Nothing,
    /// Reports and consent checks of those who watch.
    Reports,
    /// A viewer is connecting, and each of its steps waits for the last one.
    Handshake,
}

impl Worker<'_> {
    /// Reads the viewers' socket, if its time has come.
    pub(super) fn attend_to_viewers(
        &mut self,
        now: Instant,
        received: &mut ReceiveBatch,
    ) -> std::io::Result<()> {
        match self.viewers_socket {
            Attention::ReadAt(at) if now >= at => {}
            Attention::ReadAt(_) | Attention::Awaited => return Ok(()),
        }
        let urgency = self.read_viewers(now, received);
        self.viewers_socket = if !received.is_exhausted() {
            Attention::ReadAt(now) // after what the cameras have sent meanwhile
        } else if urgency == Urgency::Reports {
            Attention::ReadAt(now + REST)
        } else {
            self.post.poller.rearm(&self.post.socket, VIEWERS_TOKEN)?;
            Attention::Awaited
        };
        Ok(())
    }

    fn read_viewers(&mut self, now: Instant, received: &mut ReceiveBatch) -> Urgency {
        let mut most_urgent = Urgency::Nothing;
        for _ in 0..READS_IN_A_ROW {
            let count = received.receive(&self.post.socket).unwrap_or(0);
            for at in 0..count {
                let (source, datagram) = received.datagram(at);
                let urgency = self.handle_viewer_datagram(now, source, datagram);
                most_urgent = most_urgent.max(urgency);
            }
            if received.is_exhausted() {
                break;
            }
        }
        most_urgent
    }

    fn handle_viewer_datagram(
        &mut self,
        now: Instant,
        source: SocketAddr,
        datagram: &mut [u8],
    ) -> Urgency {
        let key = match classify(datagram) {
            Protocol::Stun => self.handle_stun(now, source, datagram),
            Protocol::Dtls => self.with_viewer_at(source, |viewer, _| {
                viewer.session.handle_dtls(now, source, datagram);
            }),
            Protocol::Rtcp => self.with_viewer_at(source, |viewer, stream| {
                let ntp = stream.map_or(NtpTime(0), |stream| stream.clocks.ntp(now));
                viewer.session.handle_rtcp(now, ntp, datagram);
            }),
            Protocol::Rtp => {
                self.with_viewer_at(source, |viewer, _| viewer.handle_voice(now, datagram));
                None // nothing follows from it for the session
            }
            Protocol::Unknown => None,
        };
        let Some(key) = key else {
            return Urgency::Reports;
        };
        self.settle(now, key);
        match self.viewers.get_mut(key) {
            Some(viewer) if viewer.session.is_connecting() => {
                viewer.set_timer(now, key, &mut self.wheel);
                Urgency::Handshake
            }
            Some(_) | None => Urgency::Reports,
        }
    }

    fn handle_stun(&mut self, now: Instant, source: SocketAddr, datagram: &[u8]) -> Option<usize> {
        let message = StunMessage::parse(datagram).ok()?;
        // Only requests name us; as an ICE-lite agent we ask nothing and so await no responses.
        if !message.is_binding_request() {
            return None;
        }
        let (ufrag, _) = message.split_username()?;
        let key = *self.lookup.by_ufrag.get(ufrag)?;
        self.viewers
            .get_mut(key)?
            .session
            .handle_stun(now, source, message);
        Some(key)
    }

    fn with_viewer_at(
        &mut self,
        source: SocketAddr,
        act: impl FnOnce(&mut Viewer, Option<&Stream>),
    ) -> Option<usize> {
        let key = *self.lookup.by_address.get(&source)?;
        let viewer = self.viewers.get_mut(key)?;
        let stream = self
            .by_camera
            .get(&viewer.camera)
            .and_then(|&place| self.streams.get(place));
        act(viewer, stream);
        Some(key)
    }

    /// Sends what a session has to say and does what it tells.
    pub(super) fn settle(&mut self, now: Instant, key: usize) {
        while let Some(viewer) = self.viewers.get_mut(key) {
            viewer.flush_session(&mut self.out);
            let Some(event) = viewer.session.poll_event() else {
                break;
            };
            viewer.note(&event);
            self.on_session_event(now, key, event);
        }
        if self.out.is_full() {
            self.flush();
        }
    }

    fn on_session_event(&mut self, now: Instant, key: usize, event: SessionEvent) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let (id, camera) = (viewer.id, viewer.camera);
        match event {
            SessionEvent::PathValidated(address) => {
                self.lookup.by_address.insert(address, key);
            }
            SessionEvent::Connected => {
                self.post
                    .shared
                    .emit(EngineEvent::ViewerConnected { camera, viewer: id });
                self.serve(now, key);
                if self.viewers.get(key).is_some_and(Viewer::is_waiting) {
                    self.request_key_frame(now, camera);
                }
                self.set_viewer_timer(now, key);
            }
            SessionEvent::KeyFrameWanted => {
                self.post.counts.viewers.key_frame_requests += 1;
                if viewer.wants_key_frame(now) {
                    self.request_key_frame(now, camera);
                }
                self.set_viewer_timer(now, key);
            }
            SessionEvent::Remb(bitrate) => {
                self.post.counts.viewers.rembs += 1;
                let report = ViewerReport {
                    remb: Some(bitrate),
                    fraction_lost: None,
                };
                if viewer.passed_on.is_news(now, report) {
                    self.report_viewer(now, camera, id, report);
                }
            }
            SessionEvent::Report { fraction_lost, .. } => {
                let report = ViewerReport {
                    remb: None,
                    fraction_lost: Some(fraction_lost),
                };
                if viewer.passed_on.is_news(now, report) {
                    self.report_viewer(now, camera, id, report);
                }
            }
            SessionEvent::Nack(_, missing) => {
                let place = self.by_camera.get(&camera).copied();
                if let Some(stream) = place.and_then(|place| self.streams.get(place)) {
                    let counts = &mut self.post.counts.viewers;
                    counts.nacked += missing.len() as u64;
                    counts.retransmitted += viewer.retransmit(now, &missing, stream, &mut self.out);
                }
            }
            SessionEvent::Gone(end) => {
                let reason = match end {
                    SessionEnd::Left => ViewerGoneReason::Left,
                    SessionEnd::Expired => ViewerGoneReason::Expired,
                    SessionEnd::NeverConnected => ViewerGoneReason::NeverConnected,
                    SessionEnd::Failed(why) => ViewerGoneReason::Failed(why),
                };
                self.remove_viewer(now, key, reason);
            }
        }
    }

    /// Sends a viewer what it has not had.
    pub(super) fn serve(&mut self, now: Instant, key: usize) {
        let Some(viewer) = self.viewers.get_mut(key) else {
            return;
        };
        let place = self.by_camera.get(&viewer.camera).copied();
        if let Some(stream) = place.and_then(|place| self.streams.get(place)) {
            viewer.send(now, stream, &mut self.out);
            viewer.report(now, stream, &mut self.reports, &mut self.out);
        }
    }
}
