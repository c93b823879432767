//! The floors of ARCHITECTURE.md: which crate of this workspace may use which, and what lower floors never use at all.
//!
//! The rule is [`faults`], a function of the edges; what cargo says the edges are comes from `cargo metadata`. A new
//! crate fails until it has its row in [`CRATES`].
#![allow(
    clippy::unwrap_used,
    reason = "helpers of a test fail as the test does"
)]

use std::process::Command;

use serde_json::Value;

/// One dependency as a manifest states it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edge {
    from: String,
    to: String,
    /// Only tests use it.
    dev: bool,
}

/// What a crate may use of the workspace, in its code and, beyond that, in its tests.
struct Crate {
    name: &'static str,
    uses: &'static [&'static str],
    tests_use: &'static [&'static str],
    /// Crates from elsewhere that would pull it off its floor.
    never: &'static [&'static str],
}

/// Sockets, clocks of their own, tasks and randomness.
const IO: &[&str] = &[
    "getrandom",
    "libc",
    "mio",
    "nix",
    "rand",
    "socket2",
    "tokio",
    "tokio-util",
];
const HTTP_MQTT_DATABASE: &[&str] = &[
    "axum",
    "hyper",
    "mqtt5",
    "reqwest",
    "rumqttc",
    "rumqttc-v4-next",
    "sqlx",
    "tower-http",
];
const HTTP_AND_MQTT: &[&str] = &[
    "axum",
    "hyper",
    "mqtt5",
    "reqwest",
    "rumqttc",
    "rumqttc-v4-next",
    "tower-http",
];

const CRATES: &[Crate] = &[
    // Floor 0.
    Crate {
        name: "apiary-wire",
        uses: &[],
        tests_use: &[],
        never: IO,
    },
    // Floor 1.
    Crate {
        name: "apiary-core",
        uses: &["apiary-wire"],
        tests_use: &[],
        never: IO,
    },
    // Floor 2: these two do not know each other.
    Crate {
        name: "apiary-media",
        uses: &["apiary-wire", "apiary-core"],
        tests_use: &["apiary-sim", "apiary-kurento-double"],
        never: HTTP_MQTT_DATABASE,
    },
    Crate {
        name: "apiary-store",
        uses: &["apiary-wire", "apiary-core"],
        tests_use: &[],
        never: HTTP_AND_MQTT,
    },
    // Floor 3.
    Crate {
        name: "apiary",
        uses: &[
            "apiary-wire",
            "apiary-core",
            "apiary-media",
            "apiary-store",
            "apiary-sim",
        ],
        tests_use: &["apiary-kurento-double"],
        never: &[],
    },
    // Beside the floors: they look at the others from outside, so that they share no bug with them.
    Crate {
        name: "apiary-sim",
        uses: &["apiary-wire"],
        tests_use: &[],
        never: &[],
    },
    Crate {
        name: "apiary-kurento-double",
        uses: &["apiary-wire"],
        tests_use: &[],
        never: &[],
    },
    Crate {
        name: "bench",
        uses: &["apiary-wire", "apiary-sim"],
        tests_use: &[],
        never: &[],
    },
];

/// Everything that is wrong with these members and their dependencies, one sentence each.
fn faults(members: &[String], edges: &[Edge]) -> Vec<String> {
    let unknown = members
        .iter()
        .filter(|member| row(member).is_none())
        .map(|member| format!("{member} has no floor: add it to CRATES and to ARCHITECTURE.md"));
    unknown
        .chain(edges.iter().filter_map(|edge| fault(members, edge)))
        .collect()
}

fn fault(members: &[String], edge: &Edge) -> Option<String> {
    let row = row(&edge.from)?;
    let to = edge.to.as_str();
    let of_the_workspace = members.contains(&edge.to) || self::row(to).is_some();
    let allowed = match of_the_workspace {
        true => row.uses.contains(&to) || (edge.dev && row.tests_use.contains(&to)),
        false => edge.dev || !row.never.contains(&to),
    };
    let tests = if edge.dev { "tests of " } else { "" };
    (!allowed).then(|| {
        format!(
            "{tests}{} must not use {to} (see Floors in ARCHITECTURE.md)",
            edge.from
        )
    })
}

