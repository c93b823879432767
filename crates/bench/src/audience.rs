//! Viewers from outside: joining them, and waiting for what they see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::error::BenchError;
use crate::mending::Invitation;
use crate::swarm::{Census, Swarm, ViewerKey};
use crate::viewer::{Habits, Identity, LightViewer, Milestones, Opens, Seat};
use crate::whep::WhepClient;

/// Joins under way at the same time while a large audience is let in.
const CONCURRENT_JOINS: usize = 8;
/// A first viewer may have to wait until its camera has started.
const SEES_WITHIN: Duration = Duration::from_secs(30);

/// Joins viewers and knows who they are.
pub(crate) struct Audience {
    swarm: Arc<Swarm>,
    /// One for each stream.
    streams: Vec<WhepClient>,
    identity: Identity,
    report_interval: Option<Duration>,
    next_key: ViewerKey,
}

/// What a viewer comes for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// By its place in the list of cameras.
    pub(crate) stream: usize,
    pub(crate) opens: Opens,
    pub(crate) timed: bool,
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
    /// Until DTLS was through.
    pub(crate) keys: Duration,
    /// Until the first RTP packet.
    pub(crate) first_packet: Duration,
    /// Until the first whole IDR, of those who open packets.
    pub(crate) first_idr: Option<Duration>,
}

/// A join that can be made in a task of its own.
pub(crate) struct Ticket {
    key: ViewerKey,
    habits: Habits,
    swarm: Arc<Swarm>,
    whep: WhepClient,
    identity: Identity,
}

impl Audience {
    /// Nobody watches yet.
    pub(crate) fn new(
        swarm: Swarm,
        streams: Vec<WhepClient>,
        report_interval: Option<Duration>,
    ) -> Result<Self, BenchError> {
        Ok(Self {
            swarm: Arc::new(swarm),
            streams,
            identity: Identity::generate()?,
            report_interval,
            next_key: 0,
        })
    }

    /// Lets one viewer in and waits until it sees something: the first whole IDR if it opens packets, the first packet
    /// otherwise.
    pub(crate) async fn join(&mut self, place: Place) -> Result<(Member, JoinTimes), BenchError> {
        self.ticket(place).join().await
    }

    /// Lets many in, several at a time.
    pub(crate) async fn join_many(
        &mut self,
        places: impl IntoIterator<Item = Place>,
    ) -> Result<Vec<Member>, BenchError> {
        let mut members = Vec::new();
        let mut joining = JoinSet::new();
        for place in places {
            if joining.len() == CONCURRENT_JOINS {
                members.extend(finished(joining.join_next().await)?);
            }
            joining.spawn(self.ticket(place).join());
        }
        while let Some(done) = joining.join_next().await {
            members.extend(finished(Some(done))?);
        }
        Ok(members)
    }

    /// Lets one go.
    pub(crate) async fn leave(&self, member: Member) -> Result<(), BenchError> {
        leave(&self.swarm, &self.streams[0], member).await
    }

    /// Counts those who were counted `before`, whoever else has come.
    pub(crate) async fn count_those_of(&self, before: &Census) -> Result<Census, BenchError> {
        let mut census = self.count().await?;
        census
            .counts
            .retain(|key, _| before.counts.contains_key(key));
        Ok(census)
    }

    /// Counts everybody.
    pub(crate) async fn count(&self) -> Result<Census, BenchError> {
        self.swarm.count().await
    }

    /// Has the server let somebody in who is not of the swarm.
    pub(crate) async fn invite(&self, stream: usize) -> Result<Invitation, BenchError> {
        let seat = Seat::take()?;
        let joined = self.streams[stream]
            .join(seat.offer(&self.identity))
            .await?;
        Ok(Invitation {
            seat,
            answer: joined.answer,
            identity: self.identity.clone(),
        })
    }

    /// A client for one stream.
    pub(crate) fn whep(&self, stream: usize) -> WhepClient {
        self.streams[stream].clone()
    }

    /// What viewers show in DTLS.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// A viewer's join, to be made when it is time.
    pub(crate) fn ticket(&mut self, place: Place) -> Ticket {
        let key = self.next_key;
        self.next_key += 1;
        Ticket {
            key,
            habits: Habits {
                stream: place.stream,
                opens: place.opens,
                timed: place.timed,
                report_interval: self.report_interval,
            },
            swarm: self.swarm.clone(),
            whep: self.streams[place.stream].clone(),
            identity: self.identity.clone(),
        }
    }
}

