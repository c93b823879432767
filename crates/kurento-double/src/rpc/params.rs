//! Parameters as the server reads them: its JSON library turns numbers into text where text is wanted.

use serde_json::Value;

use crate::fault::RpcFault;

/// An object of parameters, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Params<'a> {
    object: &'a Value,
    /// What it is called when it is missing as a whole.
    name: &'static str,
}

impl<'a> Params<'a> {
    /// The `params` of a request.
    ///
    /// # Errors
    /// Whatever else than an object or nothing makes the server's JSON library throw.
    pub(crate) fn of_request(params: &'a Value) -> Result<Self, RpcFault> {
        match params {
            Value::Object(_) | Value::Null => Ok(Self {
                object: params,
                name: "params",
            }),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(RpcFault::unexpected(
                    "in Json::Value::find(begin, end): requires objectValue or nullValue",
                ))
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.object.as_object().map_or(0, serde_json::Map::len)
    }

    /// Parameters within these, maybe missing.
    pub(crate) fn inner(&self, name: &'static str) -> Result<Self, RpcFault> {
        static NOTHING: Value = Value::Null;
        let object = self.get(name).unwrap_or(&NOTHING);
        match object {
            Value::Object(_) | Value::Null => Ok(Self { object, name }),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(
                RpcFault::marshalling(format!("'{name}' should be an object")),
            ),
        }
    }

    /// Text that is asked for by the envelope itself.
    pub(crate) fn required(&self, name: &str) -> Result<String, RpcFault> {
        self.get(name)
            .and_then(text)
            .ok_or_else(|| RpcFault::parameter_required(name))
    }

    pub(crate) fn text(&self, name: &str) -> Result<String, RpcFault> {
        let found = self.present(name)?.and_then(text);
        found.ok_or_else(|| self.should_be(name, "string"))
    }

    pub(crate) fn integer(&self, name: &str) -> Result<i64, RpcFault> {
        let found = self.present(name)?.and_then(integer);
        found.ok_or_else(|| self.should_be(name, "integer"))
    }

    pub(crate) fn object(&self, name: &str) -> Result<&'a Value, RpcFault> {
        let found = self.present(name)?.filter(|value| value.is_object());
        found.ok_or_else(|| self.should_be(name, "object"))
    }

    fn present(&self, name: &str) -> Result<Option<&'a Value>, RpcFault> {
        if self.object.is_null() {
            return Err(RpcFault::marshalling(format!(
                "'{}' is required",
                self.name
            )));
        }
        Ok(self.get(name))
    }

    fn should_be(&self, name: &str, what: &str) -> RpcFault {
        RpcFault::marshalling(format!("'{name}' parameter should be a {what}"))
    }
}

/// What can be read as text: numbers too.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Null => Some(0),
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Number(number) => number.as_i64().or_else(|| Some(number.as_f64()? as i64)),
        Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
