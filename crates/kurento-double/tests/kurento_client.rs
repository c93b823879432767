//! Kurento's own JavaScript client takes the double for a Kurento.
//!
//! Its packages come from the npm registry, as `js/package-lock.json` names them: `node` and `npm` must be there.
#![allow(clippy::unwrap_used, reason = "a test that goes wrong fails")]

mod support;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use apiary_kurento_double::{KurentoDouble, Options};
use support::{Codecs, Viewer, own_address};

/// Also over a slow line to the registry.
const INSTALL_DEADLINE: Duration = Duration::from_secs(240);
const TALK_DEADLINE: Duration = Duration::from_secs(90);

#[test]
fn the_javascript_client_gets_what_it_expects() {
    let folder = installed();
    let address = own_address();
    let double = KurentoDouble::start(Options::at(address)).unwrap();
    let viewer = Viewer::new(address, Codecs::H264);
    let mut client = Command::new("node");
    client
        .arg(folder.join("client.js"))
        .args([&double.url(), &support::offer(), &viewer.offer])
        .current_dir(&folder);
    let said = run(client, TALK_DEADLINE);
    assert!(said.contains("all as expected"), "{said}");
    assert!(double.pipelines().is_empty());
    assert_eq!(double.count("processOffer"), 3);
    assert_eq!(double.count("IceCandidateFound"), 1);
}

/// The client's folder, with its packages in it.
fn installed() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/js");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kurento-client");
    fs::create_dir_all(&folder).unwrap();
    for file in ["package.json", "package-lock.json", "client.js"] {
        fs::copy(here.join(file), folder.join(file)).unwrap();
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder);
    run(npm, INSTALL_DEADLINE);
    folder
}

/// What a command said; it must end well, and in time.
#[track_caller]
fn run(mut command: Command, deadline: Duration) -> String {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("nodejs and npm are installed");
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        })
    };
    let output = read(Box::new(child.stdout.take().unwrap()));
    let errors = read(Box::new(child.stderr.take().unwrap()));
    let deadline = Instant::now() + deadline;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = output.join().unwrap() + &errors.join().unwrap();
    let ended_well = status.is_some_and(|status| status.success());
    assert!(ended_well, "{command:?} ended with {status:?}:\n{said}");
    said
}
