//! Which database on which server: the URL `postgres://user:password@host:port/name?sslmode=…`.
//!
//! Of libpq's variables, SQLx takes `PGSSLROOTCERT`, `PGSSLCERT`, `PGSSLKEY` and `PGOPTIONS` where the URL says nothing; all
//! others are overruled.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// PostgreSQL's port.
const DEFAULT_PORT: u16 = 5432;
/// Longest name of a database or user; PostgreSQL would cut a longer one off (`NAMEDATALEN`).
const LONGEST_NAME: usize = 63;

/// A database on a PostgreSQL server. Prints without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresTarget {
    place: Place,
    user: String,
    password: Option<String>,
    name: String,
    ssl: Ssl,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Tcp {
        host: String,
        port: u16,
    },
    /// The directory of a Unix socket; the port is part of the socket's name.
    Socket {
        directory: PathBuf,
        port: u16,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ssl {
    mode: SslMode,
    root_certificate: Option<PathBuf>,
}

/// `sslmode`, as everywhere with PostgreSQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SslMode {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Why a text is no URL of a database, and what to write instead. Never holds the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct TargetError {
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

const FORM: &str = "write postgres://USER:PASSWORD@HOST:PORT/NAME";

fn refuse<T>(problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, TargetError> {
    Err(TargetError {
        problem: problem.into(),
        remedy: remedy.into(),
    })
}

impl PostgresTarget {
    /// Reads a URL. A Unix socket is named by its directory: `postgres://user@/name?host=/run/postgresql`.
    ///
    /// # Errors
    /// [`TargetError`]
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse("it is no URL of a database", FORM);
        };
        if !matches!(scheme, "postgres" | "postgresql") {
            return refuse("it does not begin with postgres://", FORM);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !authority.contains('@') && path.contains('@') {
            return refuse(
                "a / stands before its @",
                format!("{FORM}, and / in the password as %2F, % as %25, : as %3A"),
            );
        }
        let (login, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(decoded("password", password)?)),
            None => (login, None),
        };
        let (host, port) = host_and_port(address)?;
        let parameters = Parameters::read(query)?;
        let place = match (host, parameters.socket) {
            (Some(_), Some(_)) => {
                return refuse("it names two hosts", "leave one of them out");
            }
            (None, Some(directory)) => Place::Socket { directory, port },
            (Some(host), None) => Place::Tcp { host, port },
            (None, None) => return refuse("it names no host", FORM),
        };
        Ok(Self {
            place,
            user: name("user", user)?,
            password,
            name: name("database", path)?,
            ssl: parameters.ssl,
        })
    }

    /// The file with the authority that must have signed the server's certificate (`sslrootcert`).
    #[must_use]
    pub fn root_certificate(&self) -> Option<&Path> {
        self.ssl.root_certificate.as_deref()
    }

    /// Whether somebody between here and the server could read along or pose as it: it is on another machine, and
    /// `sslmode` does not ask for a certificate of its name.
    #[must_use]
    pub fn is_open_to_the_way(&self) -> bool {
        let is_local = match &self.place {
            Place::Socket { .. } => true,
            Place::Tcp { host, .. } => {
                host == "localhost"
                    || host
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|address| address.is_loopback())
            }
        };
        !is_local && self.ssl.mode != SslMode::VerifyFull
    }

    pub(super) fn options(&self) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass()
            .username(&self.user)
            .password(self.password.as_deref().unwrap_or_default())
            .database(&self.name)
            .application_name("apiary")
            .ssl_mode(match self.ssl.mode {
                SslMode::Disable => PgSslMode::Disable,
                SslMode::Prefer => PgSslMode::Prefer,
                SslMode::Require => PgSslMode::Require,
                SslMode::VerifyCa => PgSslMode::VerifyCa,
                SslMode::VerifyFull => PgSslMode::VerifyFull,
            });
        let options = match &self.place {
            Place::Tcp { host, port } => options.host(host).port(*port),
            Place::Socket { directory, port } => options.socket(directory).port(*port),
        };
        match &self.ssl.root_certificate {
            Some(path) => options.ssl_root_cert(path),
            None => options,
        }
    }
}

/// What stands behind the `?`.
#[derive(Default)]
struct Parameters {
    socket: Option<PathBuf>,
    ssl: Ssl,
}

impl Parameters {
    fn read(query: &str) -> Result<Self, TargetError> {
        let mut parameters = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded("parameter", value)?;
            match key {
                "sslmode" => parameters.ssl.mode = ssl_mode(&value)?,
                "sslrootcert" => {
                    parameters.ssl.root_certificate = Some(PathBuf::from(value));
                }
                "host" if value.starts_with('/') => {
                    parameters.socket = Some(PathBuf::from(value));
                }
                "host" => {
                    return refuse(
                        "its parameter host is no directory of a Unix socket",
                        "name a host before the slash, or a directory like /run/postgresql",
                    );
                }
                // Not named: it may be the rest of a password with a ? in it.
                _ => {
                    return refuse(
                        "one of its parameters is not known",
                        "sslmode, sslrootcert and host (the directory of a Unix socket) are",
                    );
                }
            }
        }
        Ok(parameters)
    }
}

fn ssl_mode(text: &str) -> Result<SslMode, TargetError> {
    Ok(match text {
        "disable" => SslMode::Disable,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            return refuse(
                "its sslmode is not known",
                "take disable, prefer, require, verify-ca or verify-full",
            );
        }
    })
}

