//! What the page consists of, and how its files are answered.

use std::collections::BTreeSet;

use super::*;

/// How much a browser may load to open the page at any of its screens, as it is sent, in bytes.
const BUDGET: usize = 60_000;

fn text<'a>(page: &'a Page, name: &str) -> &'a str {
    std::str::from_utf8(&page.files[name].plain).unwrap()
}

/// What a file refers to, as names of files.
#[derive(Debug, Default)]
struct References {
    /// Loaded with it, or linked.
    at_once: Vec<String>,
    /// Loaded when it is needed first.
    later: Vec<String>,
}

impl References {
    fn of(page: &Page, name: &str) -> Self {
        let folder = format!("/page/{}/", page.version);
        let base = name.rsplit_once('/').map_or("", |(base, _)| base);
        let mut found = Self::default();
        let mut before = "";
        for part in text(page, name).split(['"', '`']) {
            let is_later = before.ends_with("import(");
            before = part;
            let (base, rest) = if let Some(absolute) = part.strip_prefix(&folder) {
                ("", absolute)
            } else if let Some(rest) = part.strip_prefix("./") {
                (base, rest)
            } else if let Some(rest) = part.strip_prefix("../") {
                (base.rsplit_once('/').map_or("", |(base, _)| base), rest)
            } else {
                continue;
            };
            // The name of a licence is put together in the script.
            if rest.contains("${") {
                continue;
            }
            let file = if base.is_empty() { rest.to_owned() } else { format!("{base}/{rest}") };
            if is_later { found.later.push(file) } else { found.at_once.push(file) }
        }
        found
    }
}

/// All files that are reached from one.
fn reached_from(page: &Page, name: &str, with_later: bool) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([name.to_owned()]);
    let mut next = vec![name.to_owned()];
    while let Some(name) = next.pop() {
        if name.starts_with("vendor/") {
            continue;
        }
        let References { mut at_once, later } = References::of(page, &name);
        if with_later {
            at_once.extend(later);
        }
        for found in at_once {
            assert!(page.files.contains_key(&found), "{name} refers to {found}");
            if reached.insert(found.clone()) {
                next.push(found);
            }
        }
    }
    reached
}

#[test]
fn each_file_is_reached_from_the_document_and_each_reference_is_a_file() {
    let page = Page::load();
    let all: BTreeSet<String> = page.files.keys().cloned().collect();
    assert_eq!(reached_from(&page, INDEX, true), all);
}

#[test]
fn what_is_needed_at_once_is_loaded_at_once_and_nothing_else() {
    let page = Page::load();
    let document = text(&page, INDEX);
    let preload =
        |name: &str| format!("<link rel=\"modulepreload\" href=\"/page/{}/{name}\">", page.version);
    let needed = reached_from(&page, "app.js", false);
    for name in needed.iter().filter(|name| *name != "app.js") {
        assert!(document.contains(&preload(name)), "{name} has no modulepreload in {INDEX}");
    }
    // The list of jobs is what most people open.
    let first = reached_from(&page, "screens/jobs.js", false);
    for name in page.files.keys().filter(|name| document.contains(&preload(name))) {
        assert!(needed.contains(name) || first.contains(name), "{name} is not needed at once");
    }
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
fn opening_any_screen_loads_no_more_than_the_budget() {
    let page = Page::load();
    let size = |name: &String| {
        let file = &page.files[name];
        file.gzip().unwrap_or(&file.plain).len()
    };
    // The texts of the licences are loaded by those who follow the links.
    let is_loaded = |name: &&String| !page.files[*name].media.starts_with("text/plain");
    for name in page.files.keys() {
        println!("{:6} {name}", size(name));
    }
    let frame = reached_from(&page, INDEX, false);
    let of_frame: usize = frame.iter().filter(is_loaded).map(size).sum();
    println!("{of_frame:6} to open the page");
    let screens = References::of(&page, "screens.js").later;
    assert!(screens.len() >= 3, "{screens:?}");
    for screen in screens {
        let own = reached_from(&page, &screen, false);
        let all = of_frame + own.difference(&frame).map(size).sum::<usize>();
        println!("{all:6} of {BUDGET} bytes to open {screen}");
        assert!(all <= BUDGET, "{screen} takes {all} bytes, which is more than {BUDGET}");
    }
    let all: usize = page.files.keys().filter(is_loaded).map(size).sum();
    println!("{all:6} for all screens");
}

#[test]
fn the_document_names_its_files_by_their_version() {
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
    for name in Embedded::iter().filter(|name| is_ours(name)) {
        let source = String::from_utf8(Embedded::get(&name).unwrap().data.into_owned()).unwrap();
        let sent = without_comments(&source);
        for (line, sent) in source.lines().zip(sent.lines()) {
            let line = line.trim();
            let is_comment =
                line.starts_with("//") || line.starts_with("/*") || line.starts_with('*');
            let is_whole = line.split_once("*/").is_none_or(|(_, behind)| behind.is_empty());
            assert!(
                !sent.is_empty() || line.is_empty() || (is_comment && is_whole),
                "{name}: {line}"
            );
        }
    }
    let page = Page::load();
    assert!(!text(&page, "app.js").contains("How a screen is added"));
    assert!(text(&page, "app.js").contains("startRouter("));
}

fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
    let values = values.iter().map(|value| (name.clone(), HeaderValue::from_static(value)));
    values.collect()
}

#[test]
fn compression_is_used_where_the_client_takes_it() {
    let takes = |values: &[&'static str]| takes_gzip(&headers(&ACCEPT_ENCODING, values));
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
    let known = |value: &'static str| is_known(&headers(&IF_NONE_MATCH, &[value]), &etag);
    for yes in ["W/\"a\"", "\"a\"", "\"b\", W/\"a\"", "*"] {
        assert!(known(yes), "{yes}");
    }
    for no in ["", "\"b\"", "a", "W/\"A\""] {
        assert!(!known(no), "{no}");
    }
}
