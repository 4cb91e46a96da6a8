//! What a test does with the browser, and what it asks of the page.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fantoccini::Client;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use url::{ParseError, Url};

use crate::driver::Driver;
use crate::support::eventually;

/// Longer than the page needs for anything on a busy machine, and shorter than what it waits in would wait.
const SOON: Duration = Duration::from_secs(35);

/// So many controls are there at most between two that a test goes to with the Tab key.
const MOST_TABS: usize = 250;

/// A tab of a browser that no other test sees.
pub(crate) struct Browser {
    client: Client,
    _driver: Driver,
}

/// The colours that the system of the reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    Light,
    Dark,
}

impl fmt::Display for Theme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Light => "light",
            Self::Dark => "dark",
        })
    }
}

/// How the page is looked at: colours, the width of the window in pixels, and how much the reader has
/// enlarged it, in percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) theme: Theme,
    pub(crate) width: u32,
    pub(crate) zoom: u32,
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} px {} %", self.theme, self.width, self.zoom)
    }
}

/// What the browser may have complained about when a test ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complaints {
    None,
    /// Requests that the test makes fail, which the browser logs whatever the page does about it.
    FailedRequests,
}

/// A command that the standard does not have and this driver has.
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Option<Value>,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        let body = self.body.as_ref().map(Value::to_string);
        (if body.is_some() { Method::POST } else { Method::GET }, body)
    }
}

impl Browser {
    pub(crate) async fn start() -> Self {
        let mut driver = Driver::start().await;
        let client = driver.connect().await;
        let browser = Self { client, _driver: driver };
        browser.look(View { theme: Theme::Light, width: 1280, zoom: 100 }).await;
        browser
    }

    /// Opens an address as one who types it.
    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    pub(crate) async fn url(&self) -> Url {
        self.client.current_url().await.unwrap()
    }

    pub(crate) async fn reload(&self) {
        self.client.refresh().await.unwrap();
    }

    pub(crate) async fn back(&self) {
        self.client.back().await.unwrap();
    }

    /// Runs a script that returns a value. Policies of the page do not apply to it.
    pub(crate) async fn js(&self, script: &str) -> Value {
        self.js_with(script, vec![]).await
    }

    pub(crate) async fn js_with(&self, script: &str, arguments: Vec<Value>) -> Value {
        let result = self.client.execute(script, arguments).await;
        result.unwrap_or_else(|error| panic!("{error}\nin {script}"))
    }

