//! Paths that lose packets: toward viewers, who have them sent again, and from the camera, where the server does.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::audience::spread;
use crate::error::BenchError;
use crate::mending::MendingViewer;
use crate::relay::{Faults, Lane, LinkCounts, NO_FAULTS, Path, Relay};
use crate::report::{Part, Row};
use crate::viewer::mender::MenderCounts;

use super::window::between;
use super::{Setup, Stage};

/// The paths toward viewers.
const PATHS: [Faults; 3] = [
    Faults {
        loss: 0.02,
        ..NO_FAULTS
    },
    Faults {
        loss: 0.05,
        ..NO_FAULTS
    },
    Faults {
        loss: 0.05,
        burst: 5,
        reordered: 0.05,
        duplicated: 0.02,
        ..NO_FAULTS
    },
];
/// Viewers on each of them: more packets in the same time.
const VIEWERS_PER_PATH: usize = 4;
const CAMERA_LOSS: f64 = 0.02;
/// Viewers on whose own path nothing is lost, when the camera's loses: those that ask for what is missing, and
/// those that only wait.
const ASKING: usize = 2;
const WAITING: usize = 2;
/// Viewers that only count.
const COUNTING: usize = 20;
const MEASURED: Duration = Duration::from_secs(20);
const SEED: u64 = 3;

/// What was measured.
#[derive(Debug, Serialize)]
struct Loss {
    seconds: f64,
    toward_viewers: Vec<LossyViewers>,
    from_camera: LossyCamera,
}

/// Viewers behind a path with losses.
#[derive(Debug, Serialize)]
struct LossyViewers {
    faults: Faults,
    viewers: usize,
    /// What the relay did toward them.
    injected: LinkCounts,
    seen: Seen,
    /// What one viewer on the same path saw that asks for nothing: how bad the path is.
    without_nacks: Seen,
}

/// A camera behind such a path.
#[derive(Debug, Serialize)]
struct LossyCamera {
    loss_percent: f64,
    injected: LinkCounts,
    /// Packets that the server asked the camera for, and that the camera sent again.
    asked: u64,
    answered: u64,
    /// Key frames that the server asked for.
    key_frames_asked: u64,
    /// Those that ask the server too.
    asking: Seen,
    /// Those that only wait.
    waiting: Seen,
    /// Packets of those that count, and gaps that were never filled: NACK is agreed on with the
    /// camera for the picture alone.
    counted_packets: u64,
    counted_lost: u64,
}

/// What viewers that wait for missing packets have seen, all together.
#[derive(Debug, Default, Serialize)]
struct Seen {
    packets: u64,
    /// Packets that were not there when later ones came.
    missed: u64,
    /// Requests of the viewers, packets counted.
    nacked: u64,
    retransmissions: u64,
    /// Packets that were asked for and came.
    repaired: u64,
    /// Packets that came late without having been asked for.
    late: u64,
    /// Packets that did not come within half a second of the one behind them.
    given_up: u64,
    /// Packets that were not authentic or made no sense.
    unusable: u64,
    pictures: u64,
    complete: u64,
    /// The longest time until a missing packet was there.
    longest_wait_ms: f64,
    /// The longest time without a new picture.
    longest_freeze_ms: f64,
}

/// Measures both.
pub(crate) async fn run(setup: &Setup) -> Result<Part, BenchError> {
    let loss = Loss {
        seconds: setup.options.at_most_quick(MEASURED).as_secs_f64(),
        toward_viewers: toward_viewers(setup).await?,
        from_camera: from_camera(setup).await?,
    };
    Part::new("loss", loss.rows(), &loss)
}

/// All paths at the same time, each through its own relay.
async fn toward_viewers(setup: &Setup) -> Result<Vec<LossyViewers>, BenchError> {
    let mut stage = Stage::open(setup, setup.options.load.workers, 1).await?;
    stage.warm_up(setup).await?;
    let mut paths = Vec::new();
    for (seed, faults) in (SEED..).step_by(100).zip(PATHS) {
        paths.push(LossyPath::open(setup, &stage, faults, seed).await?);
    }
    tokio::time::sleep(setup.options.settle()).await;
    let before: Vec<_> = paths.iter().map(LossyPath::begin).collect();
    tokio::time::sleep(setup.options.at_most_quick(MEASURED)).await;
    let found = paths
        .iter()
        .zip(&before)
        .map(|(path, before)| path.since(before))
        .collect();
    for path in paths {
        path.close()?;
    }
    stage.end().await;
    Ok(found)
}

