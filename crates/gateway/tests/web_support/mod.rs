//! What checks the pages comes from the npm registry, as `web/package-lock.json` names it: `node` and `npm` must be there.

#![allow(dead_code)] // each test file uses its part

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

/// Where `package.json` is, and `node_modules` once they are installed.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/web")
}

/// The folder with the packages in it. Processes that come at the same time wait for each other.
pub(crate) fn packages() -> PathBuf {
    let folder = folder();
    let lock =
        File::create(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("web-packages.lock")).unwrap();
    lock.lock().unwrap();
    // npm writes this one when it is done.
    let installed = folder.join("node_modules/.package-lock.json");
    let written = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    if written(&installed) < written(&folder.join("package-lock.json")) {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        said(npm.current_dir(&folder));
    }
    folder
}

/// The script of axe-core.
pub(crate) fn axe() -> String {
    std::fs::read_to_string(packages().join("node_modules/axe-core/axe.min.js")).unwrap()
}

/// What a command says; it must end well.
#[track_caller]
pub(crate) fn said(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{text}",
        output.status
    );
    text.into_owned()
}
