//! Whatever a media server sends is read without harm, and what is read of it stays within what was sent.

use apiary_wire::kurento::{EventData, Incoming, MediaStats, server_version, text_list};

pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Incoming::parse(text) {
        Ok(Incoming::Reply {
            outcome: Ok(reply), ..
        }) => {
            let _ = MediaStats::of(&reply);
            assert!(text_list(&reply).len() <= text.len());
            for part in [reply.text(), server_version(&reply)].into_iter().flatten() {
                assert!(part.len() <= text.len());
            }
            if let Some(session) = reply.session() {
                assert!(session.session_id.len() <= text.len());
            }
        }
        Ok(Incoming::Reply {
            outcome: Err(error),
            ..
        }) => {
            let told = error.to_string();
            assert!(!told.contains(char::is_control), "{told:?}");
        }
        Ok(Incoming::Event(event)) => {
            assert!(event.object.as_str().len() <= text.len());
            if let EventData::Candidate(candidate) = event.data {
                assert!(candidate.candidate.len() <= text.len());
            }
        }
        Ok(Incoming::Complaint(_) | Incoming::Unknown) | Err(_) => {}
    }
}
