use std::collections::BTreeSet;

use apiary_store::{SqliteStore, Store as _, TokenId, WriterTask};
use apiary_wire::id::CameraId;

use super::*;
use crate::config::{Config, Environment};
use crate::secret::Secret;

const PASSWORD: &str = "correct horse battery";

pub(in crate::auth) struct Home {
    dir: tempfile::TempDir,
}

/// What the accounts of a test stand on.
pub(in crate::auth) type Opened = (Accounts, Arc<SqliteStore>, StoreWriter, WriterTask);

impl Home {
    pub(in crate::auth) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    pub(in crate::auth) async fn open(&self) -> Opened {
        let path = self.dir.path().join("test.db");
        let store = Arc::new(SqliteStore::open(&path).await.unwrap());
        let (writer, task) = StoreWriter::spawn(store.clone());
        let mut config = Config::load(None, &Environment::default()).unwrap().auth;
        config.enabled = true;
        let accounts = Accounts::open(store.clone(), writer.clone(), &config).await;
        (accounts.unwrap(), store, writer, task)
    }
}

pub(super) fn at(address: &str) -> ClientInfo {
    ClientInfo {
        ip: Some(address.parse().unwrap()),
        user_agent: None,
    }
}

fn camera(number: u8) -> CameraId {
    CameraId::from_bytes([number; 16])
}

pub(super) fn only(numbers: &[u8]) -> CameraScope {
    CameraScope::Only(numbers.iter().map(|n| camera(*n)).collect())
}

pub(super) fn root() -> Principal {
    Principal::anybody()
}

pub(super) fn actor(principal: &Principal) -> Actor<'_> {
    Actor {
        principal,
        ip: None,
    }
}

pub(super) async fn add(
    accounts: &Accounts,
    name: &str,
    role: Role,
    cameras: CameraScope,
) -> UserRow {
    let new = NewUser {
        name: name.to_owned(),
        password: Secret::new(PASSWORD),
        role,
        cameras,
    };
    accounts.create_user(actor(&root()), new).await.unwrap()
}

#[tokio::test]
async fn a_login_counts_until_it_is_ended_also_after_a_restart() {
    let home = Home::new();
    let (accounts, store, ..) = home.open().await;
    add(&accounts, "Queen", Role::Admin, CameraScope::All).await;
    let login = accounts
        .log_in(" queen ", PASSWORD, &at("192.0.2.1"))
        .await
        .unwrap();
    let other = accounts
        .log_in("QUEEN", PASSWORD, &at("192.0.2.1"))
        .await
        .unwrap();
    assert_ne!(login.secret, other.secret);
    assert!(accounts.of_login(&login.secret).is_some());
    assert!(accounts.of_login("").is_none());
    store.close().await;
    drop((accounts, store));

    let (accounts, store, ..) = home.open().await;
    let principal = accounts.of_login(&login.secret).unwrap();
    assert_eq!((&*principal.name, principal.role), ("queen", Role::Admin));
    let Who::Login(_, id) = principal.who else {
        panic!("{principal:?}")
    };
    accounts.end_login(actor(&principal), id).await.unwrap();
    assert!(accounts.of_login(&login.secret).is_none());
    assert!(accounts.of_login(&other.secret).is_some());
    store.close().await;
    drop((accounts, store));
    let (accounts, ..) = home.open().await;
    assert!(accounts.of_login(&login.secret).is_none(), "it stays ended");
}

#[tokio::test]
async fn h07_guesses_are_slowed_audited_and_remembered_over_a_restart() {
    let home = Home::new();
    let (accounts, store, writer, task) = home.open().await;
    add(&accounts, "queen", Role::Admin, CameraScope::All).await;
    let mut wrong = 0;
    let slowed = loop {
        match accounts
            .log_in("queen", "a guess", &at(&format!("192.0.2.{wrong}")))
            .await
        {
            Err(AccountError::WrongPassword) => wrong += 1,
            other => break other,
        }
    };
    assert!(
        matches!(slowed, Err(AccountError::TooFast { .. })),
        "{slowed:?}"
    );
    let right = accounts.log_in("queen", PASSWORD, &at("192.0.2.99")).await;
    assert!(
        matches!(right, Err(AccountError::TooFast { .. })),
        "also the right one"
    );
    writer.flush().await;
    let audited = accounts.audit_log(Timestamp::MAX, 100).await.unwrap();
    let failed = audited
        .iter()
        .filter(|row| row.action == "login" && row.outcome == AuditOutcome::Refused);
    assert_eq!(failed.count(), wrong);
    task.shutdown(Duration::from_secs(1)).await;
    store.close().await;
    drop((accounts, store));

    let (accounts, ..) = home.open().await;
    let still = accounts.log_in("queen", PASSWORD, &at("192.0.2.98")).await;
    assert!(
        matches!(still, Err(AccountError::TooFast { .. })),
        "{still:?}"
    );
}

