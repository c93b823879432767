//! The section `[otlp]`: where traces and logs are sent, for those who collect them from several programs.

use std::path::PathBuf;

use axum::http::HeaderValue;
use url::Url;

use super::raw::RawValue;
use super::reader::Reader;
use super::values::{self, Parsed, Rejection, reject, text};
use crate::fetch::is_here;
use crate::secret::Secret;

/// How the endpoint is written.
const HINT: &str =
    "write the collector's address for OTLP over HTTP, for instance http://127.0.0.1:4318";

/// `[otlp]`, where there is a collector.
#[derive(Clone, Debug)]
pub struct OtlpConfig {
    /// The collector; `/v1/traces` and `/v1/logs` follow.
    pub endpoint: Url,
    /// What it is sent as `Authorization`, where it wants that.
    pub authorization: Option<Secret>,
    /// The certificate authority (PEM) of an `https://` collector; without it the system's count.
    pub ca: Option<PathBuf>,
}

pub(super) fn load(reader: &mut Reader) -> Option<OtlpConfig> {
    let endpoint = reader.read("otlp.endpoint", endpoint);
    let authorization = reader.read("otlp.authorization", authorization);
    let ca = reader.read("otlp.ca", values::readable_file);
    let endpoint = endpoint?;
    if authorization.is_some() && endpoint.scheme() == "http" && !is_here(&endpoint) {
        let rejection = Rejection {
            problem: "it would go over the network unencrypted".to_owned(),
            remedy: "use an https:// address in otlp.endpoint".to_owned(),
        };
        reader.refuse("otlp.authorization", rejection);
    }
    Some(OtlpConfig {
        endpoint,
        authorization,
        ca,
    })
}

/// Errors do not repeat what may be a login.
fn endpoint(value: &RawValue) -> Parsed<Url> {
    let url = match Url::parse(&text(value)?) {
        Ok(url) => url,
        Err(error) => return reject(format!("it is no URL: {error}"), HINT),
    };
    if !["http", "https"].contains(&url.scheme()) {
        return reject("it is neither http:// nor https://", HINT);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return reject(
            "it holds a user name or a password",
            "leave them out, and write what the collector wants into otlp.authorization",
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return reject("it has a part after ? or #", HINT);
    }
    Ok(url)
}

fn authorization(value: &RawValue) -> Parsed<Secret> {
    let text = text(value)?;
    match HeaderValue::from_str(&text) {
        Ok(_) => Ok(Secret::new(text)),
        Err(_) => reject(
            "it has characters that no header may have",
            "write it as the collector wants it, for instance `Bearer TOKEN`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigErrors, Environment};

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let variables = variables
            .iter()
            .map(|(name, value)| (format!("APIARY_OTLP_{name}"), (*value).to_owned()));
        let environment = Environment {
            variables: variables.collect(),
            ..Environment::default()
        };
        Config::load(None, &environment)
    }

    #[test]
    fn nothing_is_sent_unless_a_collector_is_named() {
        assert!(config(&[]).unwrap().otlp.is_none());
        let otlp = config(&[("ENDPOINT", "http://collector.example:4318/otlp")]);
        let otlp = otlp.unwrap().otlp.unwrap();
        assert_eq!(otlp.endpoint.host_str(), Some("collector.example"));
    }

    #[test]
    fn a_login_goes_over_the_network_encrypted_only() {
        let with = |endpoint| config(&[("ENDPOINT", endpoint), ("AUTHORIZATION", "Bearer canary")]);
        for here in [
            "http://127.0.0.1:4318",
            "http://[::1]:4318",
            "http://localhost:4318",
        ] {
            assert!(with(here).is_ok(), "{here}");
        }
        let config = with("https://collector.example").unwrap();
        assert!(!format!("{config:?}").contains("canary"));
        let error = with("http://collector.example").unwrap_err().to_string();
        assert!(
            error.contains("unencrypted") && !error.contains("canary"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_collector_is_refused() {
        for endpoint in [
            "collector.example:4318",
            "grpc://collector.example",
            "http://user:canary@collector.example",
            "http://collector.example/?key=canary",
            "http://",
        ] {
            let error = config(&[("ENDPOINT", endpoint)]).unwrap_err();
            assert!(
                error.to_string().contains("APIARY_OTLP_ENDPOINT"),
                "{error}"
            );
        }
        let header = [("ENDPOINT", "https://c.example"), ("AUTHORIZATION", "a\nb")];
        assert!(config(&header).is_err());
    }
}
