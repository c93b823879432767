//! Files, as they are answered.

use std::borrow::Cow;
use std::collections::HashMap;

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use super::encoding::{Compressed, Encoding};
use super::no_file;
use super::page::{self, Language, View};

#[derive(RustEmbed)]
#[folder = "../../web"]
#[exclude = "*.d.ts"]
pub(super) struct Web;

/// What is asked for anew each time, so that an update shows at once.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
/// What never changes, since its address would.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const BY_ENCODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");
const BY_LANGUAGE_TOO: HeaderValue = HeaderValue::from_static("Accept-Encoding, Accept-Language");
/// Length of the digest in addresses, in hexadecimal digits.
const DIGEST: usize = 16;
/// What pages and styles write before the path of a file.
pub(super) const PREFIX: &str = "/assets/";

/// All files.
#[derive(Debug)]
pub(in crate::http) struct Assets {
    /// What is worked out once, or `None` where files can change while the program runs.
    fixed: Option<Fixed>,
    compressed: Compressed,
}

#[derive(Debug)]
struct Fixed {
    /// Over all files.
    digest: String,
    pages: HashMap<(View, Language), Bytes>,
}

impl Assets {
    /// Debug builds read the disk, so that pages can be changed without building anew.
    pub(in crate::http) fn new() -> Self {
        if cfg!(debug_assertions) {
            Self::changing()
        } else {
            Self::fixed()
        }
    }

    /// Files that stay as they are.
    pub(super) fn fixed() -> Self {
        Self {
            fixed: Some(Fixed::of_now()),
            compressed: Compressed::default(),
        }
    }

    /// Files that may change.
    pub(super) fn changing() -> Self {
        Self {
            fixed: None,
            compressed: Compressed::default(),
        }
    }

    /// The page of the app as a view of it needs it, with the digest in the addresses of what it loads.
    pub(super) async fn page(&self, view: View, headers: &HeaderMap) -> Response {
        let language = Language::wanted(headers);
        let page = match &self.fixed {
            Some(fixed) => fixed.pages.get(&(view, language)).cloned(),
            None => page::made(view, language).map(Bytes::from),
        };
        let Some(page) = page else {
            return no_file(page::APP);
        };
        let mut response = self.answer(page::APP, page, REVALIDATE, headers).await;
        response.headers_mut().insert(header::VARY, BY_LANGUAGE_TOO);
        response
    }

    /// A file as it is.
    pub(super) async fn file(&self, path: &str, headers: &HeaderMap) -> Response {
        match read(path) {
            Some(file) => self.answer(path, bytes(file), REVALIDATE, headers).await,
            None => no_file(path),
        }
    }

    /// A file below `assets`. A digest of another version stands for nothing: a page of that version gets the file as it is now,
    /// and keeps it no longer than it must.
    pub(super) async fn asset(&self, path: &str, headers: &HeaderMap) -> Response {
        let (digest, path) = match path.split_once('/') {
            Some((digest, path)) if is_digest(digest) => (Some(digest), path),
            Some(_) | None => (None, path),
        };
        let current = self.fixed.as_ref().map(|fixed| &*fixed.digest);
        let keep = if digest.is_some() && digest == current {
            FOR_EVER
        } else {
            REVALIDATE
        };
        let path = format!("assets/{path}");
        match read(&path) {
            Some(file) => self.answer(&path, bytes(file), keep, headers).await,
            None => no_file(&path),
        }
    }

    async fn answer(
        &self,
        path: &str,
        data: Bytes,
        keep: HeaderValue,
        headers: &HeaderMap,
    ) -> Response {
        let kind = Kind::of(path);
        let tag = hex(&digest(&data), 2 * 12);
        let fixed = [
            (header::CACHE_CONTROL, keep),
            (header::VARY, BY_ENCODING),
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static(kind.media_type()),
            ),
        ];
        if holds(headers, &tag) {
            let tag = [(header::ETAG, entity_tag(&tag, None))];
            return (StatusCode::NOT_MODIFIED, fixed, tag).into_response();
        }
        let wanted = Encoding::wanted(headers).filter(|_| kind.shrinks());
        let encoded = match wanted {
            Some(encoding) => self.compressed.get(&tag, &data, encoding).await,
            None => None,
        };
        match (wanted, encoded) {
            (Some(encoding), Some(encoded)) => {
                let encoded_with = [
                    (header::ETAG, entity_tag(&tag, Some(encoding))),
                    (
                        header::CONTENT_ENCODING,
                        HeaderValue::from_static(encoding.word()),
                    ),
                ];
                (fixed, encoded_with, encoded).into_response()
            }
            _ => (fixed, [(header::ETAG, entity_tag(&tag, None))], data).into_response(),
        }
    }
}

