//! Configurations that are taken: defaults, the file, `.env`, the environment, and the names of existing installations.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use apiary::config::keys::{KEYS, KURENTO_ONLY, LEGACY};
use apiary::config::values::{BrokerAddress, BrokerTarget};
use apiary::config::{
    AcmeChallenge, CertificateSource, Config, Engine, Environment, LogFormat, TurnTransport,
    Verify, primary_ipv4,
};
use apiary::tls::name;
use apiary_store::Retention;
use jiff::SignedDuration;
use sources::{environment, load, load_all};

fn from_environment(variables: &[(&str, &str)]) -> Config {
    Config::load(None, &environment(None, variables)).unwrap()
}

#[test]
fn defaults_reach_nobody_but_this_machine() {
    let config = Config::load(None, &Environment::default()).unwrap();
    let listeners = config
        .http
        .listen
        .iter()
        .chain(&config.signaling.listen)
        .chain([&config.mqtt.embedded.listen]);
    assert!(
        listeners
            .into_iter()
            .all(|address| address.ip().is_loopback())
    );
    assert!(config.media.bind.is_loopback() && config.ingest.bind.is_loopback());
    assert_eq!(config.network.local_ip, Ipv4Addr::LOCALHOST);
    assert_eq!(config.http.listen[0].port(), 8080);
    assert_eq!(config.signaling.listen[0].port(), 8765);
    assert_eq!(config.mqtt.broker, BrokerTarget::Embedded);
    assert_eq!(config.mqtt.client_id, "livestream_service");
    assert_eq!(config.mqtt.keepalive_interval, Duration::from_secs(4));
    assert_eq!(
        (config.media.engine, config.media.udp_port),
        (Engine::Sfu, 8189)
    );
    assert_eq!(
        (
            config.media.min_bitrate.as_kbps(),
            config.media.max_bitrate.as_kbps()
        ),
        (500, 5000)
    );
    assert_eq!(config.ingest.ports, 5006..=5999);
    assert_eq!(config.stream.start_timeout, Duration::from_secs(30));
    assert_eq!(config.stream.idle_timeout, Duration::from_secs(300));
    assert_eq!(
        config.http.cors_origins,
        ["http://localhost:5000", "http://127.0.0.1:5000"]
    );
    assert_eq!(config.notes, []);
}

