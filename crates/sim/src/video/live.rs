//! A camera's encoder: a thread that draws and encodes the test card while a stream runs and sleeps
//! otherwise. It holds no socket and knows no rule; it is told when to begin and to end.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use apiary_wire::Bitrate;

use super::card::{Scene, TestCard};
use super::encoder::CardEncoder;
use super::{EncodeError, MAX_PAYLOAD, VideoFrame};

/// What the encoder shows and how it does.
#[derive(Debug, Clone)]
pub(crate) struct LiveSource {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Pictures a second, at least 1.
    pub(crate) fps: u32,
    pub(crate) name: String,
    /// The card's tint in degrees.
    pub(crate) hue: f32,
    pub(crate) seed: u64,
}

/// What comes from the encoder's thread.
#[derive(Debug)]
pub(crate) enum LiveEvent {
    /// A picture of the run with this number, drawn at `captured`.
    Frame {
        run: u64,
        captured: Instant,
        frame: VideoFrame,
    },
    /// The run with this number cannot go on.
    Failed { run: u64, error: EncodeError },
}

/// Owns the thread; dropping it ends and joins the thread within one picture's time.
#[derive(Debug)]
pub(crate) struct LiveEncoder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    order: Mutex<Order>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Order {
    task: Task,
    bitrate: Bitrate,
    /// The next picture shall be an IDR.
    idr: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Task {
    #[default]
    Sleep,
    Encode {
        run: u64,
    },
    Quit,
}

impl LiveEncoder {
    /// Starts the thread, which sleeps until the first [`Self::begin`]. `emit` must not block; it
    /// returns false where it had to drop the event, and the next picture will be an IDR then.
    pub(crate) fn spawn(
        source: LiveSource,
        emit: impl FnMut(LiveEvent) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let worker = Worker {
            shared: Arc::clone(&shared),
            source,
            emit: Box::new(emit),
        };
        let thread = std::thread::Builder::new()
            .name("sim-encoder".to_owned())
            .spawn(move || worker.work())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Encodes from now on, at `bitrate` and from an IDR on; events carry the number `run`.
    pub(crate) fn begin(&self, run: u64, bitrate: Bitrate) {
        self.shared.change(|order| {
            *order = Order {
                task: Task::Encode { run },
                bitrate,
                idr: true,
            };
        });
    }

    pub(crate) fn set_bitrate(&self, bitrate: Bitrate) {
        self.shared.change(|order| order.bitrate = bitrate);
    }

    pub(crate) fn request_idr(&self) {
        self.shared.change(|order| order.idr = true);
    }

    /// Sleeps again. A picture that is being encoded still comes.
    pub(crate) fn end(&self) {
        self.shared.change(|order| order.task = Task::Sleep);
    }
}

impl Drop for LiveEncoder {
    fn drop(&mut self) {
        self.shared.change(|order| order.task = Task::Quit);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a simulated camera's encoder panicked");
        }
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Order)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Worker {
    shared: Arc<Shared>,
    source: LiveSource,
    emit: Box<dyn FnMut(LiveEvent) -> bool + Send>,
}

/// One picture's orders.
struct Due {
    bitrate: Bitrate,
    idr: bool,
}

impl Worker {
    fn work(mut self) {
        let source = &self.source;
        let size = (source.width, source.height);
        let mut card = TestCard::new(size, &source.name, source.hue, source.seed);
        while let Some(run) = self.next_run() {
            if let Err(error) = self.encode_run(run, &mut card) {
                self.shared.change(|order| {
                    if order.task == (Task::Encode { run }) {
                        order.task = Task::Sleep;
                    }
                });
                (self.emit)(LiveEvent::Failed { run, error });
            }
        }
    }

