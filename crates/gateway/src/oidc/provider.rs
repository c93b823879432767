//! What the provider is asked: where things are (OpenID Connect Discovery 1.0), its public keys, and whose a code is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use jsonwebtoken::Header;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use crate::auth::{JwksError, KeySet};
use crate::config::OidcConfig;
use crate::fetch::{FetchError, Fetcher, may_be_asked};
use crate::mqtt::tls::TlsFileError;
use crate::secret::Secret;

/// Where a provider says where things are, after the issuer.
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// For how long that, and the keys, count.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// For how long a provider that could not be asked is not asked again: strangers make us ask.
const SPARED_FOR: Duration = Duration::from_secs(5);
/// Longest word of a provider's error that is said on.
const MAX_WORD: usize = 40;

/// Why the provider is of no help.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It does not answer.
    #[error("{what} cannot be got from the provider: {source}")]
    Fetch {
        /// What was wanted.
        what: &'static str,
        /// Why it did not come.
        source: FetchError,
    },
    /// It answers something else.
    #[error("{what} of the provider cannot be read: {source}")]
    Form {
        /// What was wanted.
        what: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It is another one.
    #[error("the provider calls itself {0:?}; write exactly that into oidc.issuer, if it is yours")]
    Issuer(String),
    /// Something would go over the network in the clear.
    #[error("the provider's {0} is no https:// address")]
    Insecure(&'static str),
    /// No PKCE.
    #[error("the provider does not take PKCE with S256, without which no login is begun")]
    NoPkce,
    /// It wants to know us by other means.
    #[error(
        "the provider takes a client secret neither by HTTP Basic nor in the request, and nothing else is there"
    )]
    ClientAuth,
    /// Its keys cannot be used.
    #[error("the provider's keys cannot be used: {0}")]
    Keys(#[from] JwksError),
    /// It gives nothing for the code.
    #[error("the provider gives no ID token: it answers {0}, {1}")]
    Exchange(StatusCode, String),
}

/// Where things are at the provider.
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    client_auth: ClientAuth,
    /// It says in each answer who it is (RFC 9207).
    pub(super) names_itself: bool,
    /// None until they are needed.
    pub(super) keys: KeySet,
}

/// How we say who we are (OpenID Connect Core 1.0 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientAuth {
    None,
    Basic,
    Post,
}

/// As it is written (OpenID Connect Discovery 1.0 §3).
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What an ID token is given for.
pub(super) struct Exchange<'a> {
    pub(super) code: &'a str,
    pub(super) callback: &'a Url,
    pub(super) verifier: &'a Secret,
}

/// What was heard last.
enum Heard {
    Nothing,
    Metadata(Instant, Arc<Metadata>),
    Failure(Instant, Arc<ProviderError>),
}

pub(super) struct Provider {
    config: OidcConfig,
    fetcher: Fetcher,
    /// Held while the provider is asked: others wait for the answer.
    heard: Mutex<Heard>,
}

impl Provider {
    pub(super) fn new(config: &OidcConfig) -> Result<Self, TlsFileError> {
        Ok(Self {
            fetcher: Fetcher::new("oidc.ca", config.ca.as_deref())?,
            config: config.clone(),
            heard: Mutex::new(Heard::Nothing),
        })
    }

    /// Where things are, as it was heard not long ago.
    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, Arc<ProviderError>> {
        let mut heard = self.heard.lock().await;
        match &*heard {
            Heard::Metadata(at, metadata) if at.elapsed() < KEPT_FOR => {
                return Ok(Arc::clone(metadata));
            }
            Heard::Failure(at, error) if at.elapsed() < SPARED_FOR => {
                return Err(Arc::clone(error));
            }
            Heard::Nothing | Heard::Metadata(..) | Heard::Failure(..) => {}
        }
        let was_away = matches!(*heard, Heard::Failure(..));
        let discovered = self.discover().await;
        match discovered {
            Ok(metadata) => {
                if was_away {
                    tracing::info!(
                        issuer = self.config.issuer,
                        "people can log in at the provider again"
                    );
                }
                let metadata = Arc::new(metadata);
                *heard = Heard::Metadata(Instant::now(), Arc::clone(&metadata));
                Ok(metadata)
            }
            Err(error) => {
                if !was_away {
                    tracing::error!(
                        issuer = self.config.issuer,
                        "nobody can log in at the provider (oidc.issuer): {error}"
                    );
                }
                let error = Arc::new(error);
                *heard = Heard::Failure(Instant::now(), Arc::clone(&error));
                Err(error)
            }
        }
    }

