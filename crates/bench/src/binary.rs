//! The server's program: built when this one is run by cargo, else looked for beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::BenchError;

/// Where it is. Under `cargo run` it is brought up to date first, as cargo builds only what it runs.
pub(crate) fn find(named: Option<&Path>) -> Result<PathBuf, BenchError> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => {
            let this = std::env::current_exe().map_err(BenchError::io("find this program"))?;
            if let Some(cargo) = std::env::var_os("CARGO") {
                build(&cargo, &this)?;
            }
            this.with_file_name("apiary")
        }
    };
    if path.is_file() {
        Ok(path)
    } else {
        Err(BenchError::NoServer { path })
    }
}

/// Builds into the directory and with the profile that this program was built with.
fn build(cargo: &std::ffi::OsStr, this: &Path) -> Result<(), BenchError> {
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "apiary"]);
    // What cargo says about this package would have build scripts of others run again.
    for (name, _) in std::env::vars_os() {
        let is_ours = |prefix: &&str| name.to_str().is_some_and(|name| name.starts_with(*prefix));
        if [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
        ]
        .iter()
        .any(is_ours)
        {
            command.env_remove(&name);
        }
    }
    let profile = this.parent();
    if profile.is_some_and(|directory| directory.ends_with("release")) {
        command.arg("--release");
    }
    if let Some(target) = profile.and_then(Path::parent) {
        command.arg("--target-dir").arg(target);
    }
    if let Some(workspace) = std::env::var_os("CARGO_MANIFEST_DIR") {
        command.current_dir(workspace);
    }
    let status = command
        .status()
        .map_err(BenchError::io("run cargo to build the server"))?;
    if status.success() {
        Ok(())
    } else {
        Err(BenchError::NotBuilt {
            status: status.to_string(),
        })
    }
}
