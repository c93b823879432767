//! The keys of `[mqtt]` about who may use the embedded broker besides cameras, and who may no longer.

use apiary_wire::CameraId;
use apiary_wire::topic::TopicFilter;

use super::Config;
use super::raw::RawValue;
use super::reader::Reader;
use super::values::{self, BrokerTarget, Parsed, Rejection, name_prefix, reject, text};
use crate::reason::{Code, Reason};

/// How a rule of `mqtt.extra_clients` is written.
const RULE_HINT: &str = "write \"NAME read FILTER\" or \"NAME write FILTER\", for instance \"homeassistant read prod/device/#\"";
/// The longest common name of a certificate (RFC 5280, `ub-common-name`).
const MAX_NAME: usize = 64;

/// Who may use the embedded broker besides cameras, and who may no longer.
#[derive(Clone, Debug, Default)]
pub struct MqttAccess {
    /// Clients that are no cameras. Each name stands here once.
    pub extra_clients: Vec<ExtraClient>,
    /// Camera ids (upper case), names of extra clients, and common names of certificates that are refused.
    pub revoked: Vec<String>,
}

/// A client that is no camera, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraClient {
    /// Its client id; over TLS also the common name of its certificate.
    pub name: String,
    /// What it may subscribe to.
    pub read: Vec<TopicFilter>,
    /// What it may publish on.
    pub write: Vec<TopicFilter>,
}

/// One rule: a client may do something with the topics of a filter.
struct Rule {
    name: String,
    writes: bool,
    filter: TopicFilter,
}

pub(super) fn load(reader: &mut Reader) -> MqttAccess {
    let rules = reader.read("mqtt.extra_clients", |value| values::list(value, rule));
    let revoked = reader.read("mqtt.revoked", |value| values::list(value, revoked));
    MqttAccess {
        extra_clients: clients(rules.unwrap_or_default()),
        revoked: revoked.unwrap_or_default(),
    }
}

fn clients(rules: Vec<Rule>) -> Vec<ExtraClient> {
    let mut clients: Vec<ExtraClient> = Vec::new();
    for Rule {
        name,
        writes,
        filter,
    } in rules
    {
        let at = clients.iter().position(|client| client.name == name);
        let at = at.unwrap_or_else(|| {
            clients.push(ExtraClient {
                name,
                read: Vec::new(),
                write: Vec::new(),
            });
            clients.len() - 1
        });
        let client = &mut clients[at];
        match writes {
            true => client.write.push(filter),
            false => client.read.push(filter),
        }
    }
    clients
}

fn rule(value: &RawValue) -> Parsed<Rule> {
    let text = text(value)?;
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [name, act, filter] = parts[..] else {
        return reject(format!("`{}` is no rule", text.escape_debug()), RULE_HINT);
    };
    let writes = match act {
        "read" => false,
        "write" => true,
        _ => {
            return reject(
                format!("`{}` is neither `read` nor `write`", act.escape_debug()),
                RULE_HINT,
            );
        }
    };
    let name = name_prefix(&RawValue::Text(name.to_owned()))?;
    if name.parse::<CameraId>().is_ok() {
        return reject(
            format!("{name} is a camera id, and what cameras may do is fixed"),
            "give the client another id",
        );
    }
    match TopicFilter::parse(filter) {
        Ok(filter) => Ok(Rule {
            name,
            writes,
            filter,
        }),
        Err(error) => reject(
            format!("`{}` is no topic filter: {error}", filter.escape_debug()),
            RULE_HINT,
        ),
    }
}

fn revoked(value: &RawValue) -> Parsed<String> {
    let name = text(value)?;
    if name.len() > MAX_NAME {
        return reject(
            format!("it is longer than {MAX_NAME} characters"),
            "give a camera id, or the common name of a certificate",
        );
    }
    Ok(match name.parse::<CameraId>() {
        Ok(camera) => camera.to_string(),
        Err(_) => name,
    })
}

/// The keys are about the embedded broker, which is open to whoever reaches its plain listener.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    let mqtt = &config.mqtt;
    match &mqtt.broker {
        BrokerTarget::Embedded if !mqtt.embedded.listen.ip().is_loopback() => {
            let text = "plain MQTT from the network: whoever reaches this port can pose as any camera and read what it is told; \
             keep it on 127.0.0.1 and let cameras use mqtt.listen_tls";
            reader.note("mqtt.listen", Reason::new(Code::BrokerPlainOpen, text));
        }
        BrokerTarget::Embedded => {}
        BrokerTarget::External(address) => {
            for key in ["mqtt.extra_clients", "mqtt.revoked"] {
                if reader.is_set(key) && !reader.has_failed(key) {
                    let problem =
                        format!("it is about the embedded broker, and the broker is {address}");
                    let remedy = "make the rule there, or leave it out".to_owned();
                    reader.refuse(key, Rejection { problem, remedy });
                }
            }
        }
    }
}
