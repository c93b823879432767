//! Logging in at an OpenID provider: the whole way, and all that a provider, a stranger or another page may do wrong.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod http_support;
mod oidc_support;

use std::time::Duration;

use apiary::check::{Severity, examine};
use apiary::config::{Config, Environment};
use apiary::http::Bounds;
use http_support::{CAMERA, Gateway, within};
use oidc_support::{Fault, Provider};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

const LOGIN: &str = "/api/auth/oidc/login";
const CALLBACK: &str = "/api/auth/oidc/callback";
const PASSWORD: &str = "correct horse battery";

/// A gateway whose users log in at that provider, and a local administrator.
struct House {
    gateway: Gateway,
    provider: Provider,
    client: reqwest::Client,
}

/// A browser on its way: the cookie by which it is known, and where it is to go.
struct Away {
    cookie: String,
    location: Url,
}

impl House {
    async fn open() -> Self {
        Self::open_with(Provider::start().await, |_| {}).await
    }

    async fn open_with(provider: Provider, change: impl FnOnce(&mut Config)) -> Self {
        let settings = provider.settings();
        let gateway = Gateway::start_by(Bounds::new(1024, 1024), None, |config| {
            config.auth.enabled = true;
            config.oidc = Some(settings);
            change(config);
        })
        .await;
        gateway.camera_says_hello(CAMERA).await;
        let client = reqwest::Client::builder().redirect(Policy::none());
        let house = Self {
            gateway,
            provider,
            client: client.build().unwrap(),
        };
        let secret = house.gateway.accounts.open_setup().unwrap();
        let first = json!({"secret": secret.expose(), "name": "queen", "password": PASSWORD});
        let (status, _) = house
            .gateway
            .post_json("/api/auth/setup", Some(&first))
            .await;
        assert_eq!(status, StatusCode::OK);
        house
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.http)
    }

    async fn get(&self, url: &str, cookie: &str) -> Response {
        let request = self.client.get(url).header(COOKIE, cookie);
        within("an answer", request.send()).await.unwrap()
    }

    /// The browser is sent to the provider.
    async fn begin(&self, path: &str) -> Away {
        let answer = self.get(&self.url(path), "").await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        Away {
            cookie: cookie(&answer, "apiary_oidc").unwrap(),
            location: location(&answer),
        }
    }

    /// The provider sends it back, with what it has to say.
    async fn agree(&self, away: &Away) -> Url {
        let asked = self.get(away.location.as_str(), "").await;
        assert_eq!(asked.status(), StatusCode::OK, "{}", away.location);
        let agreed = away.location.as_str().replace("/authorize?", "/consent?");
        location(&self.get(&agreed, "").await)
    }

    async fn come_back(&self, away: &Away) -> Response {
        let back = self.agree(away).await;
        self.get(back.as_str(), &away.cookie).await
    }

    /// The whole way.
    async fn log_in(&self) -> Response {
        let away = self.begin(LOGIN).await;
        self.come_back(&away).await
    }

    async fn me(&self, cookie: &str) -> Value {
        let answer = self.get(&self.url("/api/auth/me"), cookie).await;
        answer.json().await.unwrap()
    }

    async fn list(&self, path: &str, cookie: &str) -> Value {
        self.get(&self.url(path), cookie)
            .await
            .json()
            .await
            .unwrap()
    }

    async fn post(&self, path: &str, cookie: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.client.post(self.url(path)).header(COOKIE, cookie);
        let request = request.header("origin", self.url("")).json(body);
        let answer = within("an answer", request.send()).await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    /// A login by password.
    async fn log_in_here(&self) -> String {
        let credentials = json!({"name": "queen", "password": PASSWORD});
        let request = self.client.post(self.url("/api/auth/login"));
        let answer = within("the login", request.json(&credentials).send())
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        cookie(&answer, "apiary_login").unwrap()
    }

    /// Nobody was let in, and nobody became a user.
    async fn assert_refused(&self, answer: Response, status: StatusCode, what: &str) -> String {
        assert_eq!(answer.status(), status, "{what}");
        assert_eq!(cookie(&answer, "apiary_login"), None, "{what}");
        let users = self.gateway.accounts.users();
        assert_eq!(users.len(), 1, "{what}: {users:?}");
        let page = answer.text().await.unwrap();
        assert!(page.starts_with("<!doctype html>"), "{what}: {page}");
        page
    }
}

