//! Attacks while many watch, by their numbers in the list of what is thrown at a camera server: strangers and hostile
//! guests, none of whom may cost a viewer a packet.

use std::time::Duration;

use apiary_sim::{CameraState, StreamState};
use apiary_wire::sdp::camera::H264;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::attack::flood::{RtpForger, Strangers};
use crate::attack::guests::{self, HostileRtcp, RtcpRates};
use crate::attack::stun::StunForger;
use crate::attack::{Onslaught, offers};
use crate::audience::{JoinTimes, Place, Ticket};
use crate::background::Background;
use crate::error::BenchError;
use crate::report::{Part, Row};
use crate::viewer::Opens;
use crate::viewer::guest::Guest;

use super::crowd::{self, VIEWERS, Wellbeing};
use super::joins::Times;
use super::{Setup, Stage};

const RTCP_RATES: RtcpRates = RtcpRates {
    plis: 1000,
    nack_rounds: 10,
    malformed: 1000,
};
const STUN_PER_SECOND: u64 = 50_000;
/// Addresses that stand for spoofed ones.
const STUN_SOURCES: usize = 256;
const SRTP_PER_SECOND: u64 = 50_000;
const OFFERS_PER_SECOND: u64 = 200;
const MESSAGES_PER_SECOND: u64 = 2000;
/// Somewhat more than the number in the list, so that this one is reached.
const INGEST_PER_SECOND: u64 = 105_000;
const INGEST_TARGET: f64 = 100_000.0;
const INGEST_SOURCES: usize = 16;
/// Octets behind the header of forged RTP: little to copy, and as much as in a picture's packets.
const INGEST_SMALL: usize = 200;
const INGEST_LARGE: usize = 1150;
/// Others join meanwhile, one each so often.
const JOIN_EVERY: Duration = Duration::from_millis(200);
const JOINS_TARGET_MS: f64 = 1000.0;
const SEED: u64 = 23;

/// What was measured.
#[derive(Debug, Serialize)]
struct Attacks {
    viewers: usize,
    calm: Wellbeing,
    h20_rtcp: Attacked<HostileRtcp>,
    h23_stun: Attacked<Onslaught>,
    h26_srtp: Attacked<Onslaught>,
    h26_offers: FloodedWithOffers,
    h29_small: Attacked<Onslaught>,
    h29_large: Attacked<Onslaught>,
}

/// The crowd during an attack.
#[derive(Debug, Serialize)]
struct Attacked<T> {
    crowd: Wellbeing,
    did: T,
    /// Key frames that the camera was asked for meanwhile.
    key_frames_asked: u64,
    /// Packets that the camera was asked for again meanwhile.
    packets_asked: u64,
}

/// The crowd, and those who want to join, while one account asks too much.
#[derive(Debug, Serialize)]
struct FloodedWithOffers {
    crowd: Wellbeing,
    offers: Onslaught,
    messages: Onslaught,
    joined: usize,
    joins: Times,
}

/// Measures the crowd in peace and under each attack.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let mut stage = crowd::gather(setup, 1).await?;
    let calm = crowd::observe(setup, &stage).await?;
    let h20_rtcp = hostile_rtcp(setup, &stage).await?;
    let h23_stun = stun_flood(setup, &stage).await?;
    let h26_srtp = srtp_flood(setup, &stage).await?;
    let h29_small = ingest_flood(setup, &stage, INGEST_SMALL).await?;
    let h29_large = ingest_flood(setup, &stage, INGEST_LARGE).await?;
    // Last, because what it leaves behind at the server takes a while to go.
    let h26_offers = offer_flood(setup, &mut stage).await?;
    stage.end().await;
    let attacks = Attacks {
        viewers: VIEWERS,
        calm,
        h20_rtcp,
        h23_stun,
        h26_srtp,
        h26_offers,
        h29_small,
        h29_large,
    };
    Part::new("attacks", attacks.rows(), &attacks)
}

async fn hostile_rtcp(setup: &Setup, stage: &Stage) -> Result<Attacked<HostileRtcp>, BenchError> {
    let invitation = stage.audience.invite(0).await?;
    let attack = Background::start("hostile-rtcp", setup.cpus.bench, move |stop| {
        let answer = &invitation.answer;
        let media = answer.video_ssrc()?;
        let guest = Guest::connect(invitation.seat, answer, &invitation.identity)?;
        guests::hostile_rtcp(guest, media, RTCP_RATES, stop)
    })?;
    Attacked::observe(setup, stage, attack).await
}

