//! SDP fragments (`application/trickle-ice-sdpfrag`, RFC 8840 §9): what a PATCH brings and what an ICE restart answers.

use apiary_media::engine::IceParameters;
use apiary_wire::sdp::{Document, MediaSection, SdpError};

/// Most candidates of one fragment; a host with ten addresses has some fifty.
const MAX_CANDIDATES: usize = 128;
/// Lengths that RFC 8839 §5.4 allows.
const UFRAG_LENGTH: std::ops::RangeInclusive<usize> = 4..=256;
const PWD_LENGTH: std::ops::RangeInclusive<usize> = 22..=256;

/// ICE user name fragment and password of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) ufrag: String,
    pub(super) pwd: String,
}

/// What a PATCH says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) credentials: Option<Credentials>,
    /// `candidate:…` lines, without those that belong to other credentials.
    pub(super) candidates: Vec<String>,
    /// No more candidates follow.
    pub(super) ended: bool,
}

/// Why a fragment is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FragmentError {
    #[error("the SDP fragment cannot be read: {0}")]
    Sdp(#[from] SdpError),
    #[error("the SDP fragment has more than {MAX_CANDIDATES} candidates")]
    TooManyCandidates,
    #[error("ice-ufrag and ice-pwd come together, but one of them is missing")]
    HalfCredentials,
    #[error("ice-ufrag takes 4 to 256 and ice-pwd 22 to 256 of the characters A-Z a-z 0-9 + /")]
    BadCredentials,
}

impl Fragment {
    pub(super) fn parse(text: &str) -> Result<Self, FragmentError> {
        // A fragment is a description without its head.
        let document = Document::parse(&format!("v=0\r\n{text}"))?;
        let credentials = Credentials::read(&document)?;
        let candidates: Vec<String> = all_candidates(&document)
            .filter(|line| belongs(line, credentials.as_ref()))
            .take(MAX_CANDIDATES + 1)
            .map(|line| format!("candidate:{line}"))
            .collect();
        if candidates.len() > MAX_CANDIDATES {
            return Err(FragmentError::TooManyCandidates);
        }
        let ended = document.has_flag("end-of-candidates")
            || document
                .media()
                .iter()
                .any(|media| media.has_flag("end-of-candidates"));
        Ok(Self {
            credentials,
            candidates,
            ended,
        })
    }
}

fn all_candidates(document: &Document) -> impl Iterator<Item = &str> {
    let sections = document.media().iter().flat_map(|media| media.candidates());
    document.candidates().chain(sections)
}

/// A candidate may name the credentials it was gathered for; late ones of an earlier ICE session do no good (RFC 8838 §11).
fn belongs(candidate: &str, credentials: Option<&Credentials>) -> bool {
    let mut words = candidate
        .split(' ')
        .skip_while(|word| *word != "ufrag")
        .skip(1);
    match (words.next(), credentials) {
        (Some(named), Some(credentials)) => named == credentials.ufrag,
        (Some(_), None) | (None, _) => true,
    }
}

impl Credentials {
    /// Those of the first media section that has any, or of the session.
    pub(super) fn read(document: &Document) -> Result<Option<Self>, FragmentError> {
        let of_media = document.media().iter().find(|media| {
            document
                .ice_ufrag_of(media)
                .or(document.ice_pwd_of(media))
                .is_some()
        });
        let (ufrag, pwd) = match of_media {
            Some(media) => (document.ice_ufrag_of(media), document.ice_pwd_of(media)),
            None => (document.ice_ufrag(), document.ice_pwd()),
        };
        match (ufrag, pwd) {
            (None, None) => Ok(None),
            (Some(ufrag), Some(pwd))
                if is_ice_text(ufrag, &UFRAG_LENGTH) && is_ice_text(pwd, &PWD_LENGTH) =>
            {
                Ok(Some(Self {
                    ufrag: ufrag.to_owned(),
                    pwd: pwd.to_owned(),
                }))
            }
            (Some(_), Some(_)) => Err(FragmentError::BadCredentials),
            (Some(_), None) | (None, Some(_)) => Err(FragmentError::HalfCredentials),
        }
    }
}

fn is_ice_text(text: &str, length: &std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// The section of our answer that carries the candidates of all (BUNDLE's tagged section), as far as a fragment repeats it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tagged {
    section: Option<MediaSection>,
    ice_lite: bool,
}

impl Tagged {
    pub(super) fn of_answer(answer: &str) -> Self {
        let Ok(document) = Document::parse(answer) else {
            return Self::default();
        };
        let section = document.media().first().map(|first| {
            let mut section =
                MediaSection::new(first.kind_name(), 9, first.proto(), first.formats().take(1));
            if let Some(mid) = first.mid() {
                section.push_attribute("mid", mid);
            }
            section
        });
        Self {
            section,
            ice_lite: document.has_flag("ice-lite"),
        }
    }

