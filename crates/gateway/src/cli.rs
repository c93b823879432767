//! The command line: what can be asked of the program, and its help.
//!
//! Each command is a module below; what they print goes to standard output, the log to standard error. The work itself is
//! done elsewhere.

mod certs;
mod check;
mod db;
mod demo;
mod free_ports;
mod import;
mod kurento_files;
mod kurento_ping;
mod new_file;
mod openapi;
mod output;
mod runtime;
mod serve;
mod simulate;
mod user;
mod webhook_test;

pub(crate) use output::with_causes;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What was asked for.
#[derive(Debug, Parser)]
#[command(
    name = "apiary",
    version,
    about = "Live video from Hive cameras in a browser, without a cloud",
    long_about = "Live video from Hive cameras in a browser, without a cloud.\n\n\
        One program commands the cameras over MQTT, takes their RTP, keeps them alive, and shows each stream to any \
        number of viewers over WebRTC, with a REST API and pages.",
    after_help = "Begin with `apiary demo`: it needs no camera and no settings.\n\
        For your own cameras: copy packaging/apiary.example.toml, run `apiary check --config apiary.toml` until it is \
        content, then `apiary serve --config apiary.toml`. docs/config.md describes every setting.",
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show it at once: simulated cameras, nothing to set up, nothing kept
    #[command(
        long_about = "Shows everything at once: starts the program with simulated cameras, an MQTT broker of its own and \
        a data directory that is thrown away, on this machine only, and prints the address to open in a browser. \
        Ctrl-C ends it."
    )]
    Demo(demo::Options),
    /// Run the gateway
    #[command(
        long_about = "Runs the gateway until SIGTERM or Ctrl-C; then cameras are told to stop, viewers are told, and it \
        ends within 5 seconds. A second signal ends it at once.\n\n\
        Without settings it listens on this machine only: pages and API on 127.0.0.1:8080, signaling for existing \
        pages on 127.0.0.1:8765, its MQTT broker on 127.0.0.1:1883."
    )]
    Serve(serve::Options),
    /// Pretend to be cameras, for trying things out and for load
    #[command(long_about = "Pretends to be cameras: connects to an MQTT broker as they do, sends a moving test card and a tone \
        when told to, and obeys the firmware's rules: no stream without keepalives and bandwidth feedback. Faults can \
        be switched on one by one.\n\nExample, against `apiary serve` on this machine:\n  apiary simulate --cameras 3",
        after_long_help = simulate::faults_help())]
    Simulate(Box<simulate::Options>),
    /// Look for what is wrong, and say how to mend it
    #[command(
        long_about = "Looks at everything a start depends on, without starting anything: the settings, whether ports are \
        free, the broker and its certificates, the data directory, the addresses that cameras and browsers are told. \
        Exit code 1 when something will not work."
    )]
    Check(serve::Options),
    /// Make certificates for HTTPS, the broker and the cameras
    #[command(
        long_about = "Makes, shows and renews the certificates of a local authority: one for HTTPS, one for the MQTT \
        broker, and the files that go onto the cameras (mqttCA.crt, mqtt.pem, mqtt.key).\n\nExample:\n  \
        apiary certs init --name cams.example --ip 192.168.1.10"
    )]
    Certs(certs::Options),
    /// Back up, restore or export the database
    #[command(
        long_about = "Backs up, restores or exports the database of the installation whose settings are read (see --config).\n\n\
        Example:\n  apiary db backup apiary-backup.db --config apiary.toml"
    )]
    Db(db::Options),
    /// Make and mend accounts, where nobody can log in
    #[command(
        long_about = "Lists, makes and removes users, and gives them new passwords, in the database of the installation whose settings \
        are read (see --config). The gateway must not run. Everything else about accounts is on the account page.\n\n\
        Example:\n  apiary user password alex --config apiary.toml"
    )]
    User(user::Options),
    /// Take over the cameras and settings of an older installation
    #[command(
        long_about = "Reads camera_events.db and .env of an installation of the older livestreaming service. Its cameras go into the \
        database (the gateway must not run), its settings to standard output as a settings file; what was taken, what \
        was left and why is said on standard error. What is known already stays, so it may be repeated.\n\n\
        Example:\n  apiary import /opt/livestream --write apiary.toml"
    )]
    Import(import::Options),
    /// Write the files that Kurento servers read their settings from
    #[command(
        long_about = "Writes WebRtcEndpoint.conf.ini and BaseRtpEndpoint.conf.ini, which a Kurento server reads from \
        /etc/kurento/modules/kurento, from the settings: its ports, the address that viewers are told, STUN and TURN. \
        Says `unchanged` where a file is so already. The first holds the TURN password where there is one, and is then \
        for its owner and root only, as whom the official image's server runs. scripts/start-kurento.sh does all of it."
    )]
    KurentoFiles(kurento_files::Options),
    /// Ask a Kurento server whether it is there
    #[command(
        long_about = "Asks a Kurento server whether it is there, with a question that leaves nothing behind. Exit code 1 when \
        it does not answer as Kurento does, with what to do about it."
    )]
    KurentoPing(kurento_ping::Options),
    /// Send a test event to the webhooks
    #[command(
        long_about = "Sends the event webhook.test to each receiver of webhooks.urls, signed as all others are, and says what \
        came of it. Exit code 1 when one of them did not take it. The program need not run."
    )]
    WebhookTest(serve::Options),
    /// Print the OpenAPI document of the REST API
    Openapi,
}

/// Does it; the exit code is the program's.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Demo(options) => demo::run(options),
        Command::Serve(options) => serve::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Certs(options) => certs::run(&options),
        Command::Db(options) => db::run(options),
        Command::Import(options) => import::run(options),
        Command::User(options) => user::run(options),
        Command::Check(options) => check::run(&options),
        Command::KurentoFiles(options) => kurento_files::run(&options),
        Command::KurentoPing(options) => kurento_ping::run(&options),
        Command::WebhookTest(options) => webhook_test::run(&options),
        Command::Openapi => openapi::run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_a_help_text() {
        for command in Cli::command().get_subcommands() {
            assert!(
                command.get_about().is_some(),
                "{} has no help",
                command.get_name()
            );
            for option in command.get_arguments() {
                assert!(
                    option.get_help().is_some(),
                    "{} {} has no help",
                    command.get_name(),
                    option.get_id()
                );
            }
        }
    }
}
