//! Traces and logs for a collector that speaks OTLP (OpenTelemetry) over HTTP. Nothing of it is there unless
//! `otlp.endpoint` names one.
//!
//! Nothing waits for the collector: what it does not take in time waits in bounded queues of the SDK, and what does not
//! fit there is dropped. What is traced are the spans with the target [`TRACE`]; no log shows these.

mod courier;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::task::spawn_blocking;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::{Layer, Registry};

use crate::config::OtlpConfig;
use crate::mqtt::tls::TlsFileError;
use courier::Errands;

/// Target of the spans that are traced. They are for nothing else.
pub const TRACE: &str = "apiary::trace";

/// How long the collector may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// For what was not sent yet when the program ends, traces and logs each.
const FLUSH_WITHIN: Duration = Duration::from_millis(500);

/// A layer of the subscriber.
type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The certificate authority cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// The SDK refuses something.
    #[error("otlp.endpoint: nothing can be sent there: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// What is sent on its way, until [`Telemetry::shutdown`].
pub struct Telemetry {
    traces: SdkTracerProvider,
    logs: SdkLoggerProvider,
    errands: Errands,
}

impl Telemetry {
    /// Sends to this collector, as soon as [`Telemetry::deliver`] runs.
    ///
    /// # Errors
    /// When it cannot be set up; whether the collector is there does not matter.
    pub fn new(config: &OtlpConfig) -> Result<Self, TelemetryError> {
        let (courier, errands) = courier::pair(config)?;
        let resource = Resource::builder_empty()
            .with_service_name("apiary")
            .with_attribute(opentelemetry::KeyValue::new(
                "service.version",
                env!("CARGO_PKG_VERSION"),
            ))
            .build();
        let traces = SpanExporter::builder()
            .with_http()
            .with_http_client(courier.clone())
            .with_endpoint(signal(config, "traces"))
            .with_timeout(ANSWER_WITHIN)
            .build()?;
        let logs = LogExporter::builder()
            .with_http()
            .with_http_client(courier)
            .with_endpoint(signal(config, "logs"))
            .with_timeout(ANSWER_WITHIN)
            .build()?;
        Ok(Self {
            traces: SdkTracerProvider::builder()
                .with_batch_exporter(traces)
                .with_resource(resource.clone())
                .build(),
            logs: SdkLoggerProvider::builder()
                .with_batch_exporter(logs)
                .with_resource(resource)
                .build(),
            errands,
        })
    }

    /// What takes note of spans.
    pub fn trace_layer(&self) -> BoxedLayer {
        let only_ours = Targets::new().with_target(TRACE, LevelFilter::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(self.traces.tracer("apiary"))
            .with_location(false)
            .with_threads(false)
            .with_filter(only_ours)
            .boxed()
    }

    /// What takes note of events; which ones is the log's to say.
    pub fn log_layer(
        &self,
    ) -> OpenTelemetryTracingBridge<SdkLoggerProvider, opentelemetry_sdk::logs::SdkLogger> {
        OpenTelemetryTracingBridge::new(&self.logs)
    }

    /// Carries to the collector what there is, without end. Runs apart from everything else.
    pub fn deliver(&self) -> impl Future<Output = ()> + Send + 'static {
        self.errands.clone().run()
    }

    /// Sends what is left, if the collector takes it at once, and ends.
    pub async fn shutdown(self) {
        // The SDK waits with the thread.
        let ended = spawn_blocking(move || {
            // What it could not send is lost, as it would be later.
            _ = self.traces.shutdown_with_timeout(FLUSH_WITHIN);
            _ = self.logs.shutdown_with_timeout(FLUSH_WITHIN);
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "the end of the telemetry failed");
        }
    }
}

fn signal(config: &OtlpConfig, name: &str) -> String {
    let endpoint = config.endpoint.as_str().trim_end_matches('/');
    format!("{endpoint}/v1/{name}")
}
