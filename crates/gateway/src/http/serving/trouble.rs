//! Times in which connections cannot be taken: each is logged once.

use std::io;
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Pause after a failed accept (out of file descriptors, mostly), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A time of trouble is over when nothing went wrong for so long.
const CALM: Duration = Duration::from_secs(30);

/// Remembers when it last happened.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    last: Option<Instant>,
}

impl Trouble {
    /// Notes that it happened at `now`; whether it is the first of its time.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        let before = self.last.replace(now);
        before.is_none_or(|before| now.duration_since(before) >= CALM)
    }

    /// Logs what an accept failed with, and waits before the next. A connection that ended before it was taken is no trouble.
    pub(super) async fn cannot_accept(&mut self, error: &io::Error) {
        let is_the_connection_s = [
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionRefused,
        ]
        .contains(&error.kind());
        if is_the_connection_s {
            return;
        }
        if self.begins(Instant::now()) {
            tracing::error!(
                %error,
                "cannot take HTTP connections for now; those that are open go on. Out of file descriptors? Raise `ulimit -n` \
                 (LimitNOFILE= in a systemd unit), or lower http.max_connections"
            );
        }
        sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_trouble_begins_once() {
        let mut trouble = Trouble::default();
        let start = Instant::now();
        assert!(trouble.begins(start));
        assert!(!trouble.begins(start + CALM / 2));
        assert!(!trouble.begins(start + CALM));
        assert!(trouble.begins(start + CALM * 3));
    }
}
