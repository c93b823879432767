//! Why there is no certificate by ACME.

use std::io;
use std::path::PathBuf;

use instant_acme::Problem;

use crate::mqtt::tls::TlsFileError;
use crate::tls::pair::PairError;

/// The account is not known to the authority (RFC 8555 §6.7).
const NO_SUCH_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
/// The account has to be bound to another (as above).
const EXTERNAL_ACCOUNT: &str = "urn:ietf:params:acme:error:externalAccountRequired";
/// Most characters of what an authority says.
const MAX_SAID: usize = 500;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcmeError {
    /// A file of ours cannot be read.
    #[error(transparent)]
    Read(PairError),
    /// A file of ours cannot be written.
    #[error("{}: cannot be written: {source}; let this user write there", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `tls.acme_ca` cannot be used.
    #[error(transparent)]
    Trust(#[from] TlsFileError),
    /// The account's file is none.
    #[error("{}: is no account: {cause}; restore it, or remove it to make another account", path.display())]
    NoAccount {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The account is not known there.
    #[error(
        "the authority does not know our account; remove certs/acme/account-….json in data.dir to make another"
    )]
    UnknownAccount,
    /// The authority wants to know whose account it is.
    #[error(
        "the authority takes only those who have an account with it already; set tls.acme_eab_id and tls.acme_eab_key to what it shows there"
    )]
    ExternalAccount,
    /// The authority cannot be asked, or says no.
    #[error("{what}: {cause}")]
    Asking {
        /// What for.
        what: &'static str,
        /// What it said, or why it said nothing.
        cause: String,
    },
    /// The authority offers another kind of proof.
    #[error("the authority offers no {kind} for {name}; set tls.acme_challenge to the other kind")]
    NotOffered {
        /// The kind that was wanted.
        kind: &'static str,
        /// The host name.
        name: String,
    },
    /// The authority came to look, and did not find us.
    #[error("the authority could not see that {name} is this machine: {cause}. {remedy}")]
    NotSeen {
        /// The host name.
        name: String,
        /// What it said.
        cause: String,
        /// Where it looks.
        remedy: &'static str,
    },
    /// A key or a request cannot be made.
    #[error("a key cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// What the authority gave is no certificate for us.
    #[error("the authority gave a certificate that cannot be used: {0}")]
    Useless(String),
    /// It took too long.
    #[error("it took too long, and was given up")]
    TooLong,
}

impl AcmeError {
    /// While doing that.
    pub(super) fn asking(what: &'static str, error: &instant_acme::Error) -> Self {
        if let instant_acme::Error::Api(problem) = error {
            match problem.r#type.as_deref() {
                Some(NO_SUCH_ACCOUNT) => return Self::UnknownAccount,
                Some(EXTERNAL_ACCOUNT) => return Self::ExternalAccount,
                Some(_) | None => {}
            }
        }
        let cause = printable(&error.to_string());
        Self::Asking { what, cause }
    }
}

/// What an authority says, which is text from outside.
pub(super) fn said(problem: &Problem) -> String {
    printable(&problem.to_string())
}

fn printable(text: &str) -> String {
    let short: String = text.chars().take(MAX_SAID).collect();
    short.escape_debug().to_string()
}
