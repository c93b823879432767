//! Copies of the file: made while a program writes to it, and put back in its place.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tempfile::NamedTempFile;

use super::look::{existing, not_newer, open, version};
use super::{LOCK, MODE, SqliteStore, beside, file_error, lock};
use crate::copy::{CopyError, failed};
use crate::error::{FileProblem, StoreError};

/// What SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
/// The first version of the schema with accounts.
const WITH_LOGINS: i64 = 2;

impl SqliteStore {
    /// Writes a copy of the database at `path` to the file `copy`, as it is at this moment; works while a program has it.
    /// The file is there whole or not at all, and only its owner may read it.
    ///
    /// # Errors
    /// [`CopyError`]; each text says what to do.
    pub async fn back_up(path: &Path, copy: &Path, overwrite: bool) -> Result<(), CopyError> {
        let mut database = existing(path).await?;
        version(&mut database, path).await?;
        if is_of(path, copy) {
            return Err(CopyError::Itself(copy.to_owned()));
        }
        if copy.exists() && !overwrite {
            return Err(CopyError::Exists(copy.to_owned()));
        }
        let whole = copied(&mut database, path, directory_of(copy)).await?;
        settle(whole, copy, overwrite)
    }

    /// Puts a copy in the place of the database at `path`, which is kept beside it; returns where. Refused while a program
    /// has the database, and for a copy that is damaged, foreign or of a newer version. Nobody is logged in there.
    ///
    /// # Errors
    /// [`CopyError`]; each text says what to do.
    pub async fn restore(
        path: &Path,
        copy: &Path,
        now: Timestamp,
    ) -> Result<Option<PathBuf>, CopyError> {
        if !copy.exists() {
            return Err(CopyError::NoBackup(copy.to_owned()));
        }
        let _lock = lock(path)?;
        if is_of(path, copy) {
            return Err(CopyError::Itself(copy.to_owned()));
        }
        let mut source = open(copy, true).await?;
        let found = examine(&mut source, copy).await?;
        let whole = copied(&mut source, copy, directory_of(path)).await?;
        if found >= WITH_LOGINS {
            end_logins(whole.path()).await?;
        }
        give_to_owner_of(path, [whole.path(), &beside(path, LOCK)])?;
        let kept = if path.exists() {
            fold_log_into(path).await;
            Some(keep_beside(path, now)?)
        } else {
            None
        };
        // A log of the old database would be applied to the new one.
        for suffix in BESIDE {
            remove(&beside(path, suffix))?;
        }
        settle(whole, path, true)?;
        Ok(kept)
    }
}

/// Looks whether a copy can be used; tells its version.
async fn examine(connection: &mut SqliteConnection, path: &Path) -> Result<i64, CopyError> {
    let version = version(connection, path).await?;
    not_newer(path, version)?;
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(connection)
        .await
        .map_err(|source| file_error(path, FileProblem::of(&source), source))?;
    if found == "ok" {
        Ok(version)
    } else {
        Err(CopyError::Damaged {
            path: path.to_owned(),
            found: found.lines().last().unwrap_or_default().to_owned(),
        })
    }
}

/// A copy of a database in a nameless file of that directory, which only we may read.
async fn copied(
    database: &mut SqliteConnection,
    path: &Path,
    directory: &Path,
) -> Result<NamedTempFile, CopyError> {
    let whole = NamedTempFile::new_in(directory).map_err(failed("write into", directory))?;
    let name = whole.path().to_str();
    let name = name.ok_or_else(|| CopyError::Name(directory.to_owned()))?;
    // Into an empty file only; it reads what a running program has committed, and holds nobody up.
    let copied = sqlx::query("VACUUM INTO ?1").bind(name).execute(database);
    match copied.await {
        Ok(_) => Ok(whole),
        Err(source) if FileProblem::of(&source) == FileProblem::Damaged => {
            Err(CopyError::Damaged {
                path: path.to_owned(),
                found: source.to_string(),
            })
        }
        Err(source) => Err(StoreError::Query {
            operation: "be copied",
            source,
        }
        .into()),
    }
}

/// Who was logged out since the copy was made stays logged out.
async fn end_logins(path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Query {
        operation: "end the logins of the backup",
        source,
    };
    let mut connection = open(path, false).await?;
    sqlx::query("DELETE FROM login_sessions")
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    connection.close().await.map_err(failed)
}

/// Whether a file is one of those of the database.
fn is_of(path: &Path, file: &Path) -> bool {
    let Ok(file) = fs::metadata(file) else {
        return false;
    };
    let own = BESIDE.into_iter().chain(["", LOCK]);
    own.filter_map(|suffix| fs::metadata(beside(path, suffix)).ok())
        .any(|own| (own.dev(), own.ino()) == (file.dev(), file.ino()))
}

/// Where a file is whole on the disk, it gets its name.
fn settle(whole: NamedTempFile, path: &Path, overwrite: bool) -> Result<(), CopyError> {
    let file = whole.as_file();
    file.set_permissions(fs::Permissions::from_mode(MODE))
        .and_then(|()| file.sync_all())
        .map_err(failed("write", path))?;
    let named = if overwrite {
        whole.persist(path)
    } else {
        whole.persist_noclobber(path)
    };
    named.map_err(|error| failed("write", path)(error.error))?;
    let directory = directory_of(path);
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("write into", directory))
}

/// Who restores may be root, and who runs the service somebody else: what they need must be theirs.
fn give_to_owner_of(path: &Path, ours: [&Path; 2]) -> Result<(), CopyError> {
    let owner = fs::metadata(path).or_else(|_| fs::metadata(directory_of(path)));
    let owner = owner.map_err(failed("look at", path))?;
    let owner = (owner.uid(), owner.gid());
    for file in ours {
        let now = fs::metadata(file).map_err(failed("look at", file))?;
        if (now.uid(), now.gid()) != owner {
            chown(file, Some(owner.0), Some(owner.1))
                .map_err(failed("give to the owner of the database", file))?;
        }
    }
    Ok(())
}

/// Brings what is only in the log into the file; a database that is too damaged for that keeps its log.
async fn fold_log_into(path: &Path) {
    if let Ok(mut connection) = open(path, false).await {
        let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut connection)
            .await;
        let _ = connection.close().await;
    }
}

/// Gives the old database a second name, and its log, where it still has one, a name that belongs to that.
fn keep_beside(path: &Path, now: Timestamp) -> Result<PathBuf, CopyError> {
    let stamp = now.strftime("%Y%m%dT%H%M%S%.6fZ");
    let kept = beside(path, &format!(".before-{stamp}"));
    for suffix in ["", "-wal"] {
        let (from, to) = (beside(path, suffix), beside(&kept, suffix));
        if !from.exists() {
            continue;
        }
        // Not all file systems have second names.
        fs::hard_link(&from, &to)
            .or_else(|_| File::create_new(&to).and_then(|_| fs::copy(&from, &to).map(|_| ())))
            .map_err(failed("keep the old database as", &to))?;
    }
    Ok(kept)
}

fn remove(path: &Path) -> Result<(), CopyError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        Some(_) | None => Path::new("."),
    }
}
