//! Traces and logs reach a collector of OpenTelemetry, and nobody waits for one that is not there.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

mod process_support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use process_support::{Log, PATIENCE, Running, ask, http_address, serve};
use prost::Message;
use tokio::net::TcpListener;

const AUTHORIZATION: &str = "Bearer canary-of-the-collector";
const CAMERA: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";

/// What a collector was sent.
#[derive(Default)]
struct Collected {
    refuses: bool,
    refused: usize,
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
    services: Vec<String>,
}

/// A collector on a port of its own.
#[derive(Clone)]
struct Collector(Arc<(Mutex<Collected>, Condvar)>);

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let collector = Self(Arc::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(Self::take)
            .with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, address)
    }

    async fn take(
        State(collector): State<Self>,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> StatusCode {
        assert_eq!(headers["authorization"], AUTHORIZATION);
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let (collected, changed) = &*collector.0;
        let mut collected = collected.lock().unwrap();
        changed.notify_all();
        if collected.refuses {
            collected.refused += 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        match uri.path() {
            "/v1/traces" => {
                for of in ExportTraceServiceRequest::decode(body)
                    .unwrap()
                    .resource_spans
                {
                    let service = attribute(&of.resource.unwrap().attributes, "service.name");
                    collected.services.push(service);
                    let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                    collected.spans.extend(spans);
                }
            }
            "/v1/logs" => {
                for of in ExportLogsServiceRequest::decode(body)
                    .unwrap()
                    .resource_logs
                {
                    let logs = of
                        .scope_logs
                        .into_iter()
                        .flat_map(|scope| scope.log_records);
                    collected.logs.extend(logs);
                }
            }
            other => panic!("nothing is at {other}"),
        }
        StatusCode::OK
    }

    fn refuse(&self, refuses: bool) {
        self.0.0.lock().unwrap().refuses = refuses;
    }

    /// Waits until something of what it was sent is as wanted.
    fn until<T>(&self, what: &str, wanted: impl Fn(&Collected) -> Option<T>) -> T {
        let (collected, changed) = &*self.0;
        let waiting = |collected: &mut Collected| wanted(collected).is_none();
        let (collected, waited) = changed
            .wait_timeout_while(collected.lock().unwrap(), PATIENCE, waiting)
            .unwrap();
        assert!(!waited.timed_out(), "{what}: not so in time");
        wanted(&collected).unwrap()
    }

    fn span(&self, name: &str) -> Span {
        self.until(name, |collected| {
            let mut spans = collected.spans.iter();
            spans.find(|span| span.name == name).cloned()
        })
    }
}

/// The value of an attribute as a text; empty where there is none.
fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn message(record: &LogRecord) -> String {
    match &record.body.as_ref().unwrap().value {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

fn sending_to(collector: SocketAddr, dir: &Path) -> Command {
    let [.., high, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, 41, high, low).to_string();
    let mut command = serve(dir, 31_540);
    command.envs([
        ("APIARY_MEDIA_BIND", &*own),
        ("APIARY_INGEST_BIND", &own),
        ("APIARY_OTLP_ENDPOINT", &format!("http://{collector}")),
        ("APIARY_OTLP_AUTHORIZATION", AUTHORIZATION),
    ]);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_and_logs_reach_the_collector() {
    let (collector, address) = Collector::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(&mut sending_to(address, dir.path()));
    let mut log = Log::of(&mut running);
    let http = http_address(&log.until("ready"));
    let ready = collector.until("the record `ready`", |collected| {
        let mut logs = collected.logs.iter();
        logs.find(|record| message(record) == "ready").cloned()
    });
    assert_eq!(ready.severity_text, "INFO");
    assert!(attribute(&ready.attributes, "http").contains(&http));

    let stream = format!("/streams/{CAMERA}");
    assert_eq!(ask(&http, "GET", &stream).0, 404);
    assert_eq!(ask(&http, "POST", &format!("{stream}/start")).0, 201);
    running.signal("TERM");
    assert_eq!(running.end().code(), Some(0));
    // What was left was sent at the end.
    let asked = collector.span("GET /streams/{camera_id}");
    assert_eq!(
        asked.kind,
        opentelemetry_proto::tonic::trace::v1::span::SpanKind::Server as i32
    );
    assert_eq!(
        attribute(&asked.attributes, "http.response.status_code"),
        "404"
    );
    let asked = collector.span("POST /streams/{camera_id}/start");
    let started = collector.span("start stream");
    assert_eq!(started.parent_span_id, asked.span_id);
    assert_eq!(started.trace_id, asked.trace_id);
    assert_eq!(attribute(&started.attributes, "camera"), CAMERA);
    assert_eq!(
        collector.until("the service", |all| all.services.first().cloned()),
        "apiary"
    );
    // The log on standard error is as it is without.
    for record in log.rest() {
        let record = record.to_string();
        assert!(
            !record.contains("http.route") && !record.contains("canary"),
            "{record}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_takes_nothing_is_complained_about_once() {
    let (collector, address) = Collector::start().await;
    collector.refuse(true);
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(&mut sending_to(address, dir.path()));
    let mut log = Log::of(&mut running);
    let complaint = "the collector takes no traces and logs";
    let warning = log.until(complaint);
    assert_eq!(warning["level"], "WARN");
    let text = warning["message"].as_str().unwrap();
    assert!(text.contains("503"), "{text}");
    collector.until("more is refused", |all| (all.refused > 1).then_some(()));
    collector.refuse(false);
    log.until("the collector takes traces and logs again");
    running.signal("TERM");
    assert_eq!(running.end().code(), Some(0));
    let rest = log.rest();
    let again = rest
        .iter()
        .find(|record| record["message"].as_str().unwrap().starts_with(complaint));
    assert_eq!(again, None);
}

#[test]
fn nobody_waits_for_a_collector_that_is_not_there() {
    let closed = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(&mut sending_to(address, dir.path()));
    let mut log = Log::of(&mut running);
    let http = http_address(&log.until("ready"));
    log.until("the collector takes no traces and logs");
    assert_eq!(ask(&http, "GET", "/health").0, 200);
    running.signal("TERM");
    // With another code it would not have ended in time.
    assert_eq!(running.end().code(), Some(0));
}
