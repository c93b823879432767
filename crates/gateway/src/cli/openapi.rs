//! `apiary openapi`

use std::process::ExitCode;

use super::output::{complain, say};
use crate::http::openapi::document_of_routes;

pub(super) fn run() -> ExitCode {
    match document_of_routes().to_pretty_json() {
        Ok(document) => {
            say(document);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(format_args!("cannot write the OpenAPI document: {error}"));
            ExitCode::FAILURE
        }
    }
}
