//! A client of the protocol that hides nothing: requests, replies and events as they are.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};

use super::DEADLINE;

/// One WebSocket.
pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
    next_id: u64,
    pub(crate) session: Option<String>,
    /// Events that nobody has waited for yet: the `params.value` of each.
    pub(crate) events: VecDeque<Value>,
}

/// What comes next on a socket.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Value),
    /// With a code, if the server said one.
    Closed(Option<(u16, String)>),
    /// Nothing, as long as was waited.
    Nothing,
}

impl Client {
    pub(crate) fn connect(url: &str) -> Self {
        Self::try_connect(url).unwrap()
    }

    pub(crate) fn try_connect(url: &str) -> Result<Self, String> {
        let authority = url
            .strip_prefix("ws://")
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let stream = TcpStream::connect(authority).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let (socket, _) = client(url, stream).map_err(|error| error.to_string())?;
        Ok(Self {
            socket,
            next_id: 1,
            session: None,
            events: VecDeque::new(),
        })
    }

    pub(crate) fn send(&mut self, text: &str) -> Result<(), Error> {
        self.socket.send(Message::text(text))
    }

    pub(crate) fn send_binary(&mut self, text: &str) -> Result<(), Error> {
        self.socket.send(Message::binary(text.as_bytes().to_vec()))
    }

    pub(crate) fn close(&mut self) {
        self.socket.close(None).unwrap();
        while self.socket.read().is_ok() {}
    }

    /// The next message, whatever it is.
    pub(crate) fn receive(&mut self, wait: Duration) -> Received {
        let wait = wait.max(Duration::from_millis(1));
        self.socket.get_ref().set_read_timeout(Some(wait)).unwrap();
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    return Received::Message(serde_json::from_str(&text).unwrap());
                }
                Ok(Message::Close(frame)) => {
                    let why = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                    return Received::Closed(why);
                }
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Received::Nothing;
                }
                Err(_) => return Received::Closed(None),
            }
        }
    }

    /// A request with the session in it; returns its id.
    pub(crate) fn request(&mut self, method: &str, mut params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        if let Some(session) = &self.session {
            params["sessionId"] = session.as_str().into();
        }
        let request = json!({ "id": id, "jsonrpc": "2.0", "method": method, "params": params });
        self.send(&request.to_string()).unwrap();
        id
    }

    /// The reply to a request; events on the way are kept.
    #[track_caller]
    pub(crate) fn reply(&mut self, id: u64) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.receive(deadline.saturating_duration_since(Instant::now())) {
                Received::Message(message) if message["method"] == "onEvent" => {
                    self.events.push_back(message["params"]["value"].clone());
                }
                Received::Message(message) => {
                    if message["id"] == id {
                        return message;
                    }
                }
                other => panic!("no reply to {id}: {other:?}"),
            }
        }
    }

    /// The `result` of a request.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        let reply = self.reply(id);
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        let result = reply["result"].clone();
        if let Some(session) = result["sessionId"].as_str() {
            self.session = Some(session.to_owned());
        }
        result
    }

    /// The error that a request is answered with: code and text.
    #[track_caller]
    pub(crate) fn error(&mut self, method: &str, params: Value) -> (i64, String) {
        let id = self.request(method, params);
        let error = &self.reply(id)["error"];
        let message = error["message"].as_str().expect("an error").to_owned();
        (error["code"].as_i64().unwrap(), message)
    }

    #[track_caller]
    pub(crate) fn create(&mut self, kind: &str, pipeline: Option<&str>) -> String {
        let constructor = match pipeline {
            Some(pipeline) => json!({ "mediaPipeline": pipeline }),
            None => json!({}),
        };
        let params = json!({ "type": kind, "constructorParams": constructor });
        self.call("create", params)["value"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[track_caller]
    pub(crate) fn invoke(&mut self, object: &str, operation: &str, params: Value) -> Value {
        let params = json!({
            "object": object,
            "operation": operation,
            "operationParams": params,
        });
        self.call("invoke", params)["value"].clone()
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, object: &str, event: &str) {
        self.call("subscribe", json!({ "object": object, "type": event }));
    }

    /// The first event of this type of which `pick` gives something; others are kept.
    #[track_caller]
    pub(crate) fn wait_event<T>(
        &mut self,
        event: &str,
        mut pick: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut at = 0;
        loop {
            while let Some(value) = self.events.get(at) {
                if value["type"] == event
                    && let Some(found) = pick(&value["data"])
                {
                    self.events.remove(at);
                    return found;
                }
                at += 1;
            }
            match self.receive(deadline.saturating_duration_since(Instant::now())) {
                Received::Message(message) if message["method"] == "onEvent" => {
                    self.events.push_back(message["params"]["value"].clone());
                }
                Received::Message(_) => {}
                other => panic!("no {event}: {other:?}; there were {:?}", self.events),
            }
        }
    }

    /// Until a state event says so.
    #[track_caller]
    pub(crate) fn wait_state(&mut self, event: &str, member: &str, state: &str) {
        self.wait_event(event, |data| (data[member] == state).then_some(()));
    }
}
