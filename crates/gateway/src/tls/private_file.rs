//! Files that only their owner may read: private keys.

use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Mode of a private key.
pub const MODE_PRIVATE: u32 = 0o600;
/// Mode of a certificate.
pub const MODE_PUBLIC: u32 = 0o644;
/// Bits by which others than the owner get at a file.
const OTHERS: u32 = 0o077;
/// What a group may have of a file that belongs to root.
const GROUP_READ: u32 = 0o040;

/// Why a file is not private.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("others can read this private key (mode {mode:03o})")]
pub struct OpenToOthers {
    mode: u32,
    path: PathBuf,
}

impl OpenToOthers {
    /// The command that mends it.
    pub fn command(&self) -> String {
        format!("chmod 600 {}", quoted(&self.path))
    }
}

/// Finds out whether anyone but its owner can read a private key. One that belongs to root may be readable for a group: a
/// service that runs as another user could not read it otherwise. A file that is not there is no secret.
///
/// # Errors
/// When others can.
pub fn check(path: &Path) -> Result<(), OpenToOthers> {
    let Ok(metadata) = std::fs::metadata(path) else {
        return Ok(());
    };
    let mode = metadata.mode() & 0o777;
    let allowed = if metadata.uid() == 0 { GROUP_READ } else { 0 };
    if mode & OTHERS & !allowed == 0 {
        return Ok(());
    }
    Err(OpenToOthers {
        mode,
        path: path.to_owned(),
    })
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Writes a file with that mode; whoever reads meanwhile sees the old one or the new one, whole. A directory that is missing
/// is made for its owner only.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    make_directory(dir)?;
    // Made with mode 0600, in the same directory, so that renaming is one step.
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file()
        .set_permissions(PermissionsExt::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn make_directory(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if dir.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_others_can_read_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a key");
        write(&path, "secret", MODE_PRIVATE).unwrap();
        assert_eq!(check(&path), Ok(()));
        for mode in [0o640, 0o604, 0o660, 0o644, 0o620] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let of_root = std::fs::metadata(&path).unwrap().uid() == 0;
            if mode == 0o640 && of_root {
                assert_eq!(check(&path), Ok(()));
                continue;
            }
            let open = check(&path).unwrap_err();
            assert!(open.to_string().contains(&format!("{mode:o}")), "{open}");
            let command = format!("chmod 600 '{}'", path.display());
            assert_eq!(open.command(), command);
        }
    }
}
