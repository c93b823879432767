//! Brings a schema up to date, whatever the database.

use std::cmp::Ordering;
use std::ops::Deref;
use std::pin::Pin;

use sqlx::Acquire;
use sqlx::migrate::{Migrate, MigrateError, Migrator};

use crate::error::{Place, StoreError};

type Running<'a> = Pin<Box<dyn Future<Output = Result<(), MigrateError>> + Send + 'a>>;

/// Applies what is missing. Boxed: the compiler cannot see that SQLx's future may be sent between threads once it is part
/// of a larger one.
pub(crate) fn run<'a, A>(migrations: &'a Migrator, database: A) -> Running<'a>
where
    A: Acquire<'a> + Send + 'a,
    <A::Connection as Deref>::Target: Migrate,
{
    Box::pin(migrations.run(database))
}

/// The version of the schema that the program makes.
pub(crate) fn latest(migrations: &Migrator) -> i64 {
    let versions = migrations.iter().map(|migration| migration.version);
    versions.max().unwrap_or_default()
}

/// Refuses a schema that is not the one that the program makes.
pub(crate) fn must_be_latest(
    migrations: &Migrator,
    found: i64,
    place: impl FnOnce() -> Place,
) -> Result<(), StoreError> {
    let known = latest(migrations);
    match found.cmp(&known) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(StoreError::Older { place: place() }),
        Ordering::Greater => Err(StoreError::Newer {
            place: place(),
            found,
            known,
        }),
    }
}
