//! The browsers that are notified, each by its own user.

use apiary_store::{PushKind, PushKinds, QuietHours, SubscriptionRow};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, ORIGIN};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::accounts::model::{ids, scope};
use super::accounts::{actor, must_be_a_browser};
use super::error::{ApiError, ErrorBody};
use super::extract::{PathParameters, Peer, RequiredJson, given};
use super::identity::Asker;
use super::policy::Access::User;
use super::policy::Routes;
use super::rest::model::time;
use super::state::HttpState;
use crate::auth::{NewSubscription, SubscriptionChange};
use crate::push::{BadSubscription, SendError, TrialError, is_zone};
use crate::reason::{Cause, Code, Reason};

pub(super) fn routes() -> Routes {
    Routes::new()
        .add(User, routes!(list))
        .add(User, routes!(subscribe))
        .add(User, routes!(change, remove))
        .add(User, routes!(test))
}

/// Notifications, as far as they are one's own.
#[derive(Serialize, ToSchema)]
pub(super) struct PushState {
    /// The key to subscribe with (`applicationServerKey`), in base64url; `null` where notifications are off.
    public_key: Option<String>,
    /// What one can be notified of.
    kinds: Vec<KindName>,
    /// One's own devices, oldest first.
    subscriptions: Vec<Subscription>,
}

/// What one can be notified of.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindName {
    /// A camera saw a person.
    Person,
    /// A camera saw something move.
    Motion,
    /// A camera heard something.
    Audio,
    /// A camera noticed something else.
    Other,
    /// A camera is not connected any more, for a minute.
    Offline,
}

impl From<KindName> for PushKind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::Person => Self::Person,
            KindName::Motion => Self::Motion,
            KindName::Audio => Self::Audio,
            KindName::Other => Self::Other,
            KindName::Offline => Self::Offline,
        }
    }
}

impl From<PushKind> for KindName {
    fn from(kind: PushKind) -> Self {
        match kind {
            PushKind::Person => Self::Person,
            PushKind::Motion => Self::Motion,
            PushKind::Audio => Self::Audio,
            PushKind::Other => Self::Other,
            PushKind::Offline => Self::Offline,
        }
    }
}

/// When nothing is sent, each day by the clocks of a time zone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Quiet {
    /// Their first minute, like `22:00`.
    from: String,
    /// The first minute after them, like `07:00`; earlier than `from` where midnight is between.
    until: String,
    /// The name of the zone, like `Europe/Berlin`.
    time_zone: String,
}

impl From<&QuietHours> for Quiet {
    fn from(quiet: &QuietHours) -> Self {
        Self {
            from: quiet.from.to_string(),
            until: quiet.until.to_string(),
            time_zone: quiet.zone.clone(),
        }
    }
}

impl TryFrom<Quiet> for QuietHours {
    type Error = ApiError;

    fn try_from(quiet: Quiet) -> Result<Self, ApiError> {
        if !is_zone(&quiet.time_zone) {
            let message = "time_zone is no name of a time zone; write it like Europe/Berlin";
            return Err(ApiError::bad_request(message));
        }
        let time = |field: &str, text: &str| {
            text.parse()
                .map_err(|error| ApiError::bad_request(format!("{field}: {error}")))
        };
        Ok(Self {
            from: time("from", &quiet.from)?,
            until: time("until", &quiet.until)?,
            zone: quiet.time_zone,
        })
    }
}

/// A device that is notified.
#[derive(Serialize, ToSchema)]
pub(super) struct Subscription {
    id: String,
    /// What it is called.
    name: String,
    /// The cameras it is notified of; `null` for all that its user may see.
    cameras: Option<Vec<String>>,
    kinds: Vec<KindName>,
    /// `null` where there are none.
    quiet_hours: Option<Quiet>,
    /// Nothing is sent for now.
    paused: bool,
    /// Whether somebody is logged in there; otherwise nothing is sent until that is so again.
    logged_in: bool,
    #[schema(format = DateTime)]
    created_at: String,
}

impl Subscription {
    fn new(http: &HttpState, row: &SubscriptionRow) -> Self {
        Self {
            id: row.subscription.to_string(),
            name: row.name.clone(),
            cameras: ids(&row.cameras),
            kinds: row.kinds.0.iter().map(|kind| (*kind).into()).collect(),
            quiet_hours: row.quiet.as_ref().map(Into::into),
            paused: row.paused_at.is_some(),
            logged_in: http.accounts.recipient(row).is_some(),
            created_at: time(row.created_at),
        }
    }
}

