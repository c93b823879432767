//! `apiary user`: accounts from the console, for who cannot log in any more.
//!
//! Passwords are made here and shown once: one that is typed into a command stands in its history.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use apiary_store::{CameraScope, CameraScopeError, Role, StoreError, StoreWriter, UserRow};
use clap::{Args, Subcommand, ValueEnum};

use super::output::{complain, say, with_causes};
use super::{runtime, serve};
use crate::auth::{AccountError, Accounts, Actor, NewUser, Principal, UserChange, new_secret};
use crate::config::{Config, Environment};
use crate::secret::Secret;
use crate::{app, mqtt};

/// Time for the last entries of the audit log.
const WRITER_PATIENCE: Duration = Duration::from_secs(5);
/// Letters of a password that is made here; they have 6 bits each.
const PASSWORD_LENGTH: usize = 16;

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Options {
    #[command(subcommand)]
    task: Task,
    #[command(flatten)]
    settings: serve::Options,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show all users
    List,
    /// Make a user, and show the password
    Add {
        /// Name to log in with
        name: String,
        /// What the user may do
        #[arg(long, value_enum, default_value_t = RoleName::Viewer)]
        role: RoleName,
        /// The cameras that the user may see: ids, separated by commas [default: all]
        #[arg(
            long,
            value_name = "IDS",
            default_value = "*",
            hide_default_value = true
        )]
        cameras: String,
    },
    /// Give a user a new password, and show it; all logins of the user end
    Password {
        /// The user's name
        name: String,
    },
    /// Remove a user, with all logins, tokens and share links
    Remove {
        /// The user's name
        name: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    /// Watches
    Viewer,
    /// Starts, stops and commands cameras too
    Operator,
    /// Everything
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

/// Why it does not go on.
#[derive(Debug, thiserror::Error)]
enum UserError {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("{0:?} are no cameras")]
    Cameras(String, #[source] CameraScopeError),
    #[error("there is no user {0:?}; `apiary user list` shows those that there are")]
    NoSuch(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(super) fn run(options: Options) -> ExitCode {
    let environment = Environment::from_process();
    let file = options.settings.file(&environment);
    let config = match Config::load(file.as_deref(), &environment) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::FAILURE;
        }
    };
    mqtt::tls::install_crypto_provider();
    runtime::run(|stop| async move {
        match stop.run_until_cancelled(work(&config, options.task)).await {
            Some(Ok(())) => ExitCode::SUCCESS,
            Some(Err(error)) => {
                complain(with_causes(&error));
                ExitCode::FAILURE
            }
            None => {
                complain("stopped before it was done");
                ExitCode::FAILURE
            }
        }
    })
}

/// A program that runs keeps accounts in memory and would not notice, so the database must be free.
async fn work(config: &Config, task: Task) -> Result<(), UserError> {
    let (store, accounts) = app::open_store(config).await?;
    let (writer, writing) = StoreWriter::spawn(Arc::clone(&store));
    let opened = Accounts::open(accounts, writer, &config.auth).await;
    let done = match opened {
        Ok(accounts) => carry_out(&accounts, task).await,
        Err(error) => Err(error.into()),
    };
    writing.shutdown(WRITER_PATIENCE).await;
    store.close().await;
    done
}

async fn carry_out(accounts: &Accounts, task: Task) -> Result<(), UserError> {
    let console = Principal {
        name: "console".into(),
        ..Principal::anybody()
    };
    let actor = Actor {
        principal: &console,
        ip: None,
    };
    match task {
        Task::List => accounts.users().iter().for_each(show),
        Task::Add {
            name,
            role,
            cameras,
        } => {
            let password = new_password();
            let new = NewUser {
                name,
                password: password.clone(),
                role: role.into(),
                cameras: scope(&cameras)?,
            };
            let user = accounts.create_user(actor, new).await?;
            show_password(&user.name, &password);
        }
        Task::Password { name } => {
            let user = find(accounts, &name)?;
            let password = new_password();
            let change = UserChange {
                password: Some(password.clone()),
                ..UserChange::default()
            };
            accounts.change_user(actor, user.user, change).await?;
            show_password(&user.name, &password);
        }
        Task::Remove { name } => {
            let user = find(accounts, &name)?;
            accounts.remove_user(actor, user.user).await?;
            say(format_args!("{} is removed", user.name));
        }
    }
    Ok(())
}

fn find(accounts: &Accounts, name: &str) -> Result<UserRow, UserError> {
    let wanted = name.trim().to_lowercase();
    let mut users = accounts.users().into_iter();
    users
        .find(|user| user.name == wanted)
        .ok_or_else(|| UserError::NoSuch(name.to_owned()))
}

fn scope(cameras: &str) -> Result<CameraScope, UserError> {
    cameras
        .parse()
        .map_err(|source| UserError::Cameras(cameras.to_owned(), source))
}

fn new_password() -> Secret {
    let secret = new_secret("");
    Secret::new(secret.chars().take(PASSWORD_LENGTH).collect::<String>())
}

fn show(user: &UserRow) {
    let cameras = match &user.cameras {
        CameraScope::All => "all cameras".to_owned(),
        some @ CameraScope::Only(_) => some.to_string(),
    };
    say(format_args!("{}\t{}\t{cameras}", user.name, user.role));
}

fn show_password(name: &str, password: &Secret) {
    say(format_args!(
        "{name} logs in with the password {}\nIt is shown this once; the account page changes it.",
        password.expose()
    ));
}
