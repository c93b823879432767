//! What can be set on an endpoint.

use serde_json::{Map, Value, json};

use crate::media::ViewerLimits;

/// Numbers that have a setter and a getter, with what they are at first; bandwidths in kbit/s.
const NUMBERS: &[(&str, i64)] = &[
    ("MaxAudioRecvBandwidth", 0),
    ("MaxVideoRecvBandwidth", 0),
    ("MaxVideoSendBandwidth", 500),
    ("MinVideoRecvBandwidth", 0),
    ("MinVideoSendBandwidth", 100),
    ("Mtu", 1_200),
];

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    numbers: Vec<(&'static str, i64)>,
    remb: Map<String, Value>,
}

impl Settings {
    pub(crate) fn new() -> Self {
        let remb = [
            ("__module__", "kurento".into()),
            ("__type__", "RembParams".into()),
            ("decrementFactor", 0.5.into()),
            ("exponentialFactor", f64::from(0.04_f32).into()),
            ("linealFactorGrade", 30.0.into()),
            ("linealFactorMin", 50.into()),
            ("packetsRecvIntervalTop", 100.into()),
            ("rembOnConnect", 300_000.into()),
            ("thresholdFactor", f64::from(0.8_f32).into()),
            ("upLosses", 12.into()),
        ];
        let named = |(name, value): (&str, Value)| (name.to_owned(), value);
        Self {
            numbers: NUMBERS.to_vec(),
            remb: remb.into_iter().map(named).collect(),
        }
    }

    /// The number that a getter gives.
    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        let mut numbers = self.numbers.iter();
        numbers
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    /// Whether there is such a number. A minimum of what viewers count as is never above its maximum, nor the other way round:
    /// whichever is set gives way (kmsbasertpendpoint.c).
    pub(crate) fn set_number(&mut self, name: &str, value: i64) -> bool {
        let limit = |name| self.number(name).unwrap_or(0);
        let value = match name {
            "MinVideoSendBandwidth" if limit("MaxVideoSendBandwidth") > 0 => {
                value.min(limit("MaxVideoSendBandwidth"))
            }
            "MaxVideoSendBandwidth" if value > 0 => value.max(limit("MinVideoSendBandwidth")),
            _ => value,
        };
        let mut numbers = self.numbers.iter_mut();
        let known = numbers.find(|(known, _)| *known == name);
        known.map(|(_, number)| *number = value).is_some()
    }

    pub(crate) fn remb(&self) -> Value {
        json!(self.remb)
    }

    /// What is not given stays.
    pub(crate) fn set_remb(&mut self, given: &Value) {
        for (name, value) in given.as_object().into_iter().flatten() {
            self.remb.insert(name.clone(), value.clone());
        }
    }

    /// The most that the camera is asked for; 0 and less stand for no limit.
    pub(crate) fn recv_cap_bps(&self) -> Option<u64> {
        Some(self.bandwidth_kbps("MaxVideoRecvBandwidth") * 1_000).filter(|bps| *bps > 0)
    }

    pub(crate) fn viewer_limits(&self) -> ViewerLimits {
        let on_connect = self.remb.get("rembOnConnect").and_then(Value::as_u64);
        ViewerLimits {
            min_kbps: self.bandwidth_kbps("MinVideoSendBandwidth"),
            max_kbps: self.bandwidth_kbps("MaxVideoSendBandwidth"),
            remb_on_connect_bps: on_connect.unwrap_or(0),
        }
    }

    fn bandwidth_kbps(&self, name: &str) -> u64 {
        u64::try_from(self.number(name).unwrap_or(0)).unwrap_or(0)
    }
}
