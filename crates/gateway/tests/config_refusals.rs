//! h13, the media half: configurations that are refused, each with the key in the error.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

use std::os::unix::fs::PermissionsExt;

use apiary::config::{Config, ConfigError, ConfigErrors, Environment};
use sources::{environment, load, load_all};

/// A TOML text, and what the error must name: key, and a word of the problem or remedy.
const REFUSED: &[(&str, &str, &str)] = &[
    // Unknown keys and sections.
    (
        "[http]\nlisten_on = ['127.0.0.1:80']",
        "http.listen_on",
        "did you mean `http.listen`",
    ),
    (
        "[mqtt]\nbrocker = 'embedded'",
        "mqtt.brocker",
        "did you mean `mqtt.broker`",
    ),
    ("[medai]\nworkers = 1", "medai", "did you mean `media`"),
    (
        "listen = '127.0.0.1:80'",
        "listen",
        "did you mean `http.listen`",
    ),
    (
        "[media]\nmax_bitrate = 1000",
        "media.max_bitrate",
        "did you mean `media.max_bitrate_kbps`",
    ),
    ("[zzz]\nq = 1", "zzz", "docs/config.md"),
    ("http = 1", "http", "no key"),
    (
        "[stream.start]\ntimeout = 1",
        "stream.start",
        "stream.start_timeout_s",
    ),
    // No TOML.
    ("[http\nlisten = 1", "line 1", ""),
    ("[http]\nlisten = ", "line 2", ""),
    ("[http]\nlisten = '1'\nlisten = '2'", "line 3", "duplicate"),
    // Keys of signed tokens.
    (
        "[auth]\njwks = '/no/such/keys.json'",
        "auth.jwks",
        "no such file",
    ),
    (
        "[auth]\njwks = 'http://id.example/jwks'",
        "auth.jwks",
        "without TLS",
    ),
    (
        "[auth]\njwks = 'https://bee:canary@id.example/jwks'",
        "auth.jwks",
        "password",
    ),
    (
        "[auth]\njwks = 'ldap://id.example'",
        "auth.jwks",
        "https://",
    ),
    (
        "[auth]\njwks_ca = '/etc/hostname'",
        "auth.jwks_ca",
        "names none",
    ),
    // Webhooks.
    (
        "[webhooks]\nurls = 'https://a.example/x'",
        "webhooks.urls",
        "openssl rand",
    ),
    (
        "[webhooks]\nurls = 'https://a.example/x'\nsecret = 'short'",
        "webhooks.secret",
        "16 characters",
    ),
    ("[webhooks]\nsecret = 1", "webhooks.secret", "quotes"),
    (
        "[webhooks]\nurls = 'ftp://a.example/x'",
        "webhooks.urls",
        "neither https",
    ),
    (
        "[webhooks]\nurls = 'a.example/x'",
        "webhooks.urls",
        "no URL",
    ),
    ("[webhooks]\nurls = 'https://'", "webhooks.urls", "no URL"),
    (
        "[webhooks]\nurls = 'https://me:pw@a.example/'",
        "webhooks.urls",
        "user name",
    ),
    (
        "[webhooks]\nurls = 'https://a.example/#x'",
        "webhooks.urls",
        "after #",
    ),
    (
        "[webhooks]\nurls = ['https://a.example/x', 'https://A.example:443/x']",
        "webhooks.urls",
        "twice",
    ),
    (
        "[webhooks]\nurls = 'http://192.168.1.9/'\nsecret = '0123456789abcdef'",
        "webhooks.urls",
        "192.168.1.9/32",
    ),
    (
        "[webhooks]\nurls = 'http://[fe80::1]/'\nsecret = '0123456789abcdef'",
        "webhooks.urls",
        "fe80::1/128",
    ),
    (
        "[webhooks]\nurls = 'http://169.254.169.254/'\nsecret = '0123456789abcdef'\nallow_private = ['192.168.0.0/16']",
        "webhooks.urls",
        "no public address",
    ),
    (
        "[webhooks]\nevents = ['stream.begun']",
        "webhooks.events",
        "stream.started",
    ),
    (
        "[webhooks]\nevents = []",
        "webhooks.events",
        "names no event",
    ),
    (
        "[webhooks]\ncameras = ['porch']",
        "webhooks.cameras",
        "no camera id",
    ),
    (
        "[webhooks]\nallow_private = ['192.168.1.1']",
        "webhooks.allow_private",
        "LENGTH",
    ),
    (
        "[webhooks]\nqueue_limit = 0",
        "webhooks.queue_limit",
        "100000",
    ),
    ("[webhooks]\nkeep_s = 1", "webhooks.keep_s", "2592000"),
    (
        "[webhooks]\nca = '/nonexistent'",
        "webhooks.ca",
        "no such file",
    ),
    (
        "[webhooks]\nurl = 'https://a.example/x'",
        "webhooks.url",
        "webhooks.urls",
    ),
    // http and signaling.
    ("[http]\nlisten = []", "http.listen", "empty"),
    ("[http]\nlisten = ['']", "http.listen", "empty"),
    ("[http]\nlisten = 8080", "http.listen", "quotes"),
    (
        "[http]\nlisten = ['127.0.0.1']",
        "http.listen",
        "port is missing",
    ),
    ("[http]\nlisten = [':8080']", "http.listen", "ADDRESS:PORT"),
    (
        "[http]\nlisten = ['127.0.0.1:99999']",
        "http.listen",
        "ADDRESS:PORT",
    ),
    (
        "[http]\nlisten = ['example.org:80']",
        "http.listen",
        "ADDRESS:PORT",
    ),
    (
        "[http]\nlisten = ['127.0.0.1:80', '127.0.0.1:80']",
        "http.listen",
        "twice",
    ),
    (
        "[http]\nlisten = [\"127.0.0.1:80\\u001b[2J\"]",
        "http.listen",
        "control character",
    ),
    (
        "[http]\ncors_origins = ['*']",
        "http.cors_origins",
        "every page",
    ),
    (
        "[http]\ncors_origins = ['localhost:5000']",
        "http.cors_origins",
        "http://localhost:5000",
    ),
    (
        "[http]\ncors_origins = ['http://a/b']",
        "http.cors_origins",
        "write http://a",
    ),
    (
        "[http]\ncors_origins = ['ftp://a']",
        "http.cors_origins",
        "no origin",
    ),
    (
        "[http]\ncors_origins = ['http://']",
        "http.cors_origins",
        "no origin",
    ),
    (
        "[http]\ncors_origins = true",
        "http.cors_origins",
        "true or false",
    ),
    (
        "[signaling]\nlisten = ['127.0.0.1:8080']",
        "signaling.listen",
        "http.listen listens on",
    ),
    (
        "[signaling]\nlisten = ['0.0.0.0:8080']",
        "signaling.listen",
        "http.listen listens on",
    ),
    (
        "[signaling]\nlisten = ['[::]:8080']",
        "signaling.listen",
        "http.listen listens on",
    ),
    // mqtt.
    (
        "[mqtt]\nextra_clients = ['watcher']",
        "mqtt.extra_clients",
        "NAME read FILTER",
    ),
    (
        "[mqtt]\nextra_clients = ['watcher look a/#']",
        "mqtt.extra_clients",
        "neither `read` nor `write`",
    ),
    (
        "[mqtt]\nextra_clients = ['watcher read a/#/b']",
        "mqtt.extra_clients",
        "no topic filter",
    ),
    (
        "[mqtt]\nextra_clients = ['a/b read a/#']",
        "mqtt.extra_clients",
        "remove the other characters",
    ),
    (
        "[mqtt]\nextra_clients = ['56C1CADCF1FA4C6CAEBA3E2FD85EFEBF read #']",
        "mqtt.extra_clients",
        "is a camera id",
    ),
    (
        "[mqtt]\nbroker = 'mqtt://h'\nextra_clients = ['watcher read a/#']",
        "mqtt.extra_clients",
        "embedded broker",
    ),
    ("[mqtt]\nrevoked = ['']", "mqtt.revoked", "empty"),
    (
        "[mqtt]\nbroker = 'mqtt://h'\nrevoked = ['camera_client']",
        "mqtt.revoked",
        "embedded broker",
    ),
    ("[mqtt]\nbroker = ''", "mqtt.broker", "empty"),
    (
        "[mqtt]\nbroker = 'mosquitto'",
        "mqtt.broker",
        "mqtt://host:1883",
    ),
    (
        "[mqtt]\nbroker = 'http://host'",
        "mqtt.broker",
        "not spoken",
    ),
    ("[mqtt]\nbroker = 'mqtt://'", "mqtt.broker", "names no host"),
    (
        "[mqtt]\nbroker = 'mqtt://user:pw@host'",
        "mqtt.broker",
        "mqtt.username",
    ),
    ("[mqtt]\nbroker = 'mqtt://host/path'", "mqtt.broker", "path"),
    ("[mqtt]\nbroker = 'mqtt://host:0'", "mqtt.broker", "no port"),
    ("[mqtt]\nbroker = 'mqtt://host:'", "mqtt.broker", "no port"),
    ("[mqtt]\nbroker = 'mqtt://host:x'", "mqtt.broker", "no port"),
    (
        "[mqtt]\nbroker = 'mqtt://[::1'",
        "mqtt.broker",
        "names no host",
    ),
    (
        "[mqtt]\nbroker = 'mqtt://ho st'",
        "mqtt.broker",
        "names no host",
    ),
    ("[mqtt]\nbroker = 1883", "mqtt.broker", "quotes"),
    (
        "[mqtt]\nlisten = '127.0.0.1:8080'",
        "mqtt.listen",
        "http.listen listens on",
    ),
    (
        "[mqtt]\nlisten = ['127.0.0.1:1883']",
        "mqtt.listen",
        "a list",
    ),
    (
        "[mqtt]\nbroker = 'mqtt://h'\nlisten = '127.0.0.1:1884'",
        "mqtt.listen",
        "embedded",
    ),
    (
        "[mqtt]\nlisten_tls = '127.0.0.1:8883'",
        "mqtt.listen_tls",
        "mqtt.ca, mqtt.cert, mqtt.key",
    ),
    // HTTPS.
    ("[tls]\nmode = 'on'", "tls.mode", "self-signed"),
    ("[tls]\nmode = 'files'", "tls.mode", "tls.cert"),
    (
        "[tls]\nmode = 'self-signed'\nnames = ['not a name']",
        "tls.names",
        "cams.example",
    ),
    ("[tls]\nnames = ['cams.example']", "tls.names", "no use"),
    (
        "[tls]\nmode = 'acme'\nacme_terms_agreed = true",
        "tls.mode",
        "tls.names is missing",
    ),
    (
        "[tls]\nmode = 'acme'\nnames = ['cams.example']",
        "tls.mode",
        "tls.acme_terms_agreed = true",
    ),
    (
        "[tls]\nmode = 'acme'\nnames = ['cams.example']\nacme_terms_agreed = false",
        "tls.mode",
        "terms",
    ),
    (
        "[tls]\nmode = 'acme'\nnames = ['cams.example']\nacme_terms_agreed = 'perhaps'",
        "tls.acme_terms_agreed",
        "true or false",
    ),
    (
        "[tls]\nmode = 'acme'\nnames = ['192.0.2.1']\nacme_terms_agreed = true",
        "tls.names",
        "no host name",
    ),
    (
        "[tls]\nmode = 'acme'\nnames = ['*.cams.example']\nacme_terms_agreed = true",
        "tls.names",
        "`*`",
    ),
    (
        "[tls]\nmode = 'acme'\nnames = ['a.example']\nacme_terms_agreed = true\nacme_directory = 'http://acme.example/directory'",
        "tls.acme_directory",
        "https://",
    ),
    (
        "[tls]\nmode = 'acme'\nnames = ['a.example']\nacme_terms_agreed = true\nacme_contact = 'admin'",
        "tls.acme_contact",
        "admin@",
    ),
    (
        "[tls]\nmode = 'acme'\nnames = ['a.example']\nacme_terms_agreed = true\nacme_challenge = 'dns-01'",
        "tls.acme_challenge",
        "tls-alpn-01",
    ),
    (
        "[tls]\nmode = 'acme'\nnames = ['a.example']\nacme_terms_agreed = true\nacme_ca = '/nowhere'",
        "tls.acme_ca",
        "no such file",
    ),
    (
        "[tls]\nmode = 'acme'\nnames = ['a.example']\nacme_terms_agreed = true\nacme_eab_id = 'a'",
        "tls.acme_eab_id",
        "tls.acme_eab_key is missing",
    ),
    (
        "[tls]\nmode = 'self-signed'\nacme_contact = 'a@b.example'",
        "tls.acme_contact",
        "no use",
    ),
    (
        "[tls]\nredirect_listen = '127.0.0.1:80'",
        "tls.redirect_listen",
        "set tls.mode",
    ),
    (
        "[tls]\nmode = 'self-signed'\nredirect_listen = '127.0.0.1:8080'",
        "tls.redirect_listen",
        "http.listen",
    ),
    ("[tls]\nhsts_days = 9000", "tls.hsts_days", "730"),
    ("[tls]\npublic_port = 0", "tls.public_port", "65535"),
    ("[mqtt]\nca = '/nowhere/ca.crt'", "mqtt.ca", "no such file"),
    ("[mqtt]\nca = '/'", "mqtt.ca", "no file"),
    (
        "[mqtt]\nbroker = 'mqtts://h'\ncert = '/dev/null'",
        "mqtt.cert",
        "no file",
    ),
    (
        "[mqtt]\nbroker = 'mqtt://h'\nserver_name = 'x'",
        "mqtt.server_name",
        "mqtts://",
    ),
    ("[mqtt]\nserver_name = 'x'", "mqtt.server_name", "embedded"),
    (
        "[mqtt]\nbroker = 'mqtts://h'\nserver_name = 'not a name'",
        "mqtt.server_name",
        "host name",
    ),
    (
        "[mqtt]\nbroker = 'mqtts://h'\nserver_name = 'x'\nverify = 'chain'",
        "mqtt.server_name",
        "checks no name",
    ),
    (
        "[mqtt]\nbroker = 'mqtts://h'\nverify = 'none'",
        "mqtt.verify",
        "protects nothing",
    ),
    (
        "[mqtt]\nbroker = 'mqtts://h'\nverify = 'maybe'",
        "mqtt.verify",
        "\"full\"",
    ),
    ("[mqtt]\nverify = 'chain'", "mqtt.verify", "embedded"),
    ("[mqtt]\nusername = 'u'", "mqtt.username", "embedded"),
    (
        "[mqtt]\nbroker = 'mqtt://h'\npassword = 'p'",
        "mqtt.password",
        "mqtt.username is missing",
    ),
    ("[database]\nurl = ''", "database.url", "empty"),
    ("[database]\nurl = 5", "database.url", "quotes"),
    (
        "[database]\nurl = 'hive'",
        "database.url",
        "postgres://USER",
    ),
    (
        "[database]\nurl = 'mysql://bee@h/hive'",
        "database.url",
        "postgres://",
    ),
    (
        "[database]\nurl = 'postgres://bee@h'",
        "database.url",
        "names no database",
    ),
    (
        "[database]\nurl = 'postgres://h/hive'",
        "database.url",
        "names no user",
    ),
    (
        "[database]\nurl = 'postgres://bee@/hive'",
        "database.url",
        "names no host",
    ),
    (
        "[database]\nurl = 'postgres://bee@h:0/hive'",
        "database.url",
        "65535",
    ),
    (
        "[database]\nurl = 'postgres://bee@h/hive?sslmode=on'",
        "database.url",
        "verify-full",
    ),
    (
        "[database]\nurl = 'postgres://bee@h/hive?sslrootcert=/nowhere'",
        "database.url",
        "no such file",
    ),
    (
        "[retention]\naudit_log_days = -1",
        "retention.audit_log_days",
        "0 to 36500",
    ),
    (
        "[retention]\nviewer_sessions_days = 36501",
        "retention.viewer_sessions_days",
        "0 to 36500",
    ),
    (
        "[retention]\ncamera_events = 1",
        "retention.camera_events",
        "did you mean `retention.camera_events_days`",
    ),
    ("[database]\npool_size = 0", "database.pool_size", "1 to 64"),
    (
        "[database]\npool_size = 65",
        "database.pool_size",
        "1 to 64",
    ),
    ("[mqtt]\nclient_id = 'a/b'", "mqtt.client_id", "letters"),
    ("[mqtt]\nclient_id = '#'", "mqtt.client_id", "letters"),
    (
        "[mqtt]\nclient_id = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
        "mqtt.client_id",
        "64",
    ),
    ("[mqtt]\nmax_clients = 0", "mqtt.max_clients", "range"),
    (
        "[mqtt]\nkeepalive_interval_s = 0",
        "mqtt.keepalive_interval_s",
        "range",
    ),
    (
        "[mqtt]\nkeepalive_interval_s = 16",
        "mqtt.keepalive_interval_s",
        "at most 15",
    ),
    (
        "[mqtt]\nkeepalive_interval_s = 4.5",
        "mqtt.keepalive_interval_s",
        "fraction",
    ),
    (
        "[mqtt]\nack_timeout_s = '5'",
        "mqtt.ack_timeout_s",
        "without quotes",
    ),
    (
        "[camera]\nkeepalive_timeout_s = 6",
        "mqtt.keepalive_interval_s",
        "6 s",
    ),
    (
        "[camera]\nkeepalive_timeout_s = 1",
        "camera.keepalive_timeout_s",
        "range",
    ),
    // network.
    (
        "[network]\nlocal_ip = 'fd00::1'",
        "network.local_ip",
        "IPv4 only",
    ),
    (
        "[network]\nlocal_ip = '192.168.1'",
        "network.local_ip",
        "no IPv4",
    ),
    (
        "[network]\nlocal_ip = '192.168.1.10:80'",
        "network.local_ip",
        "without a port",
    ),
    (
        "[network]\nlocal_ip = '0.0.0.0'",
        "network.local_ip",
        "nobody can send",
    ),
    (
        "[network]\nexternal_ip = '224.0.0.1'",
        "network.external_ip",
        "nobody can send",
    ),
    (
        "[network]\nexternal_ip = '255.255.255.255'",
        "network.external_ip",
        "nobody can send",
    ),
    (
        "[network]\nlocal_networks = ['192.168.1.10/16']",
        "network.local_networks",
        "did you mean 192.168.0.0/16",
    ),
    (
        "[network]\nlocal_networks = ['192.168.0.0']",
        "network.local_networks",
        "/LENGTH",
    ),
    (
        "[network]\nlocal_networks = ['192.168.0.0/33']",
        "network.local_networks",
        "too long",
    ),
    (
        "[network]\nlocal_networks = ['home/16']",
        "network.local_networks",
        "no network",
    ),
    (
        "[network]\nlocal_networks = [16]",
        "network.local_networks",
        "a number",
    ),
    // media and ingest.
    (
        "[media]\nengine = 'gstreamer'",
        "media.engine",
        "use \"sfu\" or \"kurento\"",
    ),
    ("[media]\nbind = 'eth0'", "media.bind", "no IP address"),
    (
        "[media]\nbind = '127.0.0.1'\n[network]\nlocal_ip = '192.168.1.10'",
        "media.bind",
        "arrives there",
    ),
    ("[ingest]\nbind = '::1'", "ingest.bind", "IPv4"),
    ("[media]\nworkers = 0", "media.workers", "range"),
    ("[media]\nworkers = 65", "media.workers", "range"),
    ("[media]\nworkers = -1", "media.workers", "range"),
    (
        "[media]\nworkers = 99999999999999999999",
        "media.workers",
        "beyond all bounds",
    ),
    ("[media]\nudp_port = 0", "media.udp_port", "range"),
    ("[media]\nudp_port = 65536", "media.udp_port", "range"),
    (
        "[media]\nudp_port = 65535\nworkers = 2",
        "media.udp_port",
        "at most 65534",
    ),
    (
        "[media]\nudp_port = 5100\nworkers = 1",
        "ingest.ports",
        "media.udp_port",
    ),
    (
        "[media]\nudp_port = 5005\nworkers = 2",
        "ingest.ports",
        "overlap",
    ),
    (
        "[media]\nmin_bitrate_kbps = 5001",
        "media.min_bitrate_kbps",
        "media.max_bitrate_kbps",
    ),
    (
        "[media]\nmin_bitrate_kbps = 900\nmax_bitrate_kbps = 800",
        "media.min_bitrate_kbps",
        "raise the maximum",
    ),
    (
        "[media]\nmax_bitrate_kbps = 0",
        "media.max_bitrate_kbps",
        "range",
    ),
    (
        "[media]\nmax_bitrate_kbps = 1979-05-27",
        "media.max_bitrate_kbps",
        "a date",
    ),
    (
        "[media]\nmax_viewers_per_stream = -1",
        "media.max_viewers_per_stream",
        "range",
    ),
    (
        "[media]\nmax_viewers_per_stream = { a = 1 }",
        "media.max_viewers_per_stream",
        "a table",
    ),
    ("[ingest]\nports = '5006'", "ingest.ports", "FIRST-LAST"),
    ("[ingest]\nports = '5999-5006'", "ingest.ports", "5006-5999"),
    (
        "[ingest]\nports = '5007-5999'",
        "ingest.ports",
        "begin with 5006",
    ),
    (
        "[ingest]\nports = '5006-6000'",
        "ingest.ports",
        "end with 6001",
    ),
    ("[ingest]\nports = '5006-5007'", "ingest.ports", "too small"),
    ("[ingest]\nports = '0-99'", "ingest.ports", "no port"),
    (
        "[ingest]\nports = '5006-70001'",
        "ingest.ports",
        "FIRST-LAST",
    ),
    ("[ingest]\nports = [5006, 5999]", "ingest.ports", "quotes"),
    // kurento.
    (
        "[kurento]\nservers = ['kms']",
        "kurento.servers",
        "ws://HOST:8888/kurento",
    ),
    (
        "[kurento]\nservers = ['http://kms:8888']",
        "kurento.servers",
        "not spoken",
    ),
    (
        "[kurento]\nservers = ['ws://']",
        "kurento.servers",
        "names no host",
    ),
    (
        "[kurento]\nservers = ['ws://kms:0']",
        "kurento.servers",
        "no port",
    ),
    (
        "[kurento]\nservers = ['ws://u:p@kms']",
        "kurento.servers",
        "login",
    ),
    (
        "[kurento]\nservers = ['ws://kms/kurento?a=1']",
        "kurento.servers",
        "query",
    ),
    (
        "[kurento]\nservers = ['ws://kms/ä']",
        "kurento.servers",
        "path",
    ),
    (
        "[kurento]\nservers = ['ws://kms', 'ws://kms']",
        "kurento.servers",
        "ws://kms stands in it twice",
    ),
    (
        "[kurento]\nservers = ['ws://kms', 'ws://KMS:8888/kurento']",
        "kurento.servers",
        "ws://kms and ws://KMS:8888/kurento are the same server",
    ),
    (
        "[media]\nengine = 'kurento'\n[kurento]\nservers = []",
        "kurento.servers",
        "name a server",
    ),
    (
        "[kurento]\ndrain = ['ws://kms2']",
        "kurento.drain",
        "ws://kms2 is not in kurento.servers",
    ),
    (
        "[kurento]\nadvertised = ['127.0.0.1']",
        "kurento.advertised",
        "HOST=ADDRESS",
    ),
    (
        "[kurento]\nadvertised = ['127.0.0.1=kms']",
        "kurento.advertised",
        "no IPv4",
    ),
    (
        "[kurento]\nadvertised = ['kms2=192.168.1.2']",
        "kurento.advertised",
        "at `kms2`",
    ),
    (
        "[kurento]\nadvertised = ['127.0.0.1=10.0.0.1', '127.0.0.1=10.0.0.2']",
        "kurento.advertised",
        "twice",
    ),
    (
        "[kurento]\npipeline_prefix = 'a b'",
        "kurento.pipeline_prefix",
        "letters",
    ),
    (
        "[kurento]\npipeline_prefix = ''",
        "kurento.pipeline_prefix",
        "empty",
    ),
    (
        "[kurento]\nrequest_timeout_s = 61",
        "kurento.request_timeout_s",
        "range",
    ),
    (
        "[kurento]\nping_interval_s = 241",
        "kurento.ping_interval_s",
        "range",
    ),
    (
        "[kurento]\nfailover_after_s = 0",
        "kurento.failover_after_s",
        "range",
    ),
    ("[kurento]\nca = '/etc/hostname'", "kurento.ca", "no use"),
    (
        "[kurento]\nservers = 'wss://kms'\nca = '/nowhere'",
        "kurento.ca",
        "no such file",
    ),
    (
        "[kurento]\ninterfaces = ['eth0/1']",
        "kurento.interfaces",
        "ip link",
    ),
    (
        "[kurento]\nstun = 'stun example'",
        "kurento.stun",
        "names no host",
    ),
    (
        "[kurento]\nturn = 'turn.example:3478'",
        "kurento.turn",
        "turn:HOST:PORT",
    ),
    (
        "[kurento]\nturn = 'turn:u:p@h'\nturn_username = 'u'\nturn_password = 'p'",
        "kurento.turn",
        "kurento.turn_username",
    ),
    (
        "[kurento]\nturn = 'turn:h?transport=sctp'\nturn_username = 'u'\nturn_password = 'p'",
        "kurento.turn",
        "transport=udp",
    ),
    (
        "[kurento]\nturn = 'turn:h'",
        "kurento.turn",
        "kurento.turn_username is missing",
    ),
    (
        "[kurento]\nturn_username = 'u'",
        "kurento.turn_username",
        "kurento.turn is missing",
    ),
    (
        "[kurento]\nturn = 'turn:h'\nturn_username = 'u'\nturn_password = 'a:b'",
        "kurento.turn_password",
        "colon",
    ),
    // turn.
    (
        "[turn]\nurls = ['turn.example']\nsecret = '0123456789abcdef'",
        "turn.urls",
        "has no scheme",
    ),
    (
        "[turn]\nurls = ['http://turn.example']\nsecret = '0123456789abcdef'",
        "turn.urls",
        "neither turn: nor stun:",
    ),
    (
        "[turn]\nurls = ['turn://turn.example']\nsecret = '0123456789abcdef'",
        "turn.urls",
        "names no host",
    ),
    (
        "[turn]\nurls = ['turn:h>; rel=\"next\"']\nsecret = '0123456789abcdef'",
        "turn.urls",
        "names no host",
    ),
    (
        "[turn]\nurls = ['turn:h:0']\nsecret = '0123456789abcdef'",
        "turn.urls",
        "is no port",
    ),
    (
        "[turn]\nurls = ['turn:u:p@h']\nsecret = '0123456789abcdef'",
        "turn.urls",
        "holds a login",
    ),
    (
        "[turn]\nurls = ['turn:h?transport=sctp']\nsecret = '0123456789abcdef'",
        "turn.urls",
        "is not known for turn:",
    ),
    (
        "[turn]\nurls = ['turns:h?transport=udp']\nsecret = '0123456789abcdef'",
        "turn.urls",
        "is not known for turns:",
    ),
    (
        "[turn]\nurls = ['stun:h?transport=udp']",
        "turn.urls",
        "is not known for stun:",
    ),
    (
        "[turn]\nurls = ['stun:a','stun:b','stun:c','stun:d','stun:e','stun:f','stun:g','stun:h','stun:i']",
        "turn.urls",
        "at most 8",
    ),
    (
        "[turn]\nurls = ['turn:h']",
        "turn.urls",
        "turn.secret is missing",
    ),
    (
        "[turn]\nurls = ['stun:h']\nsecret = '0123456789abcdef'",
        "turn.secret",
        "names no TURN server",
    ),
    ("[turn]\nsecret = 'short'", "turn.secret", "fewer than 16"),
    ("[turn]\nlifetime_s = 59", "turn.lifetime_s", "range"),
    // stream, data, log.
    (
        "[stream]\nstart_timeout_s = 0",
        "stream.start_timeout_s",
        "range",
    ),
    (
        "[stream]\nidle_timeout_s = -5",
        "stream.idle_timeout_s",
        "range",
    ),
    (
        "[stream]\nidle_timeout_s = 'never'",
        "stream.idle_timeout_s",
        "a number",
    ),
    (
        "[stream]\nreplay_timeout_s = 2",
        "stream.replay_timeout_s",
        "3",
    ),
    (
        "[stream]\nreplay_backoff_max_s = 5",
        "stream.replay_backoff_max_s",
        "raise it",
    ),
    ("[data]\ndir = ''", "data.dir", "empty"),
    ("[data]\ndir = '/etc/hostname'", "data.dir", "a file"),
    ("[log]\nlevel = 'loud'", "log.level", "debug"),
    ("[log]\nformat = 'xml'", "log.format", "json"),
];

