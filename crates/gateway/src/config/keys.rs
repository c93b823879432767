//! The list of all keys: their paths, their defaults, and the names older installations use for them.
//!
//! `docs/config.md` says what each means; a test fails when it leaves one out.

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Section and name, `http.listen`.
    pub path: &'static str,
    /// The default as `docs/config.md` shows it; empty: none.
    pub default: &'static str,
    /// Whether the value must never be printed.
    pub secret: bool,
}

impl Key {
    /// The name of the environment variable that sets it: `APIARY_HTTP_LISTEN`.
    pub fn variable(&self) -> String {
        format!(
            "{PREFIX}{}",
            self.path.replace('.', "_").to_ascii_uppercase()
        )
    }
}

/// What the names of our own variables begin with.
pub const PREFIX: &str = "APIARY_";

/// The variable that names the configuration file, where `--config` does not.
pub const CONFIG_VARIABLE: &str = "APIARY_CONFIG";

/// The variable that chooses the media engine.
pub const ENGINE_VARIABLE: &str = "APIARY_MEDIA_ENGINE";

const fn key(path: &'static str, default: &'static str) -> Key {
    Key {
        path,
        default,
        secret: false,
    }
}

const fn secret(path: &'static str) -> Key {
    Key {
        path,
        default: "",
        secret: true,
    }
}