fn location(answer: &Response) -> Url {
    let location = answer.headers()[LOCATION].to_str().unwrap();
    let base = Url::parse("http://own.invalid").unwrap();
    base.join(location).unwrap()
}

/// What an answer sets, as it is shown again; none where it is taken away.
fn cookie(answer: &Response, name: &str) -> Option<String> {
    let set = answer.headers().get_all(SET_COOKIE).iter();
    let mut set = set.map(|value| value.to_str().unwrap());
    let found = set.find(|text| text.starts_with(&format!("{name}=")))?;
    let (pair, _) = found.split_once(';').unwrap();
    (!pair.ends_with('=')).then(|| pair.to_owned())
}

fn parameter(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(known, _)| known == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {url}"))
        .1
        .into_owned()
}

#[tokio::test]
async fn somebody_whom_the_provider_knows_is_logged_in_as_anybody_else() {
    let house = House::open().await;
    let offered = &house.me("").await["provider"];
    assert_eq!(*offered, json!({"name": "Hive & Home", "path": LOGIN}));
    let path = format!("{LOGIN}?next=/viewer?camera={CAMERA}");
    let answer = house.get(&house.url(&path), "").await;
    let set = answer.headers()[SET_COOKIE].to_str().unwrap();
    for attribute in ["HttpOnly", "SameSite=Lax", "Max-Age=600", "Path=/"] {
        assert!(set.contains(attribute), "{set}");
    }
    let away = house.begin(&path).await;
    assert_eq!(
        parameter(&away.location, "redirect_uri"),
        house.url(CALLBACK)
    );
    let answer = house.come_back(&away).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let back = location(&answer);
    assert_eq!(
        (back.path(), back.query()),
        ("/viewer", Some(&*format!("camera={CAMERA}")))
    );
    assert_eq!(cookie(&answer, "apiary_oidc"), None, "it has served");
    let maya = cookie(&answer, "apiary_login").unwrap();
    let me = house.me(&maya).await;
    assert_eq!(
        me["user"],
        json!({"name": "maya", "role": "viewer", "guest": false, "cameras": null, "password": false})
    );
    assert_eq!(house.list("/cameras", &maya).await["count"], 1);

    // The login before in that browser ends with a new one.
    let away = house.begin(LOGIN).await;
    let back = house.agree(&away).await;
    let both = format!("{}; {maya}", away.cookie);
    let answer = house.get(back.as_str(), &both).await;
    let again = cookie(&answer, "apiary_login").unwrap();
    assert_ne!(again, maya);
    assert_eq!(house.me(&maya).await["user"], Value::Null);
    let queen = house.log_in_here().await;
    let sessions = house.list("/api/auth/sessions", &queen).await;
    let of_maya = sessions["sessions"].as_array().unwrap().iter();
    assert_eq!(
        of_maya.filter(|session| session["user"] == "maya").count(),
        1
    );
    let users = house.list("/api/users", &queen).await;
    assert_eq!(
        (
            &users["users"][0]["provided"],
            &users["users"][1]["provided"]
        ),
        (&json!(true), &json!(false))
    );
    let audit = house.list("/api/audit", &queen).await.to_string();
    assert!(audit.contains("identity provider"), "{audit}");

    let change = json!({"current": "", "new": "another password"});
    let (status, told) = house.post("/api/auth/password", &again, &change).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(
        told["error"]
            .as_str()
            .unwrap()
            .contains("identity provider"),
        "{told}"
    );
    let (status, _) = house.post("/api/auth/logout", &again, &json!({})).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(house.me(&again).await["user"], Value::Null);
    house.gateway.stop().await;
}

