//! A thousand streams and viewers come and go. Alone in its file: it counts what the whole process holds.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod supervisor_support;

use apiary_core::lifecycle::Phase;
use supervisor_support::{Rig, camera, secs};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn f08_a_thousand_cycles_leave_nothing_behind() {
    let mut rig = Rig::new().await;
    sleep(secs(1)).await;
    let metrics = tokio::runtime::Handle::current().metrics();
    let tasks = metrics.num_alive_tasks();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    for round in 0..1_000u16 {
        let camera = camera(round % 7);
        let joined = rig.join(camera).await.unwrap();
        if round % 2 == 0 {
            rig.engine.rtp_started(camera);
            rig.until(camera, |stream| stream.phase == Phase::Active)
                .await;
        }
        if round % 3 == 0 {
            rig.supervisor.leave(joined.viewer).await;
        }
        rig.supervisor.stop(camera).await.unwrap();
        rig.cameras.forget();
    }
    // Tasks that have ended are let go of with the next one.
    rig.start(camera(1)).await.unwrap();
    rig.supervisor.stop(camera(1)).await.unwrap();
    sleep(secs(10)).await;
    assert_eq!(rig.engine.legs(), 0);
    assert_eq!(rig.engine.viewers(), 0);
    assert_eq!(rig.supervisor.viewers(None), []);
    assert_eq!(metrics.num_alive_tasks(), tasks);
    assert_eq!(descriptors(), before);
    assert_eq!(rig.engine.opened().len(), 1_001);
    rig.end().await;
}
