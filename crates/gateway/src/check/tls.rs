//! Are the certificates good that are presented here, and for the addresses that browsers use?

use std::net::IpAddr;
use std::path::Path;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::Report;
use crate::config::{AcmeChallenge, AcmeConfig, CertificateSource, Config, TlsFiles};
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
            Err(error) => report.problem("tls", error.to_string()),
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
            Err(error) => report.problem("tls", error.to_string()),
        }
    } else {
        report.note(
            "tls",
            "there is no certificate yet; `apiary serve` asks for it",
        );
    }
    let directory = &settings.directory;
    match acme::probe(settings).await {
        Ok(()) => report.good("tls.acme_directory", format!("{directory} answers")),
        Err(error) => report.problem("tls.acme_directory", format!("{directory}: {error}")),
    }
    let names = name::list(&settings.names);
    let where_to = match settings.challenge {
        AcmeChallenge::Http01 => {
            "port 80 of these names must lead to tls.redirect_listen or http.listen here"
        }
        AcmeChallenge::TlsAlpn01 => {
            "port 443 of these names must lead to http.listen here, with no proxy between that speaks TLS itself"
        }
    };
    report.note(
        "tls.acme_challenge",
        format!("the authority comes to {names} to look: {where_to}"),
    );
}

/// The certificate of the embedded broker, where cameras would be refused without a word.
pub(super) fn of_broker(files: &TlsFiles, report: &mut Report) {
    let certificate = files.cert.as_deref().and_then(|cert| {
        let text = pair::read(cert).ok()?;
        let leaf = pair::chain(&text).ok()?.into_iter().next()?;
        Facts::of(&leaf)
    });
    if let Some(facts) = certificate {
        dates("mqtt.cert", &facts, Timestamp::now(), report);
    }
}

fn own(dir: &Path, report: &mut Report) {
    if let Err(error) = Bundle::examine(dir, Timestamp::now()) {
        return report.problem("tls", error.to_string());
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
        report.note(
            "tls",
            "others reach the page over plain HTTP: who is on the way can read along. tls.mode = \"self-signed\" needs \
             nothing else; a proxy in front that speaks HTTPS is as good",
        );
    }
}

/// `now` is whenever the question is asked.
fn dates(key: &'static str, facts: &Facts, now: Timestamp, report: &mut Report) {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    match facts.validity(now) {
        Validity::Expired => report.problem(
            key,
            format!(
                "the certificate ended on {}: whoever checks it refuses it; renew it, with `apiary certs renew` where it is from there",
                day(facts.not_after)
            ),
        ),
        Validity::NotYet => report.problem(
            key,
            format!(
                "the certificate is valid from {} on only; set this machine's clock right, or wait",
                day(facts.not_before)
            ),
        ),
        Validity::Valid if facts.days_left(now) < NEAR_DAYS => report.note(
            key,
            format!(
                "the certificate ends on {}, in {} days: renew it; a running apiary takes new files over by itself",
                day(facts.not_after),
                facts.days_left(now)
            ),
        ),
        Validity::Valid => report.good(
            key,
            format!(
                "for {}, valid until {}",
                name::list(&facts.names),
                day(facts.not_after)
            ),
        ),
    }
}

/// Each is signed by the next, and none is missing that browsers need.
fn chain(certificates: &[CertificateDer<'_>], report: &mut Report) {
    let gap = certificates
        .windows(2)
        .position(|pair| !facts::is_signed_by(&pair[0], &pair[1]));
    if let Some(gap) = gap {
        report.problem(
            "tls.cert",
            format!(
                "certificate {} in the file is not signed by the next one: browsers may find no way to an authority that they \
                 know. Put the own certificate first, then the one that signed it, and so on",
                gap + 1
            ),
        );
    } else if let [alone] = certificates
        && facts::names_issuer_elsewhere(alone)
    {
        report.note(
            "tls.cert",
            "the file holds one certificate and not that of its authority: some browsers find no way to an authority that they \
             know. Give the file with the whole chain, often called fullchain.pem",
        );
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
