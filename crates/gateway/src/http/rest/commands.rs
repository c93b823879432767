//! Commands to cameras. Each is answered once the broker took it; what came of it the camera reports by itself, as its state.

use apiary_wire::camera::{Command, Mode, Settings, UnknownMode, is_word};
use apiary_wire::id::CameraId;
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::cameras::find;
use crate::auth::Actor;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::extract::{CameraPath, Peer, RequiredJson};
use crate::http::identity::Asker;
use crate::http::state::HttpState;

/// Under which name the audit log has them.
const AUDITED: &str = "camera.command";

type Result<T> = std::result::Result<T, ApiError>;
type Taken = (StatusCode, Json<CommandTaken>);

/// The broker took it.
#[derive(Serialize, ToSchema)]
pub(super) struct CommandTaken {
    camera_id: String,
    /// The end of the command's MQTT topic, such as `system/setmode`.
    command: &'static str,
    /// All settings that the camera was sent, where it was sent any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    settings: Option<Box<Settings>>,
}

/// What the camera is to do on its own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModeToSet {
    /// `ARMED`, `LIVESTREAMONLY` or `PRIVACY`, in either case.
    mode: String,
}

/// Which sound.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SoundToPlay {
    /// A word that the camera knows.
    #[schema(max_length = 64)]
    sound_type: String,
}

/// Who commands which camera.
pub(super) struct Commander {
    http: HttpState,
    camera: CameraId,
    asker: Asker,
    peer: Peer,
}

impl FromRequestParts<HttpState> for Commander {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, http: &HttpState) -> Result<Self> {
        let CameraPath(camera) = CameraPath::from_request_parts(parts, http).await?;
        let Ok(peer) = Peer::from_request_parts(parts, http).await;
        Ok(Self {
            http: http.clone(),
            camera,
            asker: Asker::from_request_parts(parts, http).await?,
            peer,
        })
    }
}

impl Commander {
    async fn send(self, command: Command, detail: Option<String>) -> Result<Taken> {
        let action = command.action();
        let settings = if let Command::UpdateSettings(settings) = &command {
            Some(settings.clone())
        } else {
            None
        };
        self.http.supervisor.command(self.camera, command).await?;
        let (Asker(principal), Peer(ip)) = (self.asker, self.peer);
        let actor = Actor {
            principal: &principal,
            ip,
        };
        let detail = match detail {
            Some(detail) => format!("{action}: {detail}"),
            None => action.to_owned(),
        };
        let subject = self.camera.to_string();
        self.http
            .accounts
            .note_done(actor, AUDITED, subject, Some(detail));
        let taken = CommandTaken {
            camera_id: self.camera.to_string(),
            command: action,
            settings,
        };
        Ok((StatusCode::ACCEPTED, Json(taken)))
    }
}

/// Sets the mode of a camera.
#[utoipa::path(put, path = "/cameras/{camera_id}/mode", tag = "streams", operation_id = "set_camera_mode",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    request_body = ModeToSet,
    responses(
        (status = 202, description = "the broker took the command; the camera reports its mode by itself", body = CommandTaken),
        (status = 400, description = "no camera id, or no mode", body = ErrorBody),
        (status = 404, description = "nobody ever heard of that camera", body = ErrorBody),
        (status = 409, description = "the camera is not connected", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 503, description = "the broker did not take the command", body = ErrorBody),
    ))]
pub(super) async fn set_mode(
    commander: Commander,
    RequiredJson(wanted): RequiredJson<ModeToSet>,
) -> Result<Taken> {
    let mode: Mode = wanted
        .mode
        .parse()
        .map_err(|error: UnknownMode| ApiError::bad_request(error))?;
    commander
        .send(Command::SetMode(mode), Some(mode.to_string()))
        .await
}

