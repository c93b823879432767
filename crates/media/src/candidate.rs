//! What a viewer's trickled candidate must look like.

use crate::engine::EngineError;

/// Checks a candidate's form; the empty text ends the candidates.
pub(crate) fn check_candidate(candidate: &str) -> Result<(), EngineError> {
    if candidate.is_empty() || looks_like_candidate(candidate) {
        return Ok(());
    }
    let shown: String = candidate.chars().take(80).collect();
    Err(EngineError::Candidate(format!(
        "{shown:?} is not of the form \"candidate:<foundation> <component> <transport> <priority> <address> <port> typ <type>\""
    )))
}

/// The fixed part of a candidate attribute (RFC 8839 §5.1). The address may be an mDNS name.
fn looks_like_candidate(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("candidate:") else {
        return false;
    };
    let mut words = rest.split_ascii_whitespace();
    let foundation = words.next().is_some_and(|word| word.len() <= 32);
    let component = words.next().is_some_and(|word| word.parse::<u8>().is_ok());
    let transport = words.next().is_some();
    let priority = words.next().is_some_and(|word| word.parse::<u32>().is_ok());
    let address = words.next().is_some();
    let port = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
    foundation
        && component
        && transport
        && priority
        && address
        && port
        && words.next() == Some("typ")
}
