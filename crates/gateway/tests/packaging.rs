//! What Apiary is installed with. packaging/compose.yaml holds together: what it asks for is in env.example, what it sets
//! is taken, and it knows no password. The Debian package has what its unit, its scripts and the documents speak of.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

#[path = "config/sources.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use apiary::config::{Config, Engine};
use apiary::kurento_files::files;
use sources::{environment, root};
use yaml_rust2::{Yaml, YamlLoader};

const SERVICES: &[&str] = &[
    "apiary",
    "kurento-files",
    "kurento",
    "emqx",
    "coturn",
    "postgresql",
];

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join("packaging").join(name)).unwrap()
}

/// A service with what it merges in (`<<`).
fn service(name: &str) -> Yaml {
    let documents = YamlLoader::load_from_str(&read("compose.yaml")).unwrap();
    merged(&documents[0]["services"][name])
}

fn merged(node: &Yaml) -> Yaml {
    let Some(own) = node.as_hash() else {
        return node.clone();
    };
    let merge = Yaml::from_str("<<");
    let mut all = match own.get(&merge) {
        Some(base) => merged(base).into_hash().unwrap(),
        None => yaml_rust2::yaml::Hash::new(),
    };
    for (key, value) in own.iter().filter(|(key, _)| **key != merge) {
        all.replace(key.clone(), merged(value));
    }
    Yaml::Hash(all)
}

/// A service's environment, with these values for the variables in it.
fn settings(name: &str, values: &BTreeMap<&str, &str>) -> Vec<(String, String)> {
    let service = service(name);
    let settings = service["environment"].as_hash().unwrap().iter();
    settings
        .map(|(key, value)| {
            let value = value.as_str().unwrap();
            (key.as_str().unwrap().to_owned(), substituted(value, values))
        })
        .collect()
}

/// `${NAME}`, `${NAME:-default}` and `${NAME:?complaint}`, as compose fills them in.
fn substituted(text: &str, values: &BTreeMap<&str, &str>) -> String {
    let Some((before, rest)) = text.split_once("${") else {
        return text.to_owned();
    };
    let (inside, after) = rest.split_once('}').unwrap();
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, default),
        None => (inside.split(":?").next().unwrap(), ""),
    };
    let value = values.get(name).copied().unwrap_or(default);
    format!("{before}{value}{}", substituted(after, values))
}

/// All `NAME` in `${NAME…}`.
fn variables(text: &str) -> Vec<String> {
    text.split("${")
        .skip(1)
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_ascii_uppercase() || *c == '_')
                .collect()
        })
        .collect()
}

