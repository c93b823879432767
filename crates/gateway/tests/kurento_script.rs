//! scripts/start-kurento.sh, with programs in its PATH that stand in for Podman, Docker and a Kurento server.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sources::root;
use tokio::net::TcpSocket;

/// Longer than anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the script may use of the system.
const TOOLS: &[&str] = &[
    "bash",
    "cat",
    "dirname",
    "env",
    "id",
    "mktemp",
    "rm",
    "sed",
    "sha256sum",
    "touch",
];

/// A machine with nothing on it but what a test puts there.
struct Machine {
    dir: tempfile::TempDir,
    port: u16,
    /// Keeps the port from others without listening there.
    _reserved: TcpSocket,
}

impl Machine {
    /// With these programs: `podman` and `docker` are the same stand-in.
    fn with(programs: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let reserved = TcpSocket::new_v4().unwrap();
        reserved.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let machine = Self {
            dir,
            port: reserved.local_addr().unwrap().port(),
            _reserved: reserved,
        };
        for name in ["bin", "stubs", "home", "repository/scripts"] {
            std::fs::create_dir_all(machine.path(name)).unwrap();
        }
        for tool in TOOLS {
            let real = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(tool));
            let real = real.iter().find(|path| path.exists()).unwrap();
            symlink(real, machine.path("bin").join(tool)).unwrap();
        }
        for program in programs {
            machine.install(program, &machine.path("bin").join(program));
        }
        let script = machine.path("repository/scripts/start-kurento.sh");
        std::fs::copy(root().join("scripts/start-kurento.sh"), script).unwrap();
        machine
    }

    fn install(&self, program: &str, path: &Path) {
        let stub = if program == "docker" {
            "podman"
        } else {
            program
        };
        let stubs = root().join("crates/gateway/tests/kurento_script");
        symlink(stubs.canonicalize().unwrap().join(stub), path).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// From now on this goes wrong: see the stand-ins.
    fn set(&self, what: &str) {
        std::fs::write(self.path("stubs").join(what), "").unwrap();
    }

    fn settings(&self, text: &str) {
        std::fs::write(self.path("home/apiary.toml"), text).unwrap();
    }

    /// Runs the script to its end.
    fn start(&self, arguments: &[&str]) -> Output {
        let child = Command::new(self.path("bin/bash"))
            .arg(self.path("repository/scripts/start-kurento.sh"))
            .args(["--port", &self.port.to_string()])
            .args(arguments)
            .current_dir(self.path("home"))
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("STUBS", self.path("stubs"))
            .env("APIARY", env!("CARGO_BIN_EXE_apiary"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("the script does not end: {:?}", child.wait_with_output());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.wait_with_output().unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.start(arguments);
        assert!(output.status.success(), "{output:?}");
        self.plain(&output.stdout)
    }

    fn refuse(&self, arguments: &[&str]) -> String {
        let output = self.start(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        self.plain(&output.stderr)
    }

    /// What the stand-ins were asked since the last time, without questions about how things are.
    fn asked(&self) -> Vec<String> {
        let path = self.path("stubs/asked");
        let Ok(asked) = std::fs::read(&path) else {
            return Vec::new();
        };
        std::fs::remove_file(path).unwrap();
        self.plain(&asked)
            .lines()
            .filter(|line| !line.contains(" inspect ") && !line.ends_with(" info"))
            .map(str::to_owned)
            .collect()
    }

    /// A text with names for what differs from run to run.
    fn plain(&self, text: &[u8]) -> String {
        let text = std::str::from_utf8(text).unwrap();
        let text = text
            .replace(self.dir.path().to_str().unwrap(), "/MACHINE")
            .replace(&format!(":{}", self.port), ":PORT");
        match text.split_once("apiary.fingerprint=") {
            Some((before, after)) => {
                let (fingerprint, after) = after.split_at(64);
                assert!(fingerprint.chars().all(|c| c.is_ascii_hexdigit()));
                format!("{before}apiary.fingerprint=FINGERPRINT{after}")
            }
            None => text,
        }
    }

    fn files(&self) -> PathBuf {
        self.path("home/.local/state/apiary/kurento")
    }
}

/// What starts a server, as a shell takes it. `ENGINE` and `VERSION` are yet to be filled in.
const START: &[&str] = &[
    "apiary kurento-files --out /MACHINE/home/.local/state/apiary/kurento",
    "ENGINE pull docker.io/kurento/kurento-media-server:VERSION",
    "ENGINE run --detach --name apiary-kurento --network host --restart unless-stopped \
     --volume /MACHINE/home/.local/state/apiary/kurento/WebRtcEndpoint.conf.ini:\
     /etc/kurento/modules/kurento/WebRtcEndpoint.conf.ini:ro,z \
     --volume /MACHINE/home/.local/state/apiary/kurento/BaseRtpEndpoint.conf.ini:\
     /etc/kurento/modules/kurento/BaseRtpEndpoint.conf.ini:ro,z \
     --label apiary.fingerprint=FINGERPRINT docker.io/kurento/kurento-media-server:VERSION",
    "apiary kurento-ping --wait 60 ws://127.0.0.1:PORT/kurento",
];
const PING: &str = START[3];
const REMOVE: &str = "podman rm --force apiary-kurento";

fn start(engine: &str, version: &str) -> Vec<String> {
    START
        .iter()
        .map(|line| line.replace("ENGINE", engine).replace("VERSION", version))
        .collect()
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let machine = Machine::with(&["podman", "docker", "apiary"]);
    let said = machine.succeed(&["--dry-run"]);
    assert_eq!(said.lines().collect::<Vec<_>>(), start("podman", "6.16.0"));
    assert!(!machine.files().exists());
    assert!(!machine.path("stubs/container").exists());
    let asked = machine.asked();
    assert_eq!(asked.len(), 1, "files for the fingerprint only: {asked:?}");
    assert!(asked[0].starts_with("apiary kurento-files --out "));
    assert!(!asked[0].contains("/MACHINE"), "in a place of their own");

    let said = machine.succeed(&["--dry-run", "--engine", "docker", "7.3.0"]);
    assert_eq!(said.lines().collect::<Vec<_>>(), start("docker", "7.3.0"));
}

#[test]
fn it_does_what_the_dry_run_says() {
    for (programs, engine) in [
        (["podman", "apiary"], "podman"),
        (["docker", "apiary"], "docker"),
    ] {
        let machine = Machine::with(&programs);
        let said = machine.succeed(&["7.3.0"]);
        assert_eq!(machine.asked(), start(engine, "7.3.0"));
        assert!(said.contains("WebRtcEndpoint.conf.ini: written"), "{said}");
        assert!(machine.files().join("BaseRtpEndpoint.conf.ini").exists());
        assert!(machine.path("stubs/container").exists());
    }
}

#[test]
fn the_same_again_changes_nothing() {
    let machine = Machine::with(&["podman", "apiary"]);
    let lines = start("podman", "6.16.0");
    machine.succeed(&[]);
    machine.asked();
    let said = machine.succeed(&[]);
    assert!(
        said.contains("apiary-kurento runs already, with Kurento 6.16.0 and these settings."),
        "{said}"
    );
    assert_eq!(machine.asked(), [lines[0].clone(), PING.to_owned()]);

    // It was stopped by hand: what is there is started again.
    let container = machine.path("stubs/container");
    let running = std::fs::read_to_string(&container).unwrap();
    std::fs::write(&container, running.replace("true", "false")).unwrap();
    machine.succeed(&[]);
    let again = "podman start apiary-kurento".to_owned();
    assert_eq!(machine.asked(), [lines[0].clone(), again, PING.to_owned()]);
    assert_eq!(std::fs::read_to_string(&container).unwrap(), running);
}

#[test]
fn another_version_or_other_settings_replace_it() {
    let machine = Machine::with(&["podman", "apiary"]);
    machine.succeed(&[]);
    machine.asked();
    // The stand-in has all images once it has one.
    let replacing = |version: &str| {
        let [files, _, run, ping] = <[String; 4]>::try_from(start("podman", version)).unwrap();
        [files, REMOVE.to_owned(), run, ping]
    };
    let said = machine.succeed(&["7.3.0"]);
    assert!(said.contains("Replacing apiary-kurento"), "{said}");
    assert_eq!(machine.asked(), replacing("7.3.0"));

    machine.settings("[network]\nexternal_ip = '203.0.113.7'");
    assert_eq!(
        machine
            .succeed(&["--dry-run", "7.3.0"])
            .lines()
            .collect::<Vec<_>>(),
        replacing("7.3.0")
    );
    machine.asked();
    machine.succeed(&["7.3.0"]);
    assert_eq!(machine.asked(), replacing("7.3.0"));
    let made = std::fs::read_to_string(machine.files().join("WebRtcEndpoint.conf.ini")).unwrap();
    assert!(made.contains("externalIPv4=203.0.113.7\n"), "{made}");
}

#[test]
fn it_can_be_stopped() {
    let machine = Machine::with(&["podman", "apiary"]);
    assert_eq!(
        machine.succeed(&["--stop"]),
        "There is no container apiary-kurento.\n"
    );
    machine.succeed(&[]);
    machine.asked();
    assert_eq!(
        machine.succeed(&["--stop", "--dry-run"]),
        format!("{REMOVE}\n")
    );
    assert!(machine.asked().is_empty());
    machine.succeed(&["--stop"]);
    assert_eq!(machine.asked(), [REMOVE]);
    assert!(!machine.path("stubs/container").exists());
}

#[test]
fn settings_and_files_may_be_elsewhere() {
    let machine = Machine::with(&["podman", "apiary"]);
    std::fs::write(
        machine.path("home/a b.toml"),
        "[ingest]\nports = '40000-40999'",
    )
    .unwrap();
    let arguments = ["--config", "a b.toml", "--files", "made for kurento"];
    let said = machine.succeed(&[&arguments[..], &["--dry-run"]].concat());
    assert!(
        said.starts_with(
            "apiary kurento-files --out /MACHINE/home/made\\ for\\ kurento --config a\\ b.toml\n"
        ),
        "words with blanks stay whole: {said}"
    );
    machine.succeed(&arguments);
    let made = machine.path("home/made for kurento/BaseRtpEndpoint.conf.ini");
    assert!(
        std::fs::read_to_string(made)
            .unwrap()
            .contains("minPort=40000\n")
    );
}

#[test]
fn without_a_container_engine_it_says_how_to_get_one() {
    let none = Machine::with(&["apiary"]);
    assert!(none.refuse(&[]).contains("sudo apt-get install podman"));
    let other = Machine::with(&["docker", "apiary"]);
    let said = other.refuse(&["--engine", "podman"]);
    assert!(said.contains("podman is not there"), "{said}");
    other.set("engine-fails");
    let said = other.refuse(&[]);
    assert!(
        said.contains("its daemon does not run") && said.contains("cannot connect"),
        "{said}"
    );
    assert!(other.asked().is_empty(), "nothing was tried");
    // What would be done can be read all the same.
    let said = other.succeed(&["--dry-run"]);
    assert_eq!(said.lines().collect::<Vec<_>>(), start("docker", "6.16.0"));
}

#[test]
fn a_port_in_use_is_told() {
    let machine = Machine::with(&["podman", "apiary"]);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().port().to_string();
    let said = machine.refuse(&["--port", &taken]);
    assert!(
        said.contains(&format!("Port {taken} is taken")) && said.contains("ss -ltnp"),
        "{said}"
    );
    assert!(!machine.path("stubs/container").exists());
    // That Kurento itself listens there is no hindrance to replacing it.
    machine.succeed(&[]);
    machine.succeed(&["--port", &taken, "7.3.0"]);
}

#[test]
fn an_image_that_cannot_be_had_replaces_nothing() {
    let machine = Machine::with(&["podman", "apiary"]);
    machine.succeed(&[]);
    let running = std::fs::read_to_string(machine.path("stubs/container")).unwrap();
    std::fs::remove_file(machine.path("stubs/image")).unwrap();
    machine.set("pull-fails");
    let said = machine.refuse(&["9.9.9"]);
    assert!(said.contains("check the version (9.9.9)"), "{said}");
    assert_eq!(
        std::fs::read_to_string(machine.path("stubs/container")).unwrap(),
        running
    );
}

#[test]
fn a_server_that_does_not_answer_is_told_with_its_last_words() {
    let machine = Machine::with(&["podman", "apiary"]);
    machine.set("silent");
    for _ in ["new", "running already"] {
        let said = machine.refuse(&[]);
        assert!(
            said.contains("does not answer") && said.contains("the server's last words"),
            "{said}"
        );
    }
}

#[test]
fn somebody_elses_container_is_left_alone() {
    let machine = Machine::with(&["podman", "apiary"]);
    std::fs::write(machine.path("stubs/container"), "true \n").unwrap();
    for arguments in [&[][..], &["--stop"]] {
        let said = machine.refuse(arguments);
        assert!(said.contains("did not make"), "{said}");
        assert!(machine.path("stubs/container").exists());
    }
}

#[test]
fn apiary_is_looked_for_where_it_is_built() {
    let machine = Machine::with(&["podman"]);
    assert!(machine.refuse(&[]).contains("cargo build --release"));
    let release = machine.path("repository/target/release");
    std::fs::create_dir_all(&release).unwrap();
    machine.install("apiary", &release.join("apiary"));
    let said = machine.succeed(&["--dry-run"]);
    let built = "/MACHINE/repository/target/release/apiary kurento-files --out ";
    assert!(said.starts_with(built), "{said}");
}

#[test]
fn settings_that_are_refused_start_nothing() {
    let machine = Machine::with(&["podman", "apiary"]);
    machine.settings("[kurento]\nturn = 'turn:192.0.2.10'");
    for arguments in [&["--dry-run"][..], &[]] {
        let said = machine.refuse(arguments);
        assert!(said.contains("kurento.turn_username is missing"), "{said}");
    }
    assert!(!machine.path("stubs/container").exists());
}

#[test]
fn what_is_misspelt_gets_the_help() {
    let machine = Machine::with(&["podman", "apiary"]);
    for arguments in [
        &["--dryrun"][..],
        &["--config"],
        &["--engine", "lxc"],
        &["6.16.0", "7.3.0"],
        &["6.16.0; reboot"],
        &["--port", "http"],
    ] {
        let output = machine.start(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(machine.plain(&output.stderr).contains("Usage: "));
    }
    let help = machine.succeed(&["--help"]);
    for word in ["--dry-run", "--stop", "--engine", "--files", "6.16.0"] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
    assert!(machine.asked().is_empty());
}
