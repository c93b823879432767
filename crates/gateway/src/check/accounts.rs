//! Can those be known whose tokens others sign?

use super::Report;
use crate::auth::{PublicKeys, try_key_server};
use crate::cli::with_causes;
use crate::config::{AuthConfig, KeysFrom};

const KEYS: &str = "auth.jwks";

pub(super) async fn examine(config: &AuthConfig, report: &mut Report) {
    match &config.jwt.jwks {
        None => {}
        Some(KeysFrom::File(path)) => match PublicKeys::count(path).await {
            Ok(count) => report.good(KEYS, format!("{} holds keys: {count}", path.display())),
            Err(error) => report.problem(KEYS, with_causes(&error)),
        },
        Some(KeysFrom::Server(url)) => {
            match try_key_server(url, config.jwt.jwks_ca.as_deref()).await {
                Ok(count) => report.good(KEYS, format!("{url} has keys: {count}")),
                Err(error) => report.problem(
                    KEYS,
                    format!(
                        "{url} gives no keys, so that no token that others sign would count until it does: {}",
                        with_causes(&error)
                    ),
                ),
            }
        }
    }
}
