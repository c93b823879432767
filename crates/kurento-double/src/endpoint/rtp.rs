//! An RtpEndpoint: what a camera sends to.

use std::net::{IpAddr, SocketAddr};

use apiary_wire::sdp::{Document, MediaKind, MediaSection};
use apiary_wire::units::Ssrc;
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;

use super::{Descriptions, Settings, no_socket};
use crate::fault::RpcFault;
use crate::media::{
    Actor, KeyFrames, Leg, LegMailbox, LegOrder, Medium, PortPair, Section, SharedFacts, run_leg,
};
use crate::options::Options;
use crate::sdp;
use crate::server::Voice;

#[derive(Debug)]
pub(crate) struct RtpEndpoint {
    pub(crate) descriptions: Descriptions,
    pub(crate) facts: SharedFacts,
    /// What is asked of the camera takes no notice of what is set after negotiation.
    pub(crate) settings: Settings,
    actor: Actor<LegOrder>,
}

impl RtpEndpoint {
    pub(crate) fn new(runtime: &Handle, voice: Voice, wild: bool) -> Self {
        let (mailbox, orders) = unbounded_channel();
        let facts = SharedFacts::default();
        let task = runtime.spawn(run_leg(orders, voice, facts.clone(), wild));
        Self {
            descriptions: Descriptions::default(),
            facts,
            settings: Settings::new(),
            actor: Actor::new(mailbox, task),
        }
    }

    pub(crate) fn mailbox(&self) -> LegMailbox {
        self.actor.mailbox.clone()
    }

    pub(crate) fn tell(&self, order: LegOrder) {
        self.actor.tell(order);
    }

    pub(crate) fn close(self) {
        self.actor.tell(LegOrder::Close);
    }

    pub(crate) fn abort(self) -> tokio::task::JoinHandle<()> {
        self.actor.abort()
    }

    /// Opens ports and answers; media may come from then on.
    pub(crate) fn process_offer(
        &mut self,
        offer: &str,
        options: &Options,
        number: u64,
    ) -> Result<String, RpcFault> {
        self.descriptions.must_be_fresh()?;
        let document = sdp::parse(offer, "offer")?;
        let cname = sdp::cname();
        let mut answer = sdp::session(number, options.advertised());
        let mut sections = Vec::new();
        for media in document.media() {
            let section = open(&document, media, options)?;
            answer.push_media(answer_for(&document, media, section.as_ref(), &cname));
            sections.extend(section);
        }
        self.actor.tell(LegOrder::Negotiated(Box::new(Leg {
            sections,
            cname,
            cap_bps: self.settings.recv_cap_bps(),
        })));
        let mut answer = answer.to_string();
        if let Some(unwanted) = options.answers_without {
            let lines = answer.split_inclusive('\n');
            answer = lines.filter(|line| !line.contains(unwanted)).collect();
        }
        self.facts.lock().connected = true;
        self.descriptions.local = Some(answer.clone());
        self.descriptions.remote = Some(offer.to_owned());
        Ok(answer)
    }

    /// An offer; whatever is answered to it, no media comes of it here.
    pub(crate) fn generate_offer(
        &mut self,
        options: &Options,
        number: u64,
    ) -> Result<String, RpcFault> {
        self.descriptions.must_be_fresh()?;
        let cname = sdp::cname();
        let mut offer = sdp::session(number, options.advertised());
        for kind in ["audio", "video"] {
            let ports = PortPair::bind(options.address).map_err(|error| no_socket(&error))?;
            offer.push_media(sdp::rtp_offer(
                kind,
                &own(ports.port, Ssrc(rand::random()), &cname),
            ));
        }
        let offer = offer.to_string();
        self.descriptions.local = Some(offer.clone());
        Ok(offer)
    }

    pub(crate) fn process_answer(&mut self, answer: &str) -> Result<String, RpcFault> {
        let offer = self.descriptions.must_have_offered()?.to_owned();
        sdp::parse(answer, "answer")?;
        self.descriptions.remote = Some(answer.to_owned());
        Ok(offer)
    }
}

fn own(port: u16, ssrc: Ssrc, cname: &str) -> sdp::Own<'_> {
    sdp::Own {
        port,
        rtcp: (u32::from(port) + 1).to_string(),
        ssrc: ssrc.0,
        cname,
        rtcp_mux: false,
        transport: Vec::new(),
    }
}

fn answer_for(
    offer: &Document,
    media: &MediaSection,
    section: Option<&Section>,
    cname: &str,
) -> MediaSection {
    match section {
        Some(section) => {
            let own = own(section.ports.port, section.own_ssrc, cname);
            sdp::answer_section(offer, media, &section.payload_types, &own)
        }
        None => MediaSection::new(media.kind_name(), 0, media.proto(), media.formats()),
    }
}

/// The ports for a section; none for what is neither sound nor picture.
fn open(
    offer: &Document,
    media: &MediaSection,
    options: &Options,
) -> Result<Option<Section>, RpcFault> {
    let medium = match media.kind() {
        MediaKind::Audio => Medium::Audio,
        MediaKind::Video => Medium::Video,
        MediaKind::Application | MediaKind::Other => return Ok(None),
    };
    let known = sdp::known_formats(media);
    let mut payload_types: Vec<_> = known.iter().map(|(number, _)| *number).collect();
    if payload_types.is_empty() {
        // Formats that it does not know are answered all the same.
        payload_types = media.payload_types().collect();
    }
    let first = payload_types.first().copied();
    let feedback = |kind: &str, parameter: &str| {
        let mut offered = first.into_iter().flat_map(|number| media.rtcp_fbs(number));
        media.proto() == "RTP/AVPF" && offered.any(|feedback| feedback.is(kind, parameter))
    };
    let key_frames = match (feedback("ccm", "fir"), feedback("nack", "pli")) {
        (true, _) => KeyFrames::Fir,
        (false, true) => KeyFrames::Pli,
        (false, false) => KeyFrames::Never,
    };
    let remb = medium == Medium::Video && feedback("goog-remb", "");
    let rtpmap = first.and_then(|number| media.rtpmap(number));
    let waits = offer.attribute_of(media, "direction") == Some("active");
    Ok(Some(Section {
        medium,
        ports: PortPair::bind(options.address).map_err(|error| no_socket(&error))?,
        codec: known.first().map(|(_, codec)| *codec),
        clock_rate: rtpmap.map_or_else(|| default_clock(medium), |map| map.clock_rate),
        payload_types,
        own_ssrc: Ssrc(rand::random()),
        offered_ssrc: media.ssrcs().next().map(|source| source.ssrc),
        rtcp_to: if waits {
            None
        } else {
            offered_rtcp(offer, media)
        },
        remb,
        key_frames,
    }))
}

fn default_clock(medium: Medium) -> u32 {
    match medium {
        Medium::Audio => 8_000,
        Medium::Video => 90_000,
    }
}

/// Where the offerer wants RTCP: at `a=rtcp`, or on the port after that of RTP.
fn offered_rtcp(offer: &Document, media: &MediaSection) -> Option<SocketAddr> {
    let connection = media.line('c').or_else(|| offer.line('c'))?;
    let ip: IpAddr = connection.split(' ').nth(2)?.parse().ok()?;
    let port = match media.attribute("rtcp") {
        Some(rtcp) => rtcp.split(' ').next()?.parse().ok()?,
        None => media.port().checked_add(1)?,
    };
    Some(SocketAddr::new(ip, port))
}