/// The issue's own example, as it stands there.
#[test]
fn the_whole_file_is_taken() {
    let toml = r#"
        [http]
        listen = ["127.0.0.1:8080", "[::1]:8080"]
        cors_origins = ["https://Dashboard.example"]
        [signaling]
        listen = ["127.0.0.1:8765"]
        [mqtt]
        broker = "mqtts://broker.example"
        server_name = "broker.hive"
        username = "u"
        password = "hunter2"
        client_id = "livestream_service"
        keepalive_interval_s = 15
        ack_timeout_s = 3
        [network]
        local_ip = "192.168.1.10"
        external_ip = "203.0.113.7"
        local_networks = ["192.168.0.0/16"]
        [media]
        engine = "sfu"
        workers = 2
        udp_port = 9000
        min_bitrate_kbps = 600
        max_bitrate_kbps = 4000
        max_viewers_per_stream = 7
        [ingest]
        ports = "6000-6999"
        [stream]
        start_timeout_s = 20
        idle_timeout_s = 60
        replay_timeout_s = 7
        replay_backoff_max_s = 31
        [camera]
        keepalive_timeout_s = 30
        [data]
        dir = "/tmp"
        [retention]
        stream_sessions_days = 1
        viewer_sessions_days = 2
        camera_events_days = 0
        audit_log_days = 36500
        [log]
        level = "debug"
        format = "json"
        [webhooks]
        urls = ["https://hooks.example/hunter2", "http://192.168.1.20:8123"]
        secret = "hunter2hunter2hunter2"
        events = ["camera", "stream.failed", "camera.online"]
        cameras = ["56c1cadcf1fa4c6caeba3e2fd85efebf"]
        allow_private = "192.168.1.20/32"
        queue_limit = 7
        keep_s = 60
    "#;
    let config = load(toml, &[]).unwrap();
    let broker = BrokerAddress {
        host: "broker.example".to_owned(),
        port: 8883,
        tls: true,
    };
    assert_eq!(config.mqtt.broker, BrokerTarget::External(broker));
    assert_eq!(config.mqtt.server_name.as_deref(), Some("broker.hive"));
    assert_eq!(config.mqtt.verify, Verify::Full);
    assert_eq!(config.http.cors_origins, ["https://dashboard.example"]);
    assert_eq!(config.http.listen.len(), 2);
    assert_eq!(config.ingest.ports, 6000..=6999);
    assert_eq!(
        (
            config.media.workers,
            config.media.udp_port,
            config.media.max_viewers_per_stream
        ),
        (2, 9000, 7)
    );
    assert_eq!(config.stream.replay_backoff_max, Duration::from_secs(31));
    assert_eq!(
        (config.log.level, config.log.format),
        (tracing::Level::DEBUG, LogFormat::Json)
    );
    let days = |days: i64| Some(SignedDuration::from_hours(24 * days));
    let retention = Retention {
        stream_sessions: days(1),
        viewer_sessions: days(2),
        camera_events: None,
        audit_log: days(36_500),
    };
    assert_eq!(config.retention, retention);
    let webhooks = config.webhooks.as_ref().unwrap();
    let receivers = webhooks.receivers.iter().map(ToString::to_string);
    assert_eq!(
        receivers.collect::<Vec<_>>(),
        ["https://hooks.example/…", "http://192.168.1.20:8123"]
    );
    let kinds = webhooks.kinds.iter().map(|kind| kind.as_str());
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        ["stream.failed", "camera.online", "camera.offline"]
    );
    assert_eq!(
        (webhooks.cameras.len(), webhooks.queue_limit, webhooks.keep),
        (1, 7, Duration::from_secs(60))
    );
    assert_eq!(
        config.media.bind,
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "an address of one's own opens the media ports"
    );
    let addresses =
        ["192.168.1.10", "203.0.113.7"].map(|address| address.parse::<IpAddr>().unwrap());
    assert_eq!(config.candidate_addresses(), addresses);
    assert!(!format!("{config:?}").contains("hunter2"));
}