fn errors(toml: &str) -> ConfigErrors {
    match load(toml, &[]) {
        Err(errors) => errors,
        Ok(_) => panic!("taken, though broken:\n{toml}"),
    }
}

#[test]
fn h13_broken_configurations_are_refused_with_key_and_remedy() {
    assert!(REFUSED.len() >= 60);
    for (toml, key, word) in REFUSED {
        let errors = errors(toml);
        let text = errors.to_string();
        assert!(
            text.contains(key) && text.contains(word),
            "{toml}\n  wanted {key} and {word:?} in\n  {text}"
        );
        assert_eq!(errors.0.len(), 1, "one mistake, one error:\n{toml}\n{text}");
        assert!(
            text.contains("apiary.toml line "),
            "the place is named: {text}"
        );
        assert!(
            !text.contains('\u{1b}'),
            "no escape sequence reaches the terminal"
        );
    }
}

/// The contradiction of a default with a set key is told at the set key or names it.
#[test]
fn all_errors_come_at_once() {
    let toml = "[http]\nlisten = ['nowhere']\nlisen = 1\n[media]\nworkers = 0\nmin_bitrate_kbps = 9000\n\
                [ingest]\nports = '5-9'\n[mqtt]\nserver_name = 'x'";
    let errors = errors(toml);
    assert_eq!(errors.0.len(), 6, "{errors}");
    let text = errors.to_string();
    assert!(
        text.starts_with("the configuration has 6 errors:\n"),
        "{text}"
    );
    for key in [
        "http.listen",
        "http.lisen",
        "media.workers",
        "media.min_bitrate_kbps",
        "ingest.ports",
        "mqtt.server_name",
    ] {
        assert!(text.contains(key), "{key} is missing in {text}");
    }
}

