//! May the webhooks' receivers be reached? Nothing is sent: `apiary webhook-test` does that.

use futures_util::future::join_all;

use super::Report;
use crate::config::WebhooksConfig;
use crate::reason::{Code, Reason};
use crate::webhooks::address::find;

const SUBJECT: &str = "webhooks.urls";

pub(super) async fn examine(config: &WebhooksConfig, report: &mut Report) {
    let receivers = &config.receivers;
    let lookups = receivers
        .iter()
        .map(|receiver| find(receiver.expose(), &config.allow_private));
    for (receiver, found) in receivers.iter().zip(join_all(lookups).await) {
        match found {
            Ok(_) if receiver.expose().scheme() == "http" => {
                let text = format!(
                    "{receiver} is told without TLS: who is on the way to it can read what happens at your cameras"
                );
                let reason = Reason::new(Code::WebhookPlain, text);
                report.note(SUBJECT, reason.with("receiver", receiver));
            }
            Ok(_) => report.good(
                SUBJECT,
                format!("{receiver} may be told; `apiary webhook-test` tries it"),
            ),
            Err(error) => {
                let why = format!("{error}; {}", error.remedy());
                let reason = Reason::new(Code::WebhookAway, format_args!("{receiver}: {why}"));
                let reason = reason.with("receiver", receiver);
                report.problem(SUBJECT, reason.with("why", why));
            }
        }
    }
}