#[tokio::test]
async fn roles_follow_what_the_provider_says_at_each_login() {
    let house = House::open().await;
    let groups = |groups: Value| {
        house
            .provider
            .person(json!({"sub": "1234", "groups": groups}))
    };
    groups(json!(["wasps"]));
    let refused = house.log_in().await;
    let page = house
        .assert_refused(refused, StatusCode::FORBIDDEN, "no role")
        .await;
    assert!(
        page.contains("Hive &amp; Home knows you") && page.contains("oidc.roles"),
        "{page}"
    );
    groups(json!(["bees", "keepers"]));
    let admin = cookie(&house.log_in().await, "apiary_login").unwrap();
    assert_eq!(house.me(&admin).await["user"]["role"], "admin");
    groups(json!(["workers"]));
    house.log_in().await;
    assert_eq!(
        house.me(&admin).await["user"]["role"],
        "operator",
        "here too"
    );
    groups(json!([]));
    let refused = house.log_in().await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        house.me(&admin).await["user"],
        Value::Null,
        "all of it has ended"
    );
    house.gateway.stop().await;
}

#[tokio::test]
async fn h08_what_cannot_be_believed_lets_nobody_in() {
    let provider = Provider::start().await;
    provider.wants_secret("client_secret_basic");
    let house = House::open_with(provider, |_| {}).await;
    use Fault::{
        AlgNone, Changed, Expired, ForeignKey, HmacByPublicKey, HmacBySecret, KeysGarbage,
        LongSubject, NoExpiry, NoIssuerParameter, NoKeys, NoNonce, NoSubject, NoToken, NotYet,
        OtherIssuerParameter, OtherParty, Refuses, SeveralAudiences, TokenGarbage, UnknownKey,
        WrongAudience, WrongIssuer, WrongNonce,
    };
    let (bad, away, no) = (
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::FORBIDDEN,
    );
    // While no key is known, they are read with the first token.
    for (status, faults) in [
        (away, &[NoToken, TokenGarbage, NoKeys, KeysGarbage][..]),
        (
            bad,
            &[
                WrongIssuer,
                WrongAudience,
                SeveralAudiences,
                OtherParty,
                WrongNonce,
                NoNonce,
            ],
        ),
        (
            bad,
            &[Expired, NoExpiry, NotYet, NoSubject, LongSubject, Changed],
        ),
        (
            bad,
            &[
                AlgNone,
                HmacBySecret,
                HmacByPublicKey,
                UnknownKey,
                ForeignKey,
            ],
        ),
        (bad, &[OtherIssuerParameter, NoIssuerParameter]),
        (no, &[Refuses]),
    ] {
        for fault in faults {
            house.provider.misbehave(*fault);
            let answer = house.log_in().await;
            let page = house
                .assert_refused(answer, status, &format!("{fault:?}"))
                .await;
            assert!(!page.contains("canary") && !page.contains("<b>"), "{page}");
        }
    }
    house.provider.misbehave(None);
    assert_eq!(
        house.log_in().await.status(),
        StatusCode::SEE_OTHER,
        "it was no more than that"
    );
    house.gateway.stop().await;
}

