//! Does the PostgreSQL server answer, and may we use the database?

use apiary_store::{PostgresStore, PostgresTarget};

use super::Report;
use crate::cli::with_causes;

const SUBJECT: &str = "database.url";

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
        Err(error) => report.problem(SUBJECT, with_causes(&error)),
    }
    if target.is_open_to_the_way() {
        report.note(
            SUBJECT,
            "the server is on another machine, and who is on the way to it could pose as it; sslmode=verify-full, with \
             sslrootcert where its certificate is of an authority of your own, prevents that",
        );
    }
}