/// Every key, as its default in the list of keys has it, through its own variable.
#[test]
fn every_key_has_a_variable() {
    for key in KEYS {
        let value = key
            .default
            .trim_matches(['[', ']', '"'])
            .replace("\", \"", ",");
        let value = if value.is_empty() {
            match key.path {
                "network.local_ip" | "network.external_ip" => "192.168.1.10",
                "media.bind" | "ingest.bind" => "0.0.0.0",
                "media.workers" => "3",
                "mqtt.listen_tls" => "127.0.0.1:8883",
                "http.hosts" => "cams.example",
                "http.trusted_proxies" => "10.0.0.0/8",
                "auth.enabled" => "true",
                "auth.jwt_secret" => "0123456789abcdef0123456789abcdef",
                "auth.jwks" | "auth.jwks_ca" => "/nowhere",
                "auth.jwt_issuer" | "auth.jwt_audience" => "https://id.example",
                "oidc.issuer" => "https://id.example",
                "oidc.client_id" | "oidc.client_secret" => "apiary",
                "oidc.redirect_url" => "https://cams.example/api/auth/oidc/callback",
                "oidc.roles" => "keepers=admin",
                "oidc.default_role" => "viewer",
                "oidc.ca" => "/nowhere",
                "metrics.listen" => "127.0.0.1:9100",
                "mqtt.server_name" => "name",
                "mqtt.extra_clients" => "watcher read prod/device/#",
                "mqtt.revoked" => "camera_client",
                "mqtt.username" | "mqtt.password" => "secret",
                "database.url" => "postgres://bee@localhost/hive",
                "mqtt.ca" | "mqtt.cert" | "mqtt.key" | "kurento.ca" => "/nowhere",
                "tls.mode" => "self-signed",
                "tls.cert" | "tls.key" => "/nowhere",
                "tls.names" => "cams.example",
                "tls.acme_contact" => "admin@cams.example",
                "tls.acme_challenge" => "http-01",
                "tls.acme_ca" => "/nowhere",
                "tls.acme_eab_id" | "tls.acme_eab_key" => "c2VjcmV0",
                "tls.redirect_listen" => "127.0.0.1:8081",
                "tls.public_port" => "443",
                "kurento.drain" => "ws://127.0.0.1:8888/kurento",
                "kurento.advertised" => "127.0.0.1=192.168.1.10",
                "kurento.interfaces" => "eth0",
                "kurento.stun" => "stun.example:3478",
                "kurento.turn" => "turn:turn.example",
                "kurento.turn_username" | "kurento.turn_password" => "secret",
                "turn.urls" => "stun:stun.example",
                "turn.secret" => "0123456789abcdef",
                "webhooks.urls" => "https://hooks.example/cameras",
                "webhooks.secret" => "0123456789abcdef",
                "webhooks.events" => "stream,camera.online",
                "webhooks.cameras" => "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF",
                "webhooks.allow_private" => "192.168.1.0/24",
                "webhooks.ca" => "/nowhere",
                "push.contact" => "mailto:keeper@hive.example",
                "push.allow_private" => "192.168.1.0/24",
                "push.ca" => "/nowhere",
                "otlp.endpoint" => "http://127.0.0.1:4318",
                "otlp.authorization" => "Bearer secret",
                "otlp.ca" => "/nowhere",
                other => panic!("give {other} a value here"),
            }
            .to_owned()
        } else {
            value
        };
        let good = Config::load(None, &environment(None, &[(&key.variable(), &value)]));
        let bad = Config::load(None, &environment(None, &[(&key.variable(), "\u{1}")]));
        assert!(
            bad.unwrap_err().to_string().contains(key.path),
            "{} is not read",
            key.variable()
        );
        // Some are contradictions without others; what matters is that they are known by their name.
        if let Err(errors) = good {
            assert!(
                errors.to_string().contains(key.path),
                "{}: {errors}",
                key.path
            );
        }
    }
}

#[test]
fn later_sources_win() {
    let toml = "[media]\nworkers = 1\n[log]\nlevel = 'warn'\n[data]\ndir = 'from-file'";
    let dot_env = "APIARY_MEDIA_WORKERS=2\nAPIARY_LOG_LEVEL=debug\n";
    let config = load_all(toml, Some(dot_env), &[("APIARY_MEDIA_WORKERS", "3")]).unwrap();
    assert_eq!(config.media.workers, 3, "environment over .env");
    assert_eq!(config.log.level, tracing::Level::DEBUG, ".env over file");
    assert_eq!(
        config.data.dir.to_str(),
        Some("from-file"),
        "file over default"
    );

    // A value that a later source replaces is not judged.
    assert_eq!(
        load("[media]\nworkers = 0", &[("APIARY_MEDIA_WORKERS", "2")])
            .unwrap()
            .media
            .workers,
        2
    );
    // Our own name over an old one of the same source; an old one of a later source over our own.
    let both = [
        ("APIARY_NETWORK_LOCAL_IP", "10.0.0.1"),
        ("LOCAL_IP", "10.0.0.2"),
    ];
    assert_eq!(
        from_environment(&both).network.local_ip,
        Ipv4Addr::new(10, 0, 0, 1)
    );
    let mixed = load_all(
        "",
        Some("APIARY_NETWORK_LOCAL_IP=10.0.0.1"),
        &[("LOCAL_IP", "10.0.0.2")],
    )
    .unwrap();
    assert_eq!(mixed.network.local_ip, Ipv4Addr::new(10, 0, 0, 2));
}

