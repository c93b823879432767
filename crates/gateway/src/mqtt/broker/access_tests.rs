use apiary_wire::topic::TopicFilter;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::secret::Secret;

const ID: &str = "56C1CADCF1FA4C6CAEBA3E2FD85EFEBF";
const OTHER: &str = "00000000000000000000000000000002";

fn filters(filters: &[&str]) -> Vec<TopicFilter> {
    let parsed = filters
        .iter()
        .map(|filter| TopicFilter::parse(filter).unwrap());
    parsed.collect()
}

fn policy(revoked: &[&str]) -> Policy {
    Policy {
        own: Some(Credentials {
            username: "own".to_owned(),
            password: Some(Secret::new("secret")),
        }),
        extra: vec![ExtraClient {
            name: "watcher".to_owned(),
            read: filters(&["prod/device/+/hive-cam/+", "house/#"]),
            write: filters(&["house/lamp"]),
        }],
        revoked: revoked.iter().map(|name| (*name).to_owned()).collect(),
        revoked_cameras: revoked
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect(),
    }
}

fn camera(id: &str) -> CameraId {
    id.parse().unwrap()
}

fn certified(name: &str) -> Peer {
    Peer::Certified(match name.parse() {
        Ok(camera) => CertificateName::Camera(camera),
        Err(_) => CertificateName::Other(name.to_owned()),
    })
}

#[test]
fn h32_who_is_neither_a_camera_nor_named_is_refused() {
    let policy = policy(&[]);
    let long = "A".repeat(65_000);
    let ids = [
        "",
        "+",
        "#",
        "$SYS",
        "a/b",
        "\0",
        "..",
        "watcher ",
        "Watcher",
        &long,
        "own",
        &ID[1..],
    ];
    for id in ids {
        for peer in [Peer::Plain, certified("camera_client")] {
            assert_eq!(
                policy.admit(&peer, id, None),
                Err(Refusal::Stranger),
                "{id:.40}"
            );
        }
    }
    // What only looks like an id: fullwidth digits, a sign, white space.
    for id in [format!("{ID} "), format!("+{}", &ID[1..]), "５".repeat(32)] {
        assert_eq!(
            policy.admit(&Peer::Plain, &id, None),
            Err(Refusal::Stranger),
            "{id}"
        );
    }
}

#[test]
fn h32_a_certificate_of_one_camera_is_good_for_no_other() {
    let policy = policy(&[]);
    let own = certified(ID);
    assert_eq!(policy.admit(&own, ID, None), Ok(Client::Camera(camera(ID))));
    assert_eq!(
        policy.admit(&own, &ID.to_lowercase(), None),
        Ok(Client::Camera(camera(ID)))
    );
    assert_eq!(
        policy.admit(&own, OTHER, None),
        Err(Refusal::AnothersCertificate(camera(ID)))
    );
    assert_eq!(
        policy.admit(&own, "watcher", None),
        Err(Refusal::AnothersCertificate(camera(ID)))
    );
    // A shared one is good for all cameras, and for them alone.
    let shared = certified("camera_client");
    assert_eq!(
        policy.admit(&shared, OTHER, None),
        Ok(Client::Camera(camera(OTHER)))
    );
    assert_eq!(
        policy.admit(&shared, "watcher", None),
        Err(Refusal::NotItsCertificate)
    );
    let watcher = certified("watcher");
    assert_eq!(
        policy.admit(&watcher, "watcher", None),
        Ok(Client::Extra("watcher".to_owned()))
    );
    assert_eq!(
        policy.admit(&watcher, ID, None),
        Err(Refusal::NotItsCertificate)
    );
}

#[test]
fn only_the_password_makes_the_own_client() {
    let policy = policy(&[]);
    let login = |password: &'static str| Some(("own", password.as_bytes()));
    assert_eq!(
        policy.admit(&Peer::Plain, "any-1", login("secret")),
        Ok(Client::Own)
    );
    assert_eq!(
        policy.admit(&certified(ID), "any-1", login("secret")),
        Ok(Client::Own)
    );
    for password in ["", "secre", "secret2"] {
        assert_eq!(
            policy.admit(&Peer::Plain, ID, login(password)),
            Err(Refusal::Password)
        );
    }
    // Without a password of ours there is no way to become it.
    let none = Policy::default();
    assert_eq!(
        none.admit(&Peer::Plain, "any-1", login("")),
        Err(Refusal::Stranger)
    );
}

#[test]
fn h31_who_is_revoked_neither_comes_in_nor_stays() {
    for (revoked, peer, id) in [
        (ID, Peer::Plain, ID),
        (ID, certified("camera_client"), ID),
        (ID, certified(ID), ID),
        ("camera_client", certified("camera_client"), ID),
        ("watcher", certified("watcher"), "watcher"),
        ("watcher", Peer::Plain, "watcher"),
    ] {
        let client = policy(&[]).admit(&peer, id, None).unwrap();
        let policy = policy(&[revoked]);
        assert!(!policy.may_stay(&peer, &client), "{revoked} {peer:?}");
        assert_eq!(
            policy.admit(&peer, id, None),
            Err(Refusal::Revoked),
            "{revoked} {peer:?}"
        );
    }
    let policy = policy(&[ID, "camera_client"]);
    assert!(policy.may_stay(&Peer::Plain, &Client::Camera(camera(OTHER))));
    assert!(policy.may_stay(&certified("new"), &Client::Camera(camera(OTHER))));
    assert!(policy.may_stay(&certified("camera_client"), &Client::Own));
}

