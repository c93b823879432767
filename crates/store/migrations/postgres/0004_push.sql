-- Browsers that are notified. Without a user: of an installation without accounts. Without a login that lasts, nothing is sent.
-- `kinds` are words separated by commas; `quiet` is `22:00-07:00 Europe/Berlin`; the two keys are in base64url.

CREATE TABLE push_subscriptions (
    subscription_id TEXT PRIMARY KEY,
    user_id         TEXT REFERENCES users ON DELETE CASCADE,
    login_id        TEXT REFERENCES login_sessions ON DELETE SET NULL,
    endpoint        TEXT NOT NULL UNIQUE,
    p256dh          TEXT NOT NULL,
    auth            TEXT NOT NULL,
    site            TEXT,
    name            TEXT NOT NULL,
    cameras         TEXT NOT NULL,
    kinds           TEXT NOT NULL,
    quiet           TEXT,
    paused_at       TIMESTAMPTZ,
    created_at      TIMESTAMPTZ NOT NULL
);
CREATE INDEX push_subscriptions_by_user ON push_subscriptions (user_id);
CREATE INDEX push_subscriptions_by_login ON push_subscriptions (login_id);
