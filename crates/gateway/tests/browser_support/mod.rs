//! What the browser tests stand on: Chromium ([`chromium`]) and Firefox ([`firefox`]), one test at a time.

#![allow(dead_code)] // each test file uses its part

pub(crate) mod chromium;
pub(crate) mod firefox;

use std::any::Any;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt as _;

/// Whatever a test waits for must come within this time. Generous: the machine encodes, sends and decodes all of it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Where screenshots and other artefacts go.
pub(crate) fn screenshots() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    let folder = target.join("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Browser tests take turns, across processes too: each of them uses the machine fully.
pub(crate) fn take_turn() -> File {
    let file = File::create(screenshots().join(".turn")).unwrap();
    file.lock().unwrap();
    file
}

/// Runs a test and cleans up behind it whether or not it fails; a failure is shown after the cleaning.
pub(crate) async fn and_then_clean_up(
    test: impl Future<Output = ()>,
    clean_up: impl Future<Output = ()>,
) {
    let result: Result<(), Box<dyn Any + Send>> = AssertUnwindSafe(test).catch_unwind().await;
    clean_up.await;
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}
