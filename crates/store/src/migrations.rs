//! Brings a schema up to date, whatever the database.

use std::ops::Deref;
use std::pin::Pin;

use sqlx::Acquire;
use sqlx::migrate::{Migrate, MigrateError, Migrator};

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
