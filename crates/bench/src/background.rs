//! A thread that does one thing until it is told to stop, and then says what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::affinity;
use crate::error::BenchError;

/// Says when to stop.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether it is time.
    pub(crate) fn is_due(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The running thread. Dropping it stops it too.
pub(crate) struct Background<T> {
    stop: Stop,
    thread: Option<JoinHandle<Result<T, BenchError>>>,
}

impl<T: Send + 'static> Background<T> {
    /// Runs `body` on a thread of its own, on one CPU if that is wanted. It must look at [`Stop`] often.
    pub(crate) fn start(
        name: &str,
        cpu: Option<usize>,
        body: impl FnOnce(&Stop) -> Result<T, BenchError> + Send + 'static,
    ) -> Result<Self, BenchError> {
        let stop = Stop::default();
        let theirs = stop.clone();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                affinity::pin(cpu)?;
                body(&theirs)
            })
            .map_err(BenchError::io("start a thread"))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Tells it to stop and waits for its result.
    pub(crate) fn finish(mut self) -> Result<T, BenchError> {
        self.stop.0.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Err(BenchError::Panicked);
        };
        thread.join().map_err(|_| BenchError::Panicked)?
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whoever drops it does not want the result.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_until_told_to_stop() {
        let body = |stop: &Stop| {
            while !stop.is_due() {
                std::thread::yield_now();
            }
            Ok(7)
        };
        let background = Background::start("test", None, body).unwrap();
        assert_eq!(background.finish().unwrap(), 7);
        drop(Background::start("test", None, body).unwrap());
    }
}
