//! Which element feeds which.

use serde_json::{Value, json};

use crate::media::{LegOrder, Medium, PeerOrder, Sink};
use crate::objects::Endpoint;
use crate::server::Server;

/// What a link can carry, in the order in which links are listed.
const TYPES: [&str; 3] = ["AUDIO", "DATA", "VIDEO"];

/// One medium from one element to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) source: String,
    pub(crate) sink: String,
    pub(crate) medium: &'static str,
}

impl Link {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "__module__": "kurento",
            "__type__": "ElementConnectionData",
            "sink": self.sink,
            "sinkDescription": "default",
            "source": self.source,
            "sourceDescription": "default",
            "type": self.medium,
        })
    }

    fn event_data(&self) -> Value {
        json!({
            "mediaType": self.medium,
            "sink": self.sink,
            "sinkMediaDescription": "default",
            "sourceMediaDescription": "default",
        })
    }
}

impl Server {
    /// Connects elements of which both are there; a sink has one source for each medium.
    pub(crate) fn link(&mut self, source: &str, sink: &str, media: &[&'static str]) {
        let taken = |link: &Link| link.sink == sink && media.contains(&link.medium);
        let former: Vec<_> = self
            .links
            .iter()
            .filter(|link| taken(link))
            .cloned()
            .collect();
        self.links.retain(|link| !taken(link));
        for link in former {
            self.rewire(&link.source, sink);
        }
        for medium in media {
            let link = Link {
                source: source.to_owned(),
                sink: sink.to_owned(),
                medium,
            };
            self.emit(source, "ElementConnected", link.event_data());
            self.links.push(link);
        }
        self.links
            .sort_by_key(|link| TYPES.iter().position(|known| *known == link.medium));
        self.rewire(source, sink);
    }

    pub(crate) fn unlink(&mut self, source: &str, sink: &str, media: &[&'static str]) {
        let meant = |link: &Link| {
            link.source == source && link.sink == sink && media.contains(&link.medium)
        };
        let ended: Vec<_> = self
            .links
            .iter()
            .filter(|link| meant(link))
            .cloned()
            .collect();
        self.links.retain(|link| !meant(link));
        for link in ended {
            self.emit(source, "ElementDisconnected", link.event_data());
        }
        self.rewire(source, sink);
    }

    /// An element is gone.
    pub(crate) fn unlink_all(&mut self, id: &str) {
        let (ended, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.links)
            .into_iter()
            .partition(|link| link.source == id || link.sink == id);
        self.links = kept;
        for link in ended {
            self.rewire(&link.source, &link.sink);
        }
    }

    /// Tells the tasks behind two elements what is linked between them now.
    fn rewire(&self, source: &str, sink: &str) {
        let linked = |medium: &Medium| {
            self.links.iter().any(|link| {
                link.source == source && link.sink == sink && link.medium == medium.name()
            })
        };
        let media: Vec<_> = Medium::BOTH.into_iter().filter(linked).collect();
        let peer = self.objects.get(sink).ok().map(|object| &object.endpoint);
        let leg = self.objects.get(source).ok().map(|object| &object.endpoint);
        if let Some(Endpoint::Rtp(leg)) = leg {
            leg.tell(match peer {
                Some(Endpoint::WebRtc(peer)) if !media.is_empty() => LegOrder::AddSink(Sink {
                    id: sink.to_owned(),
                    media: media.clone(),
                    mailbox: peer.mailbox(),
                }),
                _ => LegOrder::RemoveSink(sink.to_owned()),
            });
        }
        if let Some(Endpoint::WebRtc(peer)) = peer {
            peer.tell(PeerOrder::Source(match leg {
                Some(Endpoint::Rtp(leg)) if media.contains(&Medium::Video) => Some(leg.mailbox()),
                _ => None,
            }));
        }
    }
}
