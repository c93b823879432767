//! Faults that a test switches on, and the journal of what was asked.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::fault::RpcFault;

/// One request that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestView {
    /// The method: `create`, `invoke`, ...
    pub method: String,
    /// The operation of an `invoke`, the type of a `create` or `subscribe`; else empty.
    pub detail: String,
    /// Its parameters as they came.
    pub params: Value,
}

/// The names that a request goes by, for faults and counts.
pub(crate) type Names = RequestView;

impl RequestView {
    pub(crate) fn of(method: &str, params: &Value) -> Self {
        let detail = match method {
            "invoke" => &params["operation"],
            "create" | "subscribe" => &params["type"],
            _ => &Value::Null,
        };
        Self {
            method: method.to_owned(),
            detail: detail.as_str().unwrap_or_default().to_owned(),
            params: params.clone(),
        }
    }

    /// Whether a test that says `op` means this one.
    fn is(&self, op: &str) -> bool {
        self.method == op || self.detail == op
    }
}

/// Everything that was asked, in order.
#[derive(Debug, Default)]
pub(crate) struct Journal(Vec<RequestView>);

impl Journal {
    pub(crate) fn note(&mut self, names: &Names) {
        self.0.push(names.clone());
    }

    pub(crate) fn all(&self) -> Vec<RequestView> {
        self.0.clone()
    }

    pub(crate) fn count(&self, op: &str) -> usize {
        self.0.iter().filter(|request| request.is(op)).count()
    }
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answer,
    Fail(RpcFault),
    Swallow { carried_out: bool },
    Drop { carried_out: bool },
}

/// The faults that are switched on.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// For the next request of a name, each once and in order.
    once: BTreeMap<String, VecDeque<Fate>>,
    /// For all requests of a name.
    always: BTreeMap<String, Fate>,
    pub(crate) reply_delay: Duration,
}

impl Faults {
    pub(crate) fn next(&mut self, op: &str, fate: Fate) {
        self.once.entry(op.to_owned()).or_default().push_back(fate);
    }

    pub(crate) fn always(&mut self, op: &str, fate: Fate) {
        self.always.insert(op.to_owned(), fate);
    }

    pub(crate) fn fate_of(&mut self, names: &Names) -> Fate {
        for (op, fates) in &mut self.once {
            if names.is(op)
                && let Some(fate) = fates.pop_front()
            {
                return fate;
            }
        }
        let mut always = self.always.iter();
        always
            .find(|(op, _)| names.is(op))
            .map_or(Fate::Answer, |(_, fate)| fate.clone())
    }
}
