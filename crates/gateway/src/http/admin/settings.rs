//! The settings, as they count.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::written::Shown;
use crate::http::state::HttpState;

/// A setting.
#[derive(Serialize, ToSchema)]
pub(super) struct Setting {
    /// Such as `http.listen`.
    key: &'static str,
    /// As it was written, `***` for what is secret; `null` where nobody wrote anything, so that the default counts.
    value: Option<String>,
    /// As in docs/config.md; empty where there is none.
    default: &'static str,
    /// Who wrote it: a line of a file, or a variable; `default` where nobody did.
    source: String,
    secret: bool,
}

impl From<Shown> for Setting {
    fn from(shown: Shown) -> Self {
        Self {
            key: shown.key.path,
            value: shown.value,
            default: shown.key.default,
            source: shown.source,
            secret: shown.key.secret,
        }
    }
}

/// All settings.
#[derive(Serialize, ToSchema)]
pub(super) struct SettingList {
    settings: Vec<Setting>,
}

/// All settings with where each comes from; no secret is told.
#[utoipa::path(get, path = "/api/config", tag = "operation", operation_id = "settings",
    responses((status = 200, body = SettingList)))]
pub(super) async fn settings(State(http): State<HttpState>) -> Json<SettingList> {
    let shown = http.supervisor.config().written.shown();
    Json(SettingList {
        settings: shown.into_iter().map(Setting::from).collect(),
    })
}