/// A relay and the viewers behind it.
struct LossyPath {
    faults: Faults,
    asking: Vec<MendingViewer>,
    waiting: [MendingViewer; 1],
    relay: Relay,
}

/// The counts from which on a path is measured.
struct Beginning {
    injected: LinkCounts,
    asking: Vec<MenderCounts>,
    waiting: Vec<MenderCounts>,
}

impl LossyPath {
    async fn open(
        setup: &Setup,
        stage: &Stage,
        faults: Faults,
        seed: u64,
    ) -> Result<Self, BenchError> {
        let mut invitations = Vec::new();
        for _ in 0..=VIEWERS_PER_PATH {
            invitations.push(stage.audience.invite(0).await?);
        }
        let lanes = invitations
            .iter()
            .map(|invitation| Ok(Lane::of_viewer(invitation.answer.server()?)))
            .collect::<Result<Vec<_>, BenchError>>()?;
        let path = Path {
            from_server: faults,
            ..Path::default()
        };
        let cpu = setup.cpus.bench;
        let relay = Relay::start(&lanes, path, seed, cpu)?;
        let mut behind = invitations
            .into_iter()
            .zip(relay.fronts())
            .map(|(invitation, front)| invitation.through(*front));
        let mut asking = Vec::with_capacity(VIEWERS_PER_PATH);
        for invitation in behind.by_ref().take(VIEWERS_PER_PATH) {
            asking.push(MendingViewer::start(invitation, true, cpu).await?);
        }
        let last = behind.next().ok_or(BenchError::Panicked)?;
        let waiting = [MendingViewer::start(last, false, cpu).await?];
        Ok(Self {
            faults,
            asking,
            waiting,
            relay,
        })
    }

    fn begin(&self) -> Beginning {
        Beginning {
            injected: self.relay.counts().from_server,
            asking: begin(&self.asking),
            waiting: begin(&self.waiting),
        }
    }

    fn since(&self, beginning: &Beginning) -> LossyViewers {
        LossyViewers {
            faults: self.faults,
            viewers: self.asking.len(),
            injected: self.relay.counts().from_server.since(&beginning.injected),
            seen: Seen::since(&self.asking, &beginning.asking),
            without_nacks: Seen::since(&self.waiting, &beginning.waiting),
        }
    }

    fn close(self) -> Result<(), BenchError> {
        let mut viewers = self.asking.into_iter().chain(self.waiting);
        viewers.try_for_each(MendingViewer::finish)
    }
}

async fn from_camera(setup: &Setup) -> Result<LossyCamera, BenchError> {
    let path = Path {
        to_server: Faults {
            loss: CAMERA_LOSS,
            ..Faults::default()
        },
        ..Path::default()
    };
    let (mut stage, relay) = Stage::open_behind_relay(setup, path, SEED).await?;
    stage.warm_up(setup).await?;
    let asking = mending(setup, &stage, ASKING, true).await?;
    let waiting = mending(setup, &stage, WAITING, false).await?;
    let counting = spread(COUNTING, 1, 1);
    stage.audience.join_many(counting).await?;
    tokio::time::sleep(setup.options.settle()).await;

    let before = (begin(&asking), begin(&waiting));
    let injected = relay.counts().to_server;
    let feedback = stage.cameras()?.0.state(0)?.feedback;
    let census = stage.audience.count().await?;
    tokio::time::sleep(setup.options.at_most_quick(MEASURED)).await;
    let later = stage.cameras()?.0.state(0)?.feedback;
    let census_later = stage.audience.count().await?;
    let found = LossyCamera {
        loss_percent: CAMERA_LOSS * 100.0,
        injected: relay.counts().to_server.since(&injected),
        asked: later.nack.asked - feedback.nack.asked,
        answered: later.nack.answered - feedback.nack.answered,
        key_frames_asked: (later.plis + later.firs) - (feedback.plis + feedback.firs),
        asking: Seen::since(&asking, &before.0),
        waiting: Seen::since(&waiting, &before.1),
        counted_packets: between(&census, &census_later, |counts| counts.packets),
        counted_lost: between(&census, &census_later, |counts| counts.lost),
    };
    for viewer in asking.into_iter().chain(waiting) {
        viewer.finish()?;
    }
    stage.end().await;
    Ok(found)
}

async fn mending(
    setup: &Setup,
    stage: &Stage,
    count: usize,
    asks: bool,
) -> Result<Vec<MendingViewer>, BenchError> {
    let mut viewers = Vec::with_capacity(count);
    for _ in 0..count {
        let invitation = stage.audience.invite(0).await?;
        viewers.push(MendingViewer::start(invitation, asks, setup.cpus.bench).await?);
    }
    Ok(viewers)
}

