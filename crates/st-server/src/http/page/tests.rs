use std::collections::BTreeSet;

use super::*;

/// How large all files may be together that a browser loads for the page, as they are sent, in bytes.
const BUDGET: usize = 60_000;

fn text<'a>(page: &'a Page, name: &str) -> &'a str {
    std::str::from_utf8(&page.files[name].plain).unwrap()
}

/// What a file loads or links to, as names of files.
fn references(page: &Page, name: &str) -> Vec<String> {
    let folder = format!("/page/{}/", page.version);
    let base = name.rsplit_once('/').map_or("", |(base, _)| base);
    let quoted = text(page, name).split(['"', '`']).filter_map(|part| {
        if let Some(absolute) = part.strip_prefix(&folder) {
            return Some(absolute.to_owned());
        }
        let up = part.strip_prefix("../");
        let (base, rest) = match (up, part.strip_prefix("./")) {
            (Some(rest), _) => (base.rsplit_once('/').map_or("", |(base, _)| base), rest),
            (None, Some(rest)) => (base, rest),
            (None, None) => return None,
        };
        Some(if base.is_empty() { rest.to_owned() } else { format!("{base}/{rest}") })
    });
    quoted.collect()
}

#[test]
fn each_file_is_reached_from_the_document_and_each_reference_is_a_file() {
    let page = Page::load();
    let mut reached = BTreeSet::from([INDEX.to_owned()]);
    let mut next = vec![INDEX.to_owned()];
    while let Some(name) = next.pop() {
        for found in references(&page, &name) {
            // The name of a licence is put together in the script.
            if found.contains("${") {
                continue;
            }
            assert!(page.files.contains_key(&found), "{name} refers to {found}");
            if reached.insert(found.clone()) && !found.starts_with("vendor/") {
                next.push(found);
            }
        }
    }
    let all: BTreeSet<String> = page.files.keys().cloned().collect();
    assert_eq!(reached, all);
}

#[test]
fn each_module_is_loaded_at_once_and_not_one_after_the_other() {
    let page = Page::load();
    let document = text(&page, INDEX);
    for name in page.files.keys().filter(|name| is_module(name)) {
        let preload =
            format!("<link rel=\"modulepreload\" href=\"/page/{}/{name}\">", page.version);
        assert!(document.contains(&preload), "{name} has no modulepreload in {INDEX}");
    }
}

/// Whether a file is a module that others import.
fn is_module(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| extension == "js")
        && !["app.js", "theme.js"].contains(&name)
}

#[test]
fn nothing_comes_from_elsewhere_and_no_text_becomes_markup_or_a_script() {
    let page = Page::load();
    for name in page.files.keys().filter(|name| !name.starts_with("vendor/")) {
        let text = text(&page, name);
        let links = text.replace("http://www.w3.org/2000/svg", "");
        for refused in ["http://", "https://", "innerHTML", "outerHTML", "dangerouslySet", "eval("]
        {
            assert!(!links.contains(refused), "{name} has {refused}");
        }
    }
    let document = text(&page, INDEX);
    assert!(!document.contains("<style") && !document.contains(" style="), "inline style");
    assert!(!document.contains("<script>") && !document.contains(" on"), "inline script");
}

#[test]
fn what_others_wrote_is_as_they_published_it() {
    let page = Page::load();
    // From the package htm, version 3.1.1: preact/standalone.module.js and its licence; and Preact's licence.
    for (name, sha256) in [
        (
            "vendor/htm-preact-3.1.1.js",
            "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7",
        ),
        (
            "vendor/LICENSE-htm.txt",
            "740725f7252e750af735d0028cc534970772f513331e9f68150fede8fb3ce00f",
        ),
        (
            "vendor/LICENSE-preact.txt",
            "1fe6958409c8c257a70c587a18b6f7f412b179b456630790d30b2ec9a8e4b7d4",
        ),
    ] {
        assert_eq!(hex(&Sha256::digest(&page.files[name].plain)), sha256, "{name}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the sizes are what the test is asked for")]
fn all_files_together_stay_within_the_budget() {
    let page = Page::load();
    // The texts of the licences are loaded by those who follow the links.
    let loaded = page.files.iter().filter(|(_, file)| !file.media.starts_with("text/plain"));
    let mut all = 0;
    for (name, sent) in loaded.map(|(name, file)| (name, file.gzip().unwrap_or(&file.plain))) {
        println!("{:6} {name}", sent.len());
        all += sent.len();
    }
    println!("{all:6} of {BUDGET} bytes");
    assert!(all <= BUDGET, "{all} bytes, which is more than {BUDGET}");
}

#[test]
fn the_version_changes_with_every_file() {
    let page = Page::load();
    assert_eq!(page.version.len(), 16);
    let document = text(&page, INDEX);
    assert!(!document.contains(FOLDER), "the version is put in");
    assert!(document.contains(&format!("/page/{}/app.js", page.version)));
}

#[test]
fn lines_that_are_comments_are_left_out_and_code_beside_them_is_not() {
    let source =
        "// a\n/** b */\nlet c; // d\n  /**\n   * e\n   */\n/** f */ (g);\n/* h */\n'/* i'\n";
    let sent = without_comments(source);
    assert_eq!(sent, "\n\nlet c; // d\n\n\n\n/** f */ (g);\n\n'/* i'\n");
    let page = Page::load();
    assert!(!text(&page, "app.js").contains("How a screen is added"));
    assert!(text(&page, "app.js").contains("startRouter("));
}

fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
    let values = values.iter().map(|value| (name.clone(), HeaderValue::from_static(value)));
    values.collect()
}

#[test]
fn compression_is_used_where_the_client_takes_it() {
    let takes = |values: &[&'static str]| takes_gzip(&headers(ACCEPT_ENCODING, values));
    for yes in ["gzip", "br, gzip", "GZIP;q=0.5", "gzip; q=1", "deflate, gzip;q=1.0, *;q=0.5"] {
        assert!(takes(&[yes]), "{yes}");
    }
    for no in ["", "br", "gzip;q=0", "gzip;q=x", "xgzip", "identity"] {
        assert!(!takes(&[no]), "{no}");
    }
    assert!(takes(&["br", "gzip"]) && !takes(&[]));
}

#[test]
fn a_tag_is_known_by_its_text_however_it_is_written() {
    let etag = HeaderValue::from_static("W/\"a\"");
    let known = |value: &'static str| is_known(&headers(IF_NONE_MATCH, &[value]), &etag);
    for yes in ["W/\"a\"", "\"a\"", "\"b\", W/\"a\"", "*"] {
        assert!(known(yes), "{yes}");
    }
    for no in ["", "\"b\"", "a", "W/\"A\""] {
        assert!(!known(no), "{no}");
    }
}