#[test]
fn the_line_is_the_one_of_the_key() {
    let text = errors("# a comment\n\n[media]\n\nworkers = 2\nudp_port = 'x'\n").to_string();
    assert!(
        text.contains("apiary.toml line 6: media.udp_port = \"x\": "),
        "{text}"
    );
}

#[test]
fn an_unreadable_file_is_an_error() {
    let missing = Config::load(
        Some("/nowhere/apiary.toml".as_ref()),
        &Environment::default(),
    )
    .unwrap_err();
    assert!(
        missing.to_string().contains("/nowhere/apiary.toml"),
        "{missing}"
    );

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("apiary.toml");
    std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
    let binary = Config::load(Some(&file), &Environment::default()).unwrap_err();
    assert!(binary.to_string().contains("UTF-8"), "{binary}");
}

#[test]
fn a_certificate_that_may_not_be_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("secret.key");
    std::fs::write(&key, "x").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may read everything: then there is nothing to test.
    if std::fs::read(&key).is_ok() {
        return;
    }
    let text = errors(&format!(
        "[mqtt]\nbroker = 'mqtts://h'\nca = '{}'",
        key.display()
    ))
    .to_string();
    assert!(
        text.contains("mqtt.ca") && text.contains("cannot be read"),
        "{text}"
    );
}