/// All keys.
pub const KEYS: &[Key] = &[
    key("http.listen", "[\"127.0.0.1:8080\"]"),
    key(
        "http.cors_origins",
        "[\"http://localhost:5000\", \"http://127.0.0.1:5000\"]",
    ),
    key("http.max_connections", "8192"),
    key("http.max_connections_per_address", "256"),
    key("http.requests_per_second", "50"),
    key("http.joins_per_second", "5"),
    key("http.hosts", "[]"),
    key("http.trusted_proxies", "[]"),
    key("auth.enabled", ""),
    key("auth.session_days", "30"),
    secret("auth.jwt_secret"),
    key("auth.jwks", ""),
    key("auth.jwks_ca", ""),
    key("auth.jwt_issuer", ""),
    key("auth.jwt_audience", ""),
    key("auth.jwt_role_claim", "\"role\""),
    key("oidc.issuer", ""),
    key("oidc.client_id", ""),
    secret("oidc.client_secret"),
    key("oidc.redirect_url", ""),
    key("oidc.scopes", "[\"openid\", \"profile\"]"),
    key("oidc.name", "\"OpenID\""),
    key("oidc.username_claim", "\"preferred_username\""),
    key("oidc.role_claim", "\"groups\""),
    key("oidc.roles", "[]"),
    key("oidc.default_role", ""),
    key("oidc.ca", ""),
    key("signaling.listen", "[\"127.0.0.1:8765\"]"),
    key("tls.mode", ""),
    key("tls.cert", ""),
    key("tls.key", ""),
    key("tls.names", "[]"),
    key(
        "tls.acme_directory",
        "\"https://acme-v02.api.letsencrypt.org/directory\"",
    ),
    key("tls.acme_terms_agreed", "false"),
    key("tls.acme_contact", ""),
    key("tls.acme_challenge", ""),
    key("tls.acme_ca", ""),
    key("tls.acme_eab_id", ""),
    secret("tls.acme_eab_key"),
    key("tls.redirect_listen", "[]"),
    key("tls.public_port", ""),
    key("tls.hsts_days", "30"),
    key("mqtt.broker", "\"embedded\""),
    key("mqtt.listen", "\"127.0.0.1:1883\""),
    key("mqtt.listen_tls", ""),
    key("mqtt.max_clients", "1000"),
    key("mqtt.extra_clients", "[]"),
    key("mqtt.revoked", "[]"),
    key("mqtt.ca", ""),
    key("mqtt.cert", ""),
    key("mqtt.key", ""),
    key("mqtt.server_name", ""),
    key("mqtt.verify", "\"full\""),
    key("mqtt.client_id", "\"livestream_service\""),
    key("mqtt.username", ""),
    secret("mqtt.password"),
    key("mqtt.keepalive_interval_s", "4"),
    key("mqtt.ack_timeout_s", "5"),
    key("network.local_ip", ""),
    key("network.external_ip", ""),
    key(
        "network.local_networks",
        "[\"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\", \"169.254.0.0/16\", \"fc00::/7\", \"fe80::/10\"]",
    ),
    key("media.engine", "\"sfu\""),
    key("media.bind", ""),
    key("media.workers", ""),
    key("media.udp_port", "8189"),
    key("media.min_bitrate_kbps", "500"),
    key("media.max_bitrate_kbps", "5000"),
    key("media.max_viewers_per_stream", "0"),
    key("media.max_total_mbps", "0"),
    key("ingest.bind", ""),
    key("ingest.ports", "\"5006-5999\""),
    key("kurento.servers", "[\"ws://127.0.0.1:8888/kurento\"]"),
    key("kurento.drain", "[]"),
    key("kurento.advertised", "[]"),
    key("kurento.pipeline_prefix", "\"apiary\""),
    key("kurento.request_timeout_s", "5"),
    key("kurento.ping_interval_s", "2"),
    key("kurento.failover_after_s", "4"),
    key("kurento.ca", ""),
    key("kurento.interfaces", "[]"),
    key("kurento.stun", ""),
    key("kurento.turn", ""),
    key("kurento.turn_username", ""),
    secret("kurento.turn_password"),
    key("turn.urls", "[]"),
    secret("turn.secret"),
    key("turn.lifetime_s", "3600"),
    key("stream.max_streams", "0"),
    key("stream.start_timeout_s", "30"),
    key("stream.idle_timeout_s", "300"),
    key("stream.replay_timeout_s", "6"),
    key("stream.replay_backoff_max_s", "30"),
    key("camera.keepalive_timeout_s", "30"),
    secret("database.url"),
    key("database.pool_size", "4"),
    key("data.dir", "\"apiary-data\""),
    key("retention.stream_sessions_days", "90"),
    key("retention.viewer_sessions_days", "90"),
    key("retention.camera_events_days", "90"),
    key("retention.audit_log_days", "365"),
    key("log.level", "\"info\""),
    key("log.format", "\"human\""),
    key("metrics.listen", ""),
    key("otlp.endpoint", ""),
    secret("otlp.authorization"),
    key("otlp.ca", ""),
    secret("webhooks.urls"),
    secret("webhooks.secret"),
    key("webhooks.events", ""),
    key("webhooks.cameras", "[]"),
    key("webhooks.allow_private", "[]"),
    key("webhooks.ca", ""),
    key("webhooks.queue_limit", "1000"),
    key("webhooks.keep_s", "86400"),
    key("push.enabled", "true"),
    key("push.contact", ""),
    key("push.allow_private", "[]"),
    key("push.ca", ""),
];

