//! The gateway's side of MQTT: commands down, messages up.

use apiary_wire::camera::{CameraMessage, Command, ConnectionStatus, SUBSCRIPTIONS};
use apiary_wire::{CameraId, StreamId};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, PublishOptions, QoS};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::PATIENCE;

pub(crate) struct Control {
    client: AsyncClient,
    messages: mpsc::Receiver<(CameraId, CameraMessage)>,
    task: JoinHandle<()>,
}

impl Control {
    /// Connects and hears every camera from now on.
    pub(crate) async fn connect(port: u16) -> Self {
        let mut options = MqttOptions::new("control", ("127.0.0.1", port));
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::builder(options).capacity(100).build();
        for filter in SUBSCRIPTIONS {
            client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        }
        let (sender, messages) = mpsc::channel(1000);
        let (subscribed_sender, mut subscribed) = mpsc::channel(SUBSCRIPTIONS.len());
        let task = tokio::spawn(async move {
            while let Ok(event) = events.poll().await {
                if let Event::Incoming(Packet::SubAck(_)) = event {
                    subscribed_sender.send(()).await.unwrap();
                } else if let Event::Incoming(Packet::Publish(publish)) = event {
                    let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                    let message = CameraMessage::parse(&topic, &publish.payload).unwrap();
                    if sender.send(message).await.is_err() {
                        return;
                    }
                }
            }
        });
        for _ in SUBSCRIPTIONS {
            subscribed.recv().await.unwrap();
        }
        Self {
            client,
            messages,
            task,
        }
    }

    pub(crate) async fn command(&self, camera: CameraId, command: Command) {
        let payload = command.to_json(camera, Uuid::new_v4(), jiff::Timestamp::now());
        let options = PublishOptions::new(QoS::AtLeastOnce);
        let topic = command.topic(camera);
        self.client.publish(topic, payload, options).await.unwrap();
    }

    pub(crate) async fn play(&self, camera: CameraId, stream: StreamId, sdp: String) {
        self.command(camera, Command::Play { stream, sdp }).await;
    }

    /// The next message of any camera that `wanted` makes something of; others are passed over.
    pub(crate) async fn message<T>(
        &mut self,
        mut wanted: impl FnMut(CameraMessage) -> Option<T>,
    ) -> T {
        let search = async {
            loop {
                let (_, message) = self.messages.recv().await.expect("the connection stands");
                if let Some(found) = wanted(message) {
                    return found;
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, search).await;
        found.expect("the camera sends the message")
    }

    /// Waits for the next connection message of this status.
    pub(crate) async fn connection(
        &mut self,
        status: ConnectionStatus,
    ) -> apiary_wire::camera::Connection {
        self.message(|message| {
            if let CameraMessage::Connection(found) = message
                && found.status == Some(status)
            {
                return Some(found);
            }
            None
        })
        .await
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}
