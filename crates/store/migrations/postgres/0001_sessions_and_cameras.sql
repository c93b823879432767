-- The tables of SQLite with times as PostgreSQL keeps them. Ids are canonical text.

CREATE TABLE stream_sessions (
    session_id         TEXT PRIMARY KEY,
    camera_id          TEXT NOT NULL,
    pipeline_id        TEXT,
    rtp_endpoint_id    TEXT,
    webrtc_endpoint_id TEXT,
    stream_id          TEXT NOT NULL,
    status             TEXT NOT NULL,
    created_at         TIMESTAMPTZ NOT NULL,
    updated_at         TIMESTAMPTZ NOT NULL,
    ended_at           TIMESTAMPTZ,
    error_message      TEXT
);
CREATE INDEX stream_sessions_by_time ON stream_sessions (created_at);
CREATE INDEX stream_sessions_by_camera ON stream_sessions (camera_id, created_at);
CREATE INDEX stream_sessions_open ON stream_sessions (session_id) WHERE ended_at IS NULL;

-- No foreign key: under load a write may be dropped, and a viewer's row is worth keeping without its session's.
CREATE TABLE viewer_sessions (
    viewer_id          TEXT PRIMARY KEY,
    stream_session_id  TEXT NOT NULL,
    webrtc_endpoint_id TEXT,
    user_agent         TEXT,
    ip_address         TEXT,
    connected_at       TIMESTAMPTZ NOT NULL,
    disconnected_at    TIMESTAMPTZ
);
CREATE INDEX viewer_sessions_by_stream ON viewer_sessions (stream_session_id, connected_at);
CREATE INDEX viewer_sessions_open ON viewer_sessions (viewer_id) WHERE disconnected_at IS NULL;

CREATE TABLE cameras (
    camera_id         TEXT PRIMARY KEY,
    name              TEXT,
    ip_address        TEXT,
    firmware_version  TEXT,
    hardware          TEXT,
    serial_number     TEXT,
    status            TEXT,
    connection_status TEXT NOT NULL,
    last_seen         TIMESTAMPTZ,
    created_at        TIMESTAMPTZ NOT NULL,
    updated_at        TIMESTAMPTZ NOT NULL
);