/// The public key, and one's own devices. Without accounts all devices are everybody's.
#[utoipa::path(get, path = "/api/push", tag = "notifications", operation_id = "push",
    responses((status = 200, body = PushState)))]
pub(super) async fn list(
    State(http): State<HttpState>,
    Asker(asker): Asker,
) -> Result<Json<PushState>, ApiError> {
    must_be_a_browser(&asker)?;
    let rows = http.accounts.subscriptions_of(&asker);
    Ok(Json(PushState {
        public_key: http.operation.push.public_key(),
        kinds: PushKind::ALL.map(Into::into).to_vec(),
        subscriptions: rows
            .iter()
            .map(|row| Subscription::new(&http, row))
            .collect(),
    }))
}

/// What a browser says of itself: a `PushSubscription` and a name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubscriptionToMake {
    /// Where its push service takes messages for it; `https` on port 443.
    endpoint: String,
    keys: SubscriptionKeys,
    /// What it is called, at most 100 characters.
    name: String,
    /// The endpoint that this one replaces, which keeps what was chosen for it.
    #[serde(default)]
    replaces: Option<String>,
}

/// The keys of a `PushSubscription`, in base64url.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubscriptionKeys {
    /// The browser's public key.
    p256dh: String,
    /// The secret that is shared with it.
    auth: String,
}

/// Has this browser notified, while it stays logged in: at first of persons and of cameras that are away. One that is known
/// already keeps what was chosen for it; so a page can send this each time that it is opened.
#[utoipa::path(post, path = "/api/push/subscriptions", tag = "notifications", operation_id = "push_subscribe",
    request_body = SubscriptionToMake,
    responses(
        (status = 200, description = "it is notified", body = Subscription),
        (status = 400, description = "an endpoint, key or name that is not taken", body = ErrorBody),
        (status = 409, description = "notifications are off, or there are too many devices", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 503, description = "the database cannot be written", body = ErrorBody),
    ))]
pub(super) async fn subscribe(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    Peer(ip): Peer,
    headers: HeaderMap,
    RequiredJson(wanted): RequiredJson<SubscriptionToMake>,
) -> Result<Json<Subscription>, ApiError> {
    must_be_a_browser(&asker)?;
    let new = NewSubscription {
        endpoint: wanted.endpoint,
        p256dh: wanted.keys.p256dh,
        auth: wanted.keys.auth,
        site: site(&headers),
        name: wanted.name,
        replaces: wanted.replaces,
        kinds: PushKinds([PushKind::Person, PushKind::Offline].into()),
    };
    http.operation.push.check(&new)?;
    let row = http.accounts.subscribe(actor(&asker, ip), new).await?;
    Ok(Json(Subscription::new(&http, &row)))
}

/// The origin of the page, where push services may be told it.
fn site(headers: &HeaderMap) -> Option<String> {
    let origin = headers.get(ORIGIN)?.to_str().ok()?;
    origin.starts_with("https://").then(|| origin.to_owned())
}

/// What is to change of a device; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubscriptionToChange {
    /// Another name, at most 100 characters.
    #[serde(default)]
    name: Option<String>,
    /// The cameras it is notified of; `null` for all that its user may see.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>)]
    cameras: Option<Option<Vec<String>>>,
    /// What it is notified of.
    #[serde(default)]
    kinds: Option<Vec<KindName>>,
    /// When nothing is sent; `null` for never.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Quiet>)]
    quiet_hours: Option<Option<Quiet>>,
    /// Nothing is sent for now.
    #[serde(default)]
    paused: Option<bool>,
}

/// Changes what a device is notified of.
#[utoipa::path(patch, path = "/api/push/subscriptions/{subscription_id}", tag = "notifications",
    operation_id = "change_push_subscription",
    params(("subscription_id" = String, Path, description = "from the list")),
    request_body = SubscriptionToChange,
    responses(
        (status = 200, description = "the device as it is now", body = Subscription),
        (status = 400, description = "a name, camera, kind, time or time zone that is not taken", body = ErrorBody),
        (status = 404, description = "no such device", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 503, description = "the database cannot be written", body = ErrorBody),
    ))]
