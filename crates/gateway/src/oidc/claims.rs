//! What an ID token says of somebody, in the words of the settings.

use apiary_store::Role;
use serde_json::Value;

use super::id_token::IdToken;
use crate::config::OidcConfig;

/// What somebody is to be called; what they are known by where the token has no such name.
pub(super) fn name(config: &OidcConfig, token: &IdToken) -> String {
    let named = find(token, &config.username_claim).and_then(Value::as_str);
    named.unwrap_or(&token.sub).to_owned()
}

/// The highest role that anything in the claim makes; the default where nothing does.
pub(super) fn role(config: &OidcConfig, token: &IdToken) -> Option<Role> {
    let claimed: Vec<&str> = match find(token, &config.role_claim) {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => vec![],
    };
    let made = config
        .roles
        .iter()
        .filter(|(value, _)| claimed.contains(&value.as_str()))
        .map(|(_, role)| *role);
    made.max().or(config.default_role)
}

/// The claim of that name, which may itself have dots in it, as `https://…` has; or else the place that the dots lead to.
fn find<'a>(token: &'a IdToken, path: &str) -> Option<&'a Value> {
    if let Some(value) = token.others.get(path) {
        return Some(value);
    }
    let mut steps = path.split('.');
    let first = token.others.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.get(step))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(role_claim: &str, default_role: Option<Role>) -> OidcConfig {
        let roles = [("bees", Role::Viewer), ("keepers", Role::Admin)];
        OidcConfig {
            issuer: "https://id.example".to_owned(),
            client_id: "apiary".to_owned(),
            client_secret: None,
            redirect_url: None,
            scopes: Vec::new(),
            name: String::new(),
            username_claim: "preferred_username".to_owned(),
            role_claim: role_claim.to_owned(),
            roles: roles.map(|(value, role)| (value.to_owned(), role)).into(),
            default_role,
            ca: None,
        }
    }

    fn token(mut claims: Value) -> IdToken {
        claims["sub"] = json!("1234");
        claims["aud"] = json!("apiary");
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn the_highest_role_wins_wherever_the_claim_is() {
        let operator = Some(Role::Operator);
        let cases = [
            (
                "groups",
                None,
                json!({"groups": ["bees", "keepers"]}),
                Some(Role::Admin),
            ),
            (
                "groups",
                None,
                json!({"groups": "bees"}),
                Some(Role::Viewer),
            ),
            ("groups", operator, json!({"groups": ["wasps"]}), operator),
            (
                "groups",
                operator,
                json!({"groups": ["bees"]}),
                Some(Role::Viewer),
            ),
            ("groups", None, json!({"groups": ["wasps", 1, null]}), None),
            ("groups", None, json!({"groups": {"keepers": true}}), None),
            ("groups", None, json!({}), None),
            (
                "realm.roles",
                None,
                json!({"realm": {"roles": ["keepers"]}}),
                Some(Role::Admin),
            ),
            ("realm.roles", None, json!({"realm": ["keepers"]}), None),
            (
                "https://a.example/r",
                None,
                json!({"https://a.example/r": ["bees"]}),
                Some(Role::Viewer),
            ),
        ];
        for (claim, default, claims, expected) in cases {
            let made = role(&config(claim, default), &token(claims.clone()));
            assert_eq!(made, expected, "{claim} of {claims}");
        }
    }

    #[test]
    fn who_has_no_name_is_called_by_the_subject() {
        let config = config("groups", None);
        let called = |claims| name(&config, &token(claims));
        assert_eq!(called(json!({"preferred_username": "Maya"})), "Maya");
        assert_eq!(called(json!({"preferred_username": 7})), "1234");
        assert_eq!(called(json!({})), "1234");
    }
}
