//! Whether the program does its work at all. One that does not is mended by nothing but a new start.

use std::sync::Arc;
use std::time::Duration;

use apiary_media::engine::MediaEngine;

use super::pulse::Pulse;

/// For so long nothing that works is ever busy with one thing.
pub const HUNG_AFTER: Duration = Duration::from_secs(10);

/// Looks at both halves of the program; clones look at the same.
#[derive(Clone)]
pub struct Liveness {
    engine: Arc<dyn MediaEngine>,
    pulse: Arc<Pulse>,
}

impl Liveness {
    /// Of a program with this engine and pulse.
    pub fn new(engine: Arc<dyn MediaEngine>, pulse: Arc<Pulse>) -> Self {
        Self { engine, pulse }
    }

    /// What hangs; `None` when nothing does. Waits for nothing.
    pub fn trouble(&self) -> Option<String> {
        let media = self.engine.busy_for();
        if media >= HUNG_AFTER {
            let s = media.as_secs();
            return Some(format!("a media worker has hung for {s} s"));
        }
        let control = self.pulse.silent_for();
        let s = control.as_secs();
        (control >= HUNG_AFTER).then(|| format!("the control side has hung for {s} s"))
    }
}