async fn stun_flood(setup: &Setup, stage: &Stage) -> Result<Attacked<Onslaught>, BenchError> {
    // Somebody who was let in and never comes: the strangers know the name that the server gave to that one.
    let invitation = stage.audience.invite(0).await?;
    let server = invitation.answer.server()?;
    let ufrag = invitation.answer.credentials.ufrag;
    let attack = Background::start("stun-flood", setup.cpus.bench, move |stop| {
        let strangers = Strangers::gather(STUN_SOURCES, SEED)?;
        let mut forger = StunForger::new(Some(ufrag), SEED);
        let next = |out: &mut Vec<u8>| forger.request(out);
        Ok(strangers.flood(server, STUN_PER_SECOND, next, stop))
    })?;
    Attacked::observe(setup, stage, attack).await
}

async fn srtp_flood(setup: &Setup, stage: &Stage) -> Result<Attacked<Onslaught>, BenchError> {
    let invitation = stage.audience.invite(0).await?;
    let attack = Background::start("srtp-flood", setup.cpus.bench, move |stop| {
        let answer = &invitation.answer;
        let media = answer.video_ssrc()?;
        let guest = Guest::connect(invitation.seat, answer, &invitation.identity)?;
        guests::srtp_flood(guest, media, SRTP_PER_SECOND, stop)
    })?;
    Attacked::observe(setup, stage, attack).await
}

/// The port that is flooded is the one at which the watched camera's picture arrives: the worst of all.
async fn ingest_flood(
    setup: &Setup,
    stage: &Stage,
    payload: usize,
) -> Result<Attacked<Onslaught>, BenchError> {
    let (cameras, _) = stage.cameras()?;
    let StreamState::Streaming { video, .. } = cameras.state(0)?.stream else {
        return Err(BenchError::Camera("it does not stream".into()));
    };
    let attack = Background::start("ingest-flood", setup.cpus.bench, move |stop| {
        let strangers = Strangers::gather(INGEST_SOURCES, SEED)?;
        let mut forger = RtpForger::new(H264.get(), payload, SEED);
        let next = |out: &mut Vec<u8>| forger.packet(out);
        Ok(strangers.flood(video, INGEST_PER_SECOND, next, stop))
    })?;
    Attacked::observe(setup, stage, attack).await
}

async fn offer_flood(setup: &Setup, stage: &mut Stage) -> Result<FloodedWithOffers, BenchError> {
    let whep = stage.audience.whep(0);
    let identity = stage.audience.identity();
    let url = stage.signaling()?;
    let posting = Background::start("offers", setup.cpus.bench, move |stop| {
        offers::offers(whep, &identity, OFFERS_PER_SECOND, stop)
    })?;
    let talking = Background::start("messages", setup.cpus.bench, move |stop| {
        offers::messages(&url, MESSAGES_PER_SECOND, stop)
    })?;
    let place = Place {
        opens: Opens::UntilFirstIdr,
        ..Place::default()
    };
    let length = crowd::observed(setup);
    let count = length.as_millis() / JOIN_EVERY.as_millis();
    let tickets = (0..count).map(|_| stage.audience.ticket(place)).collect();
    let (crowd, joined) = tokio::join!(crowd::observe_later(setup, stage), join_all(tickets));
    let (crowd, joined) = (crowd?, joined?);
    Ok(FloodedWithOffers {
        crowd,
        offers: posting.finish()?,
        messages: talking.finish()?,
        joined: joined.len(),
        joins: Times::of(&joined),
    })
}

async fn join_all(tickets: Vec<Ticket>) -> Result<Vec<JoinTimes>, BenchError> {
    let mut visits = JoinSet::new();
    for ticket in tickets {
        visits.spawn(ticket.visit());
        tokio::time::sleep(JOIN_EVERY).await;
    }
    let mut times = Vec::new();
    while let Some(visit) = visits.join_next().await {
        times.push(visit.map_err(|_| BenchError::Panicked)??);
    }
    Ok(times)
}

