//! axe-core, which judges whether a page can be used by all: a copy below `axe/`, unchanged.
//!
//! It is run through the developer tools of the browser, so that the policies of the page stay as they are.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::browser::Browser;

/// What `axe/axe.min.js` of the release 4.14.1 has.
const SHA_256: &str = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c";

fn file() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/page/axe/axe.min.js"].iter().collect()
}

/// What axe says about a page.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) passes: u64,
    /// Rule, impact, and the elements that break it.
    pub(crate) violations: Vec<String>,
}

/// Judges the page as it is shown.
pub(crate) async fn judge(browser: &Browser) -> Verdict {
    if browser.js("return typeof axe").await == "undefined" {
        let source = std::fs::read_to_string(file()).unwrap();
        let done = browser.cdp("Runtime.evaluate", json!({"expression": source})).await;
        assert!(done["exceptionDetails"].is_null(), "{done}");
    }
    let script = "
        const {passes, violations} = await axe.run(document, {resultTypes: ['violations']});
        return {
            passes: passes.length,
            violations: violations.map(({id, impact, help, nodes}) =>
                `${id} (${impact}): ${help}\\n` +
                nodes.slice(0, 5).map(({html, failureSummary}) => `  ${html}\\n    ${failureSummary}`).join('\\n')),
        };";
    let found = browser.js_async(script, vec![]).await;
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    Verdict {
        passes: found["passes"].as_u64().unwrap(),
        violations: found["violations"].as_array().unwrap().iter().map(text).collect(),
    }
}

#[test]
fn axe_is_the_release_that_its_licence_came_with() {
    let bytes = std::fs::read(file()).unwrap();
    let digest = Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    assert_eq!(digest, SHA_256);
    assert!(file().with_file_name("LICENSE").exists());
}