    /// Sleeps until there is something to encode; `None` to quit.
    fn next_run(&self) -> Option<u64> {
        let mut order = self.shared.lock();
        loop {
            match order.task {
                Task::Encode { run } => return Some(run),
                Task::Quit => return None,
                Task::Sleep => {
                    order = self
                        .shared
                        .changed
                        .wait(order)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn encode_run(&mut self, run: u64, card: &mut TestCard) -> Result<(), EncodeError> {
        let interval = Duration::from_secs(1) / self.source.fps.max(1);
        let mut encoder = CardEncoder::new(self.shared.lock().bitrate, self.source.fps)?;
        let mut due_at = Instant::now();
        let mut number = 0;
        while let Some(due) = self.wait_for(run, due_at) {
            encoder.set_bitrate(due.bitrate)?;
            if due.idr {
                encoder.request_idr();
            }
            let captured = Instant::now();
            let canvas = card.draw(Scene {
                frame: number,
                clock: &clock(),
                bitrate_kbps: due.bitrate.as_kbps(),
            });
            if let Some(unit) = encoder.encode(canvas)? {
                let frame = VideoFrame::packetize(&unit, MAX_PAYLOAD);
                let event = LiveEvent::Frame {
                    run,
                    captured,
                    frame,
                };
                if !(self.emit)(event) {
                    encoder.request_idr();
                }
            }
            number += 1;
            // A picture that took too long is followed at once by the next, but lost time is lost.
            due_at = (due_at + interval).max(Instant::now());
        }
        Ok(())
    }

    /// Waits until `due_at`; `None` as soon as `run` is over.
    fn wait_for(&self, run: u64, due_at: Instant) -> Option<Due> {
        let mut order = self.shared.lock();
        while order.task == (Task::Encode { run }) {
            let wait = due_at.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Some(Due {
                    bitrate: order.bitrate,
                    idr: std::mem::take(&mut order.idr),
                });
            }
            order = self
                .shared
                .changed
                .wait_timeout(order, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        None
    }
}

/// The local time of day with tenths of a second.
fn clock() -> String {
    let now = jiff::Zoned::now();
    let tenth = now.subsec_nanosecond() / 100_000_000;
    format!(
        "{:02}:{:02}:{:02}.{tenth}",
        now.hour(),
        now.minute(),
        now.second()
    )
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn source() -> LiveSource {
        LiveSource {
            width: 320,
            height: 180,
            fps: 30,
            name: "Test".to_owned(),
            hue: 0.0,
            seed: 1,
        }
    }

    fn encoder() -> (LiveEncoder, mpsc::Receiver<LiveEvent>) {
        let (sender, receiver) = mpsc::channel();
        let encoder = LiveEncoder::spawn(source(), move |event| sender.send(event).is_ok());
        (encoder.unwrap(), receiver)
    }

    fn frame(events: &mpsc::Receiver<LiveEvent>) -> (u64, VideoFrame) {
        match events.recv_timeout(PATIENCE).unwrap() {
            LiveEvent::Frame { run, frame, .. } => (run, frame),
            LiveEvent::Failed { error, .. } => panic!("{error}"),
        }
    }

    #[test]
    fn begins_with_an_idr_and_gives_one_when_asked_or_when_the_bitrate_changes() {
        let (encoder, events) = encoder();
        encoder.begin(7, Bitrate::from_kbps(800));
        let (run, first) = frame(&events);
        assert_eq!((run, first.idr), (7, true));
        assert!(first.slices_at > 0, "parameter sets come first");
        assert!(!frame(&events).1.idr);
        encoder.request_idr();
        while !frame(&events).1.idr {}
        encoder.set_bitrate(Bitrate::from_kbps(500));
        while !frame(&events).1.idr {}
    }

    #[test]
    fn sleeps_between_runs_and_quits_when_dropped() {
        let (encoder, events) = encoder();
        encoder.begin(1, Bitrate::from_kbps(800));
        frame(&events);
        encoder.end();
        encoder.begin(2, Bitrate::from_kbps(800));
        let second = std::iter::repeat_with(|| frame(&events)).find(|(run, _)| *run == 2);
        assert!(second.is_some_and(|(_, frame)| frame.idr));
        drop(encoder);
        while events.recv_timeout(PATIENCE).is_ok() {}
        assert!(matches!(
            events.recv_timeout(PATIENCE),
            Err(mpsc::RecvTimeoutError::Disconnected)
        ));
    }
}
