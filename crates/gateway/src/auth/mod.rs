//! Who somebody is, and which cameras they may see.
//!
//! [`Accounts`] keeps users, logins, tokens and share links in memory, over the database that they live in, so that
//! everybody who is known stays known while the database is away. A [`Principal`] is somebody who asks, as found by what
//! they showed: a cookie, a token, a share link. Nothing of HTTP belongs here.

mod accounts;
mod credential;
mod directory;
mod jwks;
mod jwt;
mod key_server;
mod password;
mod principal;
mod public_keys;
mod throttle;

pub(crate) use accounts::scope;
pub use accounts::{
    AccountError, Accounts, Actor, ClientInfo, NewLogin, NewShare, NewSubscription, NewToken,
    NewUser, ProvidedUser, SubscriptionChange, UserChange,
};
pub use credential::{ShareKey, new_secret};
pub(crate) use jwks::Unverified;
pub use jwks::{JwksError, KeySet};
pub(crate) use key_server::try_once as try_key_server;
pub use key_server::{KeyServer, KeyServerError};
pub use principal::{Principal, SignedToken, Who};
pub use public_keys::{PublicKeys, PublicKeysError};
pub use throttle::{Attempt, Throttle};
