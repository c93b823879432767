//! Viewers that mend what they lose, each on a thread of its own: few, and away from the swarm that counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::background::{Background, Stop};
use crate::error::BenchError;
use crate::viewer::guest::{Guest, Received};
use crate::viewer::mender::{Mender, MenderCounts};
use crate::viewer::{Answer, Identity, Seat};

/// How soon the thread sees that it is to stop.
const LOOK_UP: Duration = Duration::from_millis(20);
/// A whole IDR on the worst path that is measured takes a few retransmissions.
const SEES_WITHIN: Duration = Duration::from_secs(20);

/// Somebody who may come in: an offer that was answered.
pub(crate) struct Invitation {
    pub(crate) seat: Seat,
    pub(crate) answer: Answer,
    pub(crate) identity: Identity,
}

impl Invitation {
    /// The same through a relay.
    pub(crate) fn through(mut self, relay: SocketAddr) -> Self {
        self.answer = self.answer.through(relay);
        self
    }
}

/// A viewer that mends.
pub(crate) struct MendingViewer {
    thread: Background<()>,
    counts: watch::Receiver<MenderCounts>,
    begin: Arc<AtomicBool>,
}

impl MendingViewer {
    /// Starts its thread and waits until it has a whole picture. One that does not ask only waits for what comes by
    /// itself.
    pub(crate) async fn start(
        invitation: Invitation,
        asks: bool,
        cpu: Option<usize>,
    ) -> Result<Self, BenchError> {
        let (publish, mut counts) = watch::channel(MenderCounts::default());
        let begin = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&begin);
        let thread = Background::start("mender", cpu, move |stop| {
            watch_on(invitation, asks, &publish, &theirs, stop)
        })?;
        let seen = counts.wait_for(|counts| counts.complete > 0);
        match tokio::time::timeout(SEES_WITHIN, seen).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => {
                // The thread has ended and says why.
                thread.finish()?;
                return Err(BenchError::Panicked);
            }
            Err(_) => {
                return Err(BenchError::Timeout {
                    what: "a mending viewer's first picture",
                    within: SEES_WITHIN,
                });
            }
        }
        Ok(Self {
            thread,
            counts,
            begin,
        })
    }

    /// Longest times count from now on; what was counted until now.
    pub(crate) fn begin_measuring(&self) -> MenderCounts {
        self.begin.store(true, Ordering::Relaxed);
        self.counts()
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> MenderCounts {
        *self.counts.borrow()
    }

    /// Lets it go.
    pub(crate) fn finish(self) -> Result<(), BenchError> {
        self.thread.finish()
    }
}

fn watch_on(
    invitation: Invitation,
    asks: bool,
    publish: &watch::Sender<MenderCounts>,
    begin: &AtomicBool,
    stop: &Stop,
) -> Result<(), BenchError> {
    let Invitation {
        seat,
        answer,
        identity,
    } = invitation;
    let mut guest = Guest::connect(seat, &answer, &identity)?;
    let mut mender = Mender::new(Instant::now(), &answer, asks, guest.ssrc());
    let mut buffer = [0; 2048];
    while !stop.is_due() {
        if begin.swap(false, Ordering::Relaxed) {
            mender.begin_measuring();
        }
        let now = Instant::now();
        guest.drive(now);
        loop {
            match guest.receive(&mut buffer) {
                Received::Rtp(len) => mender.handle_rtp(now, guest.opener(), &buffer[..len]),
                Received::Other => {}
                Received::Nothing => break,
            }
        }
        if let Some(compound) = mender.poll(now) {
            guest.send_rtcp(compound);
        }
        publish.send_replace(mender.counts());
        guest.wait(mender.next_timeout().min(now + LOOK_UP));
    }
    guest.close();
    Ok(())
}
