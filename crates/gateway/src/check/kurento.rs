//! Do the Kurento servers answer?

use futures_util::future::join_all;

use super::Report;
use crate::config::{Config, KurentoConfig};
use crate::kurento_probe::Probe;
use crate::reason::{Code, Reason};

const SUBJECT: &str = "kurento.servers";

pub(super) async fn examine(config: &Config, report: &mut Report) {
    let kurento = &config.kurento;
    let probe = match probe(kurento) {
        Ok(probe) => probe,
        Err(error) => return report.problem("kurento.ca", error),
    };
    let questions = kurento.servers.iter().map(|server| probe.ask(server));
    for (server, answer) in kurento.servers.iter().zip(join_all(questions).await) {
        match answer {
            Ok(()) if kurento.drain.contains(server) => {
                report.good(
                    SUBJECT,
                    format!("{server} answers, and gets no new streams"),
                );
            }
            Ok(()) => report.good(SUBJECT, format!("{server} answers")),
            Err(error) => {
                let text = format!("{server}: {error}");
                let reason = Reason::new(Code::MediaServerAway, text).with("server", server);
                report.problem(SUBJECT, reason.with("why", error));
            }
        }
    }
}

fn probe(kurento: &KurentoConfig) -> Result<Probe, String> {
    let with_tls = kurento.servers.iter().any(|server| server.tls);
    Probe::new(with_tls, kurento.ca.as_deref(), kurento.request_timeout)
        .map_err(|error| error.to_string())
}
