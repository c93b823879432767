//! Can those be known whose tokens others sign, and those who log in elsewhere?

use super::Report;
use crate::auth::{PublicKeys, try_key_server};
use crate::cli::with_causes;
use crate::config::{CALLBACK_PATH, Config, JwtConfig, KeysFrom, OidcConfig};
use crate::oidc;
use crate::reason::{Code, Reason};

const KEYS: &str = "auth.jwks";
const PROVIDER: &str = "oidc.issuer";

pub(super) async fn examine(config: &Config, report: &mut Report) {
    keys(&config.auth.jwt, report).await;
    let Some(provider) = &config.oidc else { return };
    match oidc::probe(provider).await {
        Ok(()) => report.good(
            PROVIDER,
            format!(
                "people can log in at {}; {} is what it must send them back to",
                provider.issuer,
                back(provider)
            ),
        ),
        Err(error) => {
            let why = with_causes(&error);
            let text = format!("nobody can log in there: {why}");
            let reason = Reason::new(Code::ProviderAway, text);
            report.problem(PROVIDER, reason.with("why", why));
        }
    }
}

fn back(provider: &OidcConfig) -> String {
    match &provider.redirect_url {
        Some(url) => url.to_string(),
        None => format!("the address in the browser and {CALLBACK_PATH}"),
    }
}

async fn keys(config: &JwtConfig, report: &mut Report) {
    match &config.jwks {
        None => {}
        Some(KeysFrom::File(path)) => match PublicKeys::count(path).await {
            Ok(count) => report.good(KEYS, format!("{} holds keys: {count}", path.display())),
            Err(error) => {
                let why = with_causes(&error);
                let reason = Reason::new(Code::KeysUnreadable, &why);
                report.problem(KEYS, reason.with("why", why));
            }
        },
        Some(KeysFrom::Server(url)) => match try_key_server(url, config.jwks_ca.as_deref()).await {
            Ok(count) => report.good(KEYS, format!("{url} has keys: {count}")),
            Err(error) => {
                let why = with_causes(&error);
                let text = format!(
                    "{url} gives no keys, so that no token that others sign would count until it does: {why}"
                );
                let reason = Reason::new(Code::KeysAway, text).with("url", url);
                report.problem(KEYS, reason.with("why", why));
            }
        },
    }
}
