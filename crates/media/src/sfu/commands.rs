//! What a worker does when it is told something: streams and viewers come and go here.

use std::time::Instant;

use apiary_core::ingest::{IngestConfig, ViewerReport};
use apiary_core::viewer::offer::IceCredentials;
use apiary_wire::id::{CameraId, ViewerId};

use super::message::{Message, NewViewer, OpenLeg, Reply, TalkTurn};
use super::still::Still;
use super::stream::{Home, Role, Stream};
use super::talk::Voice;
use super::viewer::Viewer;
use super::worker::{Worker, ingest_token};
use crate::counts::WorkerCounts;
use crate::engine::{CloseReason, EngineError, EngineEvent, StreamStats, ViewerGoneReason};

impl Worker<'_> {
    pub(super) fn handle_message(&mut self, now: Instant, message: Message) {
        // A reply that nobody waits for any more is not needed.
        match message {
            Message::Open(leg, reply) => drop(reply.send(self.open(now, *leg))),
            Message::Rearm(camera, config, reply) => {
                drop(reply.send(self.rearm(now, camera, *config)))
            }
            Message::Close(camera, reason, reply) => {
                self.close(now, camera, reason);
                let _ = reply.send(());
            }
            Message::Join(viewer, reply) => drop(reply.send(self.join(now, *viewer))),
            Message::RestartIce(viewer, credentials, reply) => {
                drop(reply.send(self.restart_ice(now, viewer, *credentials)));
            }
            Message::Leave(viewer, reply) => {
                if let Some(&key) = self.lookup.by_id.get(&viewer) {
                    self.remove_viewer(now, key, ViewerGoneReason::Left);
                }
                let _ = reply.send(());
            }
            Message::Talk(turn, reply) => self.lend_voice(turn, reply),
            Message::TakeVoice(viewer, voice, reply) => {
                drop(reply.send(self.take_voice(viewer, *voice)))
            }
            Message::Hush(viewer, reply) => {
                if let Some(&key) = self.lookup.by_id.get(&viewer)
                    && let Some(viewer) = self.viewers.get_mut(key)
                {
                    viewer.voice = None;
                }
                let _ = reply.send(());
            }
            Message::KeyFrame(camera) => self.request_key_frame(now, camera),
            Message::Still(camera, reply) => drop(reply.send(self.still(now, camera))),
            Message::StreamStats(camera, reply) => drop(reply.send(self.stream_stats(camera))),
            Message::Counts(reply) => drop(reply.send(self.counts())),
            Message::ViewerStats(viewer, reply) => {
                let viewer = self
                    .lookup
                    .by_id
                    .get(&viewer)
                    .and_then(|&key| self.viewers.get(key));
                let _ = reply.send(viewer.map(Viewer::stats));
            }
            Message::Subscribe { camera, worker } => self.subscribe(now, camera, worker),
            Message::Unsubscribe { camera, worker } => {
                if let Some(Role::Home(home)) = self.role_of(camera) {
                    home.subscribers.retain(|&subscriber| subscriber != worker);
                }
            }
            Message::Relay(batch) => {
                if let Some(&place) = self.by_camera.get(&batch.camera)
                    && let Some(stream) = self.streams.get_mut(place)
                {
                    stream.handle_relay(&batch);
                    self.mark_dirty(place);
                }
            }
            Message::Report(camera, viewer, report) => {
                self.report_viewer(now, camera, viewer, report)
            }
            Message::Forget(camera, viewer) => self.forget_viewer(now, camera, viewer),
            Message::Shutdown => {} // taken by the loop itself
            #[cfg(test)]
            Message::Panic => panic!("asked to"),
            #[cfg(test)]
            Message::Hang(until) => drop(until.recv()),
        }
    }

    fn still(&self, now: Instant, camera: CameraId) -> Option<Still> {
        let place = *self.by_camera.get(&camera)?;
        self.streams.get(place)?.still(now)
    }

    fn role_of(&mut self, camera: CameraId) -> Option<&mut Role> {
        let place = *self.by_camera.get(&camera)?;
        self.streams.get_mut(place).map(|stream| &mut stream.role)
    }

    /// Something about the stream's camera is to be done earlier than was known.
    fn set_stream_timer(&mut self, camera: CameraId) {
        if let Some(&place) = self.by_camera.get(&camera)
            && let Some(stream) = self.streams.get_mut(place)
        {
            stream.set_timer(place, &mut self.wheel);
        }
    }

    fn open(&mut self, now: Instant, leg: OpenLeg) -> Result<(), EngineError> {
        if self.by_camera.contains_key(&leg.camera) {
            return Err(EngineError::AlreadyOpen(leg.camera));
        }
        let role = Role::Home(Box::new(Home::new(leg.sockets, leg.config)));
        let place = self.streams.insert(Stream::new(now, leg.camera, role));
        self.by_camera.insert(leg.camera, place);
        self.set_stream_timer(leg.camera);
        self.listen(place).map_err(|source| {
            self.close(now, leg.camera, CloseReason::Failed);
            EngineError::Io {
                operation: "wait for packets of the camera",
                source,
            }
        })
    }

    /// Has the poller report what comes for a stream.
    fn listen(&self, place: usize) -> std::io::Result<()> {
        let Some(Role::Home(home)) = self.streams.get(place).map(|stream| &stream.role) else {
            return Ok(());
        };
        let sockets = [
            &home.sockets.video_rtp,
            &home.sockets.video_rtcp,
            &*home.sockets.audio_rtp,
            &home.sockets.audio_rtcp,
        ];
        for (number, socket) in (0..).zip(sockets) {
            self.post
                .poller
                .add_edge(socket, ingest_token(place, number))?;
        }
        Ok(())
    }

    fn rearm(
        &mut self,
        now: Instant,
        camera: CameraId,
        config: IngestConfig,
    ) -> Result<(), EngineError> {
        match self.role_of(camera) {
            Some(Role::Home(home)) => {
                let hushed = home.rearm(now, config);
                if let Some(viewer) = hushed {
                    self.post
                        .shared
                        .emit(EngineEvent::TalkEnded { camera, viewer });
                }
                self.set_stream_timer(camera);
                Ok(())
            }
            Some(Role::Replica { .. }) | None => Err(EngineError::UnknownStream(camera)),
        }
    }

    fn close(&mut self, now: Instant, camera: CameraId, reason: CloseReason) {
        let Some(&place) = self.by_camera.get(&camera) else {
            return;
        };
        let viewers = self
            .streams
            .get(place)
            .map(|stream| stream.viewers.clone())
            .unwrap_or_default();
        for key in viewers {
            self.remove_viewer(now, key, ViewerGoneReason::StreamClosed(reason));
        }
        self.count_traffic(place);
        self.by_camera.remove(&camera);
        // Closing the sockets takes them out of the poller as well.
        self.streams.remove(place);
    }

    fn join(&mut self, now: Instant, new: NewViewer) -> Result<(), EngineError> {
        let (camera, home) = (new.camera, new.home);
        let place = match self.by_camera.get(&camera) {
            Some(&place) => place,
            None if home == self.post.index => return Err(EngineError::UnknownStream(camera)),
            None => {
                let worker = self.post.index;
                self.post.mailboxes[home].post(Message::Subscribe { camera, worker })?;
                let place = self
                    .streams
                    .insert(Stream::new(now, camera, Role::Replica { home }));
                self.by_camera.insert(camera, place);
                place
            }
        };
        let viewer = Viewer::new(now, new);
        let (id, ufrag) = (viewer.id, viewer.ufrag.clone());
        let key = self.viewers.insert(viewer);
        self.lookup.by_id.insert(id, key);
        self.lookup.by_ufrag.insert(ufrag, key);
        if let Some(stream) = self.streams.get_mut(place) {
            stream.viewers.push(key);
        }
        self.set_viewer_timer(now, key);
        Ok(())
    }

    /// Gives the voice toward a camera to a viewer, on whichever worker that is.
    fn lend_voice(&mut self, turn: TalkTurn, reply: Reply<Result<(), EngineError>>) {
        let TalkTurn {
            camera,
            viewer,
            worker,
        } = turn;
        let lent = match self.role_of(camera) {
            Some(Role::Home(home)) => home.lend_voice(camera, viewer),
            Some(Role::Replica { .. }) | None => Err(EngineError::UnknownStream(camera)),
        };
        match lent {
            Err(error) => drop(reply.send(Err(error))),
            Ok(voice) if worker == self.post.index => {
                drop(reply.send(self.take_voice(viewer, voice)));
            }
            // Where it cannot be delivered it is dropped and so free again, and who waits for the reply hears of a lost worker.
            Ok(voice) => drop(self.post.mailboxes[worker].post(Message::TakeVoice(
                viewer,
                Box::new(voice),
                reply,
            ))),
        }
    }

    fn take_voice(&mut self, viewer: ViewerId, voice: Voice) -> Result<(), EngineError> {
        let key = self.lookup.by_id.get(&viewer);
        let known = key.and_then(|&key| self.viewers.get_mut(key));
        let known = known.ok_or(EngineError::UnknownViewer(viewer))?;
        known.voice = Some(voice);
        Ok(())
    }

    fn restart_ice(
        &mut self,
        now: Instant,
        id: ViewerId,
        [local, remote]: [IceCredentials; 2],
    ) -> Result<(), EngineError> {
        let unknown = || EngineError::UnknownViewer(id);
        let key = *self.lookup.by_id.get(&id).ok_or_else(unknown)?;
        let viewer = self.viewers.get_mut(key).ok_or_else(unknown)?;
        self.lookup.by_ufrag.remove(&viewer.ufrag);
        viewer.ufrag.clone_from(&local.ufrag);
        self.lookup.by_ufrag.insert(local.ufrag.clone(), key);
        viewer.session.restart_ice(now, local, remote);
        viewer.restart_picture();
        viewer.set_timer(now, key, &mut self.wheel);
        Ok(())
    }

    /// Says goodbye to a viewer and frees all that was its own.
    pub(super) fn remove_viewer(&mut self, now: Instant, key: usize, reason: ViewerGoneReason) {
        let Some(mut viewer) = self.viewers.remove(key) else {
            return;
        };
        self.post.counts.viewers.skipped += viewer.take_skipped();
        viewer.session.close();
        viewer.flush_session(&mut self.out);
        self.lookup.by_id.remove(&viewer.id);
        self.lookup.by_ufrag.remove(&viewer.ufrag);
        for path in &viewer.paths {
            if self.lookup.by_address.get(path) == Some(&key) {
                self.lookup.by_address.remove(path);
            }
        }
        let camera = viewer.camera;
        self.forget_viewer(now, camera, viewer.id);
        if let Some(&place) = self.by_camera.get(&camera)
            && let Some(stream) = self.streams.get_mut(place)
        {
            stream.viewers.retain(|&other| other != key);
            let unused = stream.viewers.is_empty();
            if let (true, &Role::Replica { home }) = (unused, &stream.role) {
                let worker = self.post.index;
                // Without this the home worker relays on; the packets are dropped here.
                let _ = self.post.mailboxes[home].post(Message::Unsubscribe { camera, worker });
                self.streams.remove(place);
                self.by_camera.remove(&camera);
            }
        }
        self.post.shared.viewer_gone(camera, viewer.id, reason);
    }

    /// Asks the camera for a key frame, directly or through the worker that serves it.
    pub(super) fn request_key_frame(&mut self, now: Instant, camera: CameraId) {
        let Some(&place) = self.by_camera.get(&camera) else {
            return;
        };
        match self.streams.get_mut(place).map(|stream| &mut stream.role) {
            Some(Role::Home(home)) => {
                home.ingest.request_key_frame(now);
                self.feed_back(now, place);
            }
            Some(&mut Role::Replica { home }) => {
                let _ = self.post.mailboxes[home].post(Message::KeyFrame(camera));
            }
            None => {}
        }
    }

    /// Lets the bandwidth policy know what a viewer reports.
    pub(super) fn report_viewer(
        &mut self,
        now: Instant,
        camera: CameraId,
        viewer: ViewerId,
        report: ViewerReport,
    ) {
        let Some(&place) = self.by_camera.get(&camera) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        match &mut stream.role {
            Role::Home(home) => {
                home.ingest.set_viewer_report(now, viewer, report);
                stream.set_timer(place, &mut self.wheel);
            }
            &mut Role::Replica { home } => {
                // The next report follows within a second.
                let _ = self.post.mailboxes[home].post(Message::Report(camera, viewer, report));
            }
        }
    }

    fn forget_viewer(&mut self, now: Instant, camera: CameraId, viewer: ViewerId) {
        match self.role_of(camera) {
            Some(Role::Home(home)) => {
                home.ingest.remove_viewer(now, viewer);
                self.set_stream_timer(camera);
            }
            Some(&mut Role::Replica { home }) => {
                // The policy forgets viewers that say nothing.
                let _ = self.post.mailboxes[home].post(Message::Forget(camera, viewer));
            }
            None => {}
        }
    }

    /// Another worker gets this stream's packets from now on, and all since the last IDR at once.
    fn subscribe(&mut self, now: Instant, camera: CameraId, worker: usize) {
        let Some(&place) = self.by_camera.get(&camera) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(place) else {
            return;
        };
        let snapshot = std::sync::Arc::new(stream.snapshot(now));
        if let Role::Home(home) = &mut stream.role
            && !home.subscribers.contains(&worker)
        {
            home.subscribers.push(worker);
        }
        // Lost only to a worker that is overrun; its viewers then wait for the next key frame.
        let _ = self.post.mailboxes[worker].post(Message::Relay(snapshot));
    }

    fn stream_stats(&mut self, camera: CameraId) -> Option<StreamStats> {
        let place = *self.by_camera.get(&camera)?;
        let stream = self.streams.get(place)?;
        let Role::Home(home) = &stream.role else {
            return None;
        };
        let stats = home.ingest.stats();
        let (video, audio) = (&stats.video, &stats.audio);
        Some(StreamStats {
            packets: video.counters.received + audio.counters.received,
            octets: video.counters.octets + audio.counters.octets,
            lost: video.lost + audio.lost,
            dropped: video.counters.dropped() + audio.counters.dropped() + stats.malformed,
            bitrate: stats.bitrate,
            frames_per_second: stats.frames_per_second,
            remb: stats.remb.last.unwrap_or(stats.target),
            remb_count: stats.remb.count,
            remb_max_gap_ms: stats.remb.max_gap.as_millis() as u64,
            source: video.source.or(audio.source),
            viewers: 0, // counted over all workers by the control plane
        })
    }

    /// Puts what a stream's camera sent since the last call into the worker's totals.
    pub(super) fn count_traffic(&mut self, place: usize) {
        if let Some(stream) = self.streams.get_mut(place)
            && let Role::Home(home) = &mut stream.role
        {
            let counts = &mut self.post.counts;
            counts.cameras = counts.cameras.plus(home.take_traffic());
        }
    }

    /// The worker's totals. Those of streams are at most as old as their last report to the camera.
    fn counts(&self) -> WorkerCounts {
        WorkerCounts {
            cpu: crate::sys::thread_cpu_time(),
            waiting: self.post.mailboxes[self.post.index].waiting(),
            ..self.post.counts
        }
    }

    /// Ends every session in good order.
    pub(super) fn say_goodbye(&mut self) {
        for viewer in self.viewers.iter_mut() {
            viewer.session.close();
            viewer.flush_session(&mut self.out);
        }
        self.out.flush(&self.post.socket);
    }
}
