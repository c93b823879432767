//! `apiary check`: a doctor. Looks at everything a start depends on, starts nothing, and says in plain words what is wrong
//! and how to mend it.
//!
//! Each examination adds findings to the [`Report`]; what a value may be belongs to `config`, not here.

mod accounts;
mod broker;
mod database;
mod kurento;
mod network;
mod ports;
mod storage;
mod tls;
mod webhooks;

use std::fmt;
use std::path::Path;

use crate::app;
use crate::config::{Config, Engine, Environment};
use crate::logging::printable;
use crate::reason::{Cause, Said};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth knowing; it starts all the same.
    Note,
    /// It will not work.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at.
    pub subject: String,
    /// What was found, and for anything but good, what to do.
    pub text: String,
    /// The same for pages of another language.
    pub cause: Option<Cause>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.severity {
            Severity::Good => "ok     ",
            Severity::Note => "note   ",
            Severity::Problem => "PROBLEM",
        };
        write!(
            f,
            "{mark} {}: {}",
            printable(&self.subject),
            printable(&self.text)
        )
    }
}

/// Everything that was found, in the order it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, severity: Severity, subject: impl Into<String>, said: impl Into<Said>) {
        let said = said.into();
        self.findings.push(Finding {
            severity,
            subject: subject.into(),
            text: said.text,
            cause: said.cause,
        });
    }

    fn good(&mut self, subject: impl Into<String>, said: impl Into<Said>) {
        self.add(Severity::Good, subject, said);
    }

    fn note(&mut self, subject: impl Into<String>, said: impl Into<Said>) {
        self.add(Severity::Note, subject, said);
    }

    fn problem(&mut self, subject: impl Into<String>, said: impl Into<Said>) {
        self.add(Severity::Problem, subject, said);
    }

    /// How many findings are problems.
    pub fn problems(&self) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == Severity::Problem)
            .count()
    }
}

/// Examines the configuration and what it points to.
pub async fn examine(file: Option<&Path>, environment: &Environment) -> Report {
    let mut report = Report::default();
    let source = file.map_or_else(
        || "defaults and environment".to_owned(),
        |file| file.display().to_string(),
    );
    match Config::load(file, environment) {
        Ok(config) => {
            report.good("configuration", format!("{source} has no errors"));
            for note in &config.notes {
                report.note(&note.subject, note.said());
            }
            examine_parts(&config, &mut report).await;
        }
        Err(errors) => {
            for error in &errors.0 {
                report.problem("configuration", error.to_string());
            }
            report.note(
                "the rest",
                "was not looked at: mend the configuration first",
            );
        }
    }
    report
}

/// Examines what the running program's settings point to; what it has itself is not complained about.
pub async fn examine_running(config: &Config) -> Report {
    let mut report = Report::default();
    for note in &config.notes {
        report.note(&note.subject, note.said());
    }
    examine_around(config, true, &mut report).await;
    report
}

async fn examine_parts(config: &Config, report: &mut Report) {
    let running = ports::is_running(config).await;
    if running {
        report.note(
            "apiary",
            "it is running here: ports that it may have taken itself are not complained about",
        );
    }
    examine_around(config, running, report).await;
}

/// `running`: the program runs, so that ports may be its own.
async fn examine_around(config: &Config, running: bool, report: &mut Report) {
    ports::tcp(config, running, report);
    match config.media.engine {
        Engine::Sfu => ports::udp(config, running, report),
        // The ports are the servers' then.
        Engine::Kurento => kurento::examine(config, report).await,
    }
    broker::examine(config, report).await;
    match &config.database.target {
        Some(target) => database::examine(target, report).await,
        None => {
            storage::examine(&config.data.dir, report);
            database::examine_file(&app::database(config), report).await;
        }
    }
    network::examine(config, report);
    accounts::examine(config, report).await;
    if let Some(webhooks) = &config.webhooks {
        if config.database.target.is_some() {
            storage::examine(&config.data.dir, report); // of the queues
        }
        webhooks::examine(webhooks, report).await;
    }
    tls::examine(config, report).await;
}
