//! Comparing JSON where a number may differ in its last digit: reading one is not exact to the last bit.

use serde_json::Value;

pub(crate) fn assert_same(left: &str, right: &str) {
    let parse = |text| serde_json::from_str::<Value>(text).expect("it was written as JSON");
    let (a, b) = (parse(left), parse(right));
    assert!(same(&a, &b), "{left}\nbecame\n{right}");
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (Value::Number(a), Value::Number(b)) if a != b => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * a.abs().max(b.abs()),
            _ => false,
        },
        (a, b) => a == b,
    }
}
