//! A WebRtcEndpoint: what a viewer is served by.

use std::net::Ipv4Addr;

use apiary_wire::sdp::MediaSection;
use str0m::rtp::Ssrc;
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;

use super::formats::Formats;
use super::transport::{Role, Transport};
use super::{Descriptions, Settings};
use crate::fault::RpcFault;
use crate::media::{Actor, IceState, PeerMailbox, PeerOrder, SharedFacts, run_peer};
use crate::options::Options;
use crate::sdp;
use crate::server::Voice;

#[derive(Debug)]
pub(crate) struct WebRtcEndpoint {
    pub(crate) descriptions: Descriptions,
    pub(crate) facts: SharedFacts,
    pub(crate) settings: Settings,
    data_channels: bool,
    transport: Option<Transport>,
    /// The identifications of its media sections.
    mids: Vec<String>,
    gathered: bool,
    actor: Actor<PeerOrder>,
}

impl WebRtcEndpoint {
    pub(crate) fn new(runtime: &Handle, voice: Voice, data_channels: bool) -> Self {
        let (mailbox, orders) = unbounded_channel();
        let facts = SharedFacts::default();
        let task = runtime.spawn(run_peer(orders, voice, facts.clone()));
        Self {
            descriptions: Descriptions::default(),
            facts,
            settings: Settings::new(),
            data_channels,
            transport: None,
            mids: Vec::new(),
            gathered: false,
            actor: Actor::new(mailbox, task),
        }
    }

    pub(crate) fn mailbox(&self) -> PeerMailbox {
        self.actor.mailbox.clone()
    }

    pub(crate) fn tell(&self, order: PeerOrder) {
        self.actor.tell(order);
    }

    pub(crate) fn close(self) {
        self.actor.tell(PeerOrder::Close);
    }

    pub(crate) fn abort(self) -> tokio::task::JoinHandle<()> {
        self.actor.abort()
    }

    pub(crate) fn settings_changed(&self) {
        let limits = self.settings.viewer_limits();
        self.actor.tell(PeerOrder::Limits(limits));
    }

    /// Answers, and waits for the viewer's checks from then on.
    pub(crate) fn process_offer(
        &mut self,
        offer: &str,
        options: &Options,
        number: u64,
    ) -> Result<String, RpcFault> {
        self.descriptions.must_be_fresh()?;
        let document = sdp::parse(offer, "offer")?;
        let formats = Formats::of(&document, options);
        let mut transport = Transport::open(options, number, &formats)?;
        let mut answer = sdp::session(number, Ipv4Addr::UNSPECIFIED);
        if let Some(semantics) = document.attribute("msid-semantic") {
            answer.push_attribute("msid-semantic", semantics);
        }
        if document.has_flag("group") {
            answer.push_attribute("group", formats.bundle());
        }
        let mut tracks = Vec::new();
        for (media, section) in document.media().iter().zip(&formats.sections) {
            let Some(section) = section else {
                answer.push_media(refused(media));
                continue;
            };
            let own = transport.own(section.ssrc);
            let numbers: Vec<_> = section.known.iter().map(|(number, _)| *number).collect();
            let answered = sdp::answer_section(&document, media, &numbers, &own);
            answer.push_media(answered);
            let wanted = document.direction_of(media).receives();
            tracks.extend(section.track().filter(|_| wanted));
        }
        self.facts.lock().would_transcode = formats.would_transcode();
        self.mids = formats.mids();
        if let Some(peer) = transport.connect(&document, tracks, Role::Answerer) {
            self.actor.tell(PeerOrder::Negotiated(Box::new(peer)));
        }
        self.transport = Some(transport);
        let answer = answer.to_string();
        self.descriptions.local = Some(answer.clone());
        self.descriptions.remote = Some(offer.to_owned());
        Ok(answer)
    }

    pub(crate) fn generate_offer(
        &mut self,
        options: &Options,
        number: u64,
        wanted: &[&'static str],
    ) -> Result<String, RpcFault> {
        self.descriptions.must_be_fresh()?;
        let transport = Transport::open(options, number, &Formats::default())?;
        self.mids = wanted.iter().map(|kind| format!("{kind}0")).collect();
        if self.data_channels {
            self.mids.push("application0".to_owned());
        }
        let mut offer = sdp::session(number, Ipv4Addr::UNSPECIFIED);
        offer.push_attribute("group", format_args!("BUNDLE {}", self.mids.join(" ")));
        for kind in wanted {
            let own = transport.own(Ssrc::from(rand::random::<u32>()));
            offer.push_media(sdp::webrtc_offer(kind, &own));
        }
        if self.data_channels {
            offer.push_media(transport.data_channel_offer());
        }
        self.transport = Some(transport);
        let offer = offer.to_string();
        self.descriptions.local = Some(offer.clone());
        Ok(offer)
    }

    /// Takes the answer to its offer, and connects; it sends no media to one that it has offered to. What comes back is the
    /// offer as it is by now: with candidates.
    pub(crate) fn process_answer(&mut self, answer: &str) -> Result<String, RpcFault> {
        let offer = self.descriptions.must_have_offered()?;
        let document = sdp::parse(answer, "answer")?;
        let mut completed = sdp::parse(offer, "offer")?;
        if let Some(transport) = &mut self.transport {
            if let Some(peer) = transport.connect(&document, Vec::new(), Role::Offerer) {
                self.actor.tell(PeerOrder::Negotiated(Box::new(peer)));
            }
            if self.gathered {
                transport.complete(&mut completed);
            }
        }
        let completed = completed.to_string();
        self.descriptions.local = Some(completed.clone());
        self.descriptions.remote = Some(answer.to_owned());
        Ok(completed)
    }

    /// The number in the names of its DTLS connection, once there is one.
    pub(crate) fn dtls_number(&self) -> Option<u64> {
        self.transport.as_ref().map(|transport| transport.number)
    }

    /// Each candidate with each section: its number, its identification, the candidate. Once, and only with a description.
    pub(crate) fn gather(&mut self) -> Option<Vec<(usize, String, String)>> {
        let transport = self.transport.as_ref()?;
        if std::mem::replace(&mut self.gathered, true) {
            return None;
        }
        self.facts.lock().ice = IceState::Gathering;
        let mut candidates = Vec::new();
        for text in transport.candidates.all() {
            for (at, mid) in self.mids.iter().enumerate() {
                candidates.push((at, mid.clone(), text.clone()));
            }
        }
        Some(candidates)
    }
}

fn refused(media: &MediaSection) -> MediaSection {
    let mut section = MediaSection::new(media.kind_name(), 0, media.proto(), media.formats());
    section.push_flag("inactive");
    if let Some(mid) = media.mid() {
        section.push_attribute("mid", mid);
    }
    section
}
