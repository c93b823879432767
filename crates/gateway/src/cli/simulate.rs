//! `apiary simulate`: the options of `apiary-sim` on the command line.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;

use apiary_sim::{
    AudioCodec, Broker, BrokerIdentity, BrokerTls, CameraConfig, Misbehaviour, Simulator,
    SimulatorConfig, VideoSource,
};
use apiary_wire::CameraId;
use clap::{Args, ValueEnum};

use super::output::{complain, say, with_causes};
use super::runtime;
use crate::config::{LogConfig, LogFormat};
use crate::{logging, mqtt};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Say more about what happens
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    broker: BrokerOptions,
    #[command(flatten)]
    cameras: CameraOptions,
    #[command(flatten)]
    faults: FaultOptions,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Broker")]
struct BrokerOptions {
    /// MQTT broker: mqtt://HOST:PORT or mqtts://HOST:PORT
    #[arg(long, value_name = "URL", default_value = "mqtt://127.0.0.1:1883")]
    broker: String,
    /// PEM file of the authority that signed the broker's certificate (for mqtts://)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file of the cameras' certificate
    #[arg(long, value_name = "FILE", requires = "ca")]
    cert: Option<PathBuf>,
    /// PEM file of its private key; left out where --cert holds it too
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Cameras")]
struct CameraOptions {
    /// How many cameras
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    cameras: u32,
    /// Number of the first; a number always gives the same camera id
    #[arg(long, value_name = "N", default_value_t = 1)]
    first: u32,
    /// Camera id (32 hexadecimal digits) instead of a number; may be given several times
    #[arg(long, value_name = "ID", conflicts_with_all = ["cameras", "first"])]
    id: Vec<CameraId>,
    /// Name in the picture, with a number behind it where there are several cameras
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Replay a loop that is encoded once, for many cameras at little cost; it does not follow the bandwidth feedback
    #[arg(long)]
    replay: bool,
    /// Size of the picture
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = parse_size, conflicts_with = "replay")]
    size: (usize, usize),
    /// Pictures a second
    #[arg(
        long,
        value_name = "N",
        default_value_t = 30,
        conflicts_with = "replay"
    )]
    fps: u32,
    /// How sound is encoded
    #[arg(long, value_enum, default_value_t = Audio::Opus)]
    audio: Audio,
    /// Address to send from
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    bind: IpAddr,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Faults")]
struct FaultOptions {
    /// Share of the packets that is lost, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = parse_percent)]
    loss: f64,
    /// Fault of all cameras; may be given several times (listed at the end of `apiary simulate --help`)
    #[arg(long, value_name = "FAULT")]
    misbehave: Vec<Misbehaviour>,
    /// Seed of everything random [default: taken from the camera id]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Audio {
    /// Opus, 48 kHz
    Opus,
    /// G.711 µ-law, 8 kHz
    Pcmu,
}

/// The list of faults, for the end of the long help.
pub(super) fn faults_help() -> String {
    let mut text = "Faults for --misbehave:".to_owned();
    for name in Misbehaviour::names() {
        // Writing to a string does not fail.
        _ = write!(text, "\n  {name}");
    }
    text
}

fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let size = text
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    size.ok_or_else(|| "write WIDTHxHEIGHT, for instance 1280x720".to_owned())
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let percent = text
        .trim_end_matches('%')
        .parse::<f64>()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "give a number from 0 to 100".to_owned())
}

impl BrokerOptions {
    fn broker(&self) -> Result<Broker, String> {
        let tls = self.ca.clone().map(|ca| BrokerTls {
            ca,
            identity: self.cert.clone().map(|cert| BrokerIdentity {
                key: self.key.clone().unwrap_or_else(|| cert.clone()),
                cert,
            }),
        });
        if self.broker.starts_with("mqtts://") && tls.is_none() {
            return Err(
                "mqtts:// needs --ca, the authority that signed the broker's certificate"
                    .to_owned(),
            );
        }
        Broker::from_url(&self.broker, tls).map_err(|error| error.to_string())
    }
}

