//! One account that asks too much: offers over WHEP that are never followed up, and signaling messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::background::Stop;
use crate::error::BenchError;
use crate::viewer::{Identity, Seat};
use crate::whep::WhepClient;

use super::{Onslaught, Pace};

/// Requests under way at once.
const CONCURRENT: usize = 32;
/// How long an answer is awaited.
const PATIENCE: Duration = Duration::from_secs(5);
/// Offers that are made beforehand and used again and again: making them shall not be what limits the flood.
const OFFERS: usize = 64;

/// Posts offers until told to stop. Each makes the server set up a viewer that never comes.
pub(crate) fn offers(
    whep: WhepClient,
    identity: &Identity,
    per_second: u64,
    stop: &Stop,
) -> Result<Onslaught, BenchError> {
    let mut ready: VecDeque<String> = (0..OFFERS)
        .map(|_| Ok(Seat::take()?.offer(identity)))
        .collect::<Result<_, BenchError>>()?;
    runtime()?.block_on(async {
        let mut onslaught = Onslaught::default();
        let refused = Arc::new(AtomicU64::new(0));
        let mut pace = Pace::new(per_second, Instant::now());
        let mut under_way = JoinSet::new();
        while !stop.is_due() {
            for _ in 0..pace.due(Instant::now()) {
                if under_way.len() >= CONCURRENT {
                    // The server is slower than the flood; what is under way goes first.
                    under_way.join_next().await;
                }
                let Some(offer) = ready.pop_front() else {
                    break;
                };
                ready.push_back(offer.clone());
                onslaught.sent += 1;
                onslaught.octets_sent += offer.len() as u64;
                let (whep, refused) = (whep.clone(), Arc::clone(&refused));
                under_way.spawn(async move {
                    let answered = tokio::time::timeout(PATIENCE, whep.join(offer)).await;
                    if !matches!(answered, Ok(Ok(_))) {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            while under_way.try_join_next().is_some() {}
            tokio::time::sleep_until(pace.next().into()).await;
        }
        onslaught.seconds = pace.seconds();
        under_way.join_all().await;
        onslaught.refused = refused.load(Ordering::Relaxed);
        Ok(onslaught)
    })
}

/// Sends signaling messages until told to stop; opens the socket again when the server has had enough of it, which
/// counts as refused.
pub(crate) fn messages(url: &str, per_second: u64, stop: &Stop) -> Result<Onslaught, BenchError> {
    const MESSAGES: [&str; 4] = [
        r#"{"type":"onIceCandidate","candidate":{"candidate":"candidate:1 1 udp 1 10.0.0.1 9 typ host","sdpMid":"0","sdpMLineIndex":0}}"#,
        r#"{"type":"viewer","cameraId":"00000000000000000000000000000001","sdpOffer":"v=0"}"#,
        r#"{"type":"presenter"}"#,
        r#"[[[[[[[[{"type":"stop"}]]]]]]]]"#,
    ];
    runtime()?.block_on(async {
        let mut onslaught = Onslaught::default();
        let mut pace = Pace::new(per_second, Instant::now());
        let mut socket = None;
        while !stop.is_due() {
            for _ in 0..pace.due(Instant::now()) {
                if socket.is_none() {
                    socket = tokio_tungstenite::connect_async(url)
                        .await
                        .ok()
                        .map(|(open, _)| open);
                }
                let Some(open) = &mut socket else {
                    onslaught.refused += 1;
                    break;
                };
                let text = MESSAGES[onslaught.sent as usize % MESSAGES.len()];
                match open.send(Message::text(text)).await {
                    Ok(()) => {
                        onslaught.sent += 1;
                        onslaught.octets_sent += text.len() as u64;
                    }
                    Err(_) => {
                        onslaught.refused += 1;
                        socket = None;
                    }
                }
            }
            if let Some(open) = &mut socket {
                while let Ok(answer) =
                    tokio::time::timeout(Duration::from_millis(1), open.next()).await
                {
                    match answer {
                        Some(Ok(message)) => onslaught.octets_received += message.len() as u64,
                        Some(Err(_)) | None => {
                            onslaught.refused += 1;
                            socket = None;
                            break;
                        }
                    }
                }
            }
            tokio::time::sleep_until(pace.next().into()).await;
        }
        onslaught.seconds = pace.seconds();
        Ok(onslaught)
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, BenchError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("start a runtime for an attack"))
}