/// Changes settings of a camera. Those that are left out stay as the camera last reported them.
#[utoipa::path(put, path = "/cameras/{camera_id}/settings", tag = "streams", operation_id = "change_camera_settings",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    request_body(content = Object, description = "any of the settings, named as the camera names them"),
    responses(
        (status = 202, description = "the broker took the command; the camera reports its settings by itself", body = CommandTaken),
        (status = 400, description = "no camera id, or a setting that there is not or that takes something else", body = ErrorBody),
        (status = 404, description = "nobody ever heard of that camera", body = ErrorBody),
        (status = 409, description = "the camera is not connected", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 503, description = "the broker did not take the command", body = ErrorBody),
    ))]
pub(super) async fn change_settings(
    commander: Commander,
    RequiredJson(change): RequiredJson<Map<String, Value>>,
) -> Result<Taken> {
    let report = find(&commander.http, commander.camera)?.report.settings;
    let report: Option<Value> = report.and_then(|report| serde_json::from_str(&report).ok());
    let settings = Settings::from_report(&report.unwrap_or_default());
    let settings = settings.changed(&change).map_err(ApiError::bad_request)?;
    let changed: Vec<&str> = change.keys().map(String::as_str).collect();
    let detail = changed.join(", ");
    commander
        .send(Command::UpdateSettings(Box::new(settings)), Some(detail))
        .await
}

/// Restarts a camera; its picture comes back by itself.
#[utoipa::path(post, path = "/cameras/{camera_id}/reboot", tag = "streams", operation_id = "reboot_camera",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    responses(
        (status = 202, description = "the broker took the command", body = CommandTaken),
        (status = 400, description = "no camera id", body = ErrorBody),
        (status = 404, description = "nobody ever heard of that camera", body = ErrorBody),
        (status = 409, description = "the camera is not connected", body = ErrorBody),
        (status = 503, description = "the broker did not take the command", body = ErrorBody),
    ))]
pub(super) async fn reboot(commander: Commander) -> Result<Taken> {
    commander.send(Command::Reboot, None).await
}

/// Has a camera make a sound.
#[utoipa::path(post, path = "/cameras/{camera_id}/sound", tag = "streams", operation_id = "play_camera_sound",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    request_body = SoundToPlay,
    responses(
        (status = 202, description = "the broker took the command", body = CommandTaken),
        (status = 400, description = "no camera id, or no word", body = ErrorBody),
        (status = 404, description = "nobody ever heard of that camera", body = ErrorBody),
        (status = 409, description = "the camera is not connected", body = ErrorBody),
        (status = 413, description = "the body is too long", body = ErrorBody),
        (status = 415, description = "the body is not JSON", body = ErrorBody),
        (status = 503, description = "the broker did not take the command", body = ErrorBody),
    ))]
pub(super) async fn play_sound(
    commander: Commander,
    RequiredJson(SoundToPlay { sound_type }): RequiredJson<SoundToPlay>,
) -> Result<Taken> {
    if !is_word(&sound_type) {
        return Err(ApiError::bad_request(
            "sound_type is no word of at most 64 letters, digits and signs",
        ));
    }
    let detail = Some(sound_type.clone());
    commander
        .send(Command::PlaySound { sound_type }, detail)
        .await
}

/// Has a camera be silent again.
#[utoipa::path(delete, path = "/cameras/{camera_id}/sound", tag = "streams", operation_id = "stop_camera_sound",
    params(("camera_id" = String, Path, description = "32 hexadecimal digits in either case")),
    responses(
        (status = 202, description = "the broker took the command", body = CommandTaken),
        (status = 400, description = "no camera id", body = ErrorBody),
        (status = 404, description = "nobody ever heard of that camera", body = ErrorBody),
        (status = 409, description = "the camera is not connected", body = ErrorBody),
        (status = 503, description = "the broker did not take the command", body = ErrorBody),
    ))]
pub(super) async fn stop_sound(commander: Commander) -> Result<Taken> {
    commander.send(Command::StopSound, None).await
}