#[test]
fn empty_variables_and_those_of_others_are_left_alone() {
    let config = from_environment(&[
        ("APIARY_MEDIA_WORKERS", ""),
        ("LOCAL_IP", ""),
        ("HTTP_LISTEN", "x"),
        ("APIARY_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("APIARY_SERVICE_HOST", "10.0.0.1"),
        ("APIARY_CONFIG", "apiary.toml"),
    ]);
    assert_eq!(config.network.local_ip, Ipv4Addr::LOCALHOST);
}

/// What only its owner may read, as a key has to be.
fn private_file(path: &Path) {
    std::fs::write(path, "x").unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

/// Where the certificate comes from, by the names of the old service and of its dashboard.
#[test]
fn old_names_of_certificates_count() {
    let dir = tempfile::tempdir().unwrap();
    let pair = |name: &str| {
        let [cert, key] = ["crt", "key"].map(|end| dir.path().join(format!("{name}.{end}")));
        private_file(&cert);
        private_file(&key);
        [cert, key].map(|path| path.display().to_string())
    };
    let (service, dashboard) = (pair("service"), pair("dashboard"));
    let of_service = [
        ("TLS_CERT_PATH", service[0].as_str()),
        ("TLS_KEY_PATH", service[1].as_str()),
    ];
    let of_dashboard = [
        ("DASHBOARD_SSL_CERT_FILE", dashboard[0].as_str()),
        ("DASHBOARD_SSL_KEY_FILE", dashboard[1].as_str()),
    ];
    let on = [("TLS_ENABLED", "true")];
    let off = [("TLS_ENABLED", "false")];
    for (variables, expected) in [
        ([&on[..], &of_service].concat(), Some(&service)),
        (
            [&on[..], &of_service, &of_dashboard].concat(),
            Some(&service),
        ),
        ([&on[..], &of_dashboard].concat(), Some(&dashboard)),
        (of_dashboard.to_vec(), Some(&dashboard)),
        ([&off[..], &of_service, &of_dashboard].concat(), None),
        (of_service.to_vec(), None),
        (of_dashboard[..1].to_vec(), None),
    ] {
        let source = from_environment(&variables).tls.source;
        let expected = expected.map_or(CertificateSource::None, |[cert, key]| {
            CertificateSource::Files {
                cert: cert.into(),
                key: key.into(),
            }
        });
        assert_eq!(source, expected, "{variables:?}");
    }
    for variables in [
        &on[..],
        &[on[0], of_service[0]],
        &[("TLS_ENABLED", "maybe")],
    ] {
        let error = Config::load(None, &environment(None, variables)).unwrap_err();
        assert!(error.to_string().contains("tls."), "{error}");
    }
}

/// With port 80 at hand the authority asks there; whoever has only the one port is looked at there.
#[test]
fn the_proof_of_names_follows_the_listeners() {
    let acme = "[tls]\nmode = 'acme'\nnames = ['Cams.Example', 'door.example']\nacme_terms_agreed = true\n";
    for (more, challenge) in [
        ("", AcmeChallenge::TlsAlpn01),
        ("redirect_listen = '127.0.0.1:80'", AcmeChallenge::Http01),
        ("acme_challenge = 'http-01'", AcmeChallenge::Http01),
        (
            "redirect_listen = '127.0.0.1:80'\nacme_challenge = 'tls-alpn-01'",
            AcmeChallenge::TlsAlpn01,
        ),
    ] {
        let config = load(&format!("{acme}{more}"), &[]).unwrap();
        let CertificateSource::Acme(acme) = config.tls.source else {
            panic!("{:?}", config.tls.source);
        };
        assert_eq!(acme.challenge, challenge, "{more}");
        assert_eq!(name::list(&acme.names), "cams.example, door.example");
        assert!(acme.directory.contains("letsencrypt.org"));
    }
}

/// An installation of the old service, with the environment it has.
#[test]
fn an_existing_installation_starts_with_its_own_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = dir.path().join(name);
        private_file(&path);
        path.display().to_string()
    };
    let (ca, cert, key) = (file("ca.crt"), file("client.crt"), file("client.key"));
    let config = from_environment(&[
        ("KURENTO_WS_URL", "ws://localhost:8888/kurento"),
        ("STUN_SERVER", "stun.example"),
        ("STUN_PORT", "3478"),
        ("LOCAL_IP", "192.168.178.20"),
        ("EXTERNAL_IP", "203.0.113.7"),
        ("LOCAL_NETWORK_PREFIX", "192.168.178."),
        ("KMS_MIN_PORT", "5001"),
        ("KMS_MAX_PORT", "5050"),
        ("EMQX_BROKER_HOST", "127.0.0.1"),
        ("EMQX_BROKER_PORT", "8883"),
        ("EMQX_LIVESTREAM_CLIENT_ID", "stream_1"),
        ("EMQX_CA_CERT", &ca),
        ("EMQX_CLIENT_CERT", &cert),
        ("EMQX_CLIENT_KEY", &key),
        ("API_SERVER_HOST", "0.0.0.0"),
        ("API_SERVER_PORT", "8081"),
        ("SIGNALING_SERVER_HOST", "localhost"),
        ("SIGNALING_SERVER_PORT", "8766"),
        ("LOG_LEVEL", "WARNING"),
        ("DEBUG", "true"),
        ("AUTH_ENABLED", "true"),
        ("JWT_SECRET_KEY", "canary-1"),
        ("TLS_ENABLED", "false"),
        ("TLS_CERT_PATH", "/nowhere"),
        ("TLS_KEY_PATH", "/nowhere"),
        ("DASHBOARD_SSL_CERT_FILE", "/nowhere"),
        ("DASHBOARD_SSL_KEY_FILE", "/nowhere"),
        ("TURN_SERVER_URL", "turn:example"),
        ("TURN_SERVER_USERNAME", "u"),
        ("TURN_SERVER_PASSWORD", "canary-2"),
    ]);
    assert_eq!(config.network.local_ip.to_string(), "192.168.178.20");
    assert_eq!(
        config.network.external_ip.unwrap().to_string(),
        "203.0.113.7"
    );
    assert_eq!(
        config.network.local_networks[0].to_string(),
        "192.168.178.0/24"
    );
    assert_eq!(config.ingest.ports, 5002..=5049, "narrowed to whole pairs");
    let broker = BrokerAddress {
        host: "127.0.0.1".to_owned(),
        port: 8883,
        tls: true,
    };
    assert_eq!(config.mqtt.broker, BrokerTarget::External(broker));
    assert_eq!(config.mqtt.client_id, "stream_1");
    assert_eq!(config.mqtt.tls.cert.unwrap().display().to_string(), cert);
    assert_eq!(config.http.listen[0].to_string(), "0.0.0.0:8081");
    assert_eq!(config.signaling.listen[0].to_string(), "127.0.0.1:8766");
    assert_eq!(
        config.log.level,
        tracing::Level::WARN,
        "LOG_LEVEL over DEBUG"
    );

    let noted: Vec<&str> = config
        .notes
        .iter()
        .map(|note| note.subject.as_str())
        .collect();
    for (name, _) in KURENTO_ONLY {
        assert!(noted.contains(name), "{name} is not noted");
    }
    assert_eq!(config.media.engine, Engine::Sfu, "a name is no choice");
    let notes = format!("{:?}", config.notes);
    assert!(!notes.contains("canary"), "{notes}");
    assert!(config.auth.enabled);
    assert!(noted.contains(&"JWT_SECRET_KEY"), "it is too short");
    assert_eq!(config.auth.jwt.secret, None);
}

