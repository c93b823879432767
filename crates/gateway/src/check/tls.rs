//! Are the certificates good that are presented here, and for the addresses that browsers use?

use std::net::IpAddr;
use std::path::Path;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::Report;
use crate::config::{AcmeChallenge, AcmeConfig, CertificateSource, Config};
use crate::reason::{Code, Reason};
use crate::tls::bundle::{self, Bundle};
use crate::tls::facts::{self, Facts, Validity};
use crate::tls::name::{self, Name};
use crate::tls::pair::{self, Pair};
use crate::tls::{DIRECTORY, acme};

/// Days before its end from which on a certificate is worth a word.
const NEAR_DAYS: i64 = 14;

pub(super) async fn examine(config: &Config, report: &mut Report) {
    match &config.tls.source {
        CertificateSource::None => plain(config, report),
        CertificateSource::Files { cert, key } => match Pair::read(cert, key) {
            Err(error) => report.problem("tls", unusable(&error)),
            Ok(pair) => {
                dates("tls.cert", &pair.facts, Timestamp::now(), report);
                chain(&pair.certified.cert, report);
                reach(config, &pair.facts, report);
            }
        },
        CertificateSource::Acme(settings) => by_acme(config, settings, report).await,
        CertificateSource::SelfSigned { .. } => own(&config.data.dir.join(DIRECTORY), report),
    }
}

async fn by_acme(config: &Config, settings: &AcmeConfig, report: &mut Report) {
    let file = acme::file(&config.data.dir.join(DIRECTORY));
    if file.exists() {
        match Pair::read(&file, &file) {
            Ok(pair) => dates("tls", &pair.facts, Timestamp::now(), report),
            Err(error) => report.problem("tls", unusable(&error)),
        }
    } else {
        let text = "there is no certificate yet; `apiary serve` asks for it";
        report.note("tls", Reason::new(Code::AcmeNotYet, text));
    }
    let directory = &settings.directory;
    match acme::probe(settings).await {
        Ok(()) => report.good("tls.acme_directory", format!("{directory} answers")),
        Err(error) => {
            let reason = Reason::new(Code::AcmeAway, format_args!("{directory}: {error}"));
            let reason = reason.with("url", directory);
            report.problem("tls.acme_directory", reason.with("why", error));
        }
    }
    let names = name::list(&settings.names);
    let (code, where_to) = match settings.challenge {
        AcmeChallenge::Http01 => (
            Code::AcmeComesByHttp,
            "port 80 of these names must lead to tls.redirect_listen or http.listen here",
        ),
        AcmeChallenge::TlsAlpn01 => (
            Code::AcmeComesByTls,
            "port 443 of these names must lead to http.listen here, with no proxy between that speaks TLS itself",
        ),
    };
    let text = format!("the authority comes to {names} to look: {where_to}");
    let reason = Reason::new(code, text);
    report.note("tls.acme_challenge", reason.with("names", names));
}

/// The certificate of the embedded broker, where cameras would be refused without a word.
pub(super) fn of_broker(config: &Config, report: &mut Report) {
    let certificate = config.mqtt.tls.cert.as_deref().and_then(|cert| {
        let text = pair::read(cert).ok()?;
        let leaf = pair::chain(&text).ok()?.into_iter().next()?;
        Facts::of(&leaf)
    });
    let Some(facts) = certificate else { return };
    dates("mqtt.cert", &facts, Timestamp::now(), report);
    let local = config.network.local_ip;
    let names_host = facts
        .names
        .iter()
        .any(|name| matches!(name, Name::Dns(host) if host != "localhost"));
    if !local.is_loopback() && !names_host && !facts.covers(&Name::Ip(IpAddr::V4(local))) {
        let text = format!(
            "the broker's certificate is not for {local}, where cameras would come: they may refuse it; \
             `apiary certs init --ip {local}` makes one that is"
        );
        let reason = Reason::new(Code::BrokerCertificateElsewhere, text);
        report.note("mqtt.cert", reason.with("address", local));
    }
}