    async fn discover(&self) -> Result<Metadata, ProviderError> {
        const WHAT: &str = "its description";
        let issuer = &self.config.issuer;
        let url = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|_| ProviderError::Insecure("issuer"))?;
        let body = self.fetcher.get(&url).await;
        let body = body.map_err(|source| ProviderError::Fetch { what: WHAT, source })?;
        let document: Document = serde_json::from_slice(&body)
            .map_err(|source| ProviderError::Form { what: WHAT, source })?;
        if document.issuer != *issuer {
            return Err(ProviderError::Issuer(shown(&document.issuer)));
        }
        // Plain HTTP is for a provider on this machine, and then for nothing of it that is elsewhere.
        let endpoint = |what, written: &str| {
            let endpoint = Url::parse(written).ok();
            let is_as_safe = |endpoint: &Url| {
                may_be_asked(endpoint) && (url.scheme() == "http" || endpoint.scheme() == "https")
            };
            let endpoint = endpoint.filter(is_as_safe);
            endpoint.ok_or(ProviderError::Insecure(what))
        };
        let authorization_endpoint =
            endpoint("authorization_endpoint", &document.authorization_endpoint)?;
        let token_endpoint = endpoint("token_endpoint", &document.token_endpoint)?;
        let jwks_uri = endpoint("jwks_uri", &document.jwks_uri)?;
        let methods = document.code_challenge_methods_supported;
        if methods.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return Err(ProviderError::NoPkce);
        }
        let methods = document.token_endpoint_auth_methods_supported;
        Ok(Metadata {
            authorization_endpoint,
            token_endpoint,
            jwks_uri,
            client_auth: client_auth(self.config.client_secret.is_some(), methods.as_deref())?,
            names_itself: document.authorization_response_iss_parameter_supported,
            keys: KeySet::default(),
        })
    }

    /// Has the keys read where none fits a token. That came from the provider itself, so that nobody else makes us ask.
    pub(super) async fn have_key_for(
        &self,
        metadata: &Metadata,
        header: &Header,
    ) -> Result<(), ProviderError> {
        if metadata.keys.has_key_for(header) {
            return Ok(());
        }
        self.read_keys(metadata).await
    }

    pub(super) async fn read_keys(&self, metadata: &Metadata) -> Result<(), ProviderError> {
        let body = self.fetcher.get(&metadata.jwks_uri).await;
        let what = "its public keys";
        let body = body.map_err(|source| ProviderError::Fetch { what, source })?;
        let text = String::from_utf8_lossy(&body);
        metadata.keys.set(&text)?;
        Ok(())
    }

    /// Whose a code is, unread.
    pub(super) async fn id_token(
        &self,
        metadata: &Metadata,
        exchange: Exchange<'_>,
    ) -> Result<String, ProviderError> {
        let what = "the ID token";
        let request = self.exchange_request(metadata.client_auth, &exchange);
        let answer = self.fetcher.send(&metadata.token_endpoint, request).await;
        let answer = answer.map_err(|source| ProviderError::Fetch { what, source })?;
        #[derive(Deserialize)]
        struct Tokens {
            id_token: Option<String>,
            error: Option<String>,
        }
        let tokens = serde_json::from_slice::<Tokens>(&answer.body);
        let tokens = match tokens {
            Ok(tokens) => tokens,
            Err(source) if answer.status == StatusCode::OK => {
                return Err(ProviderError::Form { what, source });
            }
            Err(_) => Tokens {
                id_token: None,
                error: None,
            },
        };
        let token = tokens.id_token.filter(|_| answer.status == StatusCode::OK);
        token.ok_or_else(|| {
            let error = word(tokens.error.as_deref());
            ProviderError::Exchange(answer.status, error)
        })
    }

    /// RFC 6749 §4.1.3 with RFC 7636 §4.5.
    fn exchange_request(&self, client_auth: ClientAuth, exchange: &Exchange<'_>) -> Request<Body> {
        let config = &self.config;
        let secret = config.client_secret.as_ref().map_or("", Secret::expose);
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", exchange.code)
            .append_pair("redirect_uri", exchange.callback.as_str())
            .append_pair("code_verifier", exchange.verifier.expose());
        let mut authorization = None;
        match client_auth {
            ClientAuth::None => {
                form.append_pair("client_id", &config.client_id);
            }
            ClientAuth::Post => {
                form.append_pair("client_id", &config.client_id)
                    .append_pair("client_secret", secret);
            }
            ClientAuth::Basic => authorization = Some(basic(&config.client_id, secret)),
        }
        let mut request = Request::new(Body::from(form.finish()));
        *request.method_mut() = hyper::Method::POST;
        let headers = request.headers_mut();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        request
    }
}