#[test]
fn certificate_and_key_belong_together() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.pem");
    std::fs::write(&file, "x").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let path = file.display();
    for (toml, key, word) in [
        (
            format!("[tls]\ncert = '{path}'"),
            "tls.cert",
            "tls.key is missing",
        ),
        (
            format!("[tls]\nmode = 'files'\nkey = '{path}'"),
            "tls.key",
            "tls.cert is missing",
        ),
        (
            format!("[tls]\nmode = 'self-signed'\nkey = '{path}'"),
            "tls.key",
            "no use",
        ),
        (
            format!("[mqtt]\nbroker = 'mqtts://h'\ncert = '{path}'"),
            "mqtt.cert",
            "mqtt.key is missing",
        ),
        (
            format!("[mqtt]\nbroker = 'mqtts://h'\nkey = '{path}'"),
            "mqtt.key",
            "mqtt.cert is missing",
        ),
        (format!("[mqtt]\nca = '{path}'"), "mqtt.ca", "no use"),
        (
            format!("[mqtt]\nbroker = 'mqtt://h'\nca = '{path}'"),
            "mqtt.ca",
            "no use",
        ),
        (
            format!("[mqtt]\nlisten_tls = '127.0.0.1:8883'\ncert = '{path}'\nkey = '{path}'"),
            "mqtt.listen_tls",
            "TLS needs mqtt.ca",
        ),
    ] {
        let text = errors(&toml).to_string();
        assert!(text.contains(key) && text.contains(word), "{toml}\n{text}");
    }
}