fn own(dir: &Path, report: &mut Report) {
    if let Err(error) = Bundle::examine(dir, Timestamp::now()) {
        return report.problem("tls", unusable(&error));
    }
    report.good(
        "tls",
        format!(
            "a certificate of our own is made and renewed in {}; browsers trust it once {} is imported there",
            dir.display(),
            dir.join(bundle::CA).display()
        ),
    );
}

fn plain(config: &Config, report: &mut Report) {
    let is_open = config
        .http
        .listen
        .iter()
        .any(|address| !address.ip().is_loopback());
    if is_open {
        let text = "others reach the page over plain HTTP: who is on the way can read along. tls.mode = \"self-signed\" needs \
             nothing else; a proxy in front that speaks HTTPS is as good";
        report.note("tls", Reason::new(Code::PlainHttp, text));
    }
}

/// `now` is whenever the question is asked.
fn dates(key: &'static str, facts: &Facts, now: Timestamp, report: &mut Report) {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    let said = |code, time, text: String| Reason::new(code, text).with("day", day(time));
    let (begins, ends) = (facts.not_before, facts.not_after);
    match facts.validity(now) {
        Validity::Expired => {
            let text = format!(
                "the certificate ended on {}: whoever checks it refuses it; renew it, with `apiary certs renew` where it is from there",
                day(ends)
            );
            report.problem(key, said(Code::CertificateEnded, ends, text));
        }
        Validity::NotYet => {
            let text = format!(
                "the certificate is valid from {} on only; set this machine's clock right, or wait",
                day(begins)
            );
            report.problem(key, said(Code::CertificateNotYet, begins, text));
        }
        Validity::Valid if facts.days_left(now) < NEAR_DAYS => {
            let days = facts.days_left(now);
            let text = format!(
                "the certificate ends on {}, in {days} days: renew it; a running apiary takes new files over by itself",
                day(ends)
            );
            let reason = said(Code::CertificateEnds, ends, text);
            report.note(key, reason.with("n", days));
        }
        Validity::Valid => {
            let names = name::list(&facts.names);
            let text = format!("for {names}, valid until {}", day(ends));
            let reason = said(Code::CertificateGood, ends, text);
            report.good(key, reason.with("names", names));
        }
    }
}

/// Each is signed by the next, and none is missing that browsers need.
fn chain(certificates: &[CertificateDer<'_>], report: &mut Report) {
    let gap = certificates
        .windows(2)
        .position(|pair| !facts::is_signed_by(&pair[0], &pair[1]));
    if let Some(gap) = gap {
        let place = gap + 1;
        let text = format!(
            "certificate {place} in the file is not signed by the next one: browsers may find no way to an authority that they \
             know. Put the own certificate first, then the one that signed it, and so on"
        );
        let reason = Reason::new(Code::ChainBroken, text);
        report.problem("tls.cert", reason.with("place", place));
    } else if let [alone] = certificates
        && facts::names_issuer_elsewhere(alone)
    {
        let text = "the file holds one certificate and not that of its authority: some browsers find no way to an authority that they \
             know. Give the file with the whole chain, often called fullchain.pem";
        report.note("tls.cert", Reason::new(Code::ChainShort, text));
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
    let said = |code, text: String| Reason::new(code, text).with("addresses", &missing);
    match hosts.first() {
        None => {
            let text = format!(
                "the certificate is not for {missing}, where browsers would come: they refuse it. Have one made for that \
                 address, or better for a name"
            );
            report.problem("tls.cert", said(Code::CertificateElsewhere, text));
        }
        Some(host) => {
            let text = format!(
                "the certificate is not for {missing}: open the page as https://{host} only"
            );
            let reason = said(Code::CertificateByName, text);
            report.note("tls.cert", reason.with("name", host));
        }
    }
}

fn unusable(error: &dyn std::error::Error) -> Reason {
    Reason::new(Code::CertificateUnusable, error).with("why", error)
}
