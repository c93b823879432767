//! The recorded conversation with a real Kurento, with the double in its place.
//!
//! Every request of the recording is sent again, socket by socket, with the ids that the double has given. Every reply must
//! look like the recorded one: the same members and types, the same codes, texts and states, and in SDP the same lines in the
//! same order. Every recorded event must come too. What may differ is listed in [`may_differ`] and [`may_be_missing`].
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that goes wrong fails"
)]

#[path = "transcript/compare.rs"]
mod compare;
mod support;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use apiary_kurento_double::{KurentoDouble, Options};
use compare::{Ids, candidate_key, differences};
use serde_json::Value;
use support::{Client, DEADLINE, Received, own_address};

const RECORDING: &str = include_str!("recording/transcript.jsonl");

/// Where a reply of the double is shorter than the recorded one: RTP and RTCP share a port with whoever can, so that
/// component 2 never gets a pair.
fn may_differ(operation: &str, difference: &str) -> bool {
    let lists = ["getICECandidatePairs", "getIceConnectionState"];
    lists.contains(&operation) && difference.ends_with("2 elements recorded, 1 here")
}

/// Events of the recording that the double does not send.
fn may_be_missing(event: &Value) -> bool {
    let data = &event["data"];
    match event["type"].as_str().unwrap() {
        // As above.
        "IceComponentStateChanged" => data["componentId"] == 2 && data["state"] != "GATHERING",
        "NewCandidatePairSelected" => data["candidatePair"]["componentId"] == 2,
        // The recorded server had two interfaces with link-local addresses.
        "IceCandidateFound" => {
            let candidate = data["candidate"]["candidate"].as_str().unwrap();
            candidate.contains("fe80::b4e4:7bff:feb7:c88f")
        }
        // Said four times over there.
        "Error" => true,
        _ => false,
    }
}

/// The replay as far as it has come.
struct Replay {
    url: String,
    sockets: BTreeMap<u64, Client>,
    ids: Ids,
    /// Candidates of the recording and those of the double in their place.
    candidates: BTreeMap<String, String>,
    /// Replies that came while an event was waited for, by socket.
    early: BTreeMap<u64, VecDeque<Value>>,
    /// What was asked last, by socket: operation or method.
    asked: BTreeMap<u64, String>,
    replies: usize,
    events: usize,
    faults: Vec<String>,
}

#[test]
fn the_double_says_what_a_kurento_said() {
    let double = KurentoDouble::start(Options::at(own_address())).unwrap();
    let mut replay = Replay {
        url: double.url(),
        sockets: BTreeMap::new(),
        ids: Ids::default(),
        candidates: BTreeMap::new(),
        early: BTreeMap::new(),
        asked: BTreeMap::new(),
        replies: 0,
        events: 0,
        faults: Vec::new(),
    };
    let lines = RECORDING.lines().enumerate();
    let (mut replies, mut events) = (0, 0);
    for (at, line) in lines {
        let line: Value = serde_json::from_str(line).unwrap();
        let raw = line["raw"].as_str().unwrap();
        if line["dir"] == "recv" {
            match is_event(raw) {
                true => events += 1,
                false => replies += 1,
            }
        }
        replay.step(
            at + 1,
            line["sock"].as_u64().unwrap(),
            line["dir"].as_str().unwrap(),
            raw,
        );
    }
    println!(
        "{} of {replies} replies compared, {} of {events} events",
        replay.replies, replay.events
    );
    assert!(replay.faults.is_empty(), "{}", replay.faults.join("\n"));
    assert_eq!(replay.replies, replies);
}

fn is_event(raw: &str) -> bool {
    let message: Value = serde_json::from_str(raw).unwrap();
    message["method"] == "onEvent"
}

impl Replay {
    fn step(&mut self, at: usize, socket: u64, dir: &str, raw: &str) {
        match dir {
            "http" => {
                let wrong_path = [27, 28].contains(&socket);
                let url = self.url.clone() + if wrong_path { "s" } else { "" };
                self.sockets.insert(socket, Client::connect(&url));
            }
            "send" => self.send(socket, raw),
            "send-binary" => self.client(socket).send_binary(raw).unwrap(),
            "recv" if is_event(raw) => self.event(at, socket, raw),
            "recv" => self.reply(at, socket, raw),
            "close" => self.close(at, socket, raw),
            "note" => {}
            other => panic!("line {at}: {other}"),
        }
    }

    fn client(&mut self, socket: u64) -> &mut Client {
        self.sockets.get_mut(&socket).unwrap()
    }