/// By what the provider takes; a provider that does not say takes Basic.
fn client_auth(has_secret: bool, takes: Option<&[String]>) -> Result<ClientAuth, ProviderError> {
    if !has_secret {
        return Ok(ClientAuth::None);
    }
    let Some(takes) = takes else {
        return Ok(ClientAuth::Basic);
    };
    let has = |method: &str| takes.iter().any(|taken| taken == method);
    if has("client_secret_basic") {
        Ok(ClientAuth::Basic)
    } else if has("client_secret_post") {
        Ok(ClientAuth::Post)
    } else {
        Err(ProviderError::ClientAuth)
    }
}

/// RFC 6749 §2.3.1: both are encoded as in a form first.
fn basic(client_id: &str, secret: &str) -> HeaderValue {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = BASE64.encode(format!("{}:{}", encoded(client_id), encoded(secret)));
    let mut value = HeaderValue::try_from(format!("Basic {credentials}"))
        .expect("base64 has no characters that a header may not have");
    value.set_sensitive(true);
    value
}

/// An error code of OAuth, fit to be shown: nothing of it is ours.
pub(super) fn word(error: Option<&str>) -> String {
    let fits = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    match error {
        Some(error) if error.len() <= MAX_WORD && error.chars().all(fits) => error.to_owned(),
        Some(_) | None => "without a reason".to_owned(),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_as_the_provider_takes_it() {
        let takes = |methods: &[&str]| {
            let methods: Vec<String> = methods.iter().map(|method| (*method).to_owned()).collect();
            client_auth(true, Some(&methods))
        };
        assert_eq!(client_auth(true, None).unwrap(), ClientAuth::Basic);
        assert_eq!(client_auth(false, Some(&[])).unwrap(), ClientAuth::None);
        let both = takes(&["client_secret_post", "client_secret_basic"]);
        assert_eq!(both.unwrap(), ClientAuth::Basic);
        assert_eq!(takes(&["client_secret_post"]).unwrap(), ClientAuth::Post);
        let neither = takes(&["private_key_jwt"]);
        assert!(matches!(neither, Err(ProviderError::ClientAuth)));
        // RFC 6749 §2.3.1
        let value = basic("a:b", "c d");
        assert_eq!(
            value,
            format!("Basic {}", BASE64.encode("a%3Ab:c+d")).as_str()
        );
        assert!(value.is_sensitive());
    }

    #[test]
    fn errors_of_others_are_words_or_nothing() {
        assert_eq!(word(Some("access_denied")), "access_denied");
        for other in [
            None,
            Some("<b>"),
            Some("Call 555-1234"),
            Some(&*"x".repeat(MAX_WORD + 1)),
        ] {
            assert_eq!(word(other), "without a reason");
        }
    }
}
