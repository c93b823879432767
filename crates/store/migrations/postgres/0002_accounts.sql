-- Who may do what. Ids are UUIDs; `cameras` is `*` or camera ids separated by commas; secrets are kept as their SHA-256 alone.

CREATE TABLE users (
    user_id          TEXT PRIMARY KEY,
    name             TEXT NOT NULL UNIQUE,
    password_hash    TEXT,
    external_subject TEXT UNIQUE,
    role             TEXT NOT NULL,
    cameras          TEXT NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL,
    updated_at       TIMESTAMPTZ NOT NULL
);

CREATE TABLE login_sessions (
    login_id    TEXT PRIMARY KEY,
    user_id     TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    secret_hash TEXT NOT NULL UNIQUE,
    user_agent  TEXT,
    ip_address  TEXT,
    created_at  TIMESTAMPTZ NOT NULL,
    expires_at  TIMESTAMPTZ NOT NULL
);
CREATE INDEX login_sessions_by_user ON login_sessions (user_id);

CREATE TABLE api_tokens (
    token_id    TEXT PRIMARY KEY,
    user_id     TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    name        TEXT NOT NULL,
    secret_hash TEXT NOT NULL UNIQUE,
    role        TEXT NOT NULL,
    cameras     TEXT NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    expires_at  TIMESTAMPTZ
);
CREATE INDEX api_tokens_by_user ON api_tokens (user_id);

CREATE TABLE share_links (
    share_id   TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    camera_id  TEXT NOT NULL,
    label      TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX share_links_by_user ON share_links (user_id);

-- No reference to users: what somebody did stays known when they are gone.
CREATE TABLE audit_log (
    audit_id   TEXT PRIMARY KEY,
    at         TIMESTAMPTZ NOT NULL,
    action     TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    actor      TEXT,
    subject    TEXT,
    ip_address TEXT,
    detail     TEXT
);
CREATE INDEX audit_log_by_time ON audit_log (at);

-- Keys that this installation made for itself, in hexadecimal digits.
CREATE TABLE server_keys (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
