//! A viewer's side of a stream on a media server: an endpoint for WebRTC in the stream's pipeline.

use std::collections::HashSet;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use apiary_wire::kurento::{EventName, IceCandidate, ObjectId, Operation, Request, RpcErrorKind};
use apiary_wire::sdp::Document;
use futures_util::future::try_join_all;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::camera_leg::{Unfinished, kbps};
use super::client::CallError;
use super::server::Server;
use crate::engine::{BitrateBounds, EngineError};

/// Longest that an answer waits for candidates, where it must have them. Those of a TURN server take a second or two.
pub(super) const GATHERING: Duration = Duration::from_secs(3);

/// Makes the endpoint and asks for its events.
pub(super) async fn create(
    server: &Arc<Server>,
    pipeline: &ObjectId,
) -> Result<(ObjectId, Unfinished), CallError> {
    let create = Request::CreateWebRtcEndpoint {
        pipeline: pipeline.clone(),
    };
    let endpoint = server.client.create(create).await?;
    let unfinished = Unfinished::new(server, &endpoint);
    Ok((endpoint, unfinished))
}

/// Everything before the offer.
pub(super) async fn prepare(
    server: &Server,
    endpoint: &ObjectId,
    source: &ObjectId,
    bitrate: BitrateBounds,
) -> Result<(), CallError> {
    let client = &server.client;
    let sink = endpoint.clone();
    // By default a viewer counts as 500 kbit/s at most, and as 300 until its first REMB, and the camera is asked for no more
    // than its slowest viewer counts as.
    let set_bounds = async {
        // The maximum first: a minimum above it is taken for it.
        let (min, max) = (kbps(bitrate.min), kbps(bitrate.max));
        client
            .invoke(endpoint, Operation::SetMaxVideoSendBandwidth(max))
            .await?;
        client
            .invoke(endpoint, Operation::SetMinVideoSendBandwidth(min))
            .await
    };
    tokio::try_join!(
        set_bounds,
        server.try_invoke(endpoint, Operation::SetRembOnConnect(bitrate.max.as_bps())),
        client.invoke(source, Operation::Connect { sink }),
        subscribe_all(server, endpoint),
    )?;
    Ok(())
}

/// Without candidates nobody connects; what the other events tell is found out in other ways too.
async fn subscribe_all(server: &Server, endpoint: &ObjectId) -> Result<(), CallError> {
    let others = [
        EventName::IceGatheringDone,
        EventName::IceComponentStateChanged,
        EventName::ConnectionStateChanged,
        EventName::MediaStateChanged,
        EventName::Error,
    ];
    let subscribing = others.map(|event| server.subscribe_if_known(endpoint, event));
    tokio::try_join!(
        server.subscribe(endpoint, EventName::IceCandidateFound),
        try_join_all(subscribing),
    )?;
    Ok(())
}

/// Why a viewer is not served.
pub(super) enum NotServed {
    /// The server could not.
    Call(CallError),
    /// Something else: the offer, or that its stream is gone.
    Because(EngineError),
}

