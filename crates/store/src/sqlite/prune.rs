//! The statement that deletes what is old.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::write::text;
use crate::error::StoreError;
use crate::retention::{Old, PRUNE_BATCH, Pruned, Retention, old};

pub(super) async fn prune(
    connection: &mut SqliteConnection,
    retention: &Retention,
    now: Timestamp,
) -> Result<Pruned, StoreError> {
    let failed = |source| StoreError::Query {
        operation: "delete old rows",
        source,
    };
    let mut pruned = Pruned::default();
    let mut transaction = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(failed)?;
    for old in old(retention, now) {
        let Old { table, column, .. } = old;
        // Names of tables cannot be bound; these are constants of ours.
        let sql = AssertSqlSafe(format!(
            "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {column} < ?1 LIMIT ?2)"
        ));
        let deleted = sqlx::query(sql)
            .bind(text(old.before))
            .bind(PRUNE_BATCH)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        pruned.add(deleted.rows_affected());
    }
    transaction.commit().await.map_err(failed)?;
    Ok(pruned)
}
