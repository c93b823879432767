//! The section `[oidc]`: the OpenID Connect provider at which people may log in, and what it makes of them here.
//!
//! Values and their rules. The conversation with the provider does not belong here.

use std::path::PathBuf;

use apiary_store::Role;
use url::Url;

use super::Config;
use super::raw::RawValue;
use super::reader::Reader;
use super::values::{self, Parsed, Rejection, reject, text};
use super::web_address;
use crate::fetch::is_here;
use crate::reason::{Code, Reason};
use crate::secret::Secret;

/// Where the provider sends people back to, on this server.
pub const CALLBACK_PATH: &str = "/api/auth/oidc/callback";

/// Longest text on the button, in characters.
const MAX_NAME: usize = 40;
/// What has to be asked for, so that it is OpenID Connect at all.
const SCOPE: &str = "openid";
/// All keys but the issuer; they say nothing without it.
const OTHERS: [&str; 10] = [
    "oidc.client_id",
    "oidc.client_secret",
    "oidc.redirect_url",
    "oidc.scopes",
    "oidc.name",
    "oidc.username_claim",
    "oidc.role_claim",
    "oidc.roles",
    "oidc.default_role",
    "oidc.ca",
];

/// `[oidc]`, where there is a provider.
#[derive(Clone, Debug)]
pub struct OidcConfig {
    /// Who it is, letter by letter as it says itself.
    pub issuer: String,
    /// Under which name it knows this server.
    pub client_id: String,
    /// By which it knows this server, where it is no public client.
    pub client_secret: Option<Secret>,
    /// Where it sends people back to; without it, where they came from.
    pub redirect_url: Option<Url>,
    /// What it is asked for; `openid` among it.
    pub scopes: Vec<String>,
    /// What people call it.
    pub name: String,
    /// The claim with the name of a user.
    pub username_claim: String,
    /// The claim with what makes the role.
    pub role_claim: String,
    /// What in that claim makes which role.
    pub roles: Vec<(String, Role)>,
    /// The role of whom that gives none.
    pub default_role: Option<Role>,
    /// The certificate authority (PEM) of the provider; without it the system's count.
    pub ca: Option<PathBuf>,
}

/// Reads the section; `None` where no provider is named.
pub(super) fn load(reader: &mut Reader) -> Option<OidcConfig> {
    let issuer = reader.read("oidc.issuer", issuer);
    let client_id = reader.read("oidc.client_id", text);
    let client_secret = reader.read("oidc.client_secret", text).map(Secret::new);
    let redirect_url = reader.read("oidc.redirect_url", redirect_url);
    let scopes = reader.read("oidc.scopes", |value| values::list(value, scope));
    let name = reader.read("oidc.name", name);
    let username_claim = reader.read("oidc.username_claim", text);
    let role_claim = reader.read("oidc.role_claim", text);
    let roles = reader.read("oidc.roles", |value| values::list(value, mapping));
    let default_role = reader.read("oidc.default_role", role);
    let ca = reader.read("oidc.ca", values::readable_file);
    let Some(issuer) = issuer else {
        refuse_without_issuer(reader);
        return None;
    };
    if client_id.is_none() && !reader.has_failed("oidc.client_id") {
        let problem = "it needs oidc.client_id";
        let remedy =
            "register this server at the provider, and write the client id that it gets there";
        refuse(reader, "oidc.issuer", problem, remedy);
    }
    let roles = roles.unwrap_or_default();
    if roles.is_empty() && default_role.is_none() && !has_failed(reader) {
        let problem = "nobody gets a role, so that nobody could log in by it";
        let remedy = "write into oidc.roles which groups make which role, or set oidc.default_role";
        refuse(reader, "oidc.issuer", problem, remedy);
    }
    Some(OidcConfig {
        issuer,
        client_id: client_id?,
        client_secret,
        redirect_url,
        scopes: with_openid(scopes),
        name: name.unwrap_or_else(|| "OpenID".to_owned()),
        username_claim: username_claim.unwrap_or_else(|| "preferred_username".to_owned()),
        role_claim: role_claim.unwrap_or_else(|| "groups".to_owned()),
        roles,
        default_role,
        ca,
    })
}

/// What depends on other sections.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    let Some(oidc) = &config.oidc else { return };
    if !config.auth.enabled {
        let text = "accounts are off (auth.enabled): nobody has to log in, and nobody can";
        reader.note("oidc.issuer", Reason::new(Code::ProviderUnused, text));
    }
    let url = oidc.redirect_url.as_ref();
    if url.is_some_and(|url| url.scheme() == "http" && !is_here(url)) {
        let text = "it is plain HTTP: who is on the way can take over what people log in to";
        reader.note("oidc.redirect_url", Reason::new(Code::ProviderPlain, text));
    }
}

fn has_failed(reader: &Reader) -> bool {
    ["oidc.roles", "oidc.default_role"]
        .iter()
        .any(|key| reader.has_failed(key))
}

fn refuse_without_issuer(reader: &mut Reader) {
    if reader.has_failed("oidc.issuer") {
        return;
    }
    let set = OTHERS.iter().find(|key| reader.is_set(key));
    if let Some(key) = set.filter(|key| !reader.has_failed(key)) {
        let remedy = "write the provider's address into oidc.issuer, or leave it out";
        refuse(reader, key, "it says nothing without oidc.issuer", remedy);
    }
}

fn refuse(reader: &mut Reader, key: &'static str, problem: &str, remedy: &str) {
    let (problem, remedy) = (problem.to_owned(), remedy.to_owned());
    reader.refuse(key, Rejection { problem, remedy });
}

fn with_openid(scopes: Option<Vec<String>>) -> Vec<String> {
    let mut scopes = scopes.unwrap_or_else(|| vec!["profile".to_owned()]);
    if !scopes.iter().any(|scope| scope == SCOPE) {
        scopes.insert(0, SCOPE.to_owned());
    }
    scopes
}