#[test]
fn accounts_are_on_where_others_can_come() {
    let enabled = |variables: &[(&str, &str)]| {
        let config = from_environment(variables);
        let warned = config
            .notes
            .iter()
            .any(|note| note.text.contains("whoever reaches it"));
        (config.auth.enabled, warned)
    };
    let everywhere = ("APIARY_HTTP_LISTEN", "0.0.0.0:8080");
    assert_eq!(enabled(&[]), (false, false));
    assert_eq!(enabled(&[everywhere]), (true, false));
    let signaling = ("APIARY_SIGNALING_LISTEN", "192.168.1.10:8765");
    assert_eq!(enabled(&[signaling]), (true, false));
    assert_eq!(enabled(&[("APIARY_AUTH_ENABLED", "true")]), (true, false));
    assert_eq!(
        enabled(&[everywhere, ("APIARY_AUTH_ENABLED", "false")]),
        (false, true),
        "the risk is told"
    );
    assert_eq!(
        enabled(&[everywhere, ("AUTH_ENABLED", "no")]),
        (false, true)
    );
    assert_eq!(enabled(&[("APIARY_AUTH_ENABLED", "false")]), (false, false));
}

#[test]
fn old_names_work_one_by_one() {
    assert_eq!(
        LEGACY.len(),
        30,
        "the list of existing installations' names"
    );
    let broker = |variables: &[(&str, &str)]| match from_environment(variables).mqtt.broker {
        BrokerTarget::External(address) => address.to_string(),
        BrokerTarget::Embedded => "embedded".to_owned(),
    };
    assert_eq!(broker(&[("EMQX_BROKER_HOST", "emqx")]), "mqtt://emqx:1883");
    assert_eq!(
        broker(&[("EMQX_BROKER_HOST", "emqx"), ("EMQX_BROKER_PORT", "8883")]),
        "mqtts://emqx:8883"
    );
    assert_eq!(
        broker(&[("EMQX_BROKER_HOST", "::1"), ("EMQX_BROKER_PORT", "1884")]),
        "mqtt://[::1]:1884"
    );
    assert_eq!(
        broker(&[("EMQX_BROKER_PORT", "1883")]),
        "mqtt://localhost:1883"
    );
    assert_eq!(
        from_environment(&[("API_SERVER_PORT", "9000")]).http.listen[0].to_string(),
        "127.0.0.1:9000"
    );
    assert_eq!(
        from_environment(&[("SIGNALING_SERVER_HOST", "::")])
            .signaling
            .listen[0]
            .to_string(),
        "[::]:8765"
    );
    assert_eq!(
        from_environment(&[("DEBUG", "1")]).log.level,
        tracing::Level::DEBUG
    );
    assert_eq!(
        from_environment(&[("DEBUG", "false")]).log.level,
        tracing::Level::INFO
    );
    assert_eq!(
        from_environment(&[("KMS_MIN_PORT", "5000")]).notes[0].subject,
        "KMS_MIN_PORT"
    );
}