/// Names of existing installations that set a key of ours.
pub const LEGACY: &[(&str, &str)] = &[
    ("LOCAL_IP", "network.local_ip"),
    ("EXTERNAL_IP", "network.external_ip"),
    ("LOCAL_NETWORK_PREFIX", "network.local_networks"),
    ("KMS_MIN_PORT", "ingest.ports"),
    ("KMS_MAX_PORT", "ingest.ports"),
    ("EMQX_BROKER_HOST", "mqtt.broker"),
    ("EMQX_BROKER_PORT", "mqtt.broker"),
    ("EMQX_LIVESTREAM_CLIENT_ID", "mqtt.client_id"),
    ("EMQX_CA_CERT", "mqtt.ca"),
    ("EMQX_CLIENT_CERT", "mqtt.cert"),
    ("EMQX_CLIENT_KEY", "mqtt.key"),
    ("API_SERVER_HOST", "http.listen"),
    ("API_SERVER_PORT", "http.listen"),
    ("SIGNALING_SERVER_HOST", "signaling.listen"),
    ("SIGNALING_SERVER_PORT", "signaling.listen"),
    ("TLS_ENABLED", "tls.mode"),
    ("TLS_CERT_PATH", "tls.cert"),
    ("TLS_KEY_PATH", "tls.key"),
    ("DASHBOARD_SSL_CERT_FILE", "tls.cert"),
    ("DASHBOARD_SSL_KEY_FILE", "tls.key"),
    ("AUTH_ENABLED", "auth.enabled"),
    ("JWT_SECRET_KEY", "auth.jwt_secret"),
    ("LOG_LEVEL", "log.level"),
    ("DEBUG", "log.level"),
    ("KURENTO_WS_URL", "kurento.servers"),
    ("STUN_SERVER", "kurento.stun"),
    ("STUN_PORT", "kurento.stun"),
    ("TURN_SERVER_URL", "kurento.turn"),
    ("TURN_SERVER_USERNAME", "kurento.turn_username"),
    ("TURN_SERVER_PASSWORD", "kurento.turn_password"),
];

/// Those of [`LEGACY`] that only the engine `kurento` uses, and what to know about them with the built-in engine.
pub const KURENTO_ONLY: &[(&str, &str)] = &[
    (
        "KURENTO_WS_URL",
        "not used: the built-in engine moves the pictures, and no Kurento server is needed; it counts with \
         media.engine = \"kurento\" only",
    ),
    (
        "STUN_SERVER",
        "not used: the built-in engine gives browsers network.local_ip and network.external_ip directly; it counts \
         with media.engine = \"kurento\" only",
    ),
    ("STUN_PORT", "not used, as STUN_SERVER is not"),
    (
        "TURN_SERVER_URL",
        "not used: the login is Kurento's and never changes, so that browsers are not given it; turn.urls and \
         turn.secret name a TURN server for them; it counts with media.engine = \"kurento\" only",
    ),
    (
        "TURN_SERVER_USERNAME",
        "not used, as TURN_SERVER_URL is not",
    ),
    (
        "TURN_SERVER_PASSWORD",
        "not used, as TURN_SERVER_URL is not",
    ),
];

/// The key of that path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether a section of that name exists.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| section(key.path) == name)
}

/// Whether a variable of that name is read.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || LEGACY.iter().any(|(legacy, _)| *legacy == name)
}

/// The key whose variable has that name.
pub(super) fn by_variable(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.variable() == name)
}

/// Whether a variable is meant for us though no key has that name: its second word is a section. (Containers put
/// variables like `APIARY_PORT_8080_TCP` beside a service called apiary; those are not meant for us.)
pub(super) fn is_misspelt(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    name != CONFIG_VARIABLE
        && by_variable(name).is_none()
        && rest
            .split_once('_')
            .is_some_and(|(word, _)| is_section(&word.to_ascii_lowercase()))
}

/// The key, section or variable most like what was written, if any is like it.
pub(super) fn nearest(written: &str) -> Option<String> {
    let candidates: Vec<String> = if written.starts_with(PREFIX) {
        KEYS.iter().map(Key::variable).collect()
    } else if written.contains('.') {
        KEYS.iter().map(|key| key.path.to_owned()).collect()
    } else {
        KEYS.iter()
            .flat_map(|key| [section(key.path), key.path])
            .map(str::to_owned)
            .collect()
    };
    // A name without its section, `listen`, is best met by the key that ends in it.
    if let Some(exact) = candidates.iter().find(|key| {
        key.rsplit_once('.')
            .is_some_and(|(_, name)| name == written)
    }) {
        return Some(exact.clone());
    }
    let similarity = |candidate: &str| strsim::jaro_winkler(candidate, written);
    candidates
        .into_iter()
        .map(|candidate| (similarity(&candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

fn section(path: &'static str) -> &'static str {
    path.split_once('.').map_or(path, |(section, _)| section)
}
