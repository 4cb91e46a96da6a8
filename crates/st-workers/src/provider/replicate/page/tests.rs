//! Malformed and odd pages.

use jiff::Timestamp;

use super::*;
use crate::provider::excerpt::Excerpt;

const MARKER: &str = "019c0000-0000-7000-8000-000000000000.1";

fn ours() -> String {
    format!(
        r#"{{"id": "ours", "status": "starting", "created_at": "2026-11-25T10:00:00.5Z",
            "input": {{"st_marker": "{MARKER}"}}}}"#
    )
}

fn page_of(rows: &[&str]) -> String {
    format!(r#"{{"previous": null, "results": [{}], "next": null}}"#, rows.join(","))
}

/// What is read of the whole text, and of its excerpt as well.
fn sorted(json: impl AsRef<[u8]>) -> ListPage {
    let json = json.as_ref();
    let whole =
        Page::read(&String::from_utf8_lossy(json)).unwrap().sorted(&Prices::default(), None);
    let mut excerpt = Excerpt::new(&PAGE, 1_000_000);
    excerpt.feed(json).unwrap();
    let excerpt = excerpt.finish();
    assert_eq!(Page::read(&excerpt).unwrap().sorted(&Prices::default(), None), whole, "{excerpt}");
    whole
}

#[test]
fn no_odd_row_hides_ours() {
    let deep = format!(
        r#"{{"id": "f", "status": "x", "output": {}{}}}"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let long = format!(r#"{{"id": "{}", "status": "x"}}"#, "a".repeat(100_000));
    // Each with whether it is unreadable rather than merely foreign.
    let odd = [
        ("null", 1),
        ("7", 1),
        ("[]", 1),
        ("1e400", 1),
        (r#"{"status": "x"}"#, 1),
        (r#"{"id": 7, "status": "x"}"#, 1),
        (r#"{"id": "a.b", "status": "x"}"#, 1),
        (&*long, 1),
        (r#"{"id": "f", "status": null}"#, 1),
        (r#"{"id": "f", "status": 7}"#, 1),
        (r#"{"id": "f", "\ud800": "x", "status": "\ud800"}"#, 1),
        (r#"{"id": "f", "status": "x", "input": {"prompt": "\ud800"}, "x": 1e400}"#, 0),
        (&*deep, 0),
    ];
    for (row, unreadable) in odd {
        let page = sorted(page_of(&[row, &ours(), row]));
        let shown: String = row.chars().take(100).collect();
        assert_eq!((page.rows, page.unreadable), (3, 2 * unreadable), "{shown}");
        assert_eq!(page.jobs.len(), 1, "{shown}");
        assert_eq!(page.newest, None, "a row without a time: {shown}");
    }
    let (mut all, ours): (Vec<&str>, String) = (odd.iter().map(|(row, _)| *row).collect(), ours());
    all.push(&ours);
    let page = sorted(page_of(&all));
    assert_eq!((page.rows, page.unreadable, page.jobs.len()), (14, 11, 1));
    assert_eq!(page.jobs[0].status.provider_job_id.as_str(), "ours");
}

#[test]
fn a_byte_that_is_no_text_spoils_nothing_else() {
    let mut body = page_of(&[r#"{"id": "f", "status": "x", "logs": "@"}"#, &ours()]).into_bytes();
    let at = body.iter().position(|byte| *byte == b'@').unwrap();
    body[at] = 0xff;
    assert_eq!(sorted(&body).jobs.len(), 1);
}

#[test]
fn the_newest_creation_is_known_when_every_row_has_one() {
    let at = |time: &str| format!(r#"{{"id": "f", "status": "x", "created_at": "{time}"}}"#);
    let (old, new) = (at("2026-11-25T09:00:00Z"), at("2026-11-25T11:00:00.12345678Z"));
    let page = sorted(page_of(&[&old, &new, &ours()]));
    let newest: Timestamp = "2026-11-25T11:00:00.12345678Z".parse().unwrap();
    assert_eq!(page.newest, Some(newest));
    assert_eq!(sorted(page_of(&[&old, &at("soon")])).newest, None);
    assert_eq!(sorted(page_of(&[])), ListPage::default());
}

#[test]
fn a_page_without_results_is_not_an_empty_page() {
    for bad in ["{}", r#"{"results": null}"#, r#"{"results": {}}"#, "[]", "<html>", ""] {
        assert!(Page::read(bad).is_err(), "{bad}");
    }
    let page = Page::read(r#"{"results": [], "next": null}"#).unwrap();
    assert!(page.rows.is_empty() && page.next.is_none());
    let cut = Page::read(r#"{"results": []}"#).unwrap();
    assert_eq!(cut.next.as_deref(), Some(""), "nothing says that this is all");
}

#[test]
fn a_next_that_is_no_text_is_not_the_end() {
    for (next, expected) in
        [("null", None), ("\"/x\"", Some("/x")), ("7", Some("")), ("{}", Some(""))]
    {
        let json = format!(r#"{{"results": [], "next": {next}}}"#);
        assert_eq!(Page::read(&json).unwrap().next.as_deref(), expected, "{next}");
    }
}
