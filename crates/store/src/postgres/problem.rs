//! What PostgreSQL's errors mean for who runs the program, and for who writes to it.

use std::io::ErrorKind;

use sqlx::postgres::PgDatabaseError;

/// What is wrong with a database on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerProblem {
    /// Nobody answers there.
    #[error(
        "cannot be reached: check host and port in database.url, that PostgreSQL runs there, and that it listens to this machine"
    )]
    Unreachable,
    /// It takes the connection, or has it, and says nothing.
    #[error(
        "does not answer in time: check that what listens there is PostgreSQL, and that it is not overloaded"
    )]
    Silent,
    /// No TLS, or not the certificate that was asked for.
    #[error(
        "cannot be reached over TLS as database.url asks for it: check the server's certificate, sslrootcert and sslmode"
    )]
    Tls,
    /// User or password are wrong.
    #[error("refuses the user or the password: correct them in database.url")]
    Login,
    /// `pg_hba.conf` has no line for us.
    #[error(
        "lets nobody in from here as that user: check the user in database.url, and add a line for it to the server's pg_hba.conf"
    )]
    NotAllowed,
    /// The server is there, the database is not.
    #[error(
        "does not exist on that server: create it (CREATE DATABASE … OWNER …), or correct the name in database.url"
    )]
    NoDatabase,
    /// Tables cannot be made.
    #[error(
        "does not let that user make tables: make it the owner of the database, or GRANT CREATE ON SCHEMA public to it"
    )]
    NoPrivilege,
    /// A standby, or set so.
    #[error("can only be read: name the primary server in database.url, not a standby")]
    ReadOnly,
    /// It is starting, or going down.
    #[error("is starting or shutting down: try again in a moment")]
    NotReady,
    /// No more connections are taken.
    #[error(
        "has no connection left for us: raise max_connections on the server, or lower database.pool_size"
    )]
    TooManyConnections,
    /// No room is left.
    #[error("cannot be written, the server's disk is full: free some space there")]
    DiskFull,
    /// The schema inside is not one that this program made.
    #[error(
        "has tables that this program did not make: give it an empty database, or restore a backup"
    )]
    ForeignSchema,
    /// Something else.
    #[error("cannot be used")]
    Other,
}

/// The SQLSTATE, if PostgreSQL gave one (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
pub(crate) fn sqlstate(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?;
    Some(error.try_downcast_ref::<PgDatabaseError>()?.code())
}

impl ServerProblem {
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match sqlstate(error) {
            Some("28P01") => Self::Login,
            Some("28000") => Self::NotAllowed,
            Some("3D000") => Self::NoDatabase,
            // No schema of the search path can be used.
            Some("42501" | "3F000") => Self::NoPrivilege,
            Some("25006") => Self::ReadOnly,
            Some("57P01" | "57P02" | "57P03") => Self::NotReady,
            Some("53300") => Self::TooManyConnections,
            Some("53100") => Self::DiskFull,
            Some("57014") => Self::Silent,
            Some(_) => Self::Other,
            None => Self::of_the_way(error),
        }
    }

    /// Of an error that the server did not send.
    fn of_the_way(error: &sqlx::Error) -> Self {
        if let sqlx::Error::Io(error) = error {
            return if error.kind() == ErrorKind::TimedOut {
                Self::Silent
            } else if error.kind() == ErrorKind::InvalidData {
                // What rustls makes of a certificate that it does not take.
                Self::Tls
            } else {
                Self::Unreachable
            };
        }
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Self::Silent;
        }
        if matches!(error, sqlx::Error::Tls(_)) {
            return Self::Tls;
        }
        Self::Other
    }
}

/// Whether the same statement may succeed later, for an error that PostgreSQL gave: the connection (08), the login (28: the
/// password is being changed), a conflict with another transaction (40), room (53), an operator (57, a timeout among
/// them) or the system (58) is to blame, and not what was written.
pub(crate) fn is_passing(sqlstate: &str) -> bool {
    ["08", "28", "40", "53", "57", "58"]
        .iter()
        .any(|class| sqlstate.starts_with(class))
        // No such database (it is being restored), a standby, a lock that was not to be had.
        || matches!(sqlstate, "3D000" | "25006" | "55P03")
}
