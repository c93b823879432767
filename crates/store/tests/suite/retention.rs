//! What every store deletes, and what it keeps.

use apiary_store::{
    AccountStore as _, AccountWrite, EventFilter, EventKind, PRUNE_BATCH, Pruned, Retention,
    SessionStatus, Store as _, StreamSession, ViewerSession, Write,
};
use apiary_wire::id::ViewerId;
use jiff::SignedDuration;
use uuid::Uuid;

use super::accounts::{audit, login, share, token, user};
use super::{Home, at, camera_row, event, events, stream_session, viewer_session};

const DAY: i64 = 24 * 3600;

fn days(days: i64) -> Option<SignedDuration> {
    Some(SignedDuration::from_hours(24 * days))
}

/// A session that ended then.
fn ended(number: u8, second: i64) -> StreamSession {
    StreamSession {
        status: SessionStatus::Stopped,
        ended_at: Some(at(second)),
        ..stream_session(number)
    }
}

fn gone(number: u8, second: i64) -> ViewerSession {
    ViewerSession {
        disconnected_at: Some(at(second)),
        ..viewer_session(number, "s")
    }
}

pub(crate) async fn what_was_kept_for_long_enough_goes_and_nothing_else(home: impl Home) {
    let store = home.open().await.unwrap();
    // All of it is from the first minutes; at(0) is the origin.
    let bee = user(1, "bee");
    let for_ever = token(1, &bee);
    let (mut expired_token, mut late_share) = (token(2, &bee), share(2, &bee));
    expired_token.expires_at = Some(at(500));
    late_share.expires_at = at(20 * DAY);
    store
        .apply_accounts(&[
            AccountWrite::User(bee.clone()),
            AccountWrite::Login(login(1, &bee)),
            AccountWrite::Token(for_ever.clone()),
            AccountWrite::Token(expired_token),
            AccountWrite::Share(share(1, &bee)),
            AccountWrite::Share(late_share.clone()),
        ])
        .await
        .unwrap();
    let writes = [
        Write::StreamSession(ended(1, 60)),
        Write::StreamSession(ended(2, 2 * DAY)),
        Write::StreamSession(stream_session(3)),
        Write::ViewerSession(gone(1, 60)),
        Write::ViewerSession(gone(2, 4 * DAY)),
        Write::ViewerSession(viewer_session(3, "s")),
        Write::Camera(camera_row(1)),
        Write::CameraEvent(event(1, 1, EventKind::Status)),
        Write::Audit(audit(1, 10, "login")),
        Write::Audit(audit(2, 9 * DAY, "login")),
    ];
    store.apply(&writes).await.unwrap();

    let retention = Retention {
        stream_sessions: days(9),
        viewer_sessions: days(7),
        camera_events: None,
        audit_log: days(2),
    };
    // To the microsecond: what ended exactly so long ago is there still.
    let nothing = store.prune(&retention, at(60 + 7 * DAY)).await.unwrap();
    assert_eq!(nothing.rows, 1, "only the audit entry: {nothing:?}");
    let pruned = store.prune(&retention, at(10 * DAY)).await.unwrap();
    // A session, a viewer, a login, a token and a share link.
    assert_eq!((pruned.rows, pruned.more), (5, false));

    let sessions = store.stream_sessions(None, 9).await.unwrap();
    assert_eq!(sessions, [stream_session(3), ended(2, 2 * DAY)]);
    let viewers = store.viewer_sessions("s").await.unwrap();
    assert_eq!(viewers, [gone(2, 4 * DAY), viewer_session(3, "s")]);
    let kept = events(&store, EventFilter::default(), 9, None).await;
    assert_eq!(kept, [event(1, 1, EventKind::Status)]);
    let entries = store.audit_log(None, at(100 * DAY), 9).await.unwrap();
    assert_eq!(entries, [audit(2, 9 * DAY, "login")]);
    let accounts = store.account_tables().await.unwrap();
    assert_eq!(
        (
            accounts.users,
            accounts.logins,
            accounts.tokens,
            accounts.shares
        ),
        (vec![bee], vec![], vec![for_ever], vec![late_share])
    );
    assert_eq!(store.cameras().await.unwrap(), [camera_row(1)]);

    // Without a limit history stays, however much later it is.
    let later = at(1_000_000 * DAY / 100);
    let pruned = store.prune(&Retention::default(), later).await.unwrap();
    assert_eq!(pruned.rows, 1, "the other share link");
    let longer_than_time = Retention {
        stream_sessions: Some(SignedDuration::MAX),
        ..Retention::default()
    };
    let pruned = store.prune(&longer_than_time, later).await.unwrap();
    assert_eq!(pruned, Pruned::default());
    assert_eq!(store.stream_sessions(None, 9).await.unwrap().len(), 2);
}

pub(crate) async fn old_rows_go_in_small_batches(home: impl Home) {
    let store = home.open().await.unwrap();
    let batch = u128::from(PRUNE_BATCH);
    let viewer = |number: u128| {
        Write::ViewerSession(ViewerSession {
            viewer: ViewerId(Uuid::from_u128(number)),
            ..gone(1, 60)
        })
    };
    let writes: Vec<Write> = (0..2 * batch + 1).map(viewer).collect();
    store.apply(&writes).await.unwrap();
    let retention = Retention {
        viewer_sessions: days(1),
        ..Retention::default()
    };
    for (rows, more) in [(batch, true), (batch, true), (1, false), (0, false)] {
        let pruned = store.prune(&retention, at(2 * DAY)).await.unwrap();
        assert_eq!((u128::from(pruned.rows), pruned.more), (rows, more));
    }
}
