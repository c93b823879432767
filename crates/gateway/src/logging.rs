//! The log: set up once, from the configuration; its level can be changed later.
//!
//! One event is one record, whatever the names in it hold: control characters are escaped on the way out, so that no
//! camera, viewer or file name can forge a line or steer a terminal. What is logged belongs to where it happens.

use std::borrow::Cow;
use std::io::{self, Write};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry};

use crate::config::{LogConfig, LogFormat};
use crate::recent_log::Memory;
use crate::telemetry::{TRACE, Telemetry};

/// Crates whose own chatter helps only those who look into them: nothing below a warning, but for `trace`.
const QUIET: [&str; 8] = [
    "rumqttc",
    "rustls",
    "hyper",
    "hyper_util",
    "sqlx",
    "h2",
    "tungstenite",
    "tower_http",
];

/// Crates that warn of each thing a stranger does: nothing below an error. What matters of it is logged by us, once.
const SILENT: [&str; 2] = ["mqtt5", "mqtt5_protocol"];

/// What the exporter of records itself uses: what these say is no record to be exported, or one would follow another
/// without end.
const EXPORTER: [&str; 6] = [
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry_otlp",
    "hyper",
    "hyper_util",
    "rustls",
];

/// Sends the log to standard error from now on.
///
/// # Errors
/// When it was set up already.
pub fn init(config: &LogConfig) -> Result<LogLevel, TryInitError> {
    set_up(config, &[], None)
}

/// The same, with nothing below an error from these crates.
///
/// # Errors
/// When it was set up already.
pub fn init_without(config: &LogConfig, silent: &[&'static str]) -> Result<LogLevel, TryInitError> {
    set_up(config, silent, None)
}

/// The same as [`init`], and to a collector too, with traces.
///
/// # Errors
/// When it was set up already.
pub fn init_with(
    config: &LogConfig,
    telemetry: Option<&Telemetry>,
) -> Result<LogLevel, TryInitError> {
    set_up(config, &[], telemetry)
}

fn set_up(
    config: &LogConfig,
    silent: &[&'static str],
    telemetry: Option<&Telemetry>,
) -> Result<LogLevel, TryInitError> {
    let mut level = LogLevel {
        silent: silent.to_vec(),
        filters: Vec::new(),
    };
    let format = match config.format {
        LogFormat::Human => tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_target(false)
            .with_writer(Stderr)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(Stderr)
            .boxed(),
    };
    let kept = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_level(false)
        .without_time()
        .with_writer(Memory)
        .boxed();
    let mut layers = vec![
        level.filtered(config.level, &[], format),
        level.filtered(config.level, &[], kept),
    ];
    if let Some(telemetry) = telemetry {
        let logs = telemetry.log_layer().boxed();
        layers.push(level.filtered(config.level, &EXPORTER, logs));
        layers.push(telemetry.trace_layer());
    }
    tracing_subscriber::registry().with(layers).try_init()?;
    Ok(level)
}

fn filter(level: Level, silent: &[&'static str], without: &[&'static str]) -> Targets {
    let level = LevelFilter::from_level(level);
    // Whoever asks for everything gets it.
    let at_most = |most: LevelFilter| match level {
        LevelFilter::TRACE => level,
        _ => level.min(most),
    };
    Targets::new()
        .with_default(level)
        .with_targets(QUIET.map(|target| (target, at_most(LevelFilter::WARN))))
        .with_targets(SILENT.map(|target| (target, at_most(LevelFilter::ERROR))))
        .with_targets(silent.iter().map(|target| (*target, LevelFilter::ERROR)))
        .with_targets(without.iter().map(|target| (*target, LevelFilter::OFF)))
        .with_target(TRACE, LevelFilter::OFF)
}

/// A layer of the subscriber.
type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// A filter that can be changed, and the targets of which it lets nothing pass.
type Filter = (reload::Handle<Targets, Registry>, &'static [&'static str]);

/// Changes the level of the log that was set up. The default changes nothing.
#[derive(Clone, Debug, Default)]
pub struct LogLevel {
    silent: Vec<&'static str>,
    filters: Vec<Filter>,
}

impl LogLevel {
    /// Logs from now on what is at least so severe.
    pub fn set(&self, level: Level) {
        for (handle, without) in &self.filters {
            if let Err(error) = handle.reload(filter(level, &self.silent, without)) {
                tracing::error!(%error, "the level of the log cannot be changed");
            }
        }
    }

    /// The layer, with a filter that follows the level.
    fn filtered(
        &mut self,
        level: Level,
        without: &'static [&'static str],
        layer: BoxedLayer,
    ) -> BoxedLayer {
        let (filter, handle) = reload::Layer::new(filter(level, &self.silent, without));
        self.filters.push((handle, without));
        layer.with_filter(filter).boxed()
    }
}

/// A text with its control characters escaped, for logs, terminals and messages.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unprintable(c) {
            safe.extend(c.escape_unicode())
        } else {
            safe.push(c)
        }
    }
    Cow::Owned(safe)
}

/// Control characters, line and paragraph separators, and marks that reverse the direction of text.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes records to standard error, each as one line.
#[derive(Clone, Copy, Debug)]
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = OneLine<io::StderrLock<'static>>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(io::stderr().lock())
    }
}

/// Escapes every control character of what is written at once, but for the line break at its end.
#[derive(Debug)]
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// A record is written in one call; that is what makes it one line.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        let (text, end) = match text.strip_suffix('\n') {
            Some(text) => (text, "\n"),
            None => (&*text, ""),
        };
        self.0
            .write_all(format!("{}{end}", printable(text)).as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str =
        "cam\r\n2026-01-01 ERROR forged \u{1b}[31mred\u{1b}[0m\0\u{85}\u{2028}\u{202e}end";

    #[test]
    fn h35_one_event_is_one_record() {
        let captured = Captured::default();
        let writer = {
            let captured = captured.clone();
            move || OneLine(captured.clone())
        };
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(writer);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("stream", camera = HOSTILE);
            let _entered = span.enter();
            tracing::info!(name = HOSTILE, display = %HOSTILE, debug = ?HOSTILE, "message {HOSTILE}");
            tracing::info!("second");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(
            text.matches(is_unprintable).count(),
            2,
            "only the two line ends are left: {text:?}"
        );
        assert!(text.contains("forged"));
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        assert!(matches!(printable("Front door, äöü 📷"), Cow::Borrowed(_)));
        assert_eq!(printable("a\nb"), "a\\u{a}b");
    }
}
