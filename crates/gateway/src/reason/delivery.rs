//! The reasons why receivers of events, and devices, did not take what they were sent.

use super::{Code, Reason};
use crate::push::SendError;
use crate::webhooks::{AddressError, DeliveryError};

impl From<&DeliveryError> for Reason {
    fn from(error: &DeliveryError) -> Self {
        let reason = |code| Self::new(code, error);
        match error {
            DeliveryError::Address(AddressError::NotPublic { host, address }) => {
                reason(Code::ReceiverNotPublic)
                    .with("host", host)
                    .with("address", address)
            }
            DeliveryError::Address(AddressError::Unknown { host, cause }) => {
                reason(Code::ReceiverUnknown)
                    .with("host", host)
                    .with("why", cause)
            }
            DeliveryError::Address(AddressError::None { host }) => {
                reason(Code::ReceiverNoAddress).with("host", host)
            }
            DeliveryError::Connect(why) => reason(Code::ReceiverUnreachable).with("why", why),
            DeliveryError::Tls(why) => reason(Code::ReceiverTls).with("why", why),
            DeliveryError::Http(why) => reason(Code::ReceiverNoHttp).with("why", why),
            DeliveryError::Silent => reason(Code::ReceiverSilent),
            DeliveryError::Redirect(status) => {
                reason(Code::ReceiverRedirects).with("status", status)
            }
            DeliveryError::Status(status) => reason(Code::ReceiverRefuses).with("status", status),
        }
    }
}

impl From<&SendError> for Reason {
    fn from(error: &SendError) -> Self {
        let reason = |code| Self::new(code, error);
        match error {
            SendError::Subscription(why) => reason(Code::DeviceUnusable).with("why", why),
            SendError::NotAllowed => reason(Code::DeviceNotAllowed),
            SendError::Unreachable(why) => reason(Code::DeviceUnreachable).with("why", why),
            SendError::Gone => reason(Code::DeviceGone),
            SendError::Later(status, _) => reason(Code::DeviceLater).with("status", status),
            SendError::Refused(status) => reason(Code::DeviceRefused).with("status", status),
            SendError::Internal => reason(Code::Internal),
        }
    }
}