/// A code or an answer of somebody else's login is good for nothing, and one's own is good once.
#[tokio::test]
async fn h08_a_login_comes_back_once_and_to_the_browser_that_began_it() {
    let house = House::open().await;
    let (mine, theirs) = (house.begin(LOGIN).await, house.begin(LOGIN).await);
    let (back, their_back) = (house.agree(&mine).await, house.agree(&theirs).await);
    let strangers = [
        (back.to_string(), String::new(), "no cookie"),
        (back.to_string(), theirs.cookie.clone(), "another's cookie"),
        (
            back.to_string(),
            format!("{}; {}", mine.cookie, theirs.cookie),
            "both",
        ),
        (format!("{back}&state=x"), mine.cookie.clone(), "two states"),
        (house.url(CALLBACK), mine.cookie.clone(), "nothing at all"),
        (
            house.url(&format!("{CALLBACK}?code=x&state=x")),
            mine.cookie.clone(),
            "no such login",
        ),
    ];
    for (url, cookie, what) in strangers {
        let answer = house.get(&url, &cookie).await;
        house
            .assert_refused(answer, StatusCode::BAD_REQUEST, what)
            .await;
    }
    assert_eq!(house.provider.exchanges(), 0, "no code was even tried");
    // Another's code in my answer: the provider sees by PKCE that it was not I who began.
    let mut injected = their_back.clone();
    injected
        .query_pairs_mut()
        .clear()
        .extend_pairs(their_back.query_pairs().map(|(name, value)| {
            let mine = (name == "state").then(|| parameter(&back, "state").into());
            (name, mine.unwrap_or(value))
        }));
    let answer = house.get(injected.as_str(), &mine.cookie).await;
    house
        .assert_refused(answer, StatusCode::SERVICE_UNAVAILABLE, "another's code")
        .await;
    assert_eq!(house.provider.exchanges(), 1);
    let answer = house.get(back.as_str(), &mine.cookie).await;
    house
        .assert_refused(answer, StatusCode::BAD_REQUEST, "a second time")
        .await;
    assert_eq!(house.provider.exchanges(), 1);

    // What is right works once.
    let own = house.begin(LOGIN).await;
    let back = house.agree(&own).await;
    assert_eq!(
        house.get(back.as_str(), &own.cookie).await.status(),
        StatusCode::SEE_OTHER
    );
    let again = house.get(back.as_str(), &own.cookie).await;
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
    house.gateway.stop().await;
}