#[test]
fn a_camera_says_its_own_messages_and_hears_its_own_commands() {
    let policy = policy(&[]);
    let client = Client::Camera(camera(ID));
    for topic in [
        format!("prod/device/connection/hive-cam/{ID}"),
        format!("prod/device/status/hive-cam/{}", ID.to_lowercase()),
        format!("prod/device/message/hive-cam/{ID}/activity/start"),
        format!("prod/device/message/hive-cam/{ID}/"),
    ] {
        assert!(policy.may_publish(&client, &topic), "{topic}");
    }
    for topic in [
        format!("prod/device/connection/hive-cam/{OTHER}"),
        format!("prod/honeycomb/{ID}/stream/play"),
        format!("prod/honeycomb/{OTHER}/stream/play"),
        format!("prod/device/other/hive-cam/{ID}"),
        format!("prod/device/message/hive-cam/{ID}x/activity/start"),
        format!("/prod/device/message/hive-cam/{ID}"),
        format!("prod/device/message/hive-cam//{ID}"),
        format!("$SYS/prod/device/message/hive-cam/{ID}"),
        format!("prod/device/message/hive-cam/{ID}{}", "/x".repeat(200)),
        "house/lamp".to_owned(),
        String::new(),
    ] {
        assert!(!policy.may_publish(&client, &topic), "{topic}");
    }
    for filter in [
        format!("prod/honeycomb/{ID}/#"),
        format!("prod/honeycomb/{ID}/+/+"),
        format!("prod/honeycomb/{}/stream/play", ID.to_lowercase()),
    ] {
        assert!(policy.may_subscribe(&client, &filter), "{filter}");
    }
    for filter in [
        "#".to_owned(),
        "+/#".to_owned(),
        "$SYS/#".to_owned(),
        "prod/honeycomb/#".to_owned(),
        "prod/honeycomb/+/#".to_owned(),
        "prod/honeycomb/+/stream/play".to_owned(),
        format!("+/honeycomb/{ID}/#"),
        format!("prod/+/{ID}/#"),
        format!("prod/honeycomb/{OTHER}/#"),
        format!("prod/honeycomb/{ID}"),
        format!("prod/honeycomb/{ID}#"),
        format!("$share/g/prod/honeycomb/{ID}/#"),
        format!("$share/g/prod/honeycomb/{OTHER}/#"),
        format!("prod/device/message/hive-cam/{ID}/#"),
        format!("prod/honeycomb/{ID}{}", "/+".repeat(200)),
    ] {
        assert!(!policy.may_subscribe(&client, &filter), "{filter}");
    }
}

#[test]
fn an_extra_client_is_held_to_its_filters() {
    let policy = policy(&[]);
    let client = Client::Extra("watcher".to_owned());
    assert!(policy.may_publish(&client, "house/lamp"));
    assert!(!policy.may_publish(&client, "house/door"));
    for (filter, allowed) in [
        ("house/#", true),
        ("house", true),
        ("$share/group/house/door", true),
        ("prod/device/status/hive-cam/+", true),
        ("prod/device/message/hive-cam/+/activity/start", false),
        ("#", false),
        ("$share/group/#", false),
        ("$share//house/#", false),
        ("$share/+/house/#", false),
        ("$share/house", false),
        ("$share", false),
    ] {
        assert_eq!(policy.may_subscribe(&client, filter), allowed, "{filter}");
    }
    let unknown = Client::Extra("gone".to_owned());
    assert!(
        !policy.may_publish(&unknown, "house/lamp") && !policy.may_subscribe(&unknown, "house/#")
    );
}

/// What delivers is the broker's own matcher: whatever a camera may subscribe to must not reach beyond its commands
/// there, and the filters that `TopicFilter` knows must be the broker's too.
#[test]
fn h30_the_brokers_own_matcher_agrees() {
    const LEVELS: [&str; 11] = [
        "prod",
        "honeycomb",
        ID,
        OTHER,
        "stream",
        "",
        "$SYS",
        "+",
        "+",
        "#",
        "$share",
    ];
    let mut random = SmallRng::seed_from_u64(30);
    let mut text = |begin: &str| {
        let mut text = match random.random_range(0..3) {
            0 => String::new(),
            _ => begin.to_owned(),
        };
        for _ in 0..random.random_range(1..6) {
            if !text.is_empty() {
                text.push('/');
            }
            text += LEVELS[random.random_range(0..LEVELS.len())];
        }
        text
    };
    let policy = policy(&[]);
    let client = Client::Camera(camera(ID));
    let (mut allowed, mut matched) = (0, 0);
    for _ in 0..1_000_000 {
        let filter = text(&format!("prod/honeycomb/{ID}"));
        let topic = text(&format!("prod/honeycomb/{ID}"));
        let delivers = mqtt5::validation::topic_matches_filter(&topic, &filter);
        // What is invalid is refused before either is asked.
        if let Ok(ours) = TopicFilter::parse(&filter)
            && !topic.is_empty()
            && !topic.contains(['+', '#'])
        {
            assert_eq!(ours.matches(&topic), delivers, "{filter} and {topic}");
        }
        if delivers && policy.may_subscribe(&client, &filter) {
            assert!(
                topic.starts_with(&format!("prod/honeycomb/{ID}")),
                "{filter} and {topic}"
            );
            matched += 1;
        }
        allowed += u32::from(policy.may_subscribe(&client, &filter));
    }
    assert!(
        allowed > 100_000 && matched > 10_000,
        "{allowed} {matched}: the test says little"
    );
}