impl From<CallError> for NotServed {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<EngineError> for NotServed {
    fn from(error: EngineError) -> Self {
        Self::Because(error)
    }
}

/// Has the offer answered, and begins to gather candidates.
pub(super) async fn negotiate(
    server: &Server,
    endpoint: &ObjectId,
    offer: String,
) -> Result<String, NotServed> {
    let client = &server.client;
    let answer = client
        .invoke_for_text(endpoint, Operation::ProcessOffer(offer))
        .await
        .map_err(|error| match error.kind() {
            Some(RpcErrorKind::BadSdp) => NotServed::Because(EngineError::Offer(error.to_string())),
            Some(_) | None => NotServed::Call(error),
        })?;
    client.invoke(endpoint, Operation::GatherCandidates).await?;
    Ok(answer)
}

/// Waits until the server has found its candidates; when that takes too long, those that it has must do.
pub(super) async fn wait_gathered(gathered: &Notify) {
    if timeout(GATHERING, gathered.notified()).await.is_err() {
        tracing::debug!(
            "the media server still gathers candidates; answering with those that it has"
        );
    }
}

/// The answer with these candidates in its first media section; with BUNDLE they serve all (RFC 9143 §9.2).
pub(super) fn with_candidates(answer: &str, candidates: &[String]) -> String {
    let Ok(mut document) = Document::parse(answer) else {
        return answer.to_owned();
    };
    if let Some(media) = document.media_mut().first_mut() {
        for candidate in candidates {
            let value = candidate.strip_prefix("candidate:").unwrap_or(candidate);
            media.push_attribute("candidate", value);
        }
        media.push_flag("end-of-candidates");
    }
    document.to_string()
}

/// Whether a server's candidate is worth telling: the first media section's only, of RTP (RTCP is multiplexed), and at an
/// address that means something on another machine.
pub(super) fn is_useful(candidate: &IceCandidate) -> bool {
    let words: Vec<&str> = candidate.candidate.split_ascii_whitespace().collect();
    let (Some(&component), Some(&address)) = (words.get(1), words.get(4)) else {
        return false;
    };
    let is_link_local = address
        .parse()
        .is_ok_and(|address: Ipv6Addr| address.is_unicast_link_local());
    candidate.sdp_m_line_index == 0 && component == "1" && !is_link_local
}

/// A viewer's candidates in the form that the server takes, those left out that it cannot use.
pub(super) fn to_server(candidate: &str, first_mid: &str) -> Option<IceCandidate> {
    let is_needless = candidate.is_empty() || apiary_wire::sdp::kurento::is_mdns(candidate);
    (!is_needless).then(|| IceCandidate {
        candidate: candidate.to_owned(),
        sdp_mid: first_mid.to_owned(),
        sdp_m_line_index: 0,
    })
}

/// Notes a candidate; whether it is new.
pub(super) fn note(found: &mut Vec<String>, candidate: &str) -> bool {
    const MAX_CANDIDATES: usize = 64;
    let known: HashSet<&str> = found.iter().map(String::as_str).collect();
    let is_new = !known.contains(candidate) && found.len() < MAX_CANDIDATES;
    if is_new {
        found.push(candidate.to_owned());
    }
    is_new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str, index: u16) -> IceCandidate {
        IceCandidate {
            candidate: text.to_owned(),
            sdp_mid: "0".to_owned(),
            sdp_m_line_index: index,
        }
    }

    #[test]
    fn only_candidates_that_help_are_told() {
        let host = "candidate:1 1 UDP 2015363327 10.77.0.1 3920 typ host";
        assert!(is_useful(&candidate(host, 0)));
        assert!(
            !is_useful(&candidate(host, 1)),
            "the same again for another section"
        );
        let rtcp = "candidate:1 2 UDP 2015363326 10.77.0.1 24170 typ host";
        assert!(!is_useful(&candidate(rtcp, 0)));
        let link_local = "candidate:4 1 UDP 2015363583 fe80::7c42:7eff:fe87:66f3 35004 typ host";
        assert!(!is_useful(&candidate(link_local, 0)));
        assert!(!is_useful(&candidate("candidate:garbage", 0)));
        let mut found = Vec::new();
        assert!(note(&mut found, host) && !note(&mut found, host));
    }

    #[test]
    fn names_that_the_server_cannot_resolve_are_kept_from_it() {
        let mdns = "candidate:1 1 udp 2113937151 2c4e8f5a-0000-4000-8000-000000000000.local 55321 typ host";
        assert_eq!(to_server(mdns, "a"), None);
        assert_eq!(to_server("", "a"), None);
        let host = "candidate:1 1 udp 2113937151 192.0.2.7 55321 typ host";
        let given = to_server(host, "a").unwrap();
        assert_eq!(
            (given.candidate.as_str(), given.sdp_mid.as_str()),
            (host, "a")
        );
    }

    #[test]
    fn candidates_go_into_the_first_section() {
        let answer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 1 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\nm=video 1 UDP/TLS/RTP/SAVPF 101\r\na=mid:1\r\n";
        let host = "candidate:1 1 UDP 2015363327 10.77.0.1 3920 typ host".to_owned();
        let text = with_candidates(answer, &[host]);
        let document = Document::parse(&text).unwrap();
        let of = |index: usize| document.media()[index].candidates().collect::<Vec<_>>();
        assert_eq!(of(0), ["1 1 UDP 2015363327 10.77.0.1 3920 typ host"]);
        assert!(of(1).is_empty());
        assert!(document.media()[0].has_flag("end-of-candidates"));
    }
}
