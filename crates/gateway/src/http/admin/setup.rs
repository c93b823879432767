//! What the set-up assistant shows: what cameras are told, what goes onto them, and who knocked in vain.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use axum::Json;
use axum::extract::State;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use serde::Serialize;
use utoipa::ToSchema;

use super::finding::FindingEntry;
use crate::check::Report;
use crate::config::values::{BrokerAddress, BrokerTarget};
use crate::config::{Config, primary_ipv4};
use crate::http::rest::time;
use crate::http::state::HttpState;
use crate::mqtt::{BrokerFacts, Refused};
use crate::reason::Cause;
use crate::tls::bundle::{self, CAMERA_FILES, CAMERAS};
use crate::tls::facts::Facts;
use crate::tls::{DIRECTORY, pair};

/// What container engines and virtual machines call the networks that they make, which no camera is on.
const NETWORKS_OF_CONTAINERS: [&str; 5] = ["docker", "br-", "veth", "virbr", "podman"];
/// What makes the files for cameras.
const COMMAND: &str = "apiary certs init";

/// What has to be right before a first camera shows its picture.
#[derive(Serialize, ToSchema)]
pub(super) struct SetUp {
    addresses: Addresses,
    broker: BrokerForCameras,
    camera_files: CameraFiles,
    /// Who was refused lately at the embedded broker, the latest first; `null` with a broker of others.
    refused: Option<Vec<RefusedEntry>>,
}

/// Where cameras and browsers are told to find this machine.
#[derive(Serialize, ToSchema)]
struct Addresses {
    /// On the network at home.
    local: String,
    /// Who wrote it: a line of a file, or a variable; `default` where it was found out.
    local_source: String,
    /// From elsewhere, where that is set.
    external: Option<String>,
    /// Addresses that this machine has, the likeliest first.
    own: Vec<String>,
    /// What is to be said of them, and of the ports for cameras.
    findings: Vec<FindingEntry>,
    /// What to write into the settings if `local` is not right.
    lines: Option<String>,
}

/// The broker, as cameras come to it.
#[derive(Serialize, ToSchema)]
struct BrokerForCameras {
    /// Whether it is the one inside this program.
    embedded: bool,
    connected: bool,
    host: String,
    port: u16,
    tls: bool,
    /// Its certificate, as far as it is known here.
    certificate: Option<BrokerCertificate>,
    findings: Vec<FindingEntry>,
    /// What to write into the settings, so that cameras can come.
    lines: Option<String>,
}

/// The broker's certificate.
#[derive(Serialize, ToSchema)]
struct BrokerCertificate {
    names: Vec<String>,
    #[schema(format = DateTime)]
    valid_until: String,
}

/// The files that go onto cameras. They are never served: keys are among them.
#[derive(Serialize, ToSchema)]
struct CameraFiles {
    /// Where they lie on the server, or will.
    directory: String,
    names: [&'static str; 3],
    there: bool,
    /// What makes them.
    command: &'static str,
    /// The authority of the broker (`mqtt.ca`), where it is another one than that of these files.
    other_authority: Option<String>,
}

/// Somebody whom the embedded broker refused.
#[derive(Serialize, ToSchema)]
struct RefusedEntry {
    /// When last.
    #[schema(format = DateTime)]
    at: String,
    ip_address: String,
    /// The client id that it gave; empty where it did not come to that.
    client: String,
    /// How often, for this reason.
    count: u64,
    text: String,
    cause: Cause,
}

impl From<Refused> for RefusedEntry {
    fn from(refused: Refused) -> Self {
        Self {
            at: time(refused.at),
            ip_address: refused.ip.to_canonical().to_string(),
            client: refused.client,
            count: refused.count,
            text: refused.reason.text,
            cause: refused.reason.cause,
        }
    }
}

/// What has to be right before a first camera shows its picture: addresses, broker, the camera's files; and who was refused.
#[utoipa::path(get, path = "/api/setup", tag = "operation", operation_id = "setup",
    responses((status = 200, body = SetUp)))]
pub(super) async fn setup(State(http): State<HttpState>) -> Json<SetUp> {
    let config = http.supervisor.config();
    let found = http.doctor.look(&config).await.unwrap_or_default();
    let connected = http.broker_connected();
    let refused = http.embedded.as_ref().map(|broker| {
        let latest = broker.refusals.latest().into_iter();
        latest.map(RefusedEntry::from).collect()
    });
    Json(SetUp {
        addresses: addresses(&config, &found),
        broker: broker(&config, http.embedded.as_ref(), connected, &found),
        camera_files: camera_files(&config),
        refused,
    })
}