/// Whoever can read a key can pretend to be this machine; the error says what to run.
#[test]
fn h13_a_private_key_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.pem");
    std::fs::write(&file, "x").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let path = file.display();
    for (toml, key) in [
        (format!("[tls]\ncert = '{path}'\nkey = '{path}'"), "tls.key"),
        (
            format!("[mqtt]\nbroker = 'mqtts://h'\ncert = '{path}'\nkey = '{path}'"),
            "mqtt.key",
        ),
    ] {
        let errors = errors(&toml);
        let text = errors.to_string();
        assert_eq!(errors.0.len(), 1, "{text}");
        let command = format!("chmod 600 {path}");
        assert!(text.contains(key) && text.contains(&command), "{text}");
    }
}

#[test]
fn bad_variables_are_refused_by_their_name() {
    for (name, value, key, word) in [
        (
            "APIARY_MEDIA_WORKERS",
            "many",
            "media.workers",
            "no whole number",
        ),
        (
            "APIARY_HTTP_LISTEN",
            "127.0.0.1:80,nowhere",
            "http.listen",
            "nowhere",
        ),
        (
            "APIARY_MQTT_KEEPALIVE_INTERVAL_S",
            "99",
            "mqtt.keepalive_interval_s",
            "range",
        ),
        (
            "APIARY_HTTP_LISTN",
            "x",
            "APIARY_HTTP_LISTN",
            "did you mean `APIARY_HTTP_LISTEN`",
        ),
        (
            "APIARY_STREAM_IDLE_TIMEOUT",
            "5",
            "APIARY_STREAM_IDLE_TIMEOUT",
            "APIARY_STREAM_IDLE_TIMEOUT_S",
        ),
        ("LOCAL_IP", "here", "network.local_ip", "LOCAL_IP"),
        (
            "LOCAL_NETWORK_PREFIX",
            "192.168.1.10.5",
            "network.local_networks",
            "LOCAL_NETWORK_PREFIX",
        ),
        (
            "EMQX_BROKER_PORT",
            "http",
            "mqtt.broker",
            "EMQX_BROKER_PORT",
        ),
        ("EMQX_CA_CERT", "/nowhere", "mqtt.ca", "EMQX_CA_CERT"),
        (
            "API_SERVER_PORT",
            "eighty",
            "http.listen",
            "API_SERVER_PORT",
        ),
        ("LOG_LEVEL", "LOUD", "log.level", "LOG_LEVEL"),
    ] {
        let mut variables = vec![(name, value)];
        // A certificate needs a broker that uses it.
        if name == "EMQX_CA_CERT" {
            variables.push(("EMQX_BROKER_HOST", "h"));
        }
        let errors = Config::load(None, &environment(None, &variables)).unwrap_err();
        let text = errors.to_string();
        assert!(
            text.contains(key) && text.contains(word),
            "{name}={value}: {text}"
        );
        assert_eq!(errors.0.len(), 1, "{text}");
        let place = format!("environment variable {name}");
        assert!(text.contains(&place), "{text}");
    }
}

