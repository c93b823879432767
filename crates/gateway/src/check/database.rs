//! Does the PostgreSQL server answer, and may we use the database? Can the file be used, and by whom?

use std::path::Path;

use apiary_store::{PostgresStore, PostgresTarget, SqliteStore};

use super::Report;
use crate::cli::with_causes;
use crate::reason::{Code, Reason};
use crate::tls::private_file;

const SUBJECT: &str = "database.url";
/// The file has no key of its own.
const FILE: &str = "database";

/// Looks at the file; one that is not there yet will be made.
pub(super) async fn examine_file(path: &Path, report: &mut Report) {
    if !path.exists() {
        return;
    }
    let shown = path.display();
    match SqliteStore::is_current(path).await {
        Ok(true) => report.good(FILE, format!("{shown} can be read")),
        Ok(false) => {
            let text = format!(
                "{shown} is of an older version, and the next start brings it up to date; that version cannot use it \
                 then, so make a backup first: apiary db backup FILE"
            );
            let reason = Reason::new(Code::DatabaseOlder, text);
            report.note(FILE, reason.with("file", &shown));
        }
        Err(error) => report.problem(FILE, unusable(&error)),
    }
    if let Err(open) = private_file::check(path) {
        let command = open.command();
        let text =
            format!("others can read {shown}, and hashes of passwords are in it; run: {command}");
        let reason = Reason::new(Code::DatabaseOpen, text).with("file", shown);
        report.note(FILE, reason.with("command", command));
    }
}

pub(super) async fn examine(target: &PostgresTarget, report: &mut Report) {
    match PostgresStore::examine(target).await {
        Ok(facts) => {
            let tables = match facts.schema {
                Some(_) => "has our tables",
                None => "is empty, and tables may be made",
            };
            report.good(
                SUBJECT,
                format!(
                    "{target} answers (PostgreSQL {}) and {tables}",
                    facts.version
                ),
            );
        }
        Err(error) => report.problem(SUBJECT, unusable(&error)),
    }
    if target.is_open_to_the_way() {
        let text = "the server is on another machine, and who is on the way to it could pose as it; sslmode=verify-full, with \
             sslrootcert where its certificate is of an authority of your own, prevents that";
        report.note(SUBJECT, Reason::new(Code::DatabaseUnverified, text));
    }
}

fn unusable(error: &(dyn std::error::Error + 'static)) -> Reason {
    let why = with_causes(error);
    Reason::new(Code::DatabaseUnusable, &why).with("why", why)
}