    fn send(&mut self, socket: u64, raw: &str) {
        // What is no JSON through and through has no ids in it.
        let message: Option<Value> = serde_json::from_str(raw).ok();
        let text = match &message {
            Some(message) => self.here(message).to_string(),
            None => raw.to_owned(),
        };
        if let Some(message) = message {
            let operation = message["params"]["operation"].as_str();
            let asked = operation.or_else(|| message["method"].as_str());
            self.asked
                .insert(socket, asked.unwrap_or_default().to_owned());
        }
        if let Some(client) = self.sockets.get_mut(&socket) {
            // A server that closes at once may have done so already.
            let _ = client.send(&text);
        }
    }

    /// A message of the recording with the double's ids, descriptions and candidates.
    fn here(&self, message: &Value) -> Value {
        match message {
            Value::String(text) => match self.candidates.get(text) {
                Some(candidate) => candidate.as_str().into(),
                None => self.ids.here(text).into(),
            },
            Value::Array(items) => items.iter().map(|item| self.here(item)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, member)| (name.clone(), self.here(member)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => message.clone(),
        }
    }

    fn reply(&mut self, at: usize, socket: u64, raw: &str) {
        let recorded: Value = serde_json::from_str(raw).unwrap();
        let Some(reply) = self.next_reply(socket) else {
            self.faults
                .push(format!("line {at}: no reply, recorded {raw}"));
            return;
        };
        let asked = self.asked.get(&socket).cloned().unwrap_or_default();
        let found = differences(&mut self.ids, &recorded, &reply);
        let unexplained = found.into_iter().filter(|one| !may_differ(&asked, one));
        let faults: Vec<_> = unexplained
            .map(|one| format!("line {at} ({asked}): {one}"))
            .collect();
        self.faults.extend(faults);
        self.replies += 1;
    }

    fn next_reply(&mut self, socket: u64) -> Option<Value> {
        if let Some(reply) = self.early.get_mut(&socket).and_then(VecDeque::pop_front) {
            return Some(reply);
        }
        let client = self.client(socket);
        let deadline = Instant::now() + DEADLINE;
        loop {
            match client.receive(deadline.saturating_duration_since(Instant::now())) {
                Received::Message(message) if message["method"] == "onEvent" => {
                    client.events.push_back(message["params"]["value"].clone());
                }
                Received::Message(message) => return Some(message),
                Received::Closed(_) | Received::Nothing => return None,
            }
        }
    }

    /// The double must send it too, now or soon.
    fn event(&mut self, at: usize, socket: u64, raw: &str) {
        let recorded: Value = serde_json::from_str(raw).unwrap();
        let recorded = recorded["params"]["value"].clone();
        let optional = may_be_missing(&recorded);
        let deadline = Instant::now() + if optional { Duration::ZERO } else { DEADLINE };
        loop {
            let events = &self.client(socket).events;
            // Copied, as comparing learns ids.
            let candidates: Vec<_> = events.iter().cloned().enumerate().collect();
            let same = candidates.into_iter().find(|(_, event)| {
                let mut ids = self.ids.clone();
                let same = differences(&mut ids, &recorded, event).is_empty();
                if same {
                    self.ids = ids;
                }
                same
            });
            if let Some((index, event)) = same {
                self.note_candidate(&recorded, &event);
                self.client(socket).events.remove(index);
                self.events += 1;
                return;
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            match self.client(socket).receive(wait) {
                Received::Message(message) if message["method"] == "onEvent" => {
                    let event = message["params"]["value"].clone();
                    self.client(socket).events.push_back(event);
                }
                Received::Message(reply) => self.early.entry(socket).or_default().push_back(reply),
                Received::Closed(_) | Received::Nothing => break,
            }
        }
        if !optional {
            self.faults
                .push(format!("line {at}: no such event: {recorded}"));
        }
    }

    fn note_candidate(&mut self, recorded: &Value, here: &Value) {
        let text = |event: &Value| {
            let candidate = event["data"]["candidate"]["candidate"].as_str();
            candidate.map(str::to_owned)
        };
        if let (Some(recorded), Some(here)) = (text(recorded), text(here)) {
            assert_eq!(candidate_key(&recorded), candidate_key(&here));
            self.candidates.insert(recorded, here);
        }
    }

    fn close(&mut self, at: usize, socket: u64, how: &str) {
        let mut client = self.sockets.remove(&socket).unwrap();
        if how.starts_with("closed code=1000") {
            client.close();
            return;
        }
        let expected = how
            .contains("code=1002")
            .then(|| (1_002, "Invalid path".to_owned()));
        match client.receive(DEADLINE) {
            Received::Closed(found) if found == expected => {}
            other => self
                .faults
                .push(format!("line {at}: {other:?}, recorded {how}")),
        }
    }
}
