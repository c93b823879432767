//! Can the data directory be written?

use std::io::Write;
use std::path::{Path, PathBuf};

use super::Report;
use crate::reason::{Code, Reason};

const SUBJECT: &str = "data.dir";

pub(super) fn examine(dir: &Path, report: &mut Report) {
    let shown = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let shown = shown.display();
    if dir.is_dir() {
        match write_probe(dir) {
            Ok(()) => report.good(SUBJECT, format!("{shown} can be written")),
            Err(error) => {
                let advice = "let the user that runs apiary write there, free some space, or choose another directory";
                let text = format!("{shown} cannot be written: {error}; {advice}");
                let reason = Reason::new(Code::DirectoryUnwritable, text);
                let reason = reason.with("directory", shown);
                report.problem(SUBJECT, reason.with("why", error));
            }
        }
        return;
    }
    let parent = nearest_existing(dir);
    match write_probe(&parent) {
        Ok(()) => report.good(
            SUBJECT,
            format!("{shown} does not exist yet and will be made"),
        ),
        Err(error) => {
            let advice = "make it and let the user that runs apiary write there, or choose another directory";
            let text = format!(
                "{shown} cannot be made in {}: {error}; {advice}",
                parent.display()
            );
            let reason = Reason::new(Code::DirectoryUnwritable, text);
            let reason = reason.with("directory", shown);
            report.problem(SUBJECT, reason.with("why", error));
        }
    }
}

/// Writes a file that is gone again when it is closed.
fn write_probe(dir: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(dir)?.write_all(b"apiary")
}

fn nearest_existing(dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let found = absolute.ancestors().find(|ancestor| ancestor.exists());
    found.map_or_else(|| PathBuf::from("/"), Path::to_owned)
}