impl<T: Send + 'static> Attacked<T> {
    async fn observe(
        setup: &Setup,
        stage: &Stage,
        attack: Background<T>,
    ) -> Result<Self, BenchError> {
        let (cameras, _) = stage.cameras()?;
        let before = cameras.state(0)?;
        let crowd = crowd::observe_later(setup, stage).await?;
        let did = attack.finish()?;
        let after = cameras.state(0)?;
        let key_frames = |state: &CameraState| state.feedback.plis + state.feedback.firs;
        Ok(Self {
            crowd,
            did,
            key_frames_asked: key_frames(&after) - key_frames(&before),
            packets_asked: after.feedback.nack.asked - before.feedback.nack.asked,
        })
    }

    fn row(&self, calm: &Wellbeing, attack: String) -> Row {
        let figure = format!("{VIEWERS} viewers under {attack}");
        self.crowd.unharmed_row(figure, calm)
    }
}

impl Attacks {
    fn rows(&self) -> Vec<Row> {
        let calm = &self.calm;
        let h20 = &self.h20_rtcp;
        let per_second = |count: u64| count as f64 / h20.did.all.seconds;
        let rtcp = format!(
            "h20: a guest's RTCP ({:.0} malformed/s, NACKs for {:.0} packets/s, {:.0} PLIs/s, {:.1} Mbit/s sent to it)",
            per_second(h20.did.malformed),
            per_second(h20.did.nacked),
            per_second(h20.did.plis),
            per_second(h20.did.all.octets_received) * 8.0 / 1e6
        );
        let stun = format!("h23: strangers' STUN ({:.0}/s)", self.h23_stun.did.rate());
        let srtp = format!("h26: a guest's SRTP ({:.0}/s)", self.h26_srtp.did.rate());
        let mut rows = vec![
            h20.row(calm, rtcp),
            self.key_frame_row(),
            self.h23_stun.row(calm, stun),
            self.amplification_row(),
            self.h26_srtp.row(calm, srtp),
        ];
        rows.extend(self.offer_rows());
        rows.extend(self.ingest_rows(&self.h29_small, INGEST_SMALL));
        rows.extend(self.ingest_rows(&self.h29_large, INGEST_LARGE));
        rows
    }

    fn ingest_rows(&self, flooded: &Attacked<Onslaught>, payload: usize) -> [Row; 2] {
        let rate = flooded.did.rate();
        let attack = format!("h29: strangers' RTP of {payload} octets at the camera's port");
        let crowd = flooded.row(&self.calm, attack);
        let held = rate >= INGEST_TARGET && flooded.packets_asked == 0;
        let stream = Row::new(
            "h29: rate of that, and what the camera's stream lost",
            format!(
                "{rate:.0}/s; {} packets asked for again, {} key frames",
                flooded.packets_asked, flooded.key_frames_asked
            ),
        );
        [crowd, stream.target("≥ 100,000/s, 0 packets", held)]
    }

    fn key_frame_row(&self) -> Row {
        let h20 = &self.h20_rtcp;
        let seconds = h20.did.all.seconds;
        Row::new(
            "h20: key frames asked of the camera",
            format!(
                "{} in {seconds:.1} s for {} PLIs",
                h20.key_frames_asked, h20.did.plis
            ),
        )
        // One more than the seconds may fall into the time.
        .target("≤ 1/s", h20.key_frames_asked as f64 <= seconds + 1.0)
    }

    fn amplification_row(&self) -> Row {
        let did = &self.h23_stun.did;
        Row::new(
            "h23: octets that strangers got back",
            format!("{} of {} sent", did.octets_received, did.octets_sent),
        )
        .target("≤ sent", did.octets_received <= did.octets_sent)
    }

    fn offer_rows(&self) -> [Row; 2] {
        let flooded = &self.h26_offers;
        let figure = format!(
            "{VIEWERS} viewers under h26: {:.0} offers/s ({} refused) and {:.0} messages/s (socket closed {} times)",
            flooded.offers.rate(),
            flooded.offers.refused,
            flooded.messages.rate(),
            flooded.messages.refused
        );
        let p95 = flooded
            .joins
            .keys_ms
            .as_ref()
            .map_or(f64::NAN, |keys| keys.p95);
        let idr = flooded
            .joins
            .first_idr_ms
            .as_ref()
            .map_or(f64::NAN, |idr| idr.p95);
        let joins = Row::new(
            format!("h26: {} joins meanwhile, offer → first IDR", flooded.joined),
            format!("p95 {idr:.0} ms (keys {p95:.0} ms)"),
        );
        [
            flooded.crowd.unharmed_row(figure, &self.calm),
            joins.target("p95 < 1 s", idr < JOINS_TARGET_MS),
        ]
    }
}