#[test]
fn a_bad_line_of_the_env_file_is_named() {
    let errors = load_all(
        "",
        Some("LOCAL_IP=192.168.1.10\nthis is nothing\nAPIARY_MEDIA_WORKERS=x\n"),
        &[],
    );
    let errors = errors.unwrap_err();
    assert!(
        matches!(
            &errors.0[..],
            [
                ConfigError::Syntax { line: 2, .. },
                ConfigError::Value {
                    key: "media.workers",
                    ..
                }
            ]
        ),
        "{errors}"
    );
    assert!(
        errors
            .to_string()
            .contains(".env line 3, APIARY_MEDIA_WORKERS"),
        "{errors}"
    );
}

#[test]
fn h09_a_refused_password_is_not_printed() {
    for (toml, shown) in [
        ("[mqtt]\npassword = 'hunter2'", "mqtt.password = ***"),
        ("[auth]\njwt_secret = 'hunter2'", "auth.jwt_secret = ***"),
        ("[turn]\nsecret = 'hunter2'", "turn.secret = ***"),
        (
            "[tls]\nmode = 'acme'\nacme_eab_id = 'a'\nacme_eab_key = 'hunter2!'",
            "tls.acme_eab_key = ***",
        ),
        (
            "[database]\nurl = 'postgres://bee:hunter2/@h/hive'",
            "database.url = ***",
        ),
        (
            "[database]\nurl = 'postgres://bee:hunter2@h:x/hive'",
            "database.url = ***",
        ),
        (
            "[database]\nurl = 'postgres://bee@h/hive?hunter2'",
            "database.url = ***",
        ),
    ] {
        let errors = errors(toml);
        let text = errors.to_string();
        assert!(
            !format!("{errors} {errors:?}").contains("hunter2"),
            "{errors}"
        );
        assert!(text.contains(shown), "{errors}");
    }
}
