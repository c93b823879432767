//! Passwords: which are taken, how they are kept, and how they are checked without letting anybody keep all cores busy.

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::accounts::AccountError;
use super::credential::random;
use crate::reason::{Code, Reason};

/// Shortest password, in characters (NIST SP 800-63B §3.1.1.2 asks for eight at least).
const MIN_LENGTH: usize = 8;
/// Longest, in octets: enough for any sentence.
const MAX_LENGTH: usize = 512;
/// Memory of one hash in KiB, rounds and lanes: OWASP's first choice for argon2id.
const PARAMS: (u32, u32, u32) = (19_456, 2, 1);
/// Random octets of a salt (RFC 9106 §4).
const SALT_OCTETS: usize = 16;
/// Hashes at once; others wait. Each takes a core for some ten milliseconds.
const AT_ONCE: usize = 2;
/// How many may wait for that.
const WAITING: usize = 32;

/// Makes and checks hashes, a few at a time.
pub(super) struct Passwords {
    turns: Semaphore,
    room: Semaphore,
    /// Checked in place of the hash of somebody who does not exist, so that it takes as long.
    nobody: String,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            turns: Semaphore::new(AT_ONCE),
            room: Semaphore::new(AT_ONCE + WAITING),
            nobody: hash_now("nobody has this password").unwrap_or_default(),
        }
    }

    /// The hash to keep.
    pub(super) async fn hash(&self, password: &str) -> Result<String, AccountError> {
        check(password)?;
        let password = password.to_owned();
        self.in_turn(move || hash_now(&password))
            .await?
            .ok_or(AccountError::Internal("a password could not be hashed"))
    }

    /// Whether the password is the one of this hash; without a hash it never is, and takes as long.
    pub(super) async fn verify(
        &self,
        password: &str,
        kept: Option<&str>,
    ) -> Result<bool, AccountError> {
        let exists = kept.is_some();
        let kept = kept.unwrap_or(&self.nobody).to_owned();
        let password: String = password.chars().take(MAX_LENGTH).collect();
        let matches = self.in_turn(move || verify_now(&password, &kept)).await?;
        Ok(matches && exists)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AccountError> {
        let _room = self.room.try_acquire().map_err(|_| AccountError::Busy)?;
        let _turn = self.turns.acquire().await.map_err(|_| AccountError::Busy)?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| AccountError::Internal("a password could not be checked"))
    }
}

fn check(password: &str) -> Result<(), AccountError> {
    let problem = if password.chars().count() < MIN_LENGTH {
        let text = format!("the password is too short: {MIN_LENGTH} characters at least");
        Reason::new(Code::PasswordTooShort, text).with("least", MIN_LENGTH)
    } else if password.len() > MAX_LENGTH {
        let text = format!("the password is too long: {MAX_LENGTH} octets at most");
        Reason::new(Code::PasswordTooLong, text).with("most", MAX_LENGTH)
    } else {
        return Ok(());
    };
    Err(AccountError::Bad(problem))
}

fn argon2() -> Argon2<'static> {
    let (memory, rounds, lanes) = PARAMS;
    let params =
        Params::new(memory, rounds, lanes, None).expect("the parameters are within bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash_now(password: &str) -> Option<String> {
    let salt = SaltString::encode_b64(&random::<SALT_OCTETS>()).ok()?;
    let hash = argon2().hash_password(password.as_bytes(), &salt).ok()?;
    Some(hash.to_string())
}

fn verify_now(password: &str, kept: &str) -> bool {
    PasswordHash::new(kept)
        .is_ok_and(|kept| argon2().verify_password(password.as_bytes(), &kept).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let passwords = Passwords::new();
        let kept = passwords.hash("correct horse").await.unwrap();
        assert!(
            kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{kept}"
        );
        assert!(
            passwords
                .verify("correct horse", Some(&kept))
                .await
                .unwrap()
        );
        assert!(!passwords.verify("correct hors", Some(&kept)).await.unwrap());
        assert!(!passwords.verify("correct horse", None).await.unwrap());
        assert!(
            !passwords
                .verify("nobody has this password", None)
                .await
                .unwrap()
        );
        assert!(!passwords.verify("", Some("no hash")).await.unwrap());
    }

    #[tokio::test]
    async fn passwords_that_are_too_short_or_too_long_are_refused() {
        let passwords = Passwords::new();
        for bad in ["", "seven77", &"x".repeat(MAX_LENGTH + 1)] {
            let refused = passwords.hash(bad).await;
            assert!(matches!(refused, Err(AccountError::Bad(_))), "{bad}");
        }
    }
}
