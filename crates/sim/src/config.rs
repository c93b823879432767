//! What a simulator is started with.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use apiary_wire::CameraId;

use crate::audio::AudioCodec;
use crate::firmware::FirmwareRules;
use crate::misbehaviour::Misbehaviour;

/// Cameras and the broker that they connect to.
#[derive(Debug, Clone)]
pub struct SimulatorConfig {
    /// The broker.
    pub broker: Broker,
    /// The cameras; their ids must differ.
    pub cameras: Vec<CameraConfig>,
    /// The pause after the first failed connection; doubled with each further one. Default 500 ms.
    pub reconnect_first: Duration,
    /// The longest pause. Default 30 s.
    pub reconnect_max: Duration,
}

impl SimulatorConfig {
    /// Simulates `cameras` at `broker`.
    pub fn new(broker: Broker, cameras: Vec<CameraConfig>) -> Self {
        Self {
            broker,
            cameras,
            reconnect_first: Duration::from_millis(500),
            reconnect_max: Duration::from_secs(30),
        }
    }
}

/// Where cameras connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// TCP port; usually 1883, or 8883 with TLS.
    pub port: u16,
    /// How to do TLS; `None` for plain TCP.
    pub tls: Option<BrokerTls>,
}

/// The cameras' certificates, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerTls {
    /// The one authority that cameras trust, `mqttCA.crt` on theirs.
    pub ca: PathBuf,
    /// The certificate that they show, with its key; all cameras share one.
    pub identity: Option<BrokerIdentity>,
}

/// A certificate and its private key, as PEM files, which may be one and the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerIdentity {
    /// The certificate, and further ones up to the authority.
    pub cert: PathBuf,
    /// The private key, without a password.
    pub key: PathBuf,
}

/// A broker's URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is no broker's address: write mqtt://HOST:PORT or mqtts://HOST:PORT")]
pub struct BrokerUrlError {
    url: String,
}

impl Broker {
    /// The plain broker at this port of this machine.
    pub fn local(port: u16) -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port,
            tls: None,
        }
    }

    /// Reads `mqtt://host:port` or `mqtts://host:port`; the port may be left out (1883, 8883). `tls` is
    /// used for the latter only.
    ///
    /// # Errors
    /// If the URL is neither, or is `mqtts://` and `tls` is missing.
    pub fn from_url(url: &str, tls: Option<BrokerTls>) -> Result<Self, BrokerUrlError> {
        let refuse = || BrokerUrlError {
            url: url.to_owned(),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(refuse)?;
        let (default_port, tls) = match scheme {
            "mqtt" => (1883, None),
            "mqtts" => (8883, Some(tls.ok_or_else(refuse)?)),
            _ => return Err(refuse()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        // The last colon of an IPv6 address in brackets belongs to the address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| refuse())?)
            }
            Some(_) | None => (authority, default_port),
        };
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(refuse());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }
}

/// One simulated camera.
#[derive(Debug, Clone)]
pub struct CameraConfig {
    /// Its id, which is its MQTT client id too.
    pub id: CameraId,
    /// What its picture is titled.
    pub name: String,
    /// What it sees. Default a live test card of 1280 by 720 at 30 pictures a second.
    pub source: VideoSource,
    /// How it encodes sound. Default Opus.
    pub audio: AudioCodec,
    /// Whether each picture says when it was sent, for [`crate::find_timestamp`]. Default no.
    pub timestamps: bool,
    /// The share of its datagrams that is lost on their way, 0 to 1. Default 0.
    pub loss: f64,
    /// Its faults. Default none.
    pub misbehaviour: Vec<Misbehaviour>,
    /// For everything random about it. Default taken from its id.
    pub seed: u64,
    /// The address that it sends from; unspecified for the one that faces the receiver, the default.
    pub bind: IpAddr,
    /// Its firmware's timings.
    pub rules: FirmwareRules,
    /// From one status message to the next. Default 600 s.
    pub status_interval: Duration,
    /// How long it is gone when it is told to reboot. Default 5 s.
    pub reboot_time: Duration,
}

impl CameraConfig {
    /// A well-behaved camera.
    pub fn new(id: CameraId, name: impl Into<String>) -> Self {
        let (high, low) = halves(id);
        Self {
            id,
            name: name.into(),
            source: VideoSource::default(),
            audio: AudioCodec::default(),
            timestamps: false,
            loss: 0.0,
            misbehaviour: Vec::new(),
            seed: high ^ low,
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            rules: FirmwareRules::default(),
            status_interval: Duration::from_secs(600),
            reboot_time: Duration::from_secs(5),
        }
    }

    /// The well-behaved camera with this number: always the same id, called "Camera 1" for 1.
    pub fn numbered(number: u32) -> Self {
        let mut bytes = [0; 16];
        let (high, low) = bytes.split_at_mut(8);
        high.copy_from_slice(&scramble(u64::from(number)).to_be_bytes());
        low.copy_from_slice(&scramble(u64::from(number) << 32 | 1).to_be_bytes());
        Self::new(CameraId::from_bytes(bytes), format!("Camera {number}"))
    }
}

fn halves(id: CameraId) -> (u64, u64) {
    let id = u128::from_be_bytes(id.to_bytes());
    ((id >> 64) as u64, id as u64)
}

/// The mixing function of SplitMix64: makes numbers look like the ids of real cameras.
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What a simulated camera sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoSource {
    /// A moving test card, encoded as it is sent; follows REMB. Costs about 2 ms of a core a picture
    /// at 1280 by 720.
    LiveTestCard {
        /// In pixels, even.
        width: usize,
        /// In pixels, even.
        height: usize,
        /// Pictures a second, at least 1.
        fps: u32,
    },
    /// A loop that was encoded once and is shared by all cameras that replay: about 1.65 Mbit/s and 254
    /// packets a second with sound. It does not follow REMB, and costs next to nothing.
    Replay,
}

impl Default for VideoSource {
    fn default() -> Self {
        Self::LiveTestCard {
            width: 1280,
            height: 720,
            fps: 30,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_urls() {
        let plain = |host: &str, port| Broker {
            host: host.to_owned(),
            port,
            tls: None,
        };
        for (url, broker) in [
            ("mqtt://10.0.0.1:1884", plain("10.0.0.1", 1884)),
            ("mqtt://broker.home/", plain("broker.home", 1883)),
            ("mqtt://[::1]:99", plain("::1", 99)),
            ("mqtt://[::1]", plain("::1", 1883)),
        ] {
            assert_eq!(Broker::from_url(url, None), Ok(broker), "{url}");
        }
        let tls = BrokerTls {
            ca: "ca.crt".into(),
            identity: None,
        };
        let secure = Broker::from_url("mqtts://broker", Some(tls.clone())).unwrap();
        assert_eq!((secure.port, secure.tls), (8883, Some(tls)));
        for url in [
            "",
            "broker",
            "http://broker",
            "mqtt://",
            "mqtt://:1",
            "mqtt://a:b",
            "mqtt://a:99999",
            "mqtt://user@a",
            "mqtts://broker",
        ] {
            assert!(Broker::from_url(url, None).is_err(), "{url}");
        }
    }

    #[test]
    fn numbered_cameras_differ_and_stay_the_same() {
        let first = CameraConfig::numbered(1);
        assert_eq!(
            first.id.to_string(),
            CameraConfig::numbered(1).id.to_string()
        );
        assert_ne!(first.id, CameraConfig::numbered(2).id);
        assert_ne!(first.seed, CameraConfig::numbered(2).seed);
        assert_eq!(first.name, "Camera 1");
    }
}
