//! The reasons of streams, viewers and commands.

use apiary_core::lifecycle::Failure;
use apiary_media::engine::EngineError;
use apiary_wire::units::Bitrate;

use super::{Code, Reason};
use crate::supervisor::{
    CommandError, JoinError, LabelError, NoPicture, NoStream, StartError, TalkError,
};

impl From<&Failure> for Reason {
    fn from(failure: &Failure) -> Self {
        let reason = |code| Self::new(code, failure);
        match failure {
            Failure::Leg { reason: why } => reason(Code::LegFailed).with("why", why),
            Failure::BrokerUnreachable { cause } => {
                reason(Code::BrokerUnreachable).with("why", cause)
            }
            Failure::CameraOffline => reason(Code::CameraOffline),
            Failure::NoRtp {
                address,
                waited,
                heard,
            } => {
                let code = if *heard {
                    Code::NoRtp
                } else {
                    Code::NoRtpUnheard
                };
                reason(code)
                    .with("address", address)
                    .with("seconds", waited.as_secs())
            }
            Failure::ForeignSsrc { address, ssrc } => reason(Code::ForeignSsrc)
                .with("address", address)
                .with("ssrc", format_args!("{:#010x}", ssrc.0)),
        }
    }
}

impl From<&EngineError> for Reason {
    fn from(error: &EngineError) -> Self {
        let reason = |code| Self::new(code, error);
        match error {
            EngineError::PortsExhausted { range } => reason(Code::NoPorts)
                .with("ports", format_args!("{}-{}", range.start(), range.end())),
            EngineError::AlreadyOpen(camera) => {
                reason(Code::AlreadyStreaming).with("camera", camera)
            }
            EngineError::UnknownStream(camera) => reason(Code::NoStream).with("camera", camera),
            EngineError::UnknownViewer(_) => reason(Code::UnknownViewer),
            EngineError::ViewerLimit { limit } => reason(Code::ViewerLimit).with("limit", limit),
            EngineError::Offer(why) => reason(Code::BadOffer).with("why", why),
            EngineError::Candidate(why) => reason(Code::BadCandidate).with("why", why),
            EngineError::Busy => reason(Code::Overloaded),
            EngineError::WorkerLost => reason(Code::WorkerLost),
            EngineError::NoServer(why) => reason(Code::NoMediaServer).with("why", why),
            EngineError::MediaServer {
                server,
                reason: why,
                ..
            } => reason(Code::MediaServerFailed)
                .with("server", server)
                .with("why", why),
            EngineError::Unsupported { engine, .. } => {
                reason(Code::EngineCannot).with("engine", engine)
            }
            EngineError::NoVoice(_) => reason(Code::NoVoice),
            EngineError::Talking(_) => reason(Code::SomebodyTalks),
            EngineError::NotListening(_) => reason(Code::CameraSilent),
            EngineError::Io { .. } => reason(Code::EngineFailed),
            EngineError::Closed => reason(Code::ShuttingDown),
        }
    }
}

impl From<&StartError> for Reason {
    fn from(error: &StartError) -> Self {
        let reason = |code| Self::new(code, error);
        let kbps = |bitrate: &Bitrate| bitrate.as_kbps();
        match error {
            StartError::AlreadyRunning(stream) => {
                reason(Code::AlreadyStreaming).with("camera", stream.camera)
            }
            StartError::BadBounds { min, max } => reason(Code::BadBounds)
                .with("min", kbps(min))
                .with("max", kbps(max)),
            StartError::StreamLimit { limit } => reason(Code::StreamLimit).with("limit", limit),
            StartError::Engine(error) => error.into(),
            StartError::ShuttingDown => reason(Code::ShuttingDown),
        }
    }
}

impl From<&JoinError> for Reason {
    fn from(error: &JoinError) -> Self {
        match error {
            JoinError::Start(error) => error.into(),
            JoinError::NoBandwidth { limit_mbps } => {
                Self::new(Code::NoBandwidth, error).with("limit", limit_mbps)
            }
            JoinError::Engine(error) => error.into(),
        }
    }
}

impl From<&TalkError> for Reason {
    fn from(error: &TalkError) -> Self {
        match error {
            TalkError::Taken { by } => Self::new(Code::Talker, error).with("by", by),
            TalkError::Engine(error) => error.into(),
        }
    }
}

impl From<&NoStream> for Reason {
    fn from(error: &NoStream) -> Self {
        Self::new(Code::NoStream, error).with("camera", error.camera)
    }
}

impl From<&CommandError> for Reason {
    fn from(error: &CommandError) -> Self {
        let reason = |code| Self::new(code, error);
        match error {
            CommandError::UnknownCamera(camera) => {
                reason(Code::UnknownCamera).with("camera", camera)
            }
            CommandError::Offline(camera) => {
                reason(Code::CameraNotConnected).with("camera", camera)
            }
            CommandError::Control { camera, source } => reason(Code::CameraNotTold)
                .with("camera", camera)
                .with("why", source),
        }
    }
}

impl From<&NoPicture> for Reason {
    fn from(why: &NoPicture) -> Self {
        let (code, camera) = match why {
            NoPicture::Private(camera) => (Code::Privacy, camera),
            NoPicture::None(camera) => (Code::NoPicture, camera),
        };
        Self::new(code, why).with("camera", camera)
    }
}

impl From<&LabelError> for Reason {
    fn from(error: &LabelError) -> Self {
        match error {
            LabelError::UnknownCamera(camera) => {
                Self::new(Code::UnknownCamera, error).with("camera", camera)
            }
            LabelError::NotKept(_) => Self::new(Code::NotKept, error),
        }
    }
}
