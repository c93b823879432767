//! Schemathesis, from PyPI, against the running HTTP side: whatever it makes out of `/openapi.json` is answered as that says, and
//! never with a 5xx that nobody described.
//!
//! Its packages come as `schemathesis/requirements.txt` names them: `python3` with `venv` must be there.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod http_support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use apiary::auth::{Actor, NewToken, NewUser, Principal};
use apiary::http::Bounds;
use apiary::secret::Secret;
use apiary_store::{CameraScope, Role};
use http_support::{CAMERA, Gateway};
use tokio::process::Command;

/// The packages come over the network.
const INSTALL_DEADLINE: Duration = Duration::from_secs(300);
/// Some thousand requests.
const RUN_DEADLINE: Duration = Duration::from_secs(300);
/// Requests that are made up for each operation, beside those that cover each constraint once.
const EXAMPLES: &str = "10";
/// What is checked of each answer. (That ill-formed requests are refused is not: fields that are not known are passed over in
/// queries, as HTTP clients expect.)
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";

/// Installs it, and gives its program.
async fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis");
    let requirements =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis/requirements.txt");
    std::fs::create_dir_all(&folder).unwrap();
    let lock = std::fs::File::create(folder.join(".lock")).unwrap();
    lock.lock().unwrap(); // tests run side by side, in processes of their own
    let environment = folder.join("venv");
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&environment);
    run(make, INSTALL_DEADLINE).await;
    let mut install = Command::new(environment.join("bin/pip"));
    install
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ])
        .arg(&requirements);
    run(install, INSTALL_DEADLINE).await;
    environment.join("bin/schemathesis")
}

/// Asks everything that the document describes.
async fn ask_everything(gateway: &Gateway, token: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let mut schemathesis = Command::new(installed().await);
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis/hooks.py");
    schemathesis
        .current_dir(folder.path())
        .env("SCHEMATHESIS_HOOKS", hooks)
        .arg("run")
        .arg(format!("http://{}/openapi.json", gateway.http))
        .args(["--phases", "coverage,fuzzing", "--max-examples", EXAMPLES])
        .args(["--checks", CHECKS, "--seed", "1", "--no-color"])
        // A WebSocket is opened otherwise.
        .args(["--exclude-path", "/ws"])
        .args(["--exclude-path", "/api/events/stream"]);
    if let Some(token) = token {
        schemathesis.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let said = run(schemathesis, RUN_DEADLINE).await;
    assert!(said.contains("Test cases"), "{said}");
}

/// What a command said; it must end well, and in time.
async fn run(mut command: Command, deadline: Duration) -> String {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let shown = format!("{command:?}");
    let output = tokio::time::timeout(deadline, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{shown} did not end in time"));
    let output = output.expect("python3 is installed, with venv");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}:\n{said}");
    said
}

#[tokio::test]
async fn everything_is_answered_as_described() {
    let gateway = Gateway::start().await;
    gateway.camera_says_hello(CAMERA).await;
    ask_everything(&gateway, None).await;
    gateway.stop().await;
}

#[tokio::test]
async fn strangers_are_answered_as_described() {
    let gateway = Gateway::start_closed().await;
    ask_everything(&gateway, None).await;
    gateway.stop().await;
}

#[tokio::test]
async fn administrators_are_answered_as_described() {
    let gateway = Gateway::start_by(Bounds::new(1024, 1024), None, |config| {
        config.auth.enabled = true;
        config.http.requests_per_second = 0;
        config.http.joins_per_second = 0;
    })
    .await;
    gateway.camera_says_hello(CAMERA).await;
    let nobody = Principal::anybody();
    let new = NewUser {
        name: "root".to_owned(),
        password: Secret::new("correct horse battery"),
        role: Role::Admin,
        cameras: CameraScope::All,
    };
    let actor = Actor {
        principal: &nobody,
        ip: None,
    };
    gateway.accounts.create_user(actor, new).await.unwrap();
    let login = gateway
        .accounts
        .log_in("root", "correct horse battery", &Default::default())
        .await
        .unwrap();
    let token = NewToken {
        name: "schemathesis".to_owned(),
        role: Role::Admin,
        cameras: CameraScope::All,
        expires_at: None,
    };
    let actor = Actor {
        principal: &login.principal,
        ip: None,
    };
    let (_, secret) = gateway.accounts.create_token(actor, token).await.unwrap();
    ask_everything(&gateway, Some(&secret)).await;
    gateway.stop().await;
}
