//! What is done to a server, one file each. A scenario takes a running [`Stage`] and returns its part of the
//! report; further ones (storms, many cameras, loss) are added beside these.

pub(crate) mod joins;
pub(crate) mod steady;

use crate::audience::Audience;
use crate::error::BenchError;
use crate::process::ProcessSample;

/// A server with a stream, and those who watch it.
pub(crate) struct Stage {
    pub(crate) audience: Audience,
    /// The server's process, where it is known.
    pub(crate) pid: Option<u32>,
}

impl Stage {
    /// A look at the server, where its process is known.
    pub(crate) fn sample(&self) -> Result<Option<ProcessSample>, BenchError> {
        self.pid.map(ProcessSample::read).transpose()
    }
}
