-- 1 799fb3cc52301de9cc835680fbd3b84514d90166c0b73a2f0587fbcbedea89e36b93cfc9b854b0550d7495b5f1038ba4
-- 2 cc89892fee2672486bdbe32ad64c109f7cd4973fabda85d70e216ee3d49812a1f96bf906eb931bf23e5cb46f73971119
-- 3 28ee45c2daa10fc7a811b39dcbc5689c579882b6c5b2601e782a2fc539e2170d4f82c7f059e4bc4412e19ec6d674785d
-- 4 0d390edbe330e9c9c7d0c14e29fbd96b6d4ed412ef48260eacfc976ffa07374a5c5600d63def9abb608f87adb9a17eb2
CREATE INDEX api_tokens_by_user ON api_tokens (user_id)
CREATE INDEX audit_log_by_time ON audit_log (at)
CREATE INDEX camera_events_by_camera ON camera_events (camera_id, id)
CREATE INDEX camera_events_by_time ON camera_events (at)
CREATE INDEX login_sessions_by_user ON login_sessions (user_id)
CREATE INDEX push_subscriptions_by_login ON push_subscriptions (login_id)
CREATE INDEX push_subscriptions_by_user ON push_subscriptions (user_id)
CREATE INDEX share_links_by_user ON share_links (user_id)
CREATE INDEX stream_sessions_by_camera ON stream_sessions (camera_id, created_at)
CREATE INDEX stream_sessions_ended ON stream_sessions (ended_at) WHERE ended_at IS NOT NULL
CREATE INDEX stream_sessions_open ON stream_sessions (session_id) WHERE ended_at IS NULL
CREATE INDEX viewer_sessions_by_stream ON viewer_sessions (stream_session_id, connected_at)
CREATE INDEX viewer_sessions_ended ON viewer_sessions (disconnected_at) WHERE disconnected_at IS NOT NULL
CREATE INDEX viewer_sessions_open ON viewer_sessions (viewer_id) WHERE disconnected_at IS NULL
CREATE TABLE api_tokens (
    token_id    TEXT PRIMARY KEY NOT NULL,
    user_id     TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    name        TEXT NOT NULL,
    secret_hash TEXT NOT NULL UNIQUE,
    role        TEXT NOT NULL,
    cameras     TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    expires_at  TEXT
) STRICT
CREATE TABLE audit_log (
    audit_id   TEXT PRIMARY KEY NOT NULL,
    at         TEXT NOT NULL,
    action     TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    actor      TEXT,
    subject    TEXT,
    ip_address TEXT,
    detail     TEXT
) STRICT
CREATE TABLE camera_events (
    id            TEXT PRIMARY KEY NOT NULL,
    camera_id     TEXT NOT NULL,
    kind          TEXT NOT NULL,
    at            TEXT NOT NULL,
    event_id      TEXT,
    activity_type TEXT,
    confidence    REAL,
    detail        TEXT,
    payload       TEXT
) STRICT
CREATE TABLE cameras (
    camera_id         TEXT PRIMARY KEY NOT NULL,
    name              TEXT,
    ip_address        TEXT,
    firmware_version  TEXT,
    hardware          TEXT,
    serial_number     TEXT,
    status            TEXT,
    connection_status TEXT NOT NULL,
    last_seen         TEXT,
    created_at        TEXT NOT NULL,
    updated_at        TEXT NOT NULL
, room TEXT, position INTEGER, mode TEXT, settings TEXT, battery_percent REAL, signal REAL, temperature REAL) STRICT
CREATE TABLE login_sessions (
    login_id    TEXT PRIMARY KEY NOT NULL,
    user_id     TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    secret_hash TEXT NOT NULL UNIQUE,
    user_agent  TEXT,
    ip_address  TEXT,
    created_at  TEXT NOT NULL,
    expires_at  TEXT NOT NULL
) STRICT
CREATE TABLE push_subscriptions (
    subscription_id TEXT PRIMARY KEY NOT NULL,
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
    paused_at       TEXT,
    created_at      TEXT NOT NULL
) STRICT
CREATE TABLE server_keys (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT
CREATE TABLE share_links (
    share_id   TEXT PRIMARY KEY NOT NULL,
    user_id    TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    camera_id  TEXT NOT NULL,
    label      TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT
CREATE TABLE stream_sessions (
    session_id         TEXT PRIMARY KEY NOT NULL,
    camera_id          TEXT NOT NULL,
    pipeline_id        TEXT,
    rtp_endpoint_id    TEXT,
    webrtc_endpoint_id TEXT,
    stream_id          TEXT NOT NULL,
    status             TEXT NOT NULL,
    created_at         TEXT NOT NULL,
    updated_at         TEXT NOT NULL,
    ended_at           TEXT,
    error_message      TEXT
) STRICT
CREATE TABLE users (
    user_id          TEXT PRIMARY KEY NOT NULL,
    name             TEXT NOT NULL UNIQUE,
    password_hash    TEXT,
    external_subject TEXT UNIQUE,
    role             TEXT NOT NULL,
    cameras          TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    updated_at       TEXT NOT NULL
) STRICT
CREATE TABLE viewer_sessions (
    viewer_id          TEXT PRIMARY KEY NOT NULL,
    stream_session_id  TEXT NOT NULL,
    webrtc_endpoint_id TEXT,
    user_agent         TEXT,
    ip_address         TEXT,
    connected_at       TEXT NOT NULL,
    disconnected_at    TEXT
) STRICT
