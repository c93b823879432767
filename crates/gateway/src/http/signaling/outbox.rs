//! What waits to be written to a socket: bounded, so that a page that does not read delays nobody but itself.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message};
use futures_util::{Sink, SinkExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::message::ServerMessage;

/// Messages that may wait. When one more comes the page has stopped reading, and its session ends.
const MAX_WAITING: usize = 64;
/// How long one message may take to be written before the socket counts as dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last messages may take once the session is over.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The page does not read, or the socket is gone.
#[derive(Debug)]
pub(super) struct NotReading;

/// The sending half of a socket.
pub(super) struct Outbox {
    queue: mpsc::Sender<Message>,
    writer: JoinHandle<()>,
}

impl Outbox {
    pub(super) fn new(sink: impl Sink<Message> + Unpin + Send + 'static) -> Self {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        Self {
            queue,
            writer: tokio::spawn(write_all(sink, waiting)),
        }
    }

    pub(super) fn send(&self, message: &ServerMessage) -> Result<(), NotReading> {
        self.push(Message::Text(message.to_json().into()))
    }

    pub(super) fn ping(&self) -> Result<(), NotReading> {
        self.push(Message::Ping(Default::default()))
    }

    fn push(&self, message: Message) -> Result<(), NotReading> {
        self.queue.try_send(message).map_err(|_| NotReading)
    }

    /// Completes when the socket takes no more messages.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Says goodbye, lets what waits go out, and ends the writer.
    pub(super) async fn finish(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        // A full queue means that nobody reads the goodbye either.
        let _ = self.push(Message::Close(Some(frame)));
        drop(self.queue);
        if tokio::time::timeout(FLUSH_TIMEOUT, &mut self.writer)
            .await
            .is_err()
        {
            self.writer.abort();
            let _ = self.writer.await;
        }
    }
}

async fn write_all(mut sink: impl Sink<Message> + Unpin, mut waiting: mpsc::Receiver<Message>) {
    while let Some(message) = waiting.recv().await {
        match tokio::time::timeout(WRITE_TIMEOUT, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    /// The socket of a page that never reads, once the buffers on the way are full.
    struct Deaf;

    impl Sink<Message> for Deaf {
        type Error = std::io::Error;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Pending
        }

        fn start_send(self: Pin<&mut Self>, _: Message) -> Result<(), Self::Error> {
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_page_that_does_not_read_is_given_up_and_never_waited_for() {
        let outbox = Outbox::new(Deaf);
        let sent = (0..10_000).take_while(|_| outbox.ping().is_ok()).count();
        // One more where the writer has taken the first already.
        assert!(
            (MAX_WAITING..=MAX_WAITING + 1).contains(&sent),
            "{sent} were taken"
        );
        let ended = tokio::time::timeout(Duration::from_secs(30), outbox.finish(1000, ""));
        assert!(
            ended.await.is_ok(),
            "the goodbye waits for a page that does not read"
        );
    }
}
