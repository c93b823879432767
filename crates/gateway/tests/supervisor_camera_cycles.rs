//! A real camera starts and stops fifty times. Alone in its file: it counts what the whole process holds.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod supervisor_support;

use apiary_core::lifecycle::Phase;
use supervisor_support::house::{DEADLINE, House, Wishes};
use tokio::time::{sleep, timeout};

const CYCLES: usize = 50;

/// The most that the database may hold open: file and write-ahead log for each of four connections, which its pool opens
/// whenever more are wanted at once; the shared index of that log, and the lock.
const DATABASE_LIMIT: usize = 4 * 2 + 2;

/// How many descriptors are open: of the database, and of everything else.
fn open_descriptors() -> (usize, usize) {
    let (database, others): (Vec<_>, Vec<_>) = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .partition(|target| target.to_string_lossy().contains("apiary.db"));
    (database.len(), others.len())
}

/// All but the database's.
fn descriptors() -> usize {
    open_descriptors().1
}

#[tokio::test]
async fn f08_fifty_cycles_of_a_camera_leave_nothing_behind() {
    // One leg fits into the range: each stop must have freed its ports when it returns.
    let mut house = House::new(Wishes::new(42_300..=42_303)).await;
    let camera = house.camera();
    let metrics = tokio::runtime::Handle::current().metrics();
    let mut held = None;
    for cycle in 0..CYCLES {
        house.active().await;
        let stopped = house.supervisor.stop(camera.id()).await.unwrap();
        assert_eq!(stopped.phase, Phase::Stopped);
        camera
            .wait_for(DEADLINE, |state| !state.is_streaming())
            .await
            .unwrap();
        // The first few warm up what is made once.
        if cycle == 5 {
            held = Some((metrics.num_alive_tasks(), descriptors()));
        }
    }
    let held = held.unwrap();
    // A task that has given its answer may still be ending, here and when the first few were counted.
    let settled = timeout(DEADLINE, async {
        while metrics.num_alive_tasks() > held.0 || descriptors() > held.1 {
            sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    if settled.await.is_err() {
        panic!(
            "{held:?} tasks and descriptors became {:?}",
            (metrics.num_alive_tasks(), descriptors())
        );
    }
    let (database, _) = open_descriptors();
    assert!(
        database <= DATABASE_LIMIT,
        "the database holds {database} descriptors"
    );
    house.end().await;
}
