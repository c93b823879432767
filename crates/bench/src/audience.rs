//! Viewers from outside: joining them, and waiting for what they see.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::error::BenchError;
use crate::options::Options;
use crate::swarm::{Census, Swarm, ViewerKey};
use crate::viewer::{Habits, Identity, LightViewer, Milestones, Seat};
use crate::whep::WhepClient;

/// Joins under way at the same time while a large audience is let in.
const CONCURRENT_JOINS: usize = 8;
/// A first viewer may have to wait until its camera has started.
const FIRST_PACKET_WITHIN: Duration = Duration::from_secs(30);

/// Joins viewers and knows who they are.
pub(crate) struct Audience {
    swarm: std::sync::Arc<Swarm>,
    whep: WhepClient,
    identity: Identity,
    report_interval: Option<Duration>,
    next_key: ViewerKey,
}

/// A viewer that has joined.
pub(crate) struct Member {
    pub(crate) key: ViewerKey,
    session: Option<String>,
}

/// How long a join took, from before the offer was posted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JoinTimes {
    /// Until the answer was here.
    pub(crate) answered: Duration,
    /// Until the first RTP packet.
    pub(crate) first_packet: Duration,
    /// Until the first whole IDR; only in the sample.
    pub(crate) first_idr: Option<Duration>,
}

/// What a join needs; cheap to move into a task.
struct Ticket {
    key: ViewerKey,
    habits: Habits,
    swarm: std::sync::Arc<Swarm>,
    whep: WhepClient,
    identity: Identity,
}

impl Audience {
    /// Nobody watches yet.
    pub(crate) fn new(
        swarm: Swarm,
        whep: WhepClient,
        options: &Options,
    ) -> Result<Self, BenchError> {
        Ok(Self {
            swarm: std::sync::Arc::new(swarm),
            whep,
            identity: Identity::generate()?,
            report_interval: options.report_interval(),
            next_key: 0,
        })
    }

    /// Lets one viewer in and waits until it sees something: the first whole IDR in the sample, the first
    /// packet otherwise.
    pub(crate) async fn join(&mut self, sampled: bool) -> Result<(Member, JoinTimes), BenchError> {
        self.ticket(sampled).join().await
    }

    /// Lets many in, several at a time.
    pub(crate) async fn join_many(&mut self, options: &Options) -> Result<Vec<Member>, BenchError> {
        let mut members = Vec::with_capacity(options.viewers);
        let mut joining = JoinSet::new();
        for number in 0..options.viewers {
            if joining.len() == CONCURRENT_JOINS {
                members.push(finished(joining.join_next().await)?);
            }
            let ticket = self.ticket(options.is_sampled(number));
            joining.spawn(async move { ticket.join().await });
        }
        while let Some(done) = joining.join_next().await {
            members.push(finished(Some(done))?);
        }
        Ok(members)
    }

    /// Lets one go.
    pub(crate) async fn leave(&self, member: Member) -> Result<(), BenchError> {
        if let Some(session) = &member.session {
            self.whep.leave(session).await?;
        }
        self.swarm.remove(member.key).await
    }

    /// Counts everybody.
    pub(crate) async fn count(&self) -> Result<Census, BenchError> {
        self.swarm.count().await
    }

    fn ticket(&mut self, sampled: bool) -> Ticket {
        let key = self.next_key;
        self.next_key += 1;
        Ticket {
            key,
            habits: Habits {
                sampled,
                report_interval: self.report_interval,
            },
            swarm: self.swarm.clone(),
            whep: self.whep.clone(),
            identity: self.identity.clone(),
        }
    }
}

impl Ticket {
    async fn join(self) -> Result<(Member, JoinTimes), BenchError> {
        let seat = Seat::take()?;
        let offer = seat.offer(&self.identity);
        let start = Instant::now();
        let joined = self.whep.join(offer).await?;
        let answered = start.elapsed();
        let (first_packet, sees_packet) = oneshot::channel();
        let (first_idr, sees_idr) = oneshot::channel();
        let (failed, has_failed) = oneshot::channel();
        let milestones = Milestones {
            first_packet: Some(first_packet),
            first_idr: self.habits.sampled.then_some(first_idr),
            failed: Some(failed),
        };
        let viewer = LightViewer::new(
            seat,
            &joined.answer,
            &self.identity,
            self.habits,
            milestones,
        )?;
        self.swarm.add(self.key, viewer)?;
        let seen = async {
            let packet = sees_packet.await.map_err(|_| BenchError::SwarmEnded)?;
            let idr = match self.habits.sampled {
                true => Some(sees_idr.await.map_err(|_| BenchError::SwarmEnded)?),
                false => None,
            };
            Ok::<_, BenchError>((packet, idr))
        };
        let (packet, idr) = tokio::select! {
            seen = seen => seen?,
            Ok(reason) = has_failed => return Err(BenchError::Viewer { viewer: self.key, reason }),
            () = tokio::time::sleep(FIRST_PACKET_WITHIN) => {
                let what = if self.habits.sampled { "a viewer's first IDR" } else { "a viewer's first packet" };
                return Err(BenchError::Timeout { what, within: FIRST_PACKET_WITHIN });
            }
        };
        let times = JoinTimes {
            answered,
            first_packet: packet - start,
            first_idr: idr.map(|idr| idr - start),
        };
        let member = Member {
            key: self.key,
            session: joined.session,
        };
        Ok((member, times))
    }
}

type Finished = Result<Result<(Member, JoinTimes), BenchError>, tokio::task::JoinError>;

fn finished(done: Option<Finished>) -> Result<Member, BenchError> {
    match done {
        Some(Ok(joined)) => joined.map(|(member, _)| member),
        // A join that panicked takes the swarm with it soon.
        Some(Err(_)) | None => Err(BenchError::SwarmEnded),
    }
}
