//! All accounts in memory, found by id, name and what is kept of a secret. It is changed by the same
//! [`AccountWrite`]s as the database.

use std::collections::HashMap;

use apiary_store::{
    AccountTables, AccountWrite, ApiTokenRow, LoginId, LoginRow, SecretHash, ShareId, ShareRow,
    SubscriptionId, SubscriptionRow, TokenId, UserId, UserRow,
};

#[derive(Debug, Default)]
pub(super) struct Directory {
    users: HashMap<UserId, UserRow>,
    names: HashMap<String, UserId>,
    /// By what a provider knows them.
    provided: HashMap<String, UserId>,
    logins: HashMap<LoginId, LoginRow>,
    login_secrets: HashMap<SecretHash, LoginId>,
    tokens: HashMap<TokenId, ApiTokenRow>,
    token_secrets: HashMap<SecretHash, TokenId>,
    shares: HashMap<ShareId, ShareRow>,
    subscriptions: HashMap<SubscriptionId, SubscriptionRow>,
}

impl Directory {
    pub(super) fn new(tables: AccountTables) -> Self {
        let mut directory = Self::default();
        let writes = (tables.users.into_iter().map(AccountWrite::User))
            .chain(tables.logins.into_iter().map(AccountWrite::Login))
            .chain(tables.tokens.into_iter().map(AccountWrite::Token))
            .chain(tables.shares.into_iter().map(AccountWrite::Share))
            .chain(
                tables
                    .subscriptions
                    .into_iter()
                    .map(AccountWrite::Subscription),
            );
        for write in writes {
            directory.apply(write);
        }
        directory
    }

    pub(super) fn apply(&mut self, write: AccountWrite) {
        match write {
            AccountWrite::User(row) => {
                if let Some(old) = self.users.get(&row.user) {
                    self.names.remove(&old.name);
                }
                self.names.insert(row.name.clone(), row.user);
                if let Some(subject) = &row.external_subject {
                    self.provided.insert(subject.clone(), row.user);
                }
                self.users.insert(row.user, row);
            }
            AccountWrite::RemoveUser(user) => self.remove_user(user),
            AccountWrite::Login(row) => {
                if let Some(old) = self.logins.get(&row.login) {
                    self.login_secrets.remove(&old.secret);
                }
                self.login_secrets.insert(row.secret, row.login);
                self.logins.insert(row.login, row);
            }
            AccountWrite::RemoveLogin(login) => {
                if let Some(row) = self.logins.remove(&login) {
                    self.login_secrets.remove(&row.secret);
                }
                let subscriptions = self.subscriptions.values_mut();
                for row in subscriptions.filter(|row| row.login == Some(login)) {
                    row.login = None;
                }
            }
            AccountWrite::Token(row) => {
                self.token_secrets.insert(row.secret, row.token);
                self.tokens.insert(row.token, row);
            }
            AccountWrite::RemoveToken(token) => {
                if let Some(row) = self.tokens.remove(&token) {
                    self.token_secrets.remove(&row.secret);
                }
            }
            AccountWrite::Share(row) => {
                self.shares.insert(row.share, row);
            }
            AccountWrite::RemoveShare(share) => {
                self.shares.remove(&share);
            }
            AccountWrite::Subscription(row) => {
                self.subscriptions.insert(row.subscription, row);
            }
            AccountWrite::RemoveSubscription(subscription) => {
                self.subscriptions.remove(&subscription);
            }
            AccountWrite::Audit(_) => {} // it is only ever read from the database
        }
    }

    fn remove_user(&mut self, user: UserId) {
        if let Some(row) = self.users.remove(&user) {
            self.names.remove(&row.name);
            if let Some(subject) = &row.external_subject {
                self.provided.remove(subject);
            }
        }
        self.logins.retain(|_, row| row.user != user);
        let logins = &self.logins;
        self.login_secrets
            .retain(|_, login| logins.contains_key(login));
        self.tokens.retain(|_, row| row.user != user);
        let tokens = &self.tokens;
        self.token_secrets
            .retain(|_, token| tokens.contains_key(token));
        self.shares.retain(|_, row| row.user != user);
        self.subscriptions.retain(|_, row| row.user != Some(user));
    }

    pub(super) fn user(&self, user: UserId) -> Option<&UserRow> {
        self.users.get(&user)
    }

    pub(super) fn user_named(&self, name: &str) -> Option<&UserRow> {
        self.users.get(self.names.get(name)?)
    }

    pub(super) fn user_of_provider(&self, subject: &str) -> Option<&UserRow> {
        self.users.get(self.provided.get(subject)?)
    }

    pub(super) fn users(&self) -> impl Iterator<Item = &UserRow> {
        self.users.values()
    }

    pub(super) fn login(&self, login: LoginId) -> Option<&LoginRow> {
        self.logins.get(&login)
    }

    pub(super) fn login_by_secret(&self, secret: SecretHash) -> Option<&LoginRow> {
        self.logins.get(self.login_secrets.get(&secret)?)
    }

    pub(super) fn logins(&self) -> impl Iterator<Item = &LoginRow> {
        self.logins.values()
    }

    pub(super) fn token(&self, token: TokenId) -> Option<&ApiTokenRow> {
        self.tokens.get(&token)
    }

    pub(super) fn token_by_secret(&self, secret: SecretHash) -> Option<&ApiTokenRow> {
        self.tokens.get(self.token_secrets.get(&secret)?)
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = &ApiTokenRow> {
        self.tokens.values()
    }

    pub(super) fn share(&self, share: ShareId) -> Option<&ShareRow> {
        self.shares.get(&share)
    }

    pub(super) fn shares(&self) -> impl Iterator<Item = &ShareRow> {
        self.shares.values()
    }

    pub(super) fn subscription(&self, subscription: SubscriptionId) -> Option<&SubscriptionRow> {
        self.subscriptions.get(&subscription)
    }

    pub(super) fn subscriptions(&self) -> impl Iterator<Item = &SubscriptionRow> {
        self.subscriptions.values()
    }
}