#[test]
fn the_kurento_section_has_defaults() {
    let config = load("[media]\nengine = 'kurento'", &[]).unwrap();
    assert_eq!(config.media.engine, Engine::Kurento);
    assert_eq!(config.notes, []);
    let kurento = config.kurento;
    assert_eq!(
        kurento.servers,
        ["ws://127.0.0.1:8888/kurento".parse().unwrap()]
    );
    assert!(kurento.drain.is_empty() && kurento.advertised.is_empty());
    assert_eq!(kurento.pipeline_prefix, "apiary");
    let seconds = [
        kurento.request_timeout,
        kurento.ping_interval,
        kurento.failover_after,
    ];
    assert_eq!(seconds.map(|duration| duration.as_secs()), [5, 2, 4]);
    assert!(kurento.ca.is_none() && kurento.ice.interfaces.is_empty());
    assert!(kurento.ice.stun.is_none() && kurento.ice.turn.is_none());
}

#[test]
fn the_whole_kurento_section_is_taken() {
    let ca = tempfile::NamedTempFile::new().unwrap();
    let toml = format!(
        r#"
        [media]
        engine = "kurento"
        [ingest]
        # The viewers' ports are Kurento's, whatever media.udp_port says.
        ports = "8000-8999"
        [kurento]
        servers = ["ws://kms1", "wss://KMS2.example:8433/kurento", "ws://[fd00::1]:9999/other"]
        drain = ["ws://kms1:8888/kurento", "ws://KMS1"]
        advertised = ["kms1=192.168.1.11", "Kms2.example=192.168.1.12", "[fd00::1]=192.168.1.13"]
        pipeline_prefix = "house_1"
        request_timeout_s = 1
        ping_interval_s = 240
        failover_after_s = 60
        ca = "{ca}"
        interfaces = ["eth0", "wlan0"]
        stun = "stun.example"
        turn = "turn:192.0.2.10:3479?transport=tcp"
        turn_username = "u"
        turn_password = "canary"
        "#,
        ca = ca.path().display()
    );
    let config = load(&toml, &[]).unwrap();
    assert!(!format!("{config:?}").contains("canary"));
    let kurento = config.kurento;
    let servers: Vec<String> = kurento.servers.iter().map(ToString::to_string).collect();
    assert_eq!(
        servers,
        [
            "ws://kms1",
            "wss://KMS2.example:8433/kurento",
            "ws://[fd00::1]:9999/other"
        ]
    );
    // As the pool has it, and once, however often and in whatever way it is named.
    assert_eq!(kurento.drain, [kurento.servers[0].clone()]);
    let advertised: Vec<String> = kurento
        .advertised
        .iter()
        .map(|(host, address)| format!("{host} {address}"))
        .collect();
    assert_eq!(
        advertised,
        [
            "kms1 192.168.1.11",
            "kms2.example 192.168.1.12",
            "fd00::1 192.168.1.13"
        ]
    );
    assert_eq!(kurento.ice.interfaces, ["eth0", "wlan0"]);
    assert_eq!(kurento.ice.stun.unwrap().to_string(), "stun.example:3478");
    let turn = kurento.ice.turn.unwrap();
    assert_eq!(turn.server.to_string(), "192.0.2.10:3479");
    assert_eq!(turn.transport, TurnTransport::Tcp);
    assert_eq!(
        (turn.username.as_str(), turn.password.expose()),
        ("u", "canary")
    );
}