fn addresses(config: &Config, found: &Report) -> Addresses {
    let local = config.network.local_ip;
    let own = own_addresses();
    let other = own.iter().find(|address| **address != local);
    let is_fine = own.contains(&local);
    let sources = config.written.shown();
    let source = sources
        .into_iter()
        .find(|shown| shown.key.path == "network.local_ip")
        .map(|shown| shown.source);
    Addresses {
        local: local.to_string(),
        local_source: source.unwrap_or_default(),
        external: config.network.external_ip.map(|ip| ip.to_string()),
        own: own.iter().map(Ipv4Addr::to_string).collect(),
        findings: FindingEntry::about(found, |finding| {
            let about = |section| finding.subject.starts_with(section);
            about("network.") || about("ingest.") || about("media.bind")
        }),
        lines: other
            .filter(|_| !is_fine)
            .map(|ip| format!("[network]\nlocal_ip = \"{ip}\"")),
    }
}

/// The IPv4 addresses by which other machines may reach this one; that of the way to the internet comes first.
fn own_addresses() -> Vec<Ipv4Addr> {
    let Ok(interfaces) = getifaddrs() else {
        return primary_ipv4().into_iter().collect();
    };
    let is_for_others = |name: &str, flags: InterfaceFlags| {
        flags.contains(InterfaceFlags::IFF_UP)
            && !flags.contains(InterfaceFlags::IFF_LOOPBACK)
            && !NETWORKS_OF_CONTAINERS
                .iter()
                .any(|made| name.starts_with(made))
    };
    let mut addresses: Vec<Ipv4Addr> = interfaces
        .filter(|one| is_for_others(&one.interface_name, one.flags))
        .filter_map(|one| Some(one.address?.as_sockaddr_in()?.ip()))
        .collect();
    let primary = primary_ipv4();
    addresses.sort_by_key(|address| Some(*address) != primary);
    addresses.dedup();
    addresses
}

fn broker(
    config: &Config,
    embedded: Option<&BrokerFacts>,
    connected: bool,
    found: &Report,
) -> BrokerForCameras {
    let mqtt = &config.mqtt;
    let (host, port, tls) = match (&mqtt.broker, embedded) {
        (BrokerTarget::External(address), _) => (host(address, config), address.port, address.tls),
        (BrokerTarget::Embedded, Some(facts)) => {
            let at = facts.tls_address.unwrap_or(facts.address);
            let local = config.network.local_ip.to_string();
            (local, at.port(), facts.tls_address.is_some())
        }
        (BrokerTarget::Embedded, None) => {
            let at = mqtt.embedded.listen_tls.unwrap_or(mqtt.embedded.listen);
            let local = config.network.local_ip.to_string();
            (local, at.port(), mqtt.embedded.listen_tls.is_some())
        }
    };
    let is_embedded = mqtt.broker == BrokerTarget::Embedded;
    let certificate = mqtt.tls.cert.as_deref().filter(|_| is_embedded && tls);
    BrokerForCameras {
        embedded: is_embedded,
        connected,
        host,
        port,
        tls,
        certificate: certificate.and_then(certificate_of),
        // That a port is taken by ourselves is no news.
        findings: FindingEntry::about(found, |finding| {
            finding.subject.starts_with("mqtt.") && finding.cause.is_some()
        }),
        lines: (is_embedded && !tls)
            .then(|| bundle::broker_settings(&config.data.dir.join(DIRECTORY))),
    }
}

/// Where cameras find a broker of others: one on this machine is not where they are.
fn host(address: &BrokerAddress, config: &Config) -> String {
    let ip = address.host.parse::<IpAddr>();
    if address.host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback()) {
        return config.network.local_ip.to_string();
    }
    address.host.clone()
}

fn certificate_of(file: &Path) -> Option<BrokerCertificate> {
    let text = pair::read(file).ok()?;
    let leaf = pair::chain(&text).ok()?.into_iter().next()?;
    let facts = Facts::of(&leaf)?;
    Some(BrokerCertificate {
        names: facts.names.iter().map(ToString::to_string).collect(),
        valid_until: time(facts.not_after),
    })
}

fn camera_files(config: &Config) -> CameraFiles {
    let certificates = config.data.dir.join(DIRECTORY);
    let certificates = std::path::absolute(&certificates).unwrap_or(certificates);
    let directory = certificates.join(CAMERAS);
    let ours = certificates.join(bundle::CA);
    let authority = config.mqtt.tls.ca.as_ref();
    let is_ours = |ca: &&std::path::PathBuf| std::path::absolute(ca).is_ok_and(|ca| ca == ours);
    CameraFiles {
        there: CAMERA_FILES
            .iter()
            .all(|name| directory.join(name).exists()),
        directory: directory.display().to_string(),
        names: CAMERA_FILES,
        command: COMMAND,
        other_authority: authority
            .filter(|ca| !is_ours(ca))
            .map(|ca| ca.display().to_string()),
    }
}