/// env.example, as compose reads it.
fn example() -> BTreeMap<String, String> {
    read("env.example")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn every_service_ends_well_and_is_watched() {
    let documents = YamlLoader::load_from_str(&read("compose.yaml")).unwrap();
    let names: Vec<&str> = documents[0]["services"]
        .as_hash()
        .unwrap()
        .keys()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert_eq!(names, SERVICES);
    for name in SERVICES {
        let service = service(name);
        if *name == "kurento-files" {
            assert_eq!(service["restart"].as_str(), Some("no"), "it ends by itself");
            continue;
        }
        assert_eq!(
            service["restart"].as_str(),
            Some("unless-stopped"),
            "{name}"
        );
        assert_eq!(
            service["healthcheck"]["test"][0].as_str(),
            Some("CMD"),
            "{name}"
        );
        for dependency in service["depends_on"].as_hash().into_iter().flatten() {
            assert!(SERVICES.contains(&dependency.0.as_str().unwrap()));
        }
    }
    for name in ["apiary", "kurento", "coturn"] {
        assert_eq!(
            service(name)["network_mode"].as_str(),
            Some("host"),
            "{name}"
        );
    }
    assert_eq!(
        service("postgresql")["profiles"][0].as_str(),
        Some("postgresql")
    );
}

#[test]
fn every_variable_is_in_the_example_and_no_password_is_anywhere() {
    let compose = read("compose.yaml");
    let example = example();
    for name in variables(&compose) {
        assert!(example.contains_key(&name), "{name} is not in env.example");
    }
    for (name, value) in &example {
        assert!(variables(&compose).contains(name), "nothing uses {name}");
        let is_secret = name.contains("PASSWORD") || name.contains("COOKIE");
        assert!(!is_secret || value.is_empty(), "{name} has a default");
    }
    for name in SERVICES {
        let service = service(name);
        for (key, value) in service["environment"].as_hash().into_iter().flatten() {
            let (key, value) = (key.as_str().unwrap(), value.as_str().unwrap());
            if key.contains("PASSWORD") || key.contains("COOKIE") {
                assert!(value.starts_with("${"), "{name}: {key} is written down");
                // Nobody needs PostgreSQL's, unless it is started; its image refuses to without one.
                assert!(
                    value.contains(":?") || *name == "postgresql",
                    "{name}: {key} may be empty"
                );
            }
        }
    }
}

/// Apiary takes what it is given, and makes of it what Kurento and coturn are to agree on.
#[test]
fn the_settings_are_taken() {
    let certificate = tempfile::NamedTempFile::new().unwrap();
    let certificate = certificate.path().to_str().unwrap();
    let values = BTreeMap::from([
        ("BROKER_NAME", "broker.hive"),
        ("LOCAL_IP", "192.168.1.10"),
        ("TURN_USERNAME", "apiary"),
        ("TURN_PASSWORD", "canary"),
    ]);
    let config = |name: &str| {
        let mut settings = settings(name, &values);
        for (_, value) in &mut settings {
            // The container's files are not here.
            if Path::new(value).starts_with("/certificates") {
                *value = certificate.to_owned();
            }
        }
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        Config::load(None, &environment(None, &settings)).unwrap()
    };
    let apiary = config("apiary");
    assert_eq!(apiary.media.engine, Engine::Kurento);
    assert_eq!(apiary.notes, []);
    assert!(
        apiary.http.listen[0].ip().is_loopback(),
        "for nobody else unless asked for"
    );

    let no_lookup = |_: &str| panic!("there is no name to look up");
    let [web_rtc, base_rtp] = files(&config("kurento-files"), &no_lookup).unwrap();
    let turn = "turnURL=apiary:canary@192.168.1.10:3478?transport=udp\n";
    assert!(web_rtc.text.contains(turn), "{}", web_rtc.text);
    // coturn's ports are others than Kurento's.
    assert!(base_rtp.text.contains("maxPort=5999\n"));
    let coturn = service("coturn");
    let ports = coturn["command"].as_vec().unwrap();
    assert!(ports.contains(&Yaml::from_str("--min-port=49152")));
}

/// PostgreSQL is used where its URL is given, and the one of the example is what the service is made with.
#[test]
fn a_database_is_used_where_one_is_named() {
    let settings_with =
        |url: &'static str| settings("apiary", &BTreeMap::from([("DATABASE_URL", url)]));
    let url_of = |settings: Vec<(String, String)>| {
        let found = settings
            .into_iter()
            .find(|(key, _)| key == "APIARY_DATABASE_URL");
        found.unwrap().1
    };
    assert_eq!(url_of(settings_with("")), "");
    let url = "postgres://apiary:PASSWORD@127.0.0.1:5432/apiary";
    assert!(read("env.example").contains(url));
    let given = url_of(settings_with(url));
    let config =
        Config::load(None, &environment(None, &[("APIARY_DATABASE_URL", &given)])).unwrap();
    let target = config.database.target.unwrap().to_string();
    let service = service("postgresql");
    let made = |key: &str| service["environment"][key].as_str().unwrap();
    assert_eq!(
        target,
        format!(
            "postgres://{}@{}/{}",
            made("POSTGRES_USER"),
            service["ports"][0]
                .as_str()
                .unwrap()
                .strip_suffix(":5432")
                .unwrap(),
            made("POSTGRES_DB")
        )
    );
}

/// The image runs what the rest assumes: that user, that directory.
#[test]
fn the_image_is_for_an_ordinary_user() {
    let dockerfile = read("Dockerfile");
    let (_, last) = dockerfile.rsplit_once("\nFROM ").unwrap();
    assert!(last.contains("--uid 10001"));
    assert!(last.contains("\nUSER apiary\n"));
    for volume in ["/var/lib/apiary", "/var/lib/apiary-kurento"] {
        assert!(last.contains(&format!(" {volume}")), "{volume} is not made");
    }
    assert!(read("env.example").contains("10001 (Apiary)"));
}

/// `[package.metadata.deb]`.
fn deb() -> toml::Value {
    let manifest = root().join("crates/gateway/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let manifest: toml::Value = toml::from_str(&manifest).unwrap();
    manifest["package"]["metadata"]["deb"].clone()
}

/// Each file of the package: where it comes from, where it goes, its mode.
fn assets() -> Vec<[String; 3]> {
    let deb = deb();
    let part = |asset: &toml::Value, part: usize| asset[part].as_str().unwrap().to_owned();
    let assets = deb["assets"].as_array().unwrap().iter();
    assets
        .map(|asset| [0, 1, 2].map(|number| part(asset, number)))
        .collect()
}

#[test]
fn the_debian_package_takes_what_there_is() {
    for [from, to, mode] in assets() {
        assert!(!to.starts_with('/') && ["644", "640", "755"].contains(&&*mode));
        let place = root().join("crates/gateway").join(&from);
        let exists = match from.as_str() {
            "target/release/apiary" => true, // it is built
            _ if from.ends_with("/*.md") => place.parent().unwrap().is_dir(),
            _ => place.is_file(),
        };
        assert!(exists, "{from}");
    }
    let deb = deb();
    assert_eq!(
        deb["conf-files"][0].as_str(),
        Some("/etc/apiary/apiary.toml")
    );
    for script in ["postinst", "postrm"] {
        let path = root().join("packaging/debian").join(script);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\n#DEBHELPER#\n"),
            "{script}: systemd is not told"
        );
        let checked = Command::new("sh").arg("-n").arg(&path).status().unwrap();
        assert!(checked.success(), "{script}");
    }
}

/// Made in earnest, but for the program itself, which takes long to build.
#[test]
fn the_debian_package_is_made() {
    let has_cargo_deb = Command::new("cargo").args(["deb", "--version"]).output();
    assert!(
        has_cargo_deb.unwrap().status.success(),
        "cargo-deb is missing: run ./test.sh, which installs it"
    );
    let target = tempfile::tempdir().unwrap();
    let package = target.path().join("apiary.deb");
    std::fs::create_dir(target.path().join("release")).unwrap();
    std::fs::copy("/bin/true", target.path().join("release/apiary")).unwrap();
    let made = Command::new(root().join("scripts/build-deb.sh"))
        .args([
            "--no-build",
            "--no-strip",
            "--no-dbgsym",
            "--fast",
            "--output",
        ])
        .arg(&package)
        .env("CARGO_TARGET_DIR", target.path())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let listed = Command::new("dpkg-deb")
        .arg("--contents")
        .arg(&package)
        .output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let files: BTreeSet<(&str, &str)> = listed
        .lines()
        .map(|line| (&line[..10], line.split_once(" .").unwrap().1))
        .collect();
    for file in [
        ("-rwxr-xr-x", "/usr/bin/apiary"),
        ("-rw-r-----", "/etc/apiary/apiary.toml"),
        ("-rw-r--r--", "/usr/lib/systemd/system/apiary.service"),
        ("-rw-r--r--", "/usr/share/apiary/monitoring/alerts.yaml"),
        ("-rw-r--r--", "/usr/share/apiary/monitoring/dashboard.json"),
        ("-rw-r--r--", "/usr/share/doc/apiary/docs/operation.md"),
        ("-rw-r--r--", "/usr/share/doc/apiary/NOTICE"),
    ] {
        assert!(files.contains(&file), "there is no {file:?} in\n{listed}");
    }
    let control = target.path().join("control");
    let unpacked = Command::new("dpkg-deb")
        .arg("--control")
        .args([&package, &control])
        .status();
    assert!(unpacked.unwrap().success());
    let read = |name: &str| std::fs::read_to_string(control.join(name)).unwrap();
    assert_eq!(read("conffiles").trim(), "/etc/apiary/apiary.toml");
    assert!(read("postinst").contains("deb-systemd-helper enable apiary.service"));
    assert!(read("prerm").contains("deb-systemd-invoke stop apiary.service"));
    let version = format!("Version: {}", env!("CARGO_PKG_VERSION"));
    assert!(read("control").contains(&version));
}
