-- What an owner says of a camera, what a camera last reported, and what happened to it.

ALTER TABLE cameras ADD COLUMN room TEXT;
ALTER TABLE cameras ADD COLUMN position BIGINT;
ALTER TABLE cameras ADD COLUMN mode TEXT;
ALTER TABLE cameras ADD COLUMN settings TEXT;
ALTER TABLE cameras ADD COLUMN battery_percent DOUBLE PRECISION;
ALTER TABLE cameras ADD COLUMN signal DOUBLE PRECISION;
ALTER TABLE cameras ADD COLUMN temperature DOUBLE PRECISION;

-- The key is a UUID of version 7, so that the order of keys is that of time.
CREATE TABLE camera_events (
    id            TEXT COLLATE "C" PRIMARY KEY,
    camera_id     TEXT NOT NULL,
    kind          TEXT NOT NULL,
    at            TIMESTAMPTZ NOT NULL,
    event_id      TEXT,
    activity_type TEXT,
    confidence    DOUBLE PRECISION,
    detail        TEXT,
    payload       TEXT
);
CREATE INDEX camera_events_by_camera ON camera_events (camera_id, id);
CREATE INDEX camera_events_by_time ON camera_events (at);

-- For what is deleted after its time.
CREATE INDEX stream_sessions_ended ON stream_sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX viewer_sessions_ended ON viewer_sessions (disconnected_at) WHERE disconnected_at IS NOT NULL;
