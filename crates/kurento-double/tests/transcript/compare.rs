//! How a message of the double is compared with a recorded one.

use std::collections::BTreeMap;

use serde_json::Value;

const UUID_LEN: usize = 36;

/// The recording's UUIDs and the double's in their place, and descriptions that were given by either.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    uuids: BTreeMap<String, String>,
    descriptions: BTreeMap<String, String>,
}

impl Ids {
    /// Recorded text with what stands here for what stood there.
    pub(crate) fn here(&self, recorded: &str) -> String {
        if let Some(description) = self.descriptions.get(recorded) {
            return description.clone();
        }
        let mut text = recorded.to_owned();
        for uuid in uuids(recorded) {
            if let Some(here) = self.uuids.get(uuid) {
                text = text.replace(uuid, here);
            }
        }
        text
    }

    /// New UUIDs at the same places stand for each other.
    fn learn(&mut self, recorded: &str, here: &str) {
        for (recorded, here) in uuids(recorded).into_iter().zip(uuids(here)) {
            let known = self.uuids.entry(recorded.to_owned());
            known.or_insert_with(|| here.to_owned());
        }
    }
}

/// The UUIDs in a text.
fn uuids(text: &str) -> Vec<&str> {
    let is_uuid = |part: &str| {
        let fits = |(at, byte): (usize, u8)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        part.bytes().enumerate().all(fits)
    };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(part) = text.get(at..at + UUID_LEN) {
        if is_uuid(part) {
            found.push(part);
            at += UUID_LEN;
        } else {
            at += 1;
        }
    }
    found
}

/// Everything in which `here` does not look like `recorded`.
pub(crate) fn differences(ids: &mut Ids, recorded: &Value, here: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(ids, "", recorded, here, &mut found);
    found
}

fn compare(ids: &mut Ids, place: &str, recorded: &Value, here: &Value, found: &mut Vec<String>) {
    match (recorded, here) {
        (Value::Object(there), Value::Object(members)) => {
            for (name, recorded) in there {
                match members.get(name) {
                    Some(here) => compare(ids, &format!("{place}.{name}"), recorded, here, found),
                    None => found.push(format!("{place}.{name} is missing")),
                }
            }
            let more = members.keys().filter(|name| !there.contains_key(*name));
            found.extend(more.map(|name| format!("{place}.{name} was not recorded")));
        }
        (Value::Array(there), Value::Array(items)) => {
            if there.len() != items.len() {
                let (recorded, here) = (there.len(), items.len());
                found.push(format!(
                    "{place}: {recorded} elements recorded, {here} here"
                ));
            }
            for (recorded, here) in there.iter().zip(items) {
                compare(ids, &format!("{place}[]"), recorded, here, found);
            }
        }
        (Value::String(recorded), Value::String(here)) => {
            if let Some(difference) = compare_text(ids, place, recorded, here) {
                found.push(format!("{place}: {difference}"));
            }
        }
        // A whole number is not the same as one with a point.
        (recorded, here) if recorded == here => {}
        _ => found.push(format!("{place}: {recorded} recorded, {here} here")),
    }
}

fn compare_text(ids: &mut Ids, place: &str, recorded: &str, here: &str) -> Option<String> {
    if recorded.starts_with("v=0") {
        let difference = compare_descriptions(recorded, here);
        ids.descriptions
            .insert(recorded.to_owned(), here.to_owned());
        return difference;
    }
    if recorded.starts_with("candidate:") {
        // Which pair wins is no matter of form, and one can win before the other side's candidate is told (`typ prflx`).
        let is_chosen = place.ends_with("localCandidate") || place.ends_with("remoteCandidate");
        let key = |candidate: &str| {
            let (component, transport, is_v6, rest) = candidate_key(candidate);
            let rest = if is_chosen { String::new() } else { rest };
            (component, transport, is_v6 && !is_chosen, rest)
        };
        let same = key(recorded) == key(here);
        return (!same).then(|| format!("{recorded:?} recorded, {here:?} here"));
    }
    let same = match place.rsplit('.').next() {
        Some("timestampMillis") => here.parse::<u64>().is_ok(),
        Some("connectionId") => without_digits(recorded) == without_digits(here),
        _ => {
            ids.learn(recorded, here);
            ids.here(recorded) == here
        }
    };
    (!same).then(|| format!("{recorded:?} recorded, {here:?} here"))
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// What says which of a server's candidates this is: component, transport, family of the address, and what follows the port.
pub(crate) fn candidate_key(candidate: &str) -> (String, String, bool, String) {
    let words: Vec<_> = candidate.split(' ').collect();
    match words.as_slice() {
        [_, component, transport, _, address, _, rest @ ..] => (
            (*component).to_owned(),
            (*transport).to_owned(),
            address.contains(':'),
            rest.join(" "),
        ),
        _ => (candidate.to_owned(), String::new(), false, String::new()),
    }
}

/// The first line in which two descriptions differ. Numbers and names that are made up anew each time are not compared, nor
/// how many candidates there are.
fn compare_descriptions(recorded: &str, here: &str) -> Option<String> {
    let shapes = |text: &str| {
        let mut shapes: Vec<_> = text.split("\r\n").map(shape).collect();
        shapes.dedup_by(|next, first| next == first && first == "a=candidate");
        shapes
    };
    let (there, here) = (shapes(recorded), shapes(here));
    let lines = there.len().max(here.len());
    (0..lines).find_map(|at| {
        let (recorded, here) = (there.get(at), here.get(at));
        (recorded != here).then(|| format!("SDP line {at}: {recorded:?} recorded, {here:?} here"))
    })
}

/// What is the same of a line in all descriptions.
fn shape(line: &str) -> String {
    let words = |range: std::ops::Range<usize>| {
        let words: Vec<_> = line.split(' ').collect();
        words.get(range).unwrap_or_default().join(" ")
    };
    match line.split_at_checked(2) {
        Some(("o=", _)) => format!("{} {}", words(0..1), words(3..5)),
        Some(("c=", _)) => words(0..2),
        Some(("m=", _)) => {
            let (kind, rest) = line.split_once(' ').unwrap_or_default();
            let (port, rest) = rest.split_once(' ').unwrap_or_default();
            let open = if port == "0" { "refused" } else { "open" };
            format!("{kind} {open} {rest}")
        }
        Some(("a=", attribute)) => {
            let name = attribute.split(':').next().unwrap_or_default();
            let made_up = [
                "candidate",
                "fingerprint",
                "ice-pwd",
                "ice-ufrag",
                "rtcp",
                "sctp-port",
                "ssrc",
            ];
            match made_up.contains(&name) {
                true => format!("a={name}"),
                false => line.to_owned(),
            }
        }
        _ => line.to_owned(),
    }
}