/// The old names set the keys; what they say is judged, and not noted, where it is used.
#[test]
fn an_existing_installation_may_choose_its_kurento_server() {
    let names = [
        ("KURENTO_WS_URL", "ws://kms:8888/kurento"),
        ("STUN_SERVER", "192.0.2.10"),
        ("STUN_PORT", "19302"),
        ("TURN_SERVER_URL", "turn:192.0.2.11?transport=tcp"),
        ("TURN_SERVER_USERNAME", "u"),
        ("TURN_SERVER_PASSWORD", "canary"),
    ];
    let mut chosen = vec![("APIARY_MEDIA_ENGINE", "kurento")];
    chosen.extend(names);
    for config in [from_environment(&names), from_environment(&chosen)] {
        let is_chosen = config.media.engine == Engine::Kurento;
        assert_eq!(config.notes.len(), if is_chosen { 0 } else { names.len() });
        let kurento = config.kurento;
        assert_eq!(kurento.servers[0].host, "kms");
        assert_eq!(kurento.ice.stun.unwrap().to_string(), "192.0.2.10:19302");
        assert_eq!(
            kurento.ice.turn.unwrap().server.to_string(),
            "192.0.2.11:3478"
        );
    }

    let nonsense = [
        ("KURENTO_WS_URL", "kms"),
        ("STUN_SERVER", "a b"),
        ("TURN_SERVER_URL", "numb.example"),
        ("TURN_SERVER_PASSWORD", "a:b"),
    ];
    assert_eq!(from_environment(&nonsense).notes.len(), nonsense.len());
    let mut chosen = vec![("APIARY_MEDIA_ENGINE", "kurento")];
    chosen.extend(nonsense);
    let errors = Config::load(None, &environment(None, &chosen)).unwrap_err();
    assert_eq!(errors.0.len(), nonsense.len(), "{errors}");
    let ipv6 = from_environment(&[("STUN_SERVER", "fd00::1"), ("STUN_PORT", "3479")]);
    assert_eq!(ipv6.kurento.ice.stun.unwrap().to_string(), "[fd00::1]:3479");
}

