//! What the doctor found, as pages are told.

use serde::Serialize;
use utoipa::ToSchema;

use crate::check::{Finding, Report, Severity};
use crate::reason::Cause;

/// Something that the doctor found.
#[derive(Serialize, ToSchema)]
pub(super) struct FindingEntry {
    /// `problem`, `note` or `good`.
    level: &'static str,
    /// What was looked at, often a key.
    subject: String,
    /// What was found, and what to do.
    text: String,
    /// The same for programs, and for pages of another language; `null` where there is the text alone.
    cause: Option<Cause>,
}

impl FindingEntry {
    /// All, the worst first.
    pub(super) fn all(report: &Report) -> Vec<Self> {
        Self::about(report, |_| true)
    }

    /// Some, the worst first.
    pub(super) fn about(report: &Report, wanted: impl Fn(&Finding) -> bool) -> Vec<Self> {
        let findings = report.findings.iter();
        let mut findings: Vec<_> = findings.filter(|finding| wanted(finding)).collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings.into_iter().map(Self::from).collect()
    }
}

impl From<&Finding> for FindingEntry {
    fn from(finding: &Finding) -> Self {
        Self {
            level: match finding.severity {
                Severity::Problem => "problem",
                Severity::Note => "note",
                Severity::Good => "good",
            },
            subject: finding.subject.clone(),
            text: finding.text.clone(),
            cause: finding.cause.clone(),
        }
    }
}