    /// Waits for what a script promises.
    pub(crate) async fn js_async(&self, script: &str, arguments: Vec<Value>) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async (...args) => {{ {script} }})(...arguments)
               .then((value) => done({{value}}), (error) => done({{error: String(error)}}));"
        );
        let mut result = self.client.execute_async(&script, arguments).await.unwrap();
        assert!(result["error"].is_null(), "{} in {script}", result["error"]);
        result["value"].take()
    }

    /// Waits until an expression is true on the page, also across a load of it.
    pub(crate) async fn until(&self, what: &str, expression: &str) {
        let script = format!("return Boolean({expression})");
        let holds = async || match self.client.execute(&script, vec![]).await {
            Ok(value) => value == true,
            // The document is being replaced by the next.
            Err(CmdError::Standard(_)) => false,
            Err(error) => panic!("{error}"),
        };
        if timeout(SOON, eventually(what, holds)).await.is_err() {
            // What is there instead is worth more than that something is missing.
            let shown = self.client.execute("return document.body.innerText", vec![]).await;
            panic!("gave up waiting until {what}; the page shows {shown:?}");
        }
    }

    /// Waits until a text is shown.
    pub(crate) async fn until_text(&self, text: &str) {
        let expression = format!("document.body.innerText.includes({})", json!(text));
        self.until(&format!("the page shows {text:?}"), &expression).await;
    }

    /// A command of the protocol of Chromium's developer tools.
    pub(crate) async fn cdp(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.extension("goog/cdp/execute", Some(body)).await
    }

    async fn extension(&self, path: &'static str, body: Option<Value>) -> Value {
        let result = self.client.issue_cmd(Extension { path, body }).await;
        result.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Looks at the page otherwise, always as one who wants nothing to move. A page that is enlarged has fewer pixels of CSS in the same window.
    pub(crate) async fn look(&self, view: View) {
        let theme = view.theme.to_string();
        let features = json!([
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.cdp("Emulation.setEmulatedMedia", json!({"features": features})).await;
        let metrics = json!({
            "width": view.width * 100 / view.zoom,
            "height": 900 * 100 / view.zoom,
            "deviceScaleFactor": f64::from(view.zoom) / 100.0,
            "mobile": false,
        });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Presses keys one after the other, and lets each go before the next.
    pub(crate) async fn press(&self, keys: impl IntoIterator<Item = char>) {
        let mut actions = KeyActions::new("keyboard".to_owned());
        for value in keys {
            actions = actions.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        self.client.perform_actions(actions).await.unwrap();
    }

    pub(crate) async fn press_key(&self, key: Key) {
        self.press([char::from(key)]).await;
    }

    pub(crate) async fn write(&self, text: &str) {
        self.press(text.chars()).await;
    }

    /// The role and the name of the focused element, as assistive technology reads them.
    pub(crate) async fn focused(&self) -> (String, String) {
        let element = self.client.active_element().await.unwrap().element_id();
        let ask = |what: &'static str| {
            let path = format!("element/{}/{what}", element.as_ref());
            self.client.issue_cmd(OfElement { path })
        };
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        // An element that is replaced at this moment has neither.
        let role = ask("computedrole").await.map(text).unwrap_or_default();
        let name = ask("computedlabel").await.map(text).unwrap_or_default();
        (role, name)
    }

    /// Goes on with the Tab key until a control of this role and name has the focus.
    pub(crate) async fn tab_to(&self, role: &str, name: &str) {
        let mut passed = Vec::new();
        for _ in 0..MOST_TABS {
            let focused = self.focused().await;
            if focused.0 == role && focused.1.contains(name) {
                return;
            }
            passed.push(focused);
            self.press_key(Key::Tab).await;
        }
        panic!("no {role} {name:?} is reached with the Tab key, only {passed:?}");
    }

    /// Goes to a control with the Tab key and presses Enter on it.
    pub(crate) async fn enter_on(&self, role: &str, name: &str) {
        self.tab_to(role, name).await;
        self.press_key(Key::Enter).await;
    }

    /// What the console and the policies of the page have said since the last call.
    pub(crate) async fn said(&self) -> Vec<Value> {
        let entries = self.extension("se/log", Some(json!({"type": "browser"}))).await;
        entries.as_array().unwrap().clone()
    }

    /// Ends the browser, which removes what it has written only after its last process is gone.
    pub(crate) async fn close(self) {
        self.client.close().await.unwrap();
    }

    /// Fails when the browser has complained about the page.
    pub(crate) async fn must_be_content(&self, except: Complaints) {
        let mut said = self.said().await;
        said.retain(|entry| {
            let is_fault = ["SEVERE", "WARNING"].iter().any(|it| entry["level"] == *it);
            let is_expected = except == Complaints::FailedRequests && entry["source"] == "network";
            is_fault && !is_expected
        });
        assert!(said.is_empty(), "the browser complains: {said:#?}");
    }

    /// A picture of what the window shows, as WebP, which has a third of what PNG has.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        let how = json!({"format": "webp", "quality": 80});
        let taken = self.cdp("Page.captureScreenshot", how).await;
        BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }
}

/// What is asked about one element and is missing in the client.
#[derive(Debug)]
struct OfElement {
    path: String,
}

impl WebDriverCompatibleCommand for OfElement {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::GET, None)
    }
}