#[tokio::test]
async fn a_token_can_do_no_more_than_its_user_can_now() {
    let home = Home::new();
    let (accounts, ..) = home.open().await;
    let user = add(&accounts, "drone", Role::Operator, only(&[1, 2])).await;
    add(&accounts, "queen", Role::Admin, CameraScope::All).await;
    let login = accounts
        .log_in("drone", PASSWORD, &at("192.0.2.1"))
        .await
        .unwrap();
    let me = login.principal;
    let token = |role, cameras| NewToken {
        name: "bell".to_owned(),
        role,
        cameras,
        expires_at: None,
    };
    for (role, cameras) in [
        (Role::Admin, only(&[1])),
        (Role::Viewer, CameraScope::All),
        (Role::Viewer, only(&[1, 3])),
    ] {
        let refused = accounts
            .create_token(actor(&me), token(role, cameras))
            .await;
        assert!(matches!(refused, Err(AccountError::Forbidden(_))));
    }
    let (_, secret) = accounts
        .create_token(actor(&me), token(Role::Operator, only(&[1, 2])))
        .await
        .unwrap();
    let found = accounts.of_token(&secret).unwrap();
    assert_eq!(found.role, Role::Operator);
    assert!(found.may_watch(camera(2)) && !found.may_watch(camera(3)));
    let change = UserChange {
        role: Some(Role::Viewer),
        cameras: Some(only(&[2, 3])),
        password: None,
    };
    accounts
        .change_user(actor(&root()), user.user, change)
        .await
        .unwrap();
    let found = accounts.of_token(&secret).unwrap();
    assert_eq!((found.role, &*found.cameras), (Role::Viewer, &only(&[2])));
    accounts
        .remove_user(actor(&root()), user.user)
        .await
        .unwrap();
    assert!(accounts.of_token(&secret).is_none());
    assert!(accounts.of_login(&login.secret).is_none());
}

#[tokio::test]
async fn h08_a_share_ends_with_its_time_its_revocation_and_its_users_right() {
    let home = Home::new();
    let (accounts, ..) = home.open().await;
    let user = add(&accounts, "drone", Role::Viewer, only(&[1, 2])).await;
    add(&accounts, "queen", Role::Admin, CameraScope::All).await;
    let login = accounts
        .log_in("drone", PASSWORD, &at("192.0.2.1"))
        .await
        .unwrap();
    let me = login.principal;
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    let share = |number, expires_at| NewShare {
        camera: camera(number),
        label: "neighbours".to_owned(),
        expires_at,
    };
    let past = Timestamp::now() - SignedDuration::from_secs(1);
    for bad in [share(3, later), share(1, past)] {
        assert!(accounts.create_share(actor(&me), bad).await.is_err());
    }
    let first = accounts.create_share(actor(&me), share(1, later)).await;
    let second = accounts.create_share(actor(&me), share(2, later)).await;
    let (first, second) = (first.unwrap(), second.unwrap());
    let (one, two) = (accounts.secret_of(&first), accounts.secret_of(&second));
    let guest = accounts.of_token(&one).unwrap();
    assert_eq!((guest.role, &*guest.cameras), (Role::Viewer, &only(&[1])));
    let beyond = accounts.create_share(actor(&guest), share(1, later)).await;
    assert!(
        matches!(beyond, Err(AccountError::Forbidden(_))),
        "a guest shares nothing on"
    );
    let mut changes = accounts.changes();
    changes.mark_unchanged();
    accounts
        .remove_share(actor(&me), first.share)
        .await
        .unwrap();
    assert!(changes.has_changed().unwrap());
    assert!(accounts.of_token(&one).is_none());
    assert!(accounts.current(&guest.who).is_none());
    let change = UserChange {
        cameras: Some(only(&[1])),
        ..UserChange::default()
    };
    accounts
        .change_user(actor(&root()), user.user, change)
        .await
        .unwrap();
    assert!(!accounts.of_token(&two).unwrap().may_watch(camera(2)));
}