impl Ticket {
    /// Joins, waits until the viewer sees something, and leaves.
    pub(crate) async fn visit(self) -> Result<JoinTimes, BenchError> {
        let (swarm, whep) = (self.swarm.clone(), self.whep.clone());
        let (member, times) = self.join().await?;
        leave(&swarm, &whep, member).await?;
        Ok(times)
    }

    /// The same, and it leaves as a page does that is closed: it says goodbye, and does not end its session.
    pub(crate) async fn visit_and_close(self) -> Result<(), BenchError> {
        let swarm = self.swarm.clone();
        let (member, _) = self.join().await?;
        swarm.remove(member.key).await
    }

    /// Joins, and waits until the viewer sees something.
    pub(crate) async fn join(self) -> Result<(Member, JoinTimes), BenchError> {
        let seat = Seat::take()?;
        let offer = seat.offer(&self.identity);
        let start = Instant::now();
        let joined = self.whep.join(offer).await?;
        let answered = start.elapsed();
        let opens = self.habits.opens != Opens::Nothing;
        let (keys, has_keys) = oneshot::channel();
        let (first_packet, sees_packet) = oneshot::channel();
        let (first_idr, sees_idr) = oneshot::channel();
        let (failed, has_failed) = oneshot::channel();
        let milestones = Milestones {
            keys: Some(keys),
            first_packet: Some(first_packet),
            first_idr: opens.then_some(first_idr),
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
        let deadline = tokio::time::Instant::now() + SEES_WITHIN;
        let seen = async {
            let keys = reached(has_keys, deadline, "a viewer's DTLS handshake").await?;
            let first_packet = reached(sees_packet, deadline, "a viewer's first packet").await?;
            let first_idr = match opens {
                true => Some(reached(sees_idr, deadline, "a viewer's first IDR").await? - start),
                false => None,
            };
            Ok::<_, BenchError>(JoinTimes {
                answered,
                keys: keys - start,
                first_packet: first_packet - start,
                first_idr,
            })
        };
        let times = tokio::select! {
            seen = seen => seen?,
            Ok(reason) = has_failed => return Err(BenchError::Viewer { viewer: self.key, reason }),
        };
        let member = Member {
            key: self.key,
            session: joined.session,
        };
        Ok((member, times))
    }
}

async fn reached(
    milestone: oneshot::Receiver<Instant>,
    deadline: tokio::time::Instant,
    what: &'static str,
) -> Result<Instant, BenchError> {
    match tokio::time::timeout_at(deadline, milestone).await {
        Ok(reached) => reached.map_err(|_| BenchError::SwarmEnded),
        Err(_) => Err(BenchError::Timeout {
            what,
            within: SEES_WITHIN,
        }),
    }
}

async fn leave(swarm: &Swarm, whep: &WhepClient, member: Member) -> Result<(), BenchError> {
    if let Some(session) = &member.session {
        whep.leave(session).await?;
    }
    swarm.remove(member.key).await
}

type Finished = Result<Result<(Member, JoinTimes), BenchError>, tokio::task::JoinError>;

/// The member, if any joined.
pub(crate) fn finished(done: Option<Finished>) -> Result<Option<Member>, BenchError> {
    match done {
        Some(Ok(joined)) => joined.map(|(member, _)| Some(member)),
        Some(Err(_)) => Err(BenchError::Panicked),
        None => Ok(None),
    }
}

/// Places on one stream for `count` viewers, some of which decrypt and some of which note times. Both are spread evenly,
/// as a server may serve viewers in the order in which they came.
pub(crate) fn spread(count: usize, sample: usize, timed: usize) -> impl Iterator<Item = Place> {
    (0..count).map(move |number| Place {
        stream: 0,
        opens: match is_chosen(number, sample, count) {
            true => Opens::Everything,
            false => Opens::Nothing,
        },
        timed: is_chosen(number, timed, count),
    })
}

/// Whether the `number`th of `count` belongs to the `chosen` that are spread evenly; one at least does.
fn is_chosen(number: usize, chosen: usize, count: usize) -> bool {
    let chosen = chosen.clamp(1, count.max(1));
    (number * chosen) / count != ((number + 1) * chosen) / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_are_as_many_as_wanted_and_spread() {
        for (count, sample) in [(100, 10), (7, 3), (5, 50), (1, 1), (3, 0)] {
            let places: Vec<_> = spread(count, sample, 2).collect();
            let sampled: Vec<_> = (0..count)
                .filter(|number| places[*number].opens == Opens::Everything)
                .collect();
            assert_eq!(sampled.len(), sample.clamp(1, count), "{count}/{sample}");
            if count == 100 {
                assert_eq!(sampled[..2], [9, 19]);
                assert!(places[49].timed && places[99].timed && !places[48].timed);
            }
        }
    }
}