/// `HOST:PORT`, either of which may be missing; an IPv6 address stands in brackets.
fn host_and_port(address: &str) -> Result<(Option<String>, u16), TargetError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => (host, port),
            Some(_) | None => {
                return refuse("what its brackets hold is no IPv6 address", FORM);
            }
        },
        None => address.split_at(address.find(':').unwrap_or(address.len())),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if !host.chars().all(is_host) {
        return refuse("its host is no name and no address", FORM);
    }
    let port = match port.strip_prefix(':').map(str::parse) {
        None if port.is_empty() => DEFAULT_PORT,
        Some(Ok(port)) if port > 0 => port,
        None | Some(_) => {
            return refuse(
                "its port is no number from 1 to 65535",
                format!("{FORM}, and : / ? # @ % in the password as %3A %2F %3F %23 %40 %25"),
            );
        }
    };
    Ok(((!host.is_empty()).then(|| host.to_owned()), port))
}

fn name(what: &str, encoded: &str) -> Result<String, TargetError> {
    let name = decoded(what, encoded)?;
    if name.is_empty() {
        return refuse(format!("it names no {what}"), FORM);
    }
    if name.len() > LONGEST_NAME {
        return refuse(
            format!("the name of its {what} is too long"),
            format!("PostgreSQL takes at most {LONGEST_NAME} bytes"),
        );
    }
    Ok(name)
}

fn decoded(what: &str, encoded: &str) -> Result<String, TargetError> {
    match percent_decode_str(encoded).decode_utf8() {
        Ok(text) if !text.contains('\0') => Ok(text.into_owned()),
        Ok(_) | Err(_) => refuse(
            format!("its {what} is no text"),
            "write what is not plain as % and two hexadecimal digits of UTF-8",
        ),
    }
}

impl fmt::Display for PostgresTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, name, .. } = self;
        match &self.place {
            Place::Tcp { host, port } if host.contains(':') => {
                write!(f, "postgres://{user}@[{host}]:{port}/{name}")
            }
            Place::Tcp { host, port } => write!(f, "postgres://{user}@{host}:{port}/{name}"),
            Place::Socket { directory, port } => {
                write!(
                    f,
                    "postgres://{user}@:{port}/{name}?host={}",
                    directory.display()
                )
            }
        }
    }
}

impl fmt::Debug for PostgresTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let error = PostgresTarget::parse(text).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        error
    }

    #[test]
    fn a_url_is_read_and_printed_without_its_password() {
        for (url, printed) in [
            (
                "postgres://bee:hunter2@db.example:6432/hive?sslmode=require",
                "postgres://bee@db.example:6432/hive",
            ),
            (
                "postgresql://bee@localhost/hive",
                "postgres://bee@localhost:5432/hive",
            ),
            (
                "postgres://bee:hunter2@[::1]:1/hive",
                "postgres://bee@[::1]:1/hive",
            ),
            (
                "postgres://bee:hunter2@/hive?host=/run/postgresql",
                "postgres://bee@:5432/hive?host=/run/postgresql",
            ),
        ] {
            let target = PostgresTarget::parse(url).unwrap();
            assert_eq!(target.to_string(), printed);
            assert_eq!(format!("{target:?}"), printed);
        }
        let odd = PostgresTarget::parse("postgres://b%40e:p%3A%2F%25@h/h%C3%AFve").unwrap();
        assert_eq!((odd.user.as_str(), odd.name.as_str()), ("b@e", "hïve"));
        assert_eq!(odd.password.as_deref(), Some("p:/%"));
    }

    #[test]
    fn what_is_no_such_url_is_refused_with_a_remedy() {
        let long = format!("postgres://bee:hunter2@h/{}", "x".repeat(64));
        for (url, word) in [
            ("bee:hunter2@h/hive", "no URL"),
            ("mysql://bee:hunter2@h/hive", "postgres://"),
            ("postgres://bee:hunter2/x@h/hive", "a / stands before"),
            ("postgres://bee:hunter2@h:x/hive", "its port"),
            ("postgres://bee:hunter2@h:0/hive", "its port"),
            ("postgres://bee:hunter2?x@h/hive", "its port"),
            ("postgres://bee:hunter2@[::g]/hive", "IPv6"),
            ("postgres://bee:hunter2@h$/hive", "its host"),
            ("postgres://bee:hunter2@/hive", "names no host"),
            ("postgres://h/hive", "names no user"),
            ("postgres://bee:hunter2@h", "names no database"),
            ("postgres://bee:hunter2@h/hive?sslmode=yes", "verify-full"),
            (
                "postgres://bee:hunter2@h/hive?password=hunter2",
                "parameters is not known",
            ),
            ("postgres://bee:hunter2@h/hive?host=other", "Unix socket"),
            ("postgres://bee:hunter2@h/hive?host=/run", "two hosts"),
            ("postgres://bee:%FFhunter2@h/hive", "password is no text"),
            (long.as_str(), "63 bytes"),
        ] {
            let text = refusal(url);
            assert!(text.contains(word), "{url}: {text}");
        }
    }

    #[test]
    fn only_a_verified_way_to_another_machine_is_closed() {
        let open = |url| PostgresTarget::parse(url).unwrap().is_open_to_the_way();
        assert!(open("postgres://bee@db.example/hive"));
        assert!(open("postgres://bee@192.0.2.1/hive?sslmode=verify-ca"));
        assert!(!open("postgres://bee@db.example/hive?sslmode=verify-full"));
        assert!(!open("postgres://bee@127.0.0.1/hive"));
        assert!(!open("postgres://bee@/hive?host=/run/postgresql"));
    }
}