fn begin(viewers: &[MendingViewer]) -> Vec<MenderCounts> {
    viewers.iter().map(MendingViewer::begin_measuring).collect()
}

impl Seen {
    fn since(viewers: &[MendingViewer], before: &[MenderCounts]) -> Self {
        let mut seen = Self::default();
        for (viewer, before) in viewers.iter().zip(before) {
            seen.add(before, &viewer.counts());
        }
        seen
    }

    fn add(&mut self, before: &MenderCounts, after: &MenderCounts) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        self.packets += after.packets - before.packets;
        self.missed += after.nacks.missed - before.nacks.missed;
        self.nacked += after.nacks.asked - before.nacks.asked;
        self.retransmissions += after.retransmissions - before.retransmissions;
        self.repaired += after.nacks.repaired - before.nacks.repaired;
        self.late += after.nacks.late - before.nacks.late;
        self.given_up += after.given_up - before.given_up;
        self.unusable += after.unusable - before.unusable;
        self.pictures += after.pictures - before.pictures;
        self.complete += after.complete - before.complete;
        self.longest_wait_ms = self.longest_wait_ms.max(ms(after.nacks.longest_wait));
        self.longest_freeze_ms = self.longest_freeze_ms.max(ms(after.longest_freeze));
    }

    /// Pictures that ended and could not be shown.
    fn broken(&self) -> u64 {
        self.pictures.saturating_sub(self.complete)
    }
}

impl Loss {
    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.toward_viewers.iter().map(LossyViewers::row).collect();
        rows.extend(self.from_camera.rows());
        rows
    }
}

impl LossyViewers {
    fn row(&self) -> Row {
        let (seen, faults) = (&self.seen, &self.faults);
        let mut path = format!("{:.0} % loss", faults.loss * 100.0);
        if faults.burst > 1 {
            let _ = write!(path, " in bursts of {}", faults.burst);
        }
        if faults.reordered > 0.0 {
            let _ = write!(path, ", {:.0} % reordered", faults.reordered * 100.0);
        }
        if faults.duplicated > 0.0 {
            let _ = write!(path, ", {:.0} % doubled", faults.duplicated * 100.0);
        }
        let row = Row::new(
            format!("{path} toward {} viewers: broken pictures", self.viewers),
            format!(
                "{} of {} ({} of {} without NACKs); {} of {} packets dropped, {} NACKed, {} repaired within {:.0} ms; longest freeze {:.0} ms",
                seen.broken(),
                seen.pictures,
                self.without_nacks.broken(),
                self.without_nacks.pictures,
                self.injected.rtp_dropped,
                self.injected.rtp,
                seen.nacked,
                seen.repaired,
                seen.longest_wait_ms,
                seen.longest_freeze_ms
            ),
        );
        // A path that breaks nothing proves nothing.
        let harmful = self.without_nacks.broken() > 0 && seen.pictures > 0;
        row.target("0", harmful && seen.broken() == 0)
    }
}

impl LossyCamera {
    fn rows(&self) -> [Row; 3] {
        let of = |seen: &Seen| {
            format!(
                "{} of {}; {} packets late by ≤ {:.0} ms, {} given up; longest freeze {:.0} ms",
                seen.broken(),
                seen.pictures,
                seen.late + seen.repaired,
                seen.longest_wait_ms,
                seen.given_up,
                seen.longest_freeze_ms
            )
        };
        let mended = Row::new(
            format!(
                "{:.0} % loss from the camera ({} of {} packets dropped): broken pictures of viewers that only wait",
                self.loss_percent, self.injected.rtp_dropped, self.injected.rtp
            ),
            of(&self.waiting),
        );
        let injected = self.injected.rtp_dropped > 0 && self.waiting.pictures > 0;
        let asked = Row::new(
            "the same of viewers that ask too",
            format!("{}; {} NACKed", of(&self.asking), self.asking.nacked),
        );
        let server = Row::new(
            "the same: what the server had sent again",
            format!(
                "{} of {} packets asked for, {} key frames; {:.0} packets of sound per viewer stayed lost",
                self.answered,
                self.asked,
                self.key_frames_asked,
                self.counted_lost as f64 / COUNTING as f64
            ),
        );
        [
            mended.target("0", injected && self.waiting.broken() == 0),
            asked.target("0", injected && self.asking.broken() == 0),
            server,
        ]
    }
}