/// A file by its clean path; unclean ones name nothing here. (Debug builds read the disk, where they would.)
pub(super) fn read(path: &str) -> Option<Cow<'static, [u8]>> {
    let clean = path
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.'));
    clean.then(|| Web::get(path))?.map(|file| file.data)
}

impl Fixed {
    fn of_now() -> Self {
        let digest = digest_of_all();
        let versions = View::ALL
            .into_iter()
            .flat_map(|view| Language::ALL.map(|language| (view, language)));
        let pages = versions.filter_map(|(view, language)| {
            let page = with_digest(&page::made(view, language)?, &digest);
            Some(((view, language), page))
        });
        let pages = pages.collect();
        Self { digest, pages }
    }
}

fn bytes(data: Cow<'static, [u8]>) -> Bytes {
    match data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => Bytes::from(data),
    }
}

/// A page that names all files with the digest.
fn with_digest(page: &[u8], digest: &str) -> Bytes {
    let text = String::from_utf8_lossy(page);
    Bytes::from(text.replace(PREFIX, &format!("{PREFIX}{digest}/")))
}

fn is_digest(part: &str) -> bool {
    part.len() == DIGEST && part.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn digest_of_all() -> String {
    let mut paths: Vec<_> = Web::iter().collect();
    paths.sort_unstable();
    let mut all = Context::new(&SHA256);
    for path in paths {
        let Some(file) = Web::get(&path) else {
            continue; // gone from the disk meanwhile, in a debug build
        };
        all.update(path.as_bytes());
        all.update(&[0]);
        all.update(&digest(&file.data));
    }
    hex(all.finish().as_ref(), DIGEST)
}

fn digest(data: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(aws_lc_rs::digest::digest(&SHA256, data).as_ref());
    bytes
}

fn hex(bytes: &[u8], digits: usize) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..digits].to_owned()
}

/// Each encoding of a file has a tag of its own (RFC 9110 §8.8.3.3).
fn entity_tag(tag: &str, encoding: Option<Encoding>) -> HeaderValue {
    let tag = match encoding {
        Some(encoding) => format!("\"{tag}-{}\"", encoding.word()),
        None => format!("\"{tag}\""),
    };
    HeaderValue::try_from(tag).expect("letters, digits and quotes stand in any header")
}

/// Whether the browser has this file, however encoded.
fn holds(headers: &HeaderMap, tag: &str) -> bool {
    let tags = [None, Some(Encoding::Brotli), Some(Encoding::Gzip)]
        .map(|encoding| entity_tag(tag, encoding));
    let given = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .flat_map(|given| given.as_bytes().split(|&byte| byte == b','));
    given.into_iter().any(|one| {
        let one = one.trim_ascii();
        let one = one.strip_prefix(b"W/").unwrap_or(one);
        tags.iter().any(|tag| tag.as_bytes() == one)
    })
}

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Html,
    Css,
    JavaScript,
    Svg,
    Json,
    Manifest,
    Text,
    Png,
    Icon,
    Font,
    Other,
}

impl Kind {
    pub(super) fn of(path: &str) -> Self {
        match path.rsplit('.').next() {
            Some("html") => Self::Html,
            Some("css") => Self::Css,
            Some("js") => Self::JavaScript,
            Some("svg") => Self::Svg,
            Some("json") => Self::Json,
            Some("webmanifest") => Self::Manifest,
            // Types for those who write modules; no browser asks for them.
            Some("txt" | "md" | "ts") => Self::Text,
            Some("png") => Self::Png,
            Some("ico") => Self::Icon,
            Some("woff2") => Self::Font,
            Some(_) | None => Self::Other,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Css => "text/css; charset=utf-8",
            Self::JavaScript => "text/javascript; charset=utf-8",
            Self::Svg => "image/svg+xml",
            Self::Json => "application/json",
            Self::Manifest => "application/manifest+json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Png => "image/png",
            Self::Icon => "image/x-icon",
            Self::Font => "font/woff2",
            Self::Other => "application/octet-stream",
        }
    }

    /// Whether compressing it is worth trying: others are compressed in themselves.
    pub(super) fn shrinks(self) -> bool {
        match self {
            Self::Html
            | Self::Css
            | Self::JavaScript
            | Self::Svg
            | Self::Json
            | Self::Manifest
            | Self::Text => true,
            Self::Png | Self::Icon | Self::Font | Self::Other => false,
        }
    }
}
