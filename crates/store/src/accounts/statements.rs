//! The statements about accounts. They are the same for both databases but for how times are written and read, so they
//! stand here once.

/// Makes the functions for one kind of connection. `$time!` turns a parameter into a time, `$read!` a column into the
/// text that is kept by SQLite, `$text` makes a text fit for the database.
macro_rules! statements {
    ($module:ident, $connection:ty, $row:ty, $time:ident, $read:ident, $text:path) => {
        pub(crate) mod $module {
            use jiff::Timestamp;
            use sqlx::Connection as _;

            use crate::accounts::rows::{
                AccountTables, AccountWrite, ApiTokenRow, AuditRow, LoginRow, ShareRow, UserRow,
            };
            use crate::accounts::push::SubscriptionRow;
            use crate::columns;
            use crate::error::StoreError;

            type Done = Result<(), sqlx::Error>;

            fn failed(operation: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
                move |source| StoreError::Query { operation, source }
            }

            fn time(time: Timestamp) -> String {
                format!("{time:.6}")
            }

            fn optional(text: &Option<String>) -> Option<String> {
                text.as_deref().map(|text| $text(text).into())
            }

            pub(crate) async fn apply(
                connection: &mut $connection,
                writes: &[AccountWrite],
            ) -> Result<(), StoreError> {
                let mut transaction = connection
                    .begin()
                    .await
                    .map_err(failed("begin a transaction"))?;
                for write in writes {
                    one(&mut transaction, write)
                        .await
                        .map_err(failed("write an account"))?;
                }
                transaction
                    .commit()
                    .await
                    .map_err(failed("commit a transaction"))
            }

            async fn one(connection: &mut $connection, write: &AccountWrite) -> Done {
                match write {
                    AccountWrite::User(row) => user(connection, row).await,
                    AccountWrite::RemoveUser(user) => {
                        let sql = "DELETE FROM users WHERE user_id = $1";
                        remove(connection, sql, user.to_string()).await
                    }
                    AccountWrite::Login(row) => login(connection, row).await,
                    AccountWrite::RemoveLogin(login) => {
                        let sql = "DELETE FROM login_sessions WHERE login_id = $1";
                        remove(connection, sql, login.to_string()).await
                    }
                    AccountWrite::Token(row) => token(connection, row).await,
                    AccountWrite::RemoveToken(token) => {
                        let sql = "DELETE FROM api_tokens WHERE token_id = $1";
                        remove(connection, sql, token.to_string()).await
                    }
                    AccountWrite::Share(row) => share(connection, row).await,
                    AccountWrite::RemoveShare(share) => {
                        let sql = "DELETE FROM share_links WHERE share_id = $1";
                        remove(connection, sql, share.to_string()).await
                    }
                    AccountWrite::Subscription(row) => subscription(connection, row).await,
                    AccountWrite::RemoveSubscription(subscription) => {
                        let sql = "DELETE FROM push_subscriptions WHERE subscription_id = $1";
                        remove(connection, sql, subscription.to_string()).await
                    }
                    AccountWrite::Audit(row) => audit(connection, row).await,
                }
            }

            async fn remove(connection: &mut $connection, sql: &'static str, id: String) -> Done {
                sqlx::query(sql).bind(id).execute(connection).await.map(|_| ())
            }

            async fn user(connection: &mut $connection, row: &UserRow) -> Done {
                sqlx::query(concat!(
                    "INSERT INTO users (user_id, name, password_hash, external_subject, role, cameras, created_at, \
                     updated_at) VALUES ($1, $2, $3, $4, $5, $6, ", $time!("$7"), ", ", $time!("$8"), ") \
                     ON CONFLICT (user_id) DO UPDATE SET name = excluded.name, password_hash = excluded.password_hash, \
                     external_subject = excluded.external_subject, role = excluded.role, cameras = excluded.cameras, \
                     updated_at = excluded.updated_at",
                ))
                .bind(row.user.to_string())
                .bind($text(&row.name))
                .bind(&row.password_hash)
                .bind(optional(&row.external_subject))
                .bind(row.role.as_str())
                .bind(row.cameras.to_string())
                .bind(time(row.created_at))
                .bind(time(row.updated_at))
                .execute(connection)
                .await
                .map(|_| ())
            }

            async fn login(connection: &mut $connection, row: &LoginRow) -> Done {
                sqlx::query(concat!(
                    "INSERT INTO login_sessions (login_id, user_id, secret_hash, user_agent, ip_address, created_at, \
                     expires_at) VALUES ($1, $2, $3, $4, $5, ", $time!("$6"), ", ", $time!("$7"), ") \
                     ON CONFLICT (login_id) DO UPDATE SET secret_hash = excluded.secret_hash, \
                     expires_at = excluded.expires_at",
                ))
                .bind(row.login.to_string())
                .bind(row.user.to_string())
                .bind(row.secret.text())
                .bind(optional(&row.user_agent))
                .bind(optional(&row.ip_address))
                .bind(time(row.created_at))
                .bind(time(row.expires_at))
                .execute(connection)
                .await
                .map(|_| ())
            }

            async fn token(connection: &mut $connection, row: &ApiTokenRow) -> Done {
                sqlx::query(concat!(
                    "INSERT INTO api_tokens (token_id, user_id, name, secret_hash, role, cameras, created_at, \
                     expires_at) VALUES ($1, $2, $3, $4, $5, $6, ", $time!("$7"), ", ", $time!("$8"), ") \
                     ON CONFLICT (token_id) DO UPDATE SET name = excluded.name, role = excluded.role, \
                     cameras = excluded.cameras, expires_at = excluded.expires_at",
                ))
                .bind(row.token.to_string())
                .bind(row.user.to_string())
                .bind($text(&row.name))
                .bind(row.secret.text())
                .bind(row.role.as_str())
                .bind(row.cameras.to_string())
                .bind(time(row.created_at))
                .bind(row.expires_at.map(time))
                .execute(connection)
                .await
                .map(|_| ())
            }

            async fn share(connection: &mut $connection, row: &ShareRow) -> Done {
                sqlx::query(concat!(
                    "INSERT INTO share_links (share_id, user_id, camera_id, label, created_at, expires_at) \
                     VALUES ($1, $2, $3, $4, ", $time!("$5"), ", ", $time!("$6"), ") \
                     ON CONFLICT (share_id) DO UPDATE SET label = excluded.label, expires_at = excluded.expires_at",
                ))
                .bind(row.share.to_string())
                .bind(row.user.to_string())
                .bind(row.camera.to_string())
                .bind($text(&row.label))
                .bind(time(row.created_at))
                .bind(time(row.expires_at))
                .execute(connection)
                .await
                .map(|_| ())
            }

            async fn subscription(connection: &mut $connection, row: &SubscriptionRow) -> Done {
                sqlx::query(concat!(
                    "INSERT INTO push_subscriptions (subscription_id, user_id, login_id, endpoint, p256dh, auth, site, \
                     name, cameras, kinds, quiet, paused_at, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, ", $time!("$12"), ", ", $time!("$13"), ") \
                     ON CONFLICT (subscription_id) DO UPDATE SET login_id = excluded.login_id, \
                     endpoint = excluded.endpoint, p256dh = excluded.p256dh, auth = excluded.auth, \
                     site = excluded.site, name = excluded.name, cameras = excluded.cameras, kinds = excluded.kinds, \
                     quiet = excluded.quiet, paused_at = excluded.paused_at",
                ))
                .bind(row.subscription.to_string())
                .bind(row.user.map(|user| user.to_string()))
                .bind(row.login.map(|login| login.to_string()))
                .bind($text(&row.endpoint))
                .bind($text(&row.p256dh))
                .bind($text(&row.auth))
                .bind(optional(&row.site))
                .bind($text(&row.name))
                .bind(row.cameras.to_string())
                .bind(row.kinds.to_string())
                .bind(row.quiet.as_ref().map(|quiet| $text(&quiet.to_string()).to_string()))
                .bind(row.paused_at.map(time))
                .bind(time(row.created_at))
                .execute(connection)
                .await
                .map(|_| ())
            }

            /// One that is there already stays as it is.
            pub(crate) async fn audit(connection: &mut $connection, row: &AuditRow) -> Done {
                sqlx::query(concat!(
                    "INSERT INTO audit_log (audit_id, at, action, outcome, actor, subject, ip_address, detail) \
                     VALUES ($1, ", $time!("$2"), ", $3, $4, $5, $6, $7, $8) ON CONFLICT (audit_id) DO NOTHING",
                ))
                .bind(row.id.to_string())
                .bind(time(row.at))
                .bind($text(&row.action))
                .bind(row.outcome.as_str())
                .bind(optional(&row.actor))
                .bind(optional(&row.subject))
                .bind(optional(&row.ip_address))
                .bind(optional(&row.detail))
                .execute(connection)
                .await
                .map(|_| ())
            }

            pub(crate) async fn tables(
                connection: &mut $connection,
            ) -> Result<AccountTables, StoreError> {
                let users = concat!(
                    "SELECT user_id, name, password_hash, external_subject, role, cameras, ",
                    $read!("created_at"), ", ", $read!("updated_at"), " FROM users ORDER BY name",
                );
                let logins = concat!(
                    "SELECT login_id, user_id, secret_hash, user_agent, ip_address, ",
                    $read!("created_at"), ", ", $read!("expires_at"), " FROM login_sessions",
                );
                let tokens = concat!(
                    "SELECT token_id, user_id, name, secret_hash, role, cameras, ",
                    $read!("created_at"), ", ", $read!("expires_at"), " FROM api_tokens",
                );
                let shares = concat!(
                    "SELECT share_id, user_id, camera_id, label, ",
                    $read!("created_at"), ", ", $read!("expires_at"), " FROM share_links",
                );
                let subscriptions = concat!(
                    "SELECT subscription_id, user_id, login_id, endpoint, p256dh, auth, site, name, cameras, kinds, quiet, ",
                    $read!("paused_at"), ", ", $read!("created_at"), " FROM push_subscriptions",
                );
                Ok(AccountTables {
                    users: all(connection, users, columns::user).await?,
                    logins: all(connection, logins, columns::login).await?,
                    tokens: all(connection, tokens, columns::api_token).await?,
                    shares: all(connection, shares, columns::share).await?,
                    subscriptions: all(connection, subscriptions, columns::subscription).await?,
                })
            }

            async fn all<T>(
                connection: &mut $connection,
                sql: &'static str,
                row: impl Fn(&$row) -> Result<T, StoreError>,
            ) -> Result<Vec<T>, StoreError> {
                let rows = sqlx::query(sql)
                    .fetch_all(connection)
                    .await
                    .map_err(failed("read the accounts"))?;
                rows.iter().map(row).collect()
            }

            pub(crate) async fn audit_log(
                connection: &mut $connection,
                action: Option<&str>,
                before: Timestamp,
                limit: u32,
            ) -> Result<Vec<AuditRow>, StoreError> {
                let rows = sqlx::query(concat!(
                    "SELECT audit_id, ", $read!("at"), ", action, outcome, actor, subject, ip_address, detail \
                     FROM audit_log WHERE audit_log.at < ", $time!("$1"), " AND ($2 IS NULL OR action = $2) \
                     ORDER BY audit_log.at DESC, audit_id LIMIT $3",
                ))
                .bind(time(before))
                .bind(action.map(str::to_owned))
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await
                .map_err(failed("read the audit log"))?;
                rows.iter().map(columns::audit).collect()
            }

            pub(crate) async fn server_key(
                connection: &mut $connection,
                name: &'static str,
                proposed: &str,
            ) -> Result<String, StoreError> {
                sqlx::query(
                    "INSERT INTO server_keys (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                )
                .bind(name)
                .bind(proposed)
                .execute(&mut *connection)
                .await
                .map_err(failed("keep a key"))?;
                sqlx::query_scalar("SELECT value FROM server_keys WHERE name = $1")
                    .bind(name)
                    .fetch_one(connection)
                    .await
                    .map_err(failed("read a key"))
            }
        }
    };
}

/// SQLite keeps times as text.
macro_rules! same {
    ($text:literal) => {
        $text
    };
}

macro_rules! to_timestamptz {
    ($parameter:literal) => {
        concat!($parameter, "::text::timestamptz")
    };
}

macro_rules! from_timestamptz {
    ($column:literal) => {
        concat!(
            "to_char(",
            $column,
            " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS ",
            $column
        )
    };
}

fn as_it_is(text: &str) -> &str {
    text
}

statements!(
    sqlite,
    sqlx::SqliteConnection,
    sqlx::sqlite::SqliteRow,
    same,
    same,
    super::as_it_is
);
statements!(
    postgres,
    sqlx::PgConnection,
    sqlx::postgres::PgRow,
    to_timestamptz,
    from_timestamptz,
    crate::postgres::without_nul
);