/// As it was written: providers and their tokens are compared with it letter by letter.
fn issuer(value: &RawValue) -> Parsed<String> {
    let url = web_address::asked(value)?;
    if url.query().is_some() {
        return reject(
            "it has a part after ?",
            "write what the provider calls `issuer`",
        );
    }
    text(value)
}

fn redirect_url(value: &RawValue) -> Parsed<Url> {
    let hint = || format!("write https://cams.example{CALLBACK_PATH}, as browsers reach it");
    let url = match Url::parse(&text(value)?) {
        Ok(url) => url,
        Err(error) => return reject(format!("it is no URL: {error}"), hint()),
    };
    let is_bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !["http", "https"].contains(&url.scheme())
        || !url.path().ends_with(CALLBACK_PATH)
        || !is_bare
    {
        return reject(
            format!("it is no address that ends in {CALLBACK_PATH}"),
            hint(),
        );
    }
    Ok(url)
}

/// A scope has no spaces (RFC 6749 §3.3).
fn scope(value: &RawValue) -> Parsed<String> {
    let scope = text(value)?;
    let fits = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\');
    if !scope.chars().all(fits) {
        return reject(
            format!("`{}` is no scope", scope.escape_debug()),
            "write them as a list: [\"profile\", \"groups\"]",
        );
    }
    Ok(scope)
}

fn name(value: &RawValue) -> Parsed<String> {
    let name = text(value)?;
    if name.chars().count() > MAX_NAME {
        return reject(
            format!("it has more than {MAX_NAME} characters"),
            "it stands on a button",
        );
    }
    Ok(name)
}

/// `claim value=role`; the value may have a `=` of its own.
fn mapping(value: &RawValue) -> Parsed<(String, Role)> {
    let text = text(value)?;
    match text.rsplit_once('=') {
        Some((claimed, role)) if !claimed.trim().is_empty() => {
            Ok((claimed.trim().to_owned(), named(role)?))
        }
        Some(_) | None => reject(
            format!("`{}` says not what makes which role", text.escape_debug()),
            "write \"the group's name=admin\", or operator or viewer",
        ),
    }
}

fn role(value: &RawValue) -> Parsed<Role> {
    named(&text(value)?)
}

fn named(role: &str) -> Parsed<Role> {
    role.trim().parse().or_else(|_| {
        reject(
            format!("`{}` is no role", role.trim().escape_debug()),
            "write viewer, operator or admin",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigErrors, Environment};

    const ISSUER: (&str, &str) = ("ISSUER", "https://id.example/realms/home");
    const CLIENT: (&str, &str) = ("CLIENT_ID", "apiary");
    const DEFAULT: (&str, &str) = ("DEFAULT_ROLE", "viewer");

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let variables = variables
            .iter()
            .map(|(name, value)| (format!("APIARY_OIDC_{name}"), (*value).to_owned()));
        let environment = Environment {
            variables: variables.collect(),
            ..Environment::default()
        };
        Config::load(None, &environment)
    }

    #[test]
    fn a_provider_takes_a_client_and_a_way_to_a_role() {
        assert!(config(&[]).unwrap().oidc.is_none());
        let oidc = config(&[ISSUER, CLIENT, ("ROLES", "a=b=admin, bees = viewer")]);
        let oidc = oidc.unwrap().oidc.unwrap();
        let roles = [
            ("a=b".to_owned(), Role::Admin),
            ("bees".to_owned(), Role::Viewer),
        ];
        assert_eq!(oidc.roles, roles);
        assert_eq!(oidc.scopes, ["openid", "profile"]);
        assert_eq!((oidc.issuer.as_str(), oidc.default_role), (ISSUER.1, None));
        for (missing, told) in [
            (&[ISSUER, DEFAULT][..], "oidc.client_id"),
            (&[ISSUER, CLIENT], "oidc.roles"),
            (&[CLIENT], "oidc.issuer"),
            (&[("CLIENT_SECRET", "canary")], "oidc.issuer"),
        ] {
            let error = config(missing).unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (name, value, told) in [
            ("ISSUER", "http://id.example", "without TLS"),
            ("ISSUER", "https://bee:canary@id.example", "password"),
            ("ISSUER", "https://id.example/?a=b", "after ?"),
            ("REDIRECT_URL", "https://cams.example/", CALLBACK_PATH),
            ("REDIRECT_URL", "/api/auth/oidc/callback", "no URL"),
            ("SCOPES", "profile groups", "no scope"),
            ("ROLES", "bees", "which role"),
            ("ROLES", "bees=owner", "no role"),
            ("ROLES", "=admin", "which role"),
            ("DEFAULT_ROLE", "root", "no role"),
            ("NAME", &"x".repeat(MAX_NAME + 1), "button"),
        ] {
            let mut variables = vec![ISSUER, CLIENT, DEFAULT];
            variables.retain(|(other, _)| *other != name);
            variables.push((name, value));
            let error = config(&variables).unwrap_err().to_string();
            assert!(error.contains(told), "{name} {value}: {error}");
        }
    }

    #[test]
    fn what_is_dangerous_or_in_vain_is_noted() {
        let url = ("REDIRECT_URL", "http://cams.lan/api/auth/oidc/callback");
        let config = config(&[ISSUER, CLIENT, DEFAULT, url, ("CLIENT_SECRET", "canary")]);
        let config = config.unwrap();
        let subjects: Vec<_> = config
            .notes
            .iter()
            .map(|note| note.subject.as_str())
            .collect();
        assert_eq!(subjects, ["oidc.issuer", "oidc.redirect_url"]);
        assert!(!format!("{config:?}").contains("canary"));
    }
}
