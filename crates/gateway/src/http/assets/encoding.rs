//! Files made smaller for the way, once each.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Compressed files that are kept; they become more only where files change while the program runs.
const KEPT: usize = 1024;
/// Brotli's best; each file takes it once.
const BROTLI_QUALITY: u32 = 11;
/// The largest window that all browsers know, as a power of two.
const BROTLI_WINDOW: u32 = 22;
const BROTLI_BUFFER: usize = 4096;

/// How a file is encoded for the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Encoding {
    Brotli,
    Gzip,
}

impl Encoding {
    /// As in headers.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The best that the browser takes (RFC 9110 §12.5.3).
    pub(super) fn wanted(headers: &HeaderMap) -> Option<Self> {
        let taken: Vec<&str> = headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|coding| {
                let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
                let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
                let refused = weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0);
                (!refused).then_some(name.trim())
            })
            .collect();
        [Self::Brotli, Self::Gzip].into_iter().find(|encoding| {
            taken
                .iter()
                .any(|name| name.eq_ignore_ascii_case(encoding.word()))
        })
    }

    fn encode(self, data: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Brotli => {
                let mut writer = brotli::CompressorWriter::new(
                    Vec::new(),
                    BROTLI_BUFFER,
                    BROTLI_QUALITY,
                    BROTLI_WINDOW,
                );
                writer.write_all(data)?;
                writer.flush()?;
                Ok(writer.into_inner())
            }
            Self::Gzip => {
                let mut writer = GzEncoder::new(Vec::new(), Compression::best());
                writer.write_all(data)?;
                writer.finish()
            }
        }
    }
}

/// What was compressed so far, by the tag of what is in it. `None`: it is no smaller.
#[derive(Debug, Default)]
pub(super) struct Compressed(Mutex<HashMap<(String, Encoding), Option<Bytes>>>);

impl Compressed {
    /// `None` where it is better sent as it is.
    pub(super) async fn get(&self, tag: &str, data: &Bytes, encoding: Encoding) -> Option<Bytes> {
        let key = (tag.to_owned(), encoding);
        if let Some(known) = self.table().get(&key) {
            return known.clone();
        }
        let source = data.clone();
        let encoded = tokio::task::spawn_blocking(move || encoding.encode(&source)).await;
        let encoded = encoded.ok()?.ok()?;
        let smaller = (encoded.len() < data.len()).then(|| Bytes::from(encoded));
        let mut table = self.table();
        if table.len() >= KEPT {
            table.clear();
        }
        table.insert(key, smaller.clone());
        smaller
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Encoding), Option<Bytes>>> {
        // Each critical section is a single step of the map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::io::Read as _;

    fn wanted(given: &[&'static str]) -> Option<Encoding> {
        let values = given.iter().map(|value| HeaderValue::from_static(value));
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT_ENCODING, value);
        }
        Encoding::wanted(&headers)
    }

    #[test]
    fn the_best_encoding_is_taken_that_is_not_refused() {
        let (brotli, gzip) = (Some(Encoding::Brotli), Some(Encoding::Gzip));
        assert_eq!(wanted(&["gzip, deflate, br, zstd"]), brotli);
        assert_eq!(wanted(&["gzip", "BR"]), brotli);
        assert_eq!(wanted(&["br;q=0, gzip;q=0.5"]), gzip);
        assert_eq!(wanted(&["br; q=0.000,gzip"]), gzip);
        assert_eq!(wanted(&["identity", "*;q=0"]), None);
        assert_eq!(wanted(&["xgzip, brx"]), None);
        assert_eq!(wanted(&[]), None);
    }

    #[tokio::test]
    async fn what_comes_out_goes_back_to_what_went_in_and_is_never_larger() {
        let compressed = Compressed::default();
        let text = Bytes::from("so many words ".repeat(500));
        let brotli = compressed.get("t", &text, Encoding::Brotli).await.unwrap();
        let mut back = Vec::new();
        brotli::Decompressor::new(&*brotli, BROTLI_BUFFER)
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back, text);
        let gzip = compressed.get("t", &text, Encoding::Gzip).await.unwrap();
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(&*gzip)
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back, text);
        assert!(brotli.len() < gzip.len() && gzip.len() < text.len() / 10);
        let again = compressed.get("t", &text, Encoding::Gzip).await.unwrap();
        assert_eq!(again.as_ptr(), gzip.as_ptr(), "made once");
        let short = Bytes::from_static(b"x");
        for encoding in [Encoding::Brotli, Encoding::Gzip] {
            assert_eq!(compressed.get("short", &short, encoding).await, None);
        }
    }
}
