//! One viewer among many that never reads, asks for everything again, or has a bad path: the others must not notice.

use serde::Serialize;

use crate::attack::{Onslaught, guests};
use crate::background::Background;
use crate::error::BenchError;
use crate::mending::MendingViewer;
use crate::relay::{Faults, Lane, Path, PathCounts, Relay};
use crate::report::{Part, Row};
use crate::viewer::guest::Guest;

use super::crowd::{self, VIEWERS, Wellbeing};
use super::{Setup, Stage};

const BAD_PATH_LOSS: f64 = 0.2;
const SEED: u64 = 20;

/// What was measured.
#[derive(Debug, Serialize)]
struct Fairness {
    viewers: usize,
    /// In the beginning, and after each of them.
    alone: [Wellbeing; 4],
    never_reads: Beside<Onslaught>,
    nacks_everything: Beside<Onslaught>,
    bad_path: Beside<PathCounts>,
}

/// The crowd beside one that misbehaves, and the proof that it did.
#[derive(Debug, Serialize)]
struct Beside<T> {
    crowd: Wellbeing,
    did: T,
    /// What the camera is asked for in kbit/s: one bad viewer must not make it worse for all.
    camera_asked_kbps: Option<u64>,
}

/// Measures the crowd alone and beside each.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let stage = crowd::gather(setup, 1).await?;
    let at_first = crowd::observe(setup, &stage).await?;
    let never_reads = beside_one_that_never_reads(setup, &stage).await?;
    let second = crowd::observe_later(setup, &stage).await?;
    let nacks_everything = beside_one_that_nacks_everything(setup, &stage).await?;
    let third = crowd::observe_later(setup, &stage).await?;
    let bad_path = beside_a_bad_path(setup, &stage).await?;
    let at_last = crowd::observe_later(setup, &stage).await?;
    stage.end().await;
    let fairness = Fairness {
        viewers: VIEWERS,
        alone: [at_first, second, third, at_last],
        never_reads,
        nacks_everything,
        bad_path,
    };
    Part::new("fairness", fairness.rows(), &fairness)
}

async fn beside_one_that_never_reads(
    setup: &Setup,
    stage: &Stage,
) -> Result<Beside<Onslaught>, BenchError> {
    let invitation = stage.audience.invite(0).await?;
    let one = Background::start("never-reads", setup.cpus.bench, move |stop| {
        let media = invitation.answer.video_ssrc()?;
        let guest = Guest::connect(invitation.seat, &invitation.answer, &invitation.identity)?;
        guests::never_reads(guest, media, stop)
    })?;
    let crowd = crowd::observe_later(setup, stage).await?;
    Beside::new(stage, crowd, one.finish()?)
}

async fn beside_one_that_nacks_everything(
    setup: &Setup,
    stage: &Stage,
) -> Result<Beside<Onslaught>, BenchError> {
    let invitation = stage.audience.invite(0).await?;
    let one = Background::start("nacks-everything", setup.cpus.bench, move |stop| {
        let answer = &invitation.answer;
        let media = answer.video_ssrc()?;
        let guest = Guest::connect(invitation.seat, answer, &invitation.identity)?;
        guests::nacks_everything(guest, answer.video_payload_type, media, stop)
    })?;
    let crowd = crowd::observe_later(setup, stage).await?;
    Beside::new(stage, crowd, one.finish()?)
}

async fn beside_a_bad_path(setup: &Setup, stage: &Stage) -> Result<Beside<PathCounts>, BenchError> {
    let invitation = stage.audience.invite(0).await?;
    let path = Path {
        from_server: Faults {
            loss: BAD_PATH_LOSS,
            ..Faults::default()
        },
        ..Path::default()
    };
    let lane = Lane::of_viewer(invitation.answer.server()?);
    let relay = Relay::start(&[lane], path, SEED, setup.cpus.bench)?;
    let invitation = invitation.through(relay.fronts()[0]);
    let viewer = MendingViewer::start(invitation, true, setup.cpus.bench).await?;
    let crowd = crowd::observe_later(setup, stage).await?;
    viewer.finish()?;
    Beside::new(stage, crowd, relay.counts())
}

impl<T> Beside<T> {
    fn new(stage: &Stage, crowd: Wellbeing, did: T) -> Result<Self, BenchError> {
        let (cameras, _) = stage.cameras()?;
        let asked = cameras.state(0)?.feedback.last_remb;
        Ok(Self {
            crowd,
            did,
            camera_asked_kbps: asked.map(|bitrate| bitrate.as_kbps()),
        })
    }
}

impl Fairness {
    fn rows(&self) -> Vec<Row> {
        let [at_first, second, third, at_last] = &self.alone;
        let row = |crowd: &Wellbeing, around: [&Wellbeing; 2], one: String| {
            crowd.unchanged_row(format!("{VIEWERS} viewers beside one {one}"), around)
        };
        let nacks = &self.nacks_everything.did;
        let path = &self.bad_path.did.from_server;
        vec![
            row(
                &self.never_reads.crowd,
                [at_first, second],
                format!(
                    "that never reads ({} datagrams found its socket full)",
                    self.never_reads.did.refused
                ),
            ),
            row(
                &self.nacks_everything.crowd,
                [second, third],
                format!(
                    "that NACKs all it gets ({:.0} packets/s asked for, {:.1} Mbit/s sent to it)",
                    nacks.rate(),
                    nacks.octets_received as f64 * 8.0 / nacks.seconds / 1e6
                ),
            ),
            row(
                &self.bad_path.crowd,
                [third, at_last],
                format!(
                    "whose path lost {} of {} packets",
                    path.rtp_dropped, path.rtp
                ),
            ),
        ]
    }
}
