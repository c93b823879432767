//! Is the certificate for browsers good, and for the addresses that they use?

use std::net::IpAddr;

use jiff::Timestamp;

use super::Report;
use crate::config::{CertificateSource, Config};
use crate::tls::DIRECTORY;
use crate::tls::facts::{Facts, Validity};
use crate::tls::name::{self, Name};
use crate::tls::pair::Pair;

/// Days before its end from which on a certificate is worth a word.
const NEAR_DAYS: i64 = 14;

pub(super) fn examine(config: &Config, report: &mut Report) {
    match &config.tls.source {
        CertificateSource::None => plain(config, report),
        CertificateSource::Files { cert, key } => match Pair::read(cert, key) {
            Err(error) => report.problem("tls", error.to_string()),
            Ok(pair) => {
                dates(&pair.facts, report);
                reach(config, &pair.facts, report);
            }
        },
        CertificateSource::SelfSigned { .. } => {
            let dir = config.data.dir.join(DIRECTORY);
            let ca = dir.join(crate::tls::bundle::CA);
            report.good(
                "tls",
                format!(
                    "a certificate of our own is made and renewed in {}; browsers trust it once {} is imported there",
                    dir.display(),
                    ca.display()
                ),
            );
        }
    }
}

fn plain(config: &Config, report: &mut Report) {
    let is_open = config
        .http
        .listen
        .iter()
        .any(|address| !address.ip().is_loopback());
    if is_open {
        report.note(
            "tls",
            "others reach the page over plain HTTP: who is on the way can read along. tls.mode = \"self-signed\" needs \
             nothing else; a proxy in front that speaks HTTPS is as good",
        );
    }
}

fn dates(facts: &Facts, report: &mut Report) {
    let now = Timestamp::now();
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    match facts.validity(now) {
        Validity::Expired => report.problem(
            "tls.cert",
            format!(
                "the certificate ended on {}: browsers refuse it; renew it, with `apiary certs renew` where it is from there",
                day(facts.not_after)
            ),
        ),
        Validity::NotYet => report.problem(
            "tls.cert",
            format!(
                "the certificate is valid from {} on only; set this machine's clock right, or wait",
                day(facts.not_before)
            ),
        ),
        Validity::Valid if facts.days_left(now) < NEAR_DAYS => report.note(
            "tls.cert",
            format!(
                "the certificate ends on {}, in {} days: renew it; a running apiary takes new files over by itself",
                day(facts.not_after),
                facts.days_left(now)
            ),
        ),
        Validity::Valid => report.good(
            "tls.cert",
            format!(
                "for {}, valid until {}",
                name::list(&facts.names),
                day(facts.not_after)
            ),
        ),
    }
}

/// The addresses that browsers may use, as far as the settings tell. Whoever has a name may come by that alone.
fn reach(config: &Config, facts: &Facts, report: &mut Report) {
    let is_reached = |ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified();
    let listening = config.http.listen.iter().map(std::net::SocketAddr::ip);
    let external = config.network.external_ip.map(IpAddr::V4);
    let uncovered: Vec<Name> = listening
        .chain(external)
        .filter(is_reached)
        .map(|ip| Name::Ip(ip.to_canonical()))
        .filter(|name| !facts.covers(name))
        .collect();
    if uncovered.is_empty() {
        return;
    }
    let missing = name::list(&uncovered);
    let hosts: Vec<&Name> = facts
        .names
        .iter()
        .filter(|name| matches!(name, Name::Dns(host) if host != "localhost"))
        .collect();
    if hosts.is_empty() {
        report.problem(
            "tls.cert",
            format!(
                "the certificate is not for {missing}, where browsers would come: they refuse it. Have one made for that \
                 address, or better for a name"
            ),
        );
    } else {
        report.note(
            "tls.cert",
            format!(
                "the certificate is not for {missing}: open the page as https://{} only",
                hosts[0]
            ),
        );
    }
}
