//! Who asks: an account with the authority, whose key is kept in a file of its own.

use std::path::{Path, PathBuf};

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};

use super::error::AcmeError;
use super::{client, on_disk, write};
use crate::config::AcmeConfig;
use crate::tls::pair::{self, PairError};
use crate::tls::private_file;

/// The account that is kept, or a new one.
pub(super) async fn account(settings: &AcmeConfig, dir: &Path) -> Result<Account, AcmeError> {
    let file = file(dir, &settings.directory);
    let builder = Account::builder_with_http(Box::new(client::Client::new(settings)?));
    let path = file.clone();
    if let Some(credentials) = on_disk(move || kept(&path)).await? {
        return builder
            .from_credentials(credentials)
            .await
            .map_err(|error| AcmeError::asking("the account", &error));
    }
    let contact: Vec<String> = settings
        .contact
        .iter()
        .map(|address| format!("mailto:{address}"))
        .collect();
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true, // the configuration is refused without
        only_return_existing: false,
    };
    let bound_to = settings.external_account.as_ref();
    let bound_to = bound_to
        .map(|external| ExternalAccountKey::new(external.id.clone(), &external.key_octets()));
    let (account, credentials) = builder
        .create(&wanted, settings.directory.clone(), bound_to.as_ref())
        .await
        .map_err(|error| AcmeError::asking("a new account", &error))?;
    let text = serde_json::to_string(&credentials).map_err(|error| AcmeError::NoAccount {
        path: file.clone(),
        cause: error.to_string(),
    })?;
    // An account that is not kept would be made anew each time, which authorities do not like.
    write(file, text).await?;
    tracing::info!("a new account with {}", settings.directory);
    Ok(account)
}

/// One for each authority.
pub(super) fn file(dir: &Path, directory: &str) -> PathBuf {
    let bare = directory.strip_prefix("https://").unwrap_or(directory);
    let name: String = bare
        .chars()
        .map(|c| match c {
            '.' | '-' | '_' => c,
            _ if c.is_ascii_alphanumeric() => c,
            _ => '_',
        })
        .collect();
    dir.join(format!("account-{name}.json"))
}

fn kept(path: &Path) -> Result<Option<AccountCredentials>, AcmeError> {
    if !path.exists() {
        return Ok(None);
    }
    if let Err(open) = private_file::check(path) {
        let path = path.to_owned();
        return Err(AcmeError::Read(PairError::OpenToOthers { path, open }));
    }
    let text = pair::read(path).map_err(AcmeError::Read)?;
    let credentials = serde_json::from_slice(&text);
    credentials.map(Some).map_err(|error| AcmeError::NoAccount {
        path: path.to_owned(),
        // Without what it found there, which may be the key.
        cause: format!("line {} is wrong", error.line()),
    })
}