fn row(name: &str) -> Option<&'static Crate> {
    CRATES.iter().find(|row| row.name == name)
}

fn members_and_edges(metadata: &Value) -> (Vec<String>, Vec<Edge>) {
    let mut members = Vec::new();
    let mut edges = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let from = package["name"].as_str().unwrap();
        members.push(from.to_owned());
        for dependency in package["dependencies"].as_array().unwrap() {
            edges.push(Edge {
                from: from.to_owned(),
                to: dependency["name"].as_str().unwrap().to_owned(),
                dev: dependency["kind"] == "dev",
            });
        }
    }
    (members, edges)
}

fn this_workspace() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_crate_uses_only_floors_below_its_own() {
    let (members, edges) = members_and_edges(&this_workspace());
    for row in CRATES {
        assert!(
            members.iter().any(|member| member == row.name),
            "{} is in CRATES but not in the workspace",
            row.name
        );
    }
    // Were the metadata misread, nothing would be wrong with it.
    assert!(edges.contains(&edge("apiary-core", "apiary-wire", false)));
    let faults = faults(&members, &edges);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn edge(from: &str, to: &str, dev: bool) -> Edge {
    Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        dev,
    }
}

fn faults_of(from: &str, to: &str, dev: bool) -> Vec<String> {
    let members: Vec<String> = CRATES.iter().map(|row| row.name.to_owned()).collect();
    faults(&members, &[edge(from, to, dev)])
}

#[test]
fn wrong_edges_are_found() {
    for (from, to) in [
        ("apiary-wire", "apiary-core"),
        ("apiary-core", "apiary-media"),
        ("apiary-media", "apiary-store"),
        ("apiary-store", "apiary-media"),
        ("apiary-media", "apiary-sim"),
        ("apiary-media", "apiary"),
        ("apiary-sim", "apiary-core"),
        ("bench", "apiary-core"),
        ("bench", "apiary-media"),
        ("apiary-kurento-double", "apiary-media"),
        ("apiary", "apiary-kurento-double"),
        ("apiary", "bench"),
        ("apiary-core", "tokio"),
        ("apiary-wire", "rand"),
        ("apiary-media", "axum"),
        ("apiary-store", "rumqttc-v4-next"),
    ] {
        let found = faults_of(from, to, false);
        assert_eq!(found.len(), 1, "{from} -> {to}: {found:?}");
        assert!(
            found[0].contains(from) && found[0].contains(to),
            "{found:?}"
        );
    }
}

#[test]
fn right_edges_are_not() {
    for (from, to) in [
        ("apiary-core", "apiary-wire"),
        ("apiary-media", "apiary-core"),
        ("apiary-media", "tokio"),
        ("apiary-store", "sqlx"),
        ("apiary", "apiary-sim"),
        ("bench", "apiary-sim"),
    ] {
        assert_eq!(faults_of(from, to, false), Vec::<String>::new());
    }
}

/// Tests obey the same rule, with few freedoms: any crate from elsewhere, `sim` for those of `media`, and the Kurento double for
/// those of `media` and the program.
#[test]
fn tests_may_use_little_more() {
    assert!(faults_of("apiary-media", "apiary-sim", true).is_empty());
    for from in ["apiary-media", "apiary"] {
        assert!(faults_of(from, "apiary-kurento-double", true).is_empty());
    }
    assert!(faults_of("apiary-core", "rand", true).is_empty());
    assert_eq!(
        faults_of("apiary-store", "apiary-kurento-double", true).len(),
        1
    );
    assert_eq!(faults_of("apiary-core", "apiary-sim", true).len(), 1);
    assert_eq!(faults_of("apiary-sim", "apiary-core", true).len(), 1);
    assert_eq!(faults_of("bench", "apiary-media", true).len(), 1);
}

#[test]
fn a_crate_without_a_floor_is_found() {
    let members = ["apiary-wire".to_owned(), "apiary-new".to_owned()];
    let found = faults(&members, &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("apiary-new"), "{found:?}");
    // Nobody may use it before, either.
    assert_eq!(
        faults(&members, &[edge("apiary-wire", "apiary-new", false)]).len(),
        2
    );
}
