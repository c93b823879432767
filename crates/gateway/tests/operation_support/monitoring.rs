//! What packaging/monitoring brings: the dashboard and the alerts, read.

use std::path::PathBuf;

use serde_json::Value;
use yaml_rust2::YamlLoader;

/// A file there.
pub(crate) fn path(name: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/monitoring");
    PathBuf::from(root).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// One rule.
#[derive(Debug)]
pub(crate) struct Alert {
    pub(crate) name: String,
    pub(crate) expression: String,
    pub(crate) severity: String,
    pub(crate) summary: String,
    pub(crate) action: String,
}

/// All rules; one that lacks something fails the test.
pub(crate) fn alerts() -> Vec<Alert> {
    let documents = YamlLoader::load_from_str(&read("alerts.yaml")).unwrap();
    let rules = documents[0]["groups"][0]["rules"].as_vec().unwrap();
    let text = |node: &yaml_rust2::Yaml| match node.as_str() {
        Some(text) if !text.trim().is_empty() => text.to_owned(),
        _ => panic!("a text is missing in a rule"),
    };
    let alert = |rule: &yaml_rust2::Yaml| Alert {
        name: text(&rule["alert"]),
        expression: text(&rule["expr"]),
        severity: text(&rule["labels"]["severity"]),
        summary: text(&rule["annotations"]["summary"]),
        action: text(&rule["annotations"]["action"]),
    };
    rules.iter().map(alert).collect()
}

/// A panel of the dashboard that shows something.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) expressions: Vec<String>,
    /// Left, top, width and height.
    pub(crate) place: [u64; 4],
}

/// All panels but the headings; `$`-variables are replaced by what Grafana may put there.
pub(crate) fn panels() -> Vec<Panel> {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let expression = |target: &Value| {
        let expression = text(&target["expr"]);
        let expression = expression.replace("$__rate_interval", "5m");
        expression.replace("$__interval", "1m")
    };
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels
        .filter(|panel| panel["type"] != "row")
        .map(|panel| Panel {
            title: text(&panel["title"]),
            description: text(&panel["description"]),
            expressions: panel["targets"]
                .as_array()
                .unwrap()
                .iter()
                .map(expression)
                .collect(),
            place: ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap()),
        })
        .collect()
}