    /// The fragment that answers an ICE restart.
    pub(super) fn answer(&self, ice: &IceParameters) -> String {
        let mut document = Document::new();
        if self.ice_lite {
            document.push_flag("ice-lite");
        }
        document.push_attribute("ice-options", "trickle ice2");
        let Some(section) = &self.section else {
            document
                .push_attribute("ice-ufrag", &ice.ufrag)
                .push_attribute("ice-pwd", &ice.pwd);
            return document.to_string();
        };
        if let Some(mid) = section.mid() {
            document.push_attribute("group", format_args!("BUNDLE {mid}"));
        }
        let mut section = section.clone();
        section
            .push_attribute("ice-ufrag", &ice.ufrag)
            .push_attribute("ice-pwd", &ice.pwd);
        for candidate in &ice.candidates {
            section.push_line('a', candidate);
        }
        section.push_flag("end-of-candidates");
        document.push_media(section);
        document.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PWD: &str = "P2uYro0UCOQ4zxjKXaWCBui1";
    const HOST: &str = "1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0";

    #[test]
    fn the_examples_of_rfc_9725_and_of_whep_are_read() {
        let at_session = format!(
            "a=ice-ufrag:EsAw\r\na=ice-pwd:{PWD}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:{HOST} ufrag EsAw network-id 1\r\na=end-of-candidates\r\n"
        );
        let at_section = format!(
            "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:{PWD}\r\na=candidate:{HOST} ufrag EsAw network-id 1\r\na=end-of-candidates\r\n"
        );
        for text in [at_session, at_section] {
            let fragment = Fragment::parse(&text).unwrap();
            assert_eq!(
                fragment.credentials,
                Some(Credentials {
                    ufrag: "EsAw".to_owned(),
                    pwd: PWD.to_owned()
                })
            );
            assert_eq!(
                fragment.candidates,
                [format!("candidate:{HOST} ufrag EsAw network-id 1")]
            );
            assert!(fragment.ended);
        }
        let restart =
            Fragment::parse("a=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n").unwrap();
        assert_eq!(restart.credentials.unwrap().ufrag, "ysXw");
        assert_eq!((restart.candidates.len(), restart.ended), (0, false));
    }

    #[test]
    fn what_is_no_fragment_is_refused() {
        let cases = [
            ("nonsense", "cannot be read"),
            ("m=audio\r\n", "cannot be read"),
            ("a=ice-ufrag:EsAw\r\n", "one of them is missing"),
            (
                "m=audio 9 RTP/AVP 0\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
                "one of them is missing",
            ),
            (
                "a=ice-ufrag:Es\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
                "4 to 256",
            ),
            ("a=ice-ufrag:EsAw\r\na=ice-pwd:short\r\n", "22 to 256"),
            (
                "a=ice-ufrag:Es:w\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n",
                "4 to 256",
            ),
        ];
        for (text, expected) in cases {
            let message = Fragment::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text:?} gave {message}");
        }
        let many = format!(
            "m=audio 9 RTP/AVP 0\r\n{}",
            format!("a=candidate:{HOST}\r\n").repeat(MAX_CANDIDATES + 1)
        );
        assert_eq!(
            Fragment::parse(&many),
            Err(FragmentError::TooManyCandidates)
        );
    }

    #[test]
    fn candidates_of_other_credentials_are_left_out() {
        let text = format!(
            "a=ice-ufrag:EsAw\r\na=ice-pwd:{PWD}\r\nm=audio 9 RTP/AVP 0\r\na=candidate:{HOST} ufrag OLDX\r\na=candidate:{HOST}\r\n"
        );
        assert_eq!(
            Fragment::parse(&text).unwrap().candidates,
            [format!("candidate:{HOST}")]
        );
    }

    #[test]
    fn restarts_are_answered_in_the_section_that_the_offer_tagged() {
        let answer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=mid:a0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v1\r\n";
        let ice = IceParameters {
            ufrag: "289b31b7".to_owned(),
            pwd: "0b66f472495ef0ccac7bda65".to_owned(),
            candidates: vec!["candidate:1 1 udp 2130706431 198.51.100.1 39132 typ host".to_owned()],
        };
        let expected = "a=ice-lite\r\na=ice-options:trickle ice2\r\na=group:BUNDLE a0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a0\r\na=ice-ufrag:289b31b7\r\na=ice-pwd:0b66f472495ef0ccac7bda65\r\na=candidate:1 1 udp 2130706431 198.51.100.1 39132 typ host\r\na=end-of-candidates\r\n";
        assert_eq!(Tagged::of_answer(answer).answer(&ice), expected);
        let read = Fragment::parse(expected).unwrap();
        assert_eq!(read.candidates, ice.candidates);
    }
}