#[test]
fn listening_to_the_network_opens_the_media_ports_and_tells_cameras_this_machines_address() {
    for (name, value) in [
        ("APIARY_HTTP_LISTEN", "0.0.0.0:8080"),
        ("APIARY_MQTT_LISTEN", "0.0.0.0:1883"),
        ("APIARY_NETWORK_EXTERNAL_IP", "203.0.113.7"),
    ] {
        let config = from_environment(&[(name, value)]);
        assert!(
            config.media.bind.is_unspecified() && config.ingest.bind.is_unspecified(),
            "{name}"
        );
        assert_eq!(
            config.network.local_ip,
            primary_ipv4().unwrap_or(Ipv4Addr::LOCALHOST),
            "{name}"
        );
    }
    let bound = from_environment(&[("APIARY_MEDIA_BIND", "192.168.1.10")]);
    assert_eq!(bound.network.local_ip, Ipv4Addr::new(192, 168, 1, 10));
}

#[test]
fn cameras_are_told_the_address_that_reaches_them() {
    let config = from_environment(&[("LOCAL_IP", "192.168.1.10"), ("EXTERNAL_IP", "203.0.113.7")]);
    let advertised = |requester: &str| {
        config
            .advertised_address(Some(requester.parse().unwrap()))
            .to_string()
    };
    assert_eq!(advertised("192.168.1.50"), "192.168.1.10");
    assert_eq!(
        advertised("::ffff:192.168.1.50"),
        "192.168.1.10",
        "IPv4 on an IPv6 socket"
    );
    assert_eq!(advertised("127.0.0.1"), "192.168.1.10");
    assert_eq!(advertised("fd00::1"), "192.168.1.10");
    assert_eq!(advertised("198.51.100.1"), "203.0.113.7");
    assert_eq!(config.advertised_address(None).to_string(), "192.168.1.10");
    let inside = from_environment(&[("LOCAL_IP", "192.168.1.10")]);
    assert_eq!(
        inside
            .advertised_address(Some([198, 51, 100, 1].into()))
            .to_string(),
        "192.168.1.10"
    );
}

#[test]
fn rules_for_clients_of_the_embedded_broker_are_gathered_by_name() {
    let toml = "[mqtt]\nextra_clients = ['ha read prod/device/#', 'log read house/+', 'ha write house/lamp']\n\
                revoked = ['56c1cadcf1fa4c6caeba3e2fd85efebf', 'camera_client']";
    let access = load(toml, &[]).unwrap().mqtt.access;
    let clients: Vec<_> = access
        .extra_clients
        .iter()
        .map(|client| (client.name.as_str(), client.read.len(), client.write.len()))
        .collect();
    assert_eq!(clients, [("ha", 1, 1), ("log", 1, 0)]);
    assert!(access.extra_clients[0].write[0].matches("house/lamp"));
    assert_eq!(
        access.revoked,
        ["56C1CADCF1FA4C6CAEBA3E2FD85EFEBF", "camera_client"]
    );
}

#[test]
fn risks_that_were_asked_for_are_noted() {
    let notes = |toml: &str| load(toml, &[]).unwrap().notes;
    assert!(
        notes("[mqtt]\nlisten = '0.0.0.0:1883'")[0]
            .text
            .contains("pose as any camera")
    );
    assert!(
        notes("[mqtt]\nbroker = 'mqtts://h'\nverify = 'chain'")[0]
            .text
            .contains("pose as the broker")
    );
    assert!(
        notes("[media]\nmax_bitrate_kbps = 8000")[0]
            .to_string()
            .contains("do not follow")
    );
    assert!(
        notes("[network]\nexternal_ip = '192.168.1.1'")[0]
            .text
            .contains("home network")
    );
    assert!(
        notes("[media]\nengine = 'kurento'\n[kurento]\ndrain = 'ws://127.0.0.1'")[0]
            .text
            .contains("every server")
    );
}
