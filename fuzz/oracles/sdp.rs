//! What is parsed is written back byte for byte, its parts can be read, and an edited document is still one.

use apiary_wire::sdp::{Direction, Document, MediaSection};

pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(mut document) = Document::parse(text) else {
        return;
    };
    assert_eq!(document.to_string(), text);
    for media in document.media() {
        read(&document, media);
    }
    edit(&mut document, text);
    let edited = document.to_string();
    match Document::parse(&edited) {
        Ok(again) => assert_eq!(again.to_string(), edited),
        // Edits may carry a document over its bounds, but not out of its form.
        Err(error) => assert!(
            edited.len() > 60_000 || document.media().len() >= 256 || edited.lines().count() > 4096,
            "{error}"
        ),
    }
}

fn read(document: &Document, media: &MediaSection) {
    let _ = (
        document.ice_ufrag_of(media),
        document.ice_pwd_of(media),
        document.setup_of(media),
    );
    let _ = (
        document.direction_of(media),
        media.kind(),
        media.mid(),
        media.candidates().count(),
    );
    let _ = (
        media.extmaps().count(),
        media.ssrcs().count(),
        media.rtpmaps().count(),
    );
    for fingerprint in document.fingerprints_of(media).flatten() {
        assert_eq!(fingerprint.to_string().parse().as_ref(), Ok(&fingerprint));
    }
    for payload_type in media.payload_types() {
        let _ = media.rtpmap(payload_type);
        let _ = media.rtcp_fbs(payload_type).count();
        if let Some(fmtp) = media.fmtp(payload_type) {
            assert!(fmtp.iter().all(|(key, _)| fmtp.get(key).is_some()));
        }
    }
}

fn edit(document: &mut Document, text: &str) {
    document.set_attribute("tool", text).set_line('s', "-");
    for media in document.media_mut() {
        media
            .set_direction(Direction::Inactive)
            .remove_attributes("candidate");
        assert_eq!(media.direction(), Some(Direction::Inactive));
        assert_eq!(media.candidates().count(), 0);
        media.set_port(0).push_attribute("x", text);
    }
    document.push_media(MediaSection::new("audio", 9, "RTP/AVP", ["0"]));
}