impl Options {
    fn cameras(&self) -> Vec<CameraConfig> {
        let options = &self.cameras;
        let identities: Vec<CameraConfig> = if options.id.is_empty() {
            let last = options.first.saturating_add(options.cameras - 1);
            (options.first..=last).map(CameraConfig::numbered).collect()
        } else {
            options
                .id
                .iter()
                .map(|id| CameraConfig::new(*id, format!("Camera {}", id.short())))
                .collect()
        };
        let several = identities.len() > 1;
        let with_options = |(index, mut camera): (usize, CameraConfig)| {
            if let Some(name) = &options.name {
                camera.name = if several {
                    format!("{name} {}", index + 1)
                } else {
                    name.clone()
                };
            }
            let (width, height) = options.size;
            camera.source = match options.replay {
                true => VideoSource::Replay,
                false => VideoSource::LiveTestCard {
                    width,
                    height,
                    fps: options.fps,
                },
            };
            camera.audio = match options.audio {
                Audio::Opus => AudioCodec::Opus,
                Audio::Pcmu => AudioCodec::Pcmu,
            };
            camera.bind = options.bind;
            camera.loss = self.faults.loss / 100.0;
            camera.misbehaviour.clone_from(&self.faults.misbehave);
            if let Some(seed) = self.faults.seed {
                camera.seed = seed.wrapping_add(index as u64);
            }
            camera
        };
        identities
            .into_iter()
            .enumerate()
            .map(with_options)
            .collect()
    }
}

pub(super) fn run(options: &Options) -> ExitCode {
    let broker = match options.broker.broker() {
        Ok(broker) => broker,
        Err(cause) => {
            complain(cause);
            return ExitCode::FAILURE;
        }
    };
    let level = if options.verbose {
        tracing::Level::DEBUG
    } else {
        tracing::Level::INFO
    };
    if let Err(error) = logging::init(&LogConfig {
        level,
        format: LogFormat::Human,
    }) {
        complain(format_args!("cannot set up the log: {error}"));
        return ExitCode::FAILURE;
    }
    mqtt::tls::install_crypto_provider();
    let config = SimulatorConfig::new(broker, options.cameras());
    runtime::run(|stop| async move {
        let simulator = match Simulator::start(config).await {
            Ok(simulator) => simulator,
            Err(error) => {
                complain(with_causes(&error));
                return ExitCode::FAILURE;
            }
        };
        for camera in simulator.cameras() {
            say(format_args!("{}  {}", camera.id(), camera.name()));
        }
        stop.cancelled().await;
        simulator.shutdown().await;
        ExitCode::SUCCESS
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Result<Options, clap::Error> {
        Line::try_parse_from(["simulate"].iter().chain(arguments)).map(|line| line.options)
    }

    #[test]
    fn options_reach_the_cameras() {
        let options = options(&[
            "--cameras",
            "3",
            "--first",
            "5",
            "--name",
            "Load",
            "--replay",
            "--audio",
            "pcmu",
            "--loss",
            "2.5%",
            "--misbehave",
            "wrong-ssrc",
            "--misbehave",
            "ignores-pli",
            "--seed",
            "9",
            "--bind",
            "127.0.0.1",
        ]);
        let cameras = options.unwrap().cameras();
        assert_eq!(cameras.len(), 3);
        let second = &cameras[1];
        assert_eq!(second.id, CameraConfig::numbered(6).id);
        assert_eq!(second.name, "Load 2");
        assert_eq!(second.source, VideoSource::Replay);
        assert_eq!(second.audio, AudioCodec::Pcmu);
        assert_eq!((second.loss, second.seed), (0.025, 10));
        assert_eq!(
            second.misbehaviour,
            [Misbehaviour::WrongSsrc, Misbehaviour::IgnoresPli]
        );
        assert_eq!(second.bind, IpAddr::V4(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn ids_can_be_given() {
        let id = "56c1cadcf1fa4c6caeba3e2fd85efebf";
        let cameras = options(&["--id", id, "--size", "640x360", "--fps", "15"])
            .unwrap()
            .cameras();
        assert_eq!(cameras[0].id.to_string(), id.to_uppercase());
        assert_eq!(
            cameras[0].source,
            VideoSource::LiveTestCard {
                width: 640,
                height: 360,
                fps: 15
            }
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for arguments in [
            &["--cameras", "0"][..],
            &["--id", "x"],
            &["--loss", "101"],
            &["--loss", "much"],
            &["--misbehave", "explodes"],
            &["--size", "big"],
            &["--key", "k.pem"],
            &["--replay", "--fps", "5"],
        ] {
            assert!(options(arguments).is_err(), "{arguments:?}");
        }
        let insecure = options(&["--broker", "mqtts://h"]).unwrap().broker.broker();
        assert!(insecure.unwrap_err().contains("--ca"));
        assert!(
            options(&["--broker", "h"])
                .unwrap()
                .broker
                .broker()
                .is_err()
        );
    }
}
