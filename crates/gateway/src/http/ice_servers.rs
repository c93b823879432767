//! The STUN and TURN servers that a browser may use to find its way to the media: told to pages over the API, and to players
//! with the answer to their offer (WHEP).

use apiary_wire::id::ViewerId;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderValue;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::identity::Asker;
use super::state::HttpState;
use crate::auth::Who;
use crate::config::IceUrl;
use crate::turn::{IceServer, IceServers, Login};

/// The servers, as `RTCPeerConnection` takes them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IceServerList {
    ice_servers: Vec<IceServerEntry>,
    /// Seconds from now for which a join may use them; then they are to be asked for anew, also where there are none.
    lifetime_s: u64,
}

/// Servers with the same login.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IceServerEntry {
    /// Where they are (RFC 7064, RFC 7065).
    urls: Vec<String>,
    /// With TURN servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// With TURN servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
}

impl From<IceServer> for IceServerEntry {
    fn from(server: IceServer) -> Self {
        let login = server.login;
        let login = login.map(|login| (login.username, login.credential.expose().to_owned()));
        let (username, credential) = login.unzip();
        Self {
            urls: server.urls.iter().map(ToString::to_string).collect(),
            username,
            credential,
        }
    }
}

/// The STUN and TURN servers for whoever may watch, with a login of their own that ends. Empty where none are set.
#[utoipa::path(get, path = "/api/ice-servers", tag = "streams", operation_id = "ice_servers",
    responses((status = 200, description = "the servers", body = IceServerList,
        headers(("Cache-Control", description = "no-store")))))]
pub(super) async fn ice_servers(
    State(http): State<HttpState>,
    Asker(asker): Asker,
) -> Json<IceServerList> {
    let told = http.ice.told_to(&session_of(&asker.who), Timestamp::now());
    Json(IceServerList {
        ice_servers: told.into_iter().map(Into::into).collect(),
        lifetime_s: http.ice.lifetime().as_secs(),
    })
}

/// Names the login, token or share link as the lists of them do.
fn session_of(who: &Who) -> String {
    match who {
        Who::Login(_, id) => format!("login-{id}"),
        Who::Token(_, id) => format!("token-{id}"),
        Who::Share(id) => format!("share-{id}"),
        // There is no list of those, and who signs tokens may put a name into them.
        Who::Anybody | Who::Signed(_) => format!("visit-{}", Uuid::new_v4()),
    }
}

/// What a player is told with the answer to its offer (RFC 9725 §4.6), one header for each server. The session is the viewer of
/// the lists.
pub(super) fn links(ice: &IceServers, viewer: ViewerId) -> Vec<HeaderValue> {
    let told = ice.told_to(&format!("viewer-{viewer}"), Timestamp::now());
    let links = told.iter().flat_map(|server| {
        let login = server.login.as_ref();
        server.urls.iter().map(move |url| link(url, login))
    });
    links.collect()
}

fn link(url: &IceUrl, login: Option<&Login>) -> HeaderValue {
    let mut text = format!("<{url}>; rel=\"ice-server\"");
    if let Some(Login {
        username,
        credential,
    }) = login
    {
        let credential = credential.expose();
        text += &format!(
            "; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
        );
    }
    let mut value = HeaderValue::try_from(text)
        .expect("URLs are checked, and logins are digits, ids and base64");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use apiary_store::{CameraScope, LoginId, Role, ShareId, TokenId, UserId};

    use super::*;
    use crate::auth::SignedToken;

    #[test]
    fn a_session_is_found_in_our_lists_and_tells_no_name() {
        let user = UserId::random();
        let (login, token, share) = (LoginId::random(), TokenId::random(), ShareId::random());
        assert_eq!(
            session_of(&Who::Login(user, login)),
            format!("login-{login}")
        );
        assert_eq!(
            session_of(&Who::Token(user, token)),
            format!("token-{token}")
        );
        assert_eq!(session_of(&Who::Share(share)), format!("share-{share}"));
        let signed = Who::Signed(Arc::new(SignedToken {
            subject: "queen@hive.example".to_owned(),
            role: Role::Viewer,
            cameras: CameraScope::All,
            expires_at: Timestamp::MAX,
        }));
        let [once, again] = [(); 2].map(|()| session_of(&signed));
        assert!(!once.contains("queen") && once != again, "{once}");
    }
}