#[tokio::test]
async fn others_logins_tokens_and_shares_look_as_if_they_were_not_there() {
    let home = Home::new();
    let (accounts, ..) = home.open().await;
    add(&accounts, "drone", Role::Operator, CameraScope::All).await;
    add(&accounts, "worker", Role::Operator, CameraScope::All).await;
    let drone = accounts
        .log_in("drone", PASSWORD, &at("192.0.2.1"))
        .await
        .unwrap()
        .principal;
    let worker = accounts
        .log_in("worker", PASSWORD, &at("192.0.2.1"))
        .await
        .unwrap()
        .principal;
    let Who::Login(_, login) = drone.who else {
        panic!()
    };
    let new = NewToken {
        name: "bell".to_owned(),
        role: Role::Viewer,
        cameras: CameraScope::All,
        expires_at: None,
    };
    let (token, _) = accounts.create_token(actor(&drone), new).await.unwrap();
    let is_none = |outcome| matches!(outcome, Err(AccountError::NoSuch(_)));
    assert!(is_none(accounts.end_login(actor(&worker), login).await));
    assert!(is_none(
        accounts.remove_token(actor(&worker), token.token).await
    ));
    assert!(is_none(
        accounts
            .remove_token(actor(&worker), TokenId::random())
            .await
    ));
    accounts
        .remove_token(actor(&drone), token.token)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_new_password_ends_all_logins_but_the_new_one() {
    let home = Home::new();
    let (accounts, ..) = home.open().await;
    add(&accounts, "queen", Role::Admin, CameraScope::All).await;
    let client = at("192.0.2.1");
    let old = accounts.log_in("queen", PASSWORD, &client).await.unwrap();
    let me = actor(&old.principal);
    let wrong = accounts
        .change_password(me, "not it", "a new password", &client)
        .await;
    assert!(matches!(wrong, Err(AccountError::WrongPassword)));
    let new = accounts
        .change_password(me, PASSWORD, "a new password", &client)
        .await
        .unwrap();
    assert!(accounts.of_login(&old.secret).is_none());
    assert!(accounts.of_login(&new.secret).is_some());
    assert!(accounts.log_in("queen", PASSWORD, &client).await.is_err());
    assert!(
        accounts
            .log_in("queen", "a new password", &client)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let home = Home::new();
    let (accounts, ..) = home.open().await;
    let queen = add(&accounts, "queen", Role::Admin, CameraScope::All).await;
    let demote = || UserChange {
        role: Some(Role::Viewer),
        ..UserChange::default()
    };
    let root = root();
    let is_kept = |outcome| matches!(outcome, Err(AccountError::Conflict(_)));
    assert!(is_kept(
        accounts.remove_user(actor(&root), queen.user).await
    ));
    let demoted = accounts
        .change_user(actor(&root), queen.user, demote())
        .await;
    assert!(is_kept(demoted.map(|_| ())));
    add(&accounts, "princess", Role::Admin, CameraScope::All).await;
    accounts
        .change_user(actor(&root), queen.user, demote())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_set_up_link_makes_one_administrator() {
    let home = Home::new();
    let (accounts, store, ..) = home.open().await;
    let link = accounts.open_setup().unwrap();
    let client = at("192.0.2.1");
    let set_up = |secret: String, name: &'static str| {
        let (accounts, client) = (&accounts, &client);
        async move {
            accounts
                .set_up(&secret, name, Secret::new(PASSWORD), client)
                .await
        }
    };
    let secret = link.expose().to_owned();
    for wrong in [String::new(), format!("{secret}x")] {
        assert!(matches!(
            set_up(wrong, "wasp").await,
            Err(AccountError::Forbidden(_))
        ));
    }
    let (first, second) = tokio::join!(
        set_up(secret.clone(), "queen"),
        set_up(secret.clone(), "wasp")
    );
    let made = [first.is_ok(), second.is_ok()];
    assert_eq!(made.iter().filter(|ok| **ok).count(), 1, "{made:?}");
    assert_eq!(accounts.users().len(), 1);
    assert!(accounts.open_setup().is_none());
    store.close().await;
    drop((accounts, store));
    assert!(home.open().await.0.open_setup().is_none());
}

#[tokio::test]
async fn names_and_roles_that_cannot_be_are_refused() {
    let home = Home::new();
    let (accounts, ..) = home.open().await;
    let long = "x".repeat(65);
    for name in ["", "  ", "a b", "<b>", "a\nb", "\u{202e}x", &long] {
        let new = NewUser {
            name: name.to_owned(),
            password: Secret::new(PASSWORD),
            role: Role::Viewer,
            cameras: CameraScope::All,
        };
        let refused = accounts.create_user(actor(&root()), new).await;
        assert!(matches!(refused, Err(AccountError::Bad(_))), "{name:?}");
    }
    let new = NewUser {
        name: "queen".to_owned(),
        password: Secret::new(PASSWORD),
        role: Role::Admin,
        cameras: CameraScope::Only(BTreeSet::new()),
    };
    let refused = accounts.create_user(actor(&root()), new).await;
    assert!(matches!(refused, Err(AccountError::Bad(_))));
    add(&accounts, "queen", Role::Viewer, CameraScope::All).await;
    let again = NewUser {
        name: "QUEEN".to_owned(),
        password: Secret::new(PASSWORD),
        role: Role::Viewer,
        cameras: CameraScope::All,
    };
    let refused = accounts.create_user(actor(&root()), again).await;
    assert!(matches!(refused, Err(AccountError::Conflict(_))));
}

#[tokio::test]
async fn h08_a_set_up_link_ends_with_the_first_user_however_that_came() {
    let home = Home::new();
    let (accounts, _store, _writer, _task) = home.open().await;
    let link = accounts.open_setup().unwrap();
    add(&accounts, "queen", Role::Admin, CameraScope::All).await;
    let late = accounts
        .set_up(
            link.expose(),
            "thief",
            Secret::new(PASSWORD),
            &at("192.0.2.1"),
        )
        .await;
    assert!(matches!(late, Err(AccountError::Forbidden(_))), "{late:?}");
    assert_eq!(accounts.users().len(), 1);
}