pub(super) async fn change(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    Peer(ip): Peer,
    path: PathParameters,
    RequiredJson(wanted): RequiredJson<SubscriptionToChange>,
) -> Result<Json<Subscription>, ApiError> {
    let subscription = path.id("subscription_id", "subscription")?;
    let kinds = |names: Vec<KindName>| PushKinds(names.into_iter().map(Into::into).collect());
    let quiet = |quiet: Option<Quiet>| quiet.map(TryInto::try_into).transpose();
    let change = SubscriptionChange {
        name: wanted.name,
        cameras: wanted.cameras.map(scope).transpose()?,
        kinds: wanted.kinds.map(kinds),
        quiet: wanted.quiet_hours.map(quiet).transpose()?,
        paused: wanted.paused,
    };
    let actor = actor(&asker, ip);
    let row = http
        .accounts
        .change_subscription(actor, subscription, change);
    Ok(Json(Subscription::new(&http, &row.await?)))
}

/// Has a device notified no longer.
#[utoipa::path(delete, path = "/api/push/subscriptions/{subscription_id}", tag = "notifications",
    operation_id = "remove_push_subscription",
    params(("subscription_id" = String, Path, description = "from the list")),
    responses(
        (status = 204, description = "it is not notified any more"),
        (status = 404, description = "no such device", body = ErrorBody),
        (status = 503, description = "the database cannot be written: removed until the program starts again", body = ErrorBody),
    ))]
pub(super) async fn remove(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    Peer(ip): Peer,
    path: PathParameters,
) -> Result<StatusCode, ApiError> {
    let subscription = path.id("subscription_id", "subscription")?;
    let actor = actor(&asker, ip);
    http.accounts
        .remove_subscription(actor, subscription)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What came of a trial.
#[derive(Serialize, ToSchema)]
pub(super) struct PushTrial {
    /// The push service took the message; the device shows it when it hears of it.
    delivered: bool,
    /// Why it did not, and what to do.
    error: Option<String>,
    /// The same for programs, and for pages of another language.
    cause: Option<Cause>,
}

/// Sends a device a message at once, whatever was chosen for it.
#[utoipa::path(post, path = "/api/push/subscriptions/{subscription_id}/test", tag = "notifications",
    operation_id = "test_push_subscription",
    params(("subscription_id" = String, Path, description = "from the list")),
    responses(
        (status = 200, description = "what came of it", body = PushTrial),
        (status = 404, description = "no such device", body = ErrorBody),
        (status = 409, description = "notifications are off", body = ErrorBody),
        (status = 503, description = "too many trials at once", body = ErrorBody),
    ))]
pub(super) async fn test(
    State(http): State<HttpState>,
    Asker(asker): Asker,
    path: PathParameters,
) -> Result<Json<PushTrial>, ApiError> {
    let subscription = path.id("subscription_id", "subscription")?;
    let row = http.accounts.own_subscription(&asker, subscription)?;
    let sent = http.operation.push.try_out(&row).await?;
    if let Err(SendError::Gone) = sent {
        http.accounts.forget_subscription(&row).await;
    }
    let delivered = sent.is_ok();
    let reason = sent.err().as_ref().map(Reason::from);
    let (error, cause) = reason.map(|reason| (reason.text, reason.cause)).unzip();
    Ok(Json(PushTrial {
        delivered,
        error,
        cause,
    }))
}

impl From<BadSubscription> for ApiError {
    fn from(error: BadSubscription) -> Self {
        let (status, code) = match error {
            BadSubscription::Off => (StatusCode::CONFLICT, Code::NotificationsOff),
            BadSubscription::Endpoint(_) | BadSubscription::Keys => {
                (StatusCode::BAD_REQUEST, Code::BadRequest)
            }
        };
        Self::new(status, Reason::new(code, error))
    }
}

impl From<TrialError> for ApiError {
    fn from(error: TrialError) -> Self {
        let (status, code) = match error {
            TrialError::Off => (StatusCode::CONFLICT, Code::NotificationsOff),
            TrialError::Busy => (StatusCode::SERVICE_UNAVAILABLE, Code::TestUnderWay),
        };
        Self::new(status, Reason::new(code, error))
    }
}
