//! What every store does with accounts.

use apiary_store::{
    AccountStore as _, AccountTables, AccountWrite, ApiTokenRow, AuditOutcome, AuditRow,
    CameraScope, LoginId, LoginRow, PushKind, PushKinds, Role, SecretHash, ShareId, ShareRow,
    Store as _, SubscriptionId, SubscriptionRow, TokenId, UserId, UserRow, Write,
};
use uuid::Uuid;

use super::{Home, at, camera};

pub(super) fn user(number: u8, name: &str) -> UserRow {
    UserRow {
        user: UserId(Uuid::from_bytes([number; 16])),
        name: name.to_owned(),
        password_hash: Some("$argon2id$".to_owned()),
        external_subject: None,
        role: Role::Viewer,
        cameras: CameraScope::Only([camera(1), camera(2)].into()),
        created_at: at(1),
        updated_at: at(2),
    }
}

pub(super) fn login(number: u8, user: &UserRow) -> LoginRow {
    LoginRow {
        login: LoginId(Uuid::from_bytes([number; 16])),
        user: user.user,
        secret: SecretHash([number; 32]),
        user_agent: Some("Mozilla/5.0 '; DROP TABLE users; --".to_owned()),
        ip_address: Some("192.0.2.7".to_owned()),
        created_at: at(3),
        expires_at: at(1000),
    }
}

pub(super) fn token(number: u8, user: &UserRow) -> ApiTokenRow {
    ApiTokenRow {
        token: TokenId(Uuid::from_bytes([number; 16])),
        user: user.user,
        name: "door bell".to_owned(),
        secret: SecretHash([number; 32]),
        role: Role::Operator,
        cameras: CameraScope::All,
        created_at: at(4),
        expires_at: None,
    }
}

pub(super) fn share(number: u8, user: &UserRow) -> ShareRow {
    ShareRow {
        share: ShareId(Uuid::from_bytes([number; 16])),
        user: user.user,
        camera: camera(1),
        label: "for the neighbours".to_owned(),
        created_at: at(5),
        expires_at: at(500),
    }
}

pub(super) fn subscription(number: u8, login: Option<&LoginRow>) -> SubscriptionRow {
    SubscriptionRow {
        subscription: SubscriptionId(Uuid::from_bytes([number; 16])),
        user: login.map(|login| login.user),
        login: login.map(|login| login.login),
        endpoint: format!("https://push.example/{number}"),
        p256dh: "p256dh".to_owned(),
        auth: "auth".to_owned(),
        site: Some("https://hive.example".to_owned()),
        name: "a phone '; DROP TABLE users; --".to_owned(),
        cameras: CameraScope::Only([camera(1)].into()),
        kinds: PushKinds([PushKind::Person, PushKind::Offline].into()),
        quiet: Some("22:00-07:00 Europe/Berlin".parse().unwrap()),
        paused_at: Some(at(6)),
        created_at: at(5),
    }
}

pub(super) fn audit(number: u8, second: i64, action: &str) -> AuditRow {
    AuditRow {
        id: Uuid::from_bytes([number; 16]),
        at: at(second),
        action: action.to_owned(),
        outcome: AuditOutcome::Refused,
        actor: None,
        subject: Some("queen".to_owned()),
        ip_address: Some("192.0.2.7".to_owned()),
        detail: None,
    }
}

pub(crate) async fn accounts_come_back_after_reopening(home: impl Home) {
    let store = home.open().await.unwrap();
    assert_eq!(
        store.account_tables().await.unwrap(),
        AccountTables::default()
    );
    let mut queen = user(1, "queen");
    let drone = user(2, "drone");
    let (login, token, share) = (login(3, &queen), token(4, &queen), share(5, &drone));
    store
        .apply_accounts(&[
            AccountWrite::User(queen.clone()),
            AccountWrite::User(drone.clone()),
            AccountWrite::Login(login.clone()),
            AccountWrite::Token(token.clone()),
            AccountWrite::Share(share.clone()),
        ])
        .await
        .unwrap();
    queen.role = Role::Admin;
    queen.cameras = CameraScope::All;
    queen.external_subject = Some("https://hive.example|7".to_owned());
    queen.updated_at = at(9);
    store
        .apply_accounts(&[AccountWrite::User(queen.clone())])
        .await
        .unwrap();
    store.close().await;
    drop(store);

    let store = home.open().await.unwrap();
    let mut all = AccountTables {
        users: vec![drone, queen],
        logins: vec![login.clone()],
        tokens: vec![token.clone()],
        shares: vec![share.clone()],
        subscriptions: vec![],
    };
    assert_eq!(store.account_tables().await.unwrap(), all);
    store
        .apply_accounts(&[
            AccountWrite::RemoveLogin(login.login),
            AccountWrite::RemoveToken(token.token),
            AccountWrite::RemoveShare(share.share),
        ])
        .await
        .unwrap();
    (all.logins, all.tokens, all.shares) = (vec![], vec![], vec![]);
    assert_eq!(store.account_tables().await.unwrap(), all);
}

