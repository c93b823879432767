//! What every store gives away for use elsewhere, and what it does not.

use std::collections::BTreeMap;

use apiary_store::{AccountStore as _, AccountWrite, CopyError, EventKind, Store as _, Write};
use jiff::Timestamp;
use serde_json::Value;

use super::accounts::{audit, login, share, subscription, token, user};
use super::{Home, StoreError, at, camera_row, event, stream_session, viewer_session};

async fn exported(home: &impl Home) -> Result<BTreeMap<String, Vec<Value>>, CopyError> {
    let mut tables: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    home.export(&mut |line| {
        let row: Value = serde_json::from_str(line).unwrap();
        let table = row["table"].as_str().unwrap().to_owned();
        tables.entry(table).or_default().push(row);
        Ok(())
    })
    .await?;
    Ok(tables)
}

pub(crate) async fn an_export_has_every_row_and_no_secret(home: impl Home) {
    let store = home.open().await.unwrap();
    let bee = user(1, "bee");
    store
        .apply_accounts(&[
            AccountWrite::User(bee.clone()),
            AccountWrite::Login(login(0xab, &bee)),
            AccountWrite::Token(token(0xab, &bee)),
            AccountWrite::Share(share(1, &bee)),
            AccountWrite::Subscription(subscription(1, Some(&login(0xab, &bee)))),
        ])
        .await
        .unwrap();
    store.server_key("share", "c0ffee").await.unwrap();
    let nasty = "a \"quote\", a \\ and\na line\u{1f41d}";
    let mut row = camera_row(1);
    row.label.name = Some(nasty.to_owned());
    let mut writes = vec![
        Write::StreamSession(stream_session(1)),
        Write::ViewerSession(viewer_session(1, "s")),
        Write::Camera(row),
        Write::Audit(audit(1, 10, "login")),
    ];
    // More than are read at once.
    let numbers = 0..1100_u32;
    writes.extend(numbers.map(|number| {
        let mut happened = event(1, 1, EventKind::Status);
        happened.id.0 = uuid::Uuid::from_u128(happened.id.0.as_u128() + u128::from(number));
        Write::CameraEvent(happened)
    }));
    store.apply(&writes).await.unwrap();

    // It has the database still.
    let tables = exported(&home).await.unwrap();
    let counts = tables
        .iter()
        .map(|(table, rows)| (table.as_str(), rows.len()));
    let expected = [
        ("api_tokens", 1),
        ("audit_log", 1),
        ("camera_events", 1100),
        ("cameras", 1),
        ("share_links", 1),
        ("stream_sessions", 1),
        ("users", 1),
        ("viewer_sessions", 1),
    ];
    assert_eq!(counts.collect::<Vec<_>>(), expected);
    let camera = &tables["cameras"][0];
    assert_eq!(camera["name"], nasty);
    assert_eq!(camera["battery_percent"], 71.5);
    assert_eq!(camera["position"], 3);
    assert_eq!(camera["temperature"], Value::Null);
    let seen: Timestamp = camera["last_seen"].as_str().unwrap().parse().unwrap();
    assert_eq!(seen, at(7));
    assert_eq!(tables["stream_sessions"][0]["ended_at"], Value::Null);
    assert_eq!(missing(&tables), [""; 0], "see TABLES in export.rs");
    let all = format!("{tables:?}");
    for secret in ["argon2id", &"ab".repeat(32), "c0ffee", "push.example"] {
        assert!(!all.contains(secret), "{secret}");
    }
}

/// The columns of the schema that are neither exported nor secret.
fn missing(tables: &BTreeMap<String, Vec<Value>>) -> Vec<String> {
    let columns = include_str!("../golden/postgres.txt").lines();
    let columns = columns.filter_map(|line| line.split(' ').next()?.split_once('.'));
    let is_secret = |table: &str, column: &str| {
        // Whom a push service knows by our key is of no use elsewhere.
        matches!(
            table,
            "login_sessions" | "server_keys" | "push_subscriptions"
        ) || column.ends_with("_hash")
    };
    let is_there = |table: &str, column: &str| {
        let row = tables.get(table).and_then(|rows| rows.first());
        row.is_some_and(|row| row.get(column).is_some())
    };
    columns
        .filter(|(table, column)| !is_secret(table, column) && !is_there(table, column))
        .map(|(table, column)| format!("{table}.{column}"))
        .collect()
}

pub(crate) async fn an_export_of_an_older_schema_is_refused(home: impl Home) {
    home.make_old().await;
    let error = exported(&home).await.unwrap_err();
    assert!(
        matches!(error, CopyError::Store(StoreError::Older { .. })),
        "{error:?}"
    );
    assert!(error.to_string().contains("apiary serve"), "{error}");
}