#[tokio::test]
async fn nobody_is_led_to_another_server_and_another_servers_name_is_not_taken() {
    let house = House::open().await;
    for next in [
        "//evil.example",
        "/%5Cevil.example",
        "https://evil.example/",
        "%5C%5Cevil.example",
        "/%09/evil.example",
    ] {
        let away = house.begin(&format!("{LOGIN}?next={next}")).await;
        let answer = house.come_back(&away).await;
        assert_eq!(answer.headers()[LOCATION], "/", "{next}");
    }
    let foreign = house
        .client
        .get(house.url(LOGIN))
        .header("host", "evil.example");
    let answer = within("an answer", foreign.send()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
    let private = house
        .client
        .get(house.url(LOGIN))
        .header("host", "user@nas.lan:81");
    let answer = within("an answer", private.send()).await.unwrap();
    let back = parameter(&location(&answer), "redirect_uri");
    assert_eq!(back, format!("http://nas.lan:81{CALLBACK}"));
    house.gateway.stop().await;

    let fixed = format!("https://cams.example{CALLBACK}");
    let house = House::open_with(Provider::start().await, |config| {
        config.oidc.as_mut().unwrap().redirect_url = Some(fixed.parse().unwrap());
    })
    .await;
    let away = house.begin(LOGIN).await;
    assert_eq!(parameter(&away.location, "redirect_uri"), fixed);
    house.gateway.stop().await;
}

#[tokio::test]
async fn a_client_secret_is_shown_as_the_provider_takes_it() {
    for by in ["client_secret_basic", "client_secret_post"] {
        let provider = Provider::start().await;
        provider.wants_secret(by);
        let house = House::open_with(provider, |_| {}).await;
        assert_eq!(house.log_in().await.status(), StatusCode::SEE_OTHER, "{by}");
        house.gateway.stop().await;
    }
    let provider = Provider::start().await;
    provider.wants_secret("client_secret_basic");
    let house = House::open_with(provider, |config| {
        config.oidc.as_mut().unwrap().client_secret = None;
    })
    .await;
    let answer = house.log_in().await;
    house
        .assert_refused(answer, StatusCode::SERVICE_UNAVAILABLE, "no secret")
        .await;
    house.gateway.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_away_keeps_nobody_out_who_has_a_password() {
    let house = House::open().await;
    house.provider.misbehave(Fault::Away);
    let answer = house.get(&house.url(LOGIN), "").await;
    let page = house
        .assert_refused(answer, StatusCode::SERVICE_UNAVAILABLE, "away")
        .await;
    assert!(page.contains("has a password here"), "{page}");
    house.log_in_here().await;
    house.provider.misbehave(None);
    let began = async {
        loop {
            let answer = house.get(&house.url(LOGIN), "").await;
            if answer.status() == StatusCode::SEE_OTHER {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("its return", began).await;
    house.gateway.stop().await;
}

#[tokio::test]
async fn keys_that_the_provider_changes_are_taken_with_the_first_token_by_them() {
    let house = House::open().await;
    for _ in 0..2 {
        assert_eq!(house.log_in().await.status(), StatusCode::SEE_OTHER);
        house.provider.rotate_keys();
    }
    house.gateway.stop().await;
}

/// Settings by which the doctor asks that provider.
fn environment(provider: &Provider) -> Environment {
    let mut environment = Environment::default();
    for (name, value) in [
        ("OIDC_ISSUER", provider.issuer.as_str()),
        ("OIDC_CLIENT_ID", "apiary"),
        ("OIDC_CLIENT_SECRET", "canary"),
        ("OIDC_DEFAULT_ROLE", "viewer"),
        ("HTTP_LISTEN", "127.0.0.1:0"),
        ("SIGNALING_LISTEN", "127.0.0.1:0"),
        ("MQTT_LISTEN", "127.0.0.1:0"),
        ("MEDIA_UDP_PORT", "31870"),
        ("MEDIA_WORKERS", "1"),
        ("INGEST_PORTS", "31880-31895"),
    ] {
        let name = format!("APIARY_{name}");
        environment.variables.insert(name, value.to_owned());
    }
    environment
}

#[tokio::test]
async fn a_provider_that_cannot_be_used_is_told_by_the_doctor_and_begins_no_login() {
    for (fault, told) in [
        (None, "people can log in"),
        (Some(Fault::Away), "503"),
        (Some(Fault::Garbage), "cannot be read"),
        (Some(Fault::Redirects), "redirects are not followed"),
        (Some(Fault::OtherName), "oidc.issuer"),
        (Some(Fault::NoPkce), "S256"),
        (Some(Fault::Insecure), "token_endpoint is no https"),
        (Some(Fault::NoClientAuth), "client secret"),
        (Some(Fault::KeysGarbage), "RFC 7517"),
    ] {
        let provider = Provider::start().await;
        provider.wants_secret("client_secret_basic");
        provider.misbehave(fault);
        let report = examine(None, &environment(&provider)).await;
        let about = report
            .findings
            .iter()
            .rfind(|finding| finding.subject == "oidc.issuer");
        let about = about.unwrap_or_else(|| panic!("{report:#?}"));
        assert!(about.text.contains(told), "{fault:?}: {about}");
        let expected = if fault.is_none() {
            Severity::Good
        } else {
            Severity::Problem
        };
        assert_eq!(about.severity, expected, "{about}");
        assert!(!format!("{report:?}").contains("canary"));
        if fault.is_none() || fault == Some(Fault::KeysGarbage) {
            continue;
        }
        let house = House::open_with(provider, |_| {}).await;
        let answer = house.get(&house.url(LOGIN), "").await;
        house
            .assert_refused(answer, StatusCode::SERVICE_UNAVAILABLE, told)
            .await;
        house.gateway.stop().await;
    }
}

#[tokio::test]
async fn without_a_provider_there_is_no_way_to_one() {
    let gateway = Gateway::start_closed().await;
    for path in [LOGIN, CALLBACK] {
        let answer = gateway.request("GET", path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(
        gateway.get_json("/api/auth/me").await["provider"],
        Value::Null
    );
    gateway.stop().await;
}