pub(crate) async fn who_goes_takes_logins_tokens_and_shares_along(home: impl Home) {
    let store = home.open().await.unwrap();
    let (queen, drone) = (user(1, "queen"), user(2, "drone"));
    store
        .apply_accounts(&[
            AccountWrite::User(queen.clone()),
            AccountWrite::User(drone.clone()),
            AccountWrite::Login(login(3, &queen)),
            AccountWrite::Login(login(4, &drone)),
            AccountWrite::Token(token(5, &queen)),
            AccountWrite::Share(share(6, &queen)),
        ])
        .await
        .unwrap();
    store
        .apply_accounts(&[AccountWrite::RemoveUser(queen.user)])
        .await
        .unwrap();
    let left = AccountTables {
        logins: vec![login(4, &drone)],
        users: vec![drone],
        ..AccountTables::default()
    };
    assert_eq!(store.account_tables().await.unwrap(), left);
}

pub(crate) async fn subscriptions_last_longer_than_their_logins_and_not_than_their_users(
    home: impl Home,
) {
    let store = home.open().await.unwrap();
    let (queen, drone) = (user(1, "queen"), user(2, "drone"));
    let logins = [login(3, &queen), login(4, &drone)];
    let mut of_queen = subscription(5, Some(&logins[0]));
    let of_drone = subscription(6, Some(&logins[1]));
    let of_nobody = subscription(7, None);
    store
        .apply_accounts(&[
            AccountWrite::User(queen.clone()),
            AccountWrite::User(drone.clone()),
            AccountWrite::Login(logins[0].clone()),
            AccountWrite::Login(logins[1].clone()),
            AccountWrite::Subscription(of_queen.clone()),
            AccountWrite::Subscription(of_drone.clone()),
            AccountWrite::Subscription(of_nobody.clone()),
        ])
        .await
        .unwrap();
    let kept = async || {
        let mut kept = store.account_tables().await.unwrap().subscriptions;
        kept.sort_by_key(|row| row.subscription);
        kept
    };
    assert_eq!(
        kept().await,
        [of_queen.clone(), of_drone, of_nobody.clone()]
    );
    of_queen.endpoint = "https://push.example/moved".to_owned();
    of_queen.kinds = PushKinds::default();
    of_queen.quiet = None;
    of_queen.paused_at = None;
    of_queen.cameras = CameraScope::All;
    store
        .apply_accounts(&[
            AccountWrite::Subscription(of_queen.clone()),
            AccountWrite::RemoveLogin(logins[0].login),
            AccountWrite::RemoveUser(drone.user),
        ])
        .await
        .unwrap();
    of_queen.login = None;
    assert_eq!(kept().await, [of_queen.clone(), of_nobody.clone()]);
    let mut twice = subscription(8, None);
    twice.endpoint = of_queen.endpoint.clone();
    let refused = store
        .apply_accounts(&[AccountWrite::Subscription(twice)])
        .await;
    assert!(refused.is_err(), "one endpoint twice");
    store
        .apply_accounts(&[AccountWrite::RemoveSubscription(of_queen.subscription)])
        .await
        .unwrap();
    assert_eq!(kept().await, [of_nobody]);
}

pub(crate) async fn account_writes_are_done_together_or_not_at_all(home: impl Home) {
    let store = home.open().await.unwrap();
    let queen = user(1, "queen");
    store
        .apply_accounts(&[AccountWrite::User(queen.clone())])
        .await
        .unwrap();
    let twice = user(2, "queen");
    let refused = store
        .apply_accounts(&[
            AccountWrite::RemoveUser(queen.user),
            AccountWrite::User(twice.clone()),
            AccountWrite::Login(login(3, &queen)),
        ])
        .await;
    assert!(refused.is_err(), "a login of nobody");
    let refused = store.apply_accounts(&[AccountWrite::User(twice)]).await;
    assert!(refused.is_err(), "a name twice");
    assert_eq!(store.account_tables().await.unwrap().users, [queen]);
}

pub(crate) async fn the_audit_log_is_read_from_its_end(home: impl Home) {
    let store = home.open().await.unwrap();
    store
        .apply(&[
            Write::Audit(audit(1, 10, "login")),
            Write::Audit(audit(2, 20, "login")),
            Write::Audit(audit(2, 20, "login")),
        ])
        .await
        .unwrap();
    store
        .apply_accounts(&[AccountWrite::Audit(audit(3, 30, "user.create"))])
        .await
        .unwrap();
    let read = |action, before, limit| store.audit_log(action, at(before), limit);
    assert_eq!(
        read(None, 100, 2).await.unwrap(),
        [audit(3, 30, "user.create"), audit(2, 20, "login")]
    );
    assert_eq!(
        read(Some("login"), 20, 10).await.unwrap(),
        [audit(1, 10, "login")],
        "before, not at"
    );
}

pub(crate) async fn a_server_key_stays_the_first_one(home: impl Home) {
    let store = home.open().await.unwrap();
    assert_eq!(store.server_key("share", "01").await.unwrap(), "01");
    assert_eq!(store.server_key("share", "02").await.unwrap(), "01");
    assert_eq!(store.server_key("other", "03").await.unwrap(), "03");
}
