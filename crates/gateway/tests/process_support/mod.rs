//! The program as a process of its own.

#![allow(dead_code, reason = "shared by tests that need different parts of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Longer than anything may take that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program in a directory of its own, with no environment but that.
pub(crate) fn apiary(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apiary"));
    command
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/bin:/bin");
    command
}

/// A running program. Killed when the test is over, however it went.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    pub(crate) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.0.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The gateway with all TCP ports free; it has 26 UDP ports from that one on.
pub(crate) fn serve(dir: &Path, udp: u16) -> Command {
    let mut command = apiary(dir, &["serve"]);
    command
        .envs([
            ("APIARY_HTTP_LISTEN", "127.0.0.1:0"),
            ("APIARY_SIGNALING_LISTEN", "127.0.0.1:0"),
            ("APIARY_MQTT_LISTEN", "127.0.0.1:0"),
            ("APIARY_MEDIA_WORKERS", "1"),
            ("APIARY_LOG_FORMAT", "json"),
        ])
        .env("APIARY_MEDIA_UDP_PORT", udp.to_string())
        .env("APIARY_INGEST_PORTS", format!("{}-{}", udp + 10, udp + 25));
    command
}

/// A running program's log, as JSON.
pub(crate) struct Log(Receiver<String>);

impl Log {
    pub(crate) fn of(running: &mut Running) -> Self {
        let lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
        let (sender, receiver) = mpsc::channel();
        // So that a record that does not come is waited for only so long.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self(receiver)
    }

    /// The next record whose message begins so.
    pub(crate) fn until(&mut self, message: &str) -> serde_json::Value {
        loop {
            let line = self.0.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("no record {message:?}: {error}"));
            let record: serde_json::Value = serde_json::from_str(&line).unwrap();
            let said = record["message"].as_str(); // those of libraries may have none
            if said.is_some_and(|said| said.starts_with(message)) {
                return record;
            }
        }
    }

    /// All records to the program's end.
    pub(crate) fn rest(self) -> Vec<serde_json::Value> {
        let records = self.0.iter().map(|line| serde_json::from_str(&line));
        records.collect::<Result<_, _>>().unwrap()
    }
}

/// Where the API is, as the record `ready` says.
pub(crate) fn http_address(ready: &serde_json::Value) -> String {
    let http = ready["http"].as_str().unwrap();
    http.trim_matches(['[', ']']).to_owned()
}

/// Status and body of what a request is answered with.
pub(crate) fn ask(address: &str, method: &str, path: &str) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}
