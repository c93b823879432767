//! Logging in at an OpenID Connect provider: the authorization code flow with PKCE (RFC 6749, RFC 7636, OpenID Connect
//! Core 1.0 §3.1), from where the browser is sent to whom the provider says it is.
//!
//! [`pending`] remembers logins that were begun, [`provider`] asks the provider, [`id_token`] judges what it says and
//! [`claims`] reads it. What becomes of somebody here is the accounts' business, and what browsers see that of `http`.
//!
//! The crate `openidconnect` is not used: it cannot be had without RustCrypto's `rsa` (RUSTSEC-2023-0071, unfixed). The
//! signatures are verified as those of other tokens are (`auth::KeySet`).

mod claims;
mod id_token;
mod pending;
mod provider;

use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use url::Url;

pub use id_token::IdTokenError;
pub use pending::LIFETIME;
pub use provider::ProviderError;

use crate::auth::{ProvidedUser, new_secret};
use crate::config::OidcConfig;
use crate::mqtt::tls::TlsFileError;
use crate::secret::Secret;
use pending::{Login, Pending};
use provider::{Exchange, Provider};

/// Why somebody is not logged in.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The provider does not say where it logs people in. The log says why, once.
    #[error(transparent)]
    Away(#[from] Arc<ProviderError>),
    /// The provider does not say who somebody is.
    #[error(transparent)]
    Exchange(#[from] ProviderError),
    /// Nobody began that login, or not in this browser, or too long ago.
    #[error(
        "this login was not begun in this browser under this address, or more than ten minutes ago, or it was used already"
    )]
    NotBegun,
    /// The provider says no.
    #[error("the provider refuses: {0}")]
    Refused(String),
    /// Another provider answers (RFC 9207).
    #[error("the answer is another provider's")]
    OtherIssuer,
    /// What the provider says cannot be believed.
    #[error(transparent)]
    IdToken(#[from] IdTokenError),
}

/// The provider, and the logins there that were begun.
pub struct OpenId {
    config: OidcConfig,
    provider: Provider,
    pending: Pending,
}

/// A login that was begun.
pub struct Begun {
    /// Where the browser is to go.
    pub location: Url,
    /// What it must show when it comes back.
    pub browser: Secret,
}

/// With what a browser comes back.
#[derive(Debug, Default)]
pub struct Answer {
    /// Which login it was.
    pub state: String,
    /// What the provider gives the identity for.
    pub code: Option<String>,
    /// Why it gives none.
    pub error: Option<String>,
    /// Who it says that it is.
    pub issuer: Option<String>,
}

/// A login that is done, as far as the provider is concerned.
#[derive(Debug)]
pub struct Known {
    /// Who it is.
    pub user: ProvidedUser,
    /// To which of our pages they wanted.
    pub return_to: String,
}

impl OpenId {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read.
    pub fn new(config: &OidcConfig) -> Result<Self, TlsFileError> {
        Ok(Self {
            provider: Provider::new(config)?,
            config: config.clone(),
            pending: Pending::default(),
        })
    }

    /// What people call the provider.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Where the provider sends people back to, where that is set.
    pub fn redirect_url(&self) -> Option<&Url> {
        self.config.redirect_url.as_ref()
    }

    /// Begins a login that comes back to `callback`, and ends at `return_to`, a path of ours.
    ///
    /// # Errors
    /// When the provider cannot be asked where it logs people in.
    pub async fn begin(&self, callback: Url, return_to: String) -> Result<Begun, OidcError> {
        let metadata = self.provider.metadata().await?;
        let [state, browser, nonce, verifier] = [(); 4].map(|()| new_secret(""));
        let challenge = BASE64.encode(digest(&SHA256, verifier.as_bytes()));
        let mut location = metadata.authorization_endpoint.clone();
        location
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", callback.as_str())
            .append_pair("scope", &self.config.scopes.join(" "))
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let browser = Secret::new(browser);
        let login = Login {
            browser: browser.clone(),
            nonce,
            verifier: Secret::new(verifier),
            callback,
            return_to,
            begun: Instant::now(),
        };
        self.pending.add(state, login);
        Ok(Begun { location, browser })
    }

    /// Ends a login: who it is, by the provider's word. Works once, in the browser that began it.
    ///
    /// # Errors
    /// When it is nobody, for whatever reason.
    pub async fn finish(&self, answer: Answer, browser: &str) -> Result<Known, OidcError> {
        let login = self.pending.take(&answer.state, Instant::now(), |login| {
            let (kept, shown) = (login.browser.expose().as_bytes(), browser.as_bytes());
            verify_slices_are_equal(kept, shown).is_ok()
        });
        let login = login.ok_or(OidcError::NotBegun)?;
        let metadata = self.provider.metadata().await?;
        match &answer.issuer {
            Some(issuer) if *issuer != self.config.issuer => return Err(OidcError::OtherIssuer),
            None if metadata.names_itself => return Err(OidcError::OtherIssuer),
            Some(_) | None => {}
        }
        let Some(code) = answer.code.filter(|_| answer.error.is_none()) else {
            return Err(OidcError::Refused(provider::word(answer.error.as_deref())));
        };
        let exchange = Exchange {
            code: &code,
            callback: &login.callback,
            verifier: &login.verifier,
        };
        let token = self.provider.id_token(&metadata, exchange).await?;
        let header = id_token::header(&token)?;
        self.provider.have_key_for(&metadata, &header).await?;
        let expected = id_token::Expected {
            issuer: &self.config.issuer,
            client_id: &self.config.client_id,
            nonce: &login.nonce,
        };
        let token = id_token::verify(&token, &header, &metadata.keys, &expected)?;
        Ok(Known {
            user: ProvidedUser {
                issuer: self.config.issuer.clone(),
                name: claims::name(&self.config, &token),
                role: claims::role(&self.config, &token),
                subject: token.sub,
            },
            return_to: login.return_to,
        })
    }
}

/// Whether the provider is there and can be used: for the doctor.
///
/// # Errors
/// When it cannot, for whatever reason.
pub(crate) async fn probe(config: &OidcConfig) -> Result<(), ProbeError> {
    let provider = Provider::new(config)?;
    let metadata = provider.metadata().await?;
    Ok(provider.read_keys(&metadata).await?)
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    #[error(transparent)]
    Discovery(#[from] Arc<ProviderError>),
    #[error(transparent)]
    Keys(#[from] ProviderError),
}
