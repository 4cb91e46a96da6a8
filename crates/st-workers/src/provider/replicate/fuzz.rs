//! Mutated answers: nothing panics, nothing is kept that is not wanted, and what is read from an
//! excerpt is what is read from the whole text.

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use st_store::ProviderJobId;
use st_testkit::fuzz::{Fuzz, JSON};

use super::address::Address;
use super::classify::{REFUSAL, own_words};
use super::page::{PAGE, Page};
use super::price::Prices;
use super::row::{JOB, Row};
use super::{ACCOUNT, fields, logs, retry_after};
use crate::provider::excerpt::{Excerpt, Shape};
use crate::provider::{LONGEST_RETRY_AFTER, ListQuery};

/// In a body of so many bytes nothing can be too long to be kept.
const ALL_IS_KEPT: usize = 1000;

const JOBS: &[&[u8]] = &[
    br#"{"id": "ours", "version": "v", "status": "starting", "created_at": "2026-11-25T10:00:00.5Z",
        "input": {"prompt": "a", "st_marker": "019c0000-0000-7000-8000-000000000000.1"}, "logs": "",
        "urls": {"get": "https://api.replicate.com/v1/predictions/ours"}, "source": "api"}"#,
    br#"{"completed_at": "2023-08-16T19:33:27.215203Z", "error": null, "id": "xxi2", "logs": null,
        "metrics": {"predict_time": 3e-06}, "output": ["https://replicate.delivery/x.tar", 7],
        "status": "succeeded", "started_at": "2023-08-16T19:33:27.215200Z", "model": "a/b"}"#,
    br#"{"id":"a1","status":"failed","logs":"step 1\n\ud83d","error":"\udc00!","output":{"weights":
        "https://replicate.delivery/y.tar"},"data_removed":true,"source":"web","input":{}}"#,
    br#"{"detail": "The requested resource could not be found.", "status": 404, "title": "Not"}"#,
    br#"{"type": "organization", "username": "acme", "name": "Acme", "avatar_url": "https://x/y"}"#,
    b"<html><h1>502 Bad Gateway</h1></html>",
];
const WORDS: &[&str] = &[
    "\"id\"",
    "\"status\"",
    "\"input\"",
    "\"st_marker\"",
    "\"output\"",
    "\"weights\"",
    "\"error\"",
    "\"logs\"",
    "\"created_at\"",
    "\"metrics\"",
    "\"predict_time\"",
    "\"data_removed\"",
    "\"next\"",
    "\"results\"",
    "\"detail\"",
    "\"title\"",
    "\"username\"",
    "https://",
    "019c0000-0000-7000-8000",
];

fn fuzz(corpus: &[&[u8]], check: impl Fn(&[u8])) {
    let dictionary: Vec<&str> = JSON.iter().chain(WORDS).copied().collect();
    Fuzz { corpus, dictionary: &dictionary }.run(check);
}

/// The whole as text, and its excerpt as it is read from pieces of some size.
fn both(bytes: &[u8], shape: &'static Shape) -> (String, String) {
    let mut excerpt = Excerpt::new(shape, usize::MAX);
    for piece in bytes.chunks(1 + bytes.len() % 13) {
        excerpt.feed(piece).unwrap();
    }
    let excerpt = excerpt.finish();
    assert!(excerpt.len() <= 3 * bytes.len() + 10, "{excerpt}");
    (String::from_utf8_lossy(bytes).into_owned(), excerpt)
}

/// What can be read of the whole must be read of the excerpt.
fn same<T: std::fmt::Debug>(whole: Option<&T>, excerpt: Option<&T>, bytes: &[u8]) {
    if whole.is_some() && bytes.len() <= ALL_IS_KEPT {
        assert_eq!(format!("{excerpt:?}"), format!("{whole:?}"));
    }
}

#[test]
fn answers_about_one_job() {
    let prices = Prices::default();
    let read = |text: &str| {
        let row = Row::read(text)?;
        Some((
            row.sorted(&prices, None),
            row.to_status(&prices, None),
            row.word(),
            row.created_at(),
        ))
    };
    fuzz(JOBS, |bytes| {
        let (whole, excerpt) = both(bytes, &JOB);
        same(read(&whole).as_ref(), read(&excerpt).as_ref(), bytes);
    });
}

#[test]
fn pages_of_the_list() {
    let page = |rows: &[&[u8]]| {
        let rows = rows.join(&b','.to_owned());
        let mut page =
            br#"{"previous": null, "next": "https://x/v1/predictions?cursor=cD0y", "results": ["#
                .to_vec();
        page.extend(rows);
        page.extend(b"]}");
        page
    };
    let (one, two, none) = (page(&JOBS[..1]), page(&JOBS[1..3]), page(&[b"null", b"{}"]));
    let corpus: Vec<&[u8]> =
        [&*one, &*two, &*none].into_iter().chain(JOBS.iter().copied()).collect();
    let prices = Prices::default();
    let read = |text: &str| {
        let page = Page::read(text).ok()?;
        Some((page.sorted(&prices, None), page.next))
    };
    fuzz(&corpus, |bytes| {
        let (whole, excerpt) = both(bytes, &PAGE);
        same(read(&whole).as_ref(), read(&excerpt).as_ref(), bytes);
    });
}

#[test]
fn logs_refusals_and_accounts() {
    let id = ProviderJobId::new("a1");
    let log = |text: &str| logs::in_text(text, &id).ok();
    let username = |text: &str| {
        let [username] = fields::pick(text, ["username"]).ok()?;
        Some(fields::read::<String>(username))
    };
    fuzz(JOBS, |bytes| {
        let (whole, excerpt) = both(bytes, &logs::LOGS);
        same(log(&whole).as_ref(), log(&excerpt).as_ref(), bytes);
        let (whole, excerpt) = both(bytes, &ACCOUNT);
        same(username(&whole).as_ref(), username(&excerpt).as_ref(), bytes);
        let (whole, excerpt) = both(bytes, &REFUSAL);
        let words = |text: &str| own_words(StatusCode::NOT_FOUND, text);
        same(words(&whole).as_ref(), words(&excerpt).as_ref(), bytes);
    });
}

#[test]
fn waits() {
    let corpus: &[&[u8]] = &[
        b"120",
        b" 8 ",
        b"Fri, 01 Jan 2027 00:01:30 GMT",
        b"Friday, 01-Jan-27 00:01:30 GMT",
        b"Fri Jan  1 00:01:30 2027",
        b"Request was throttled. Your rate limit resets in ~30s.",
        b"Expected available in 1 second.",
        b"not before 2026",
        b"1e12",
        b"-5",
    ];
    let words =
        &["in ", "~", "30", "s", "minutes", " ", "GMT", "99999999999999999999", "2027", ":"];
    Fuzz { corpus, dictionary: words }.run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let mut headers = HeaderMap::new();
        assert!(retry_after::of_throttled(&headers, &text) <= LONGEST_RETRY_AFTER);
        if !text.to_ascii_lowercase().contains("in") {
            assert_eq!(retry_after::of_throttled(&headers, &text).as_secs(), 1, "{text}");
        }
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
        headers.insert("date", HeaderValue::from_static("Fri, 01 Jan 2027 00:00:00 GMT"));
        headers.insert("retry-after", value.clone());
        let wait = retry_after::by_header(&headers);
        assert!(wait.is_none_or(|wait| !wait.is_zero() && wait <= LONGEST_RETRY_AFTER));
        if let Ok(seconds) = text.trim().parse::<u32>() {
            let plain = std::time::Duration::from_secs(seconds.into()).min(LONGEST_RETRY_AFTER);
            let signed = text.trim().starts_with('+');
            let expected = Some(plain).filter(|plain| !plain.is_zero() && !signed);
            assert_eq!(wait, expected, "{text}");
        }
        headers.insert("date", value);
        assert!(retry_after::by_header(&headers).is_none_or(|wait| wait <= LONGEST_RETRY_AFTER));
    });
}

#[test]
fn links_to_the_next_page() {
    let corpus: &[&[u8]] = &[
        b"https://api.example.com/v1/predictions?cursor=cD0yMDI0",
        b"http://10.0.0.1:8080/v1/predictions?cursor=a%3D",
        b"//thief.example/v1/predictions",
        b"/v1/../admin",
        b"/v1/%2E%2e/admin",
        b"@thief.example/v1/predictions",
        b"https://user:password@thief.example/v1/x",
    ];
    let words = &[
        "/",
        "//",
        "..",
        "%2e",
        "%2F",
        "@",
        ":",
        "?",
        "#",
        "\\",
        "/v1",
        "thief.example",
        " ",
        "é",
    ];
    let ours = Address::parse("https://api.example.com/v1").unwrap();
    Fuzz { corpus, dictionary: words }.run(|bytes| {
        let next = String::from_utf8_lossy(bytes).into_owned();
        let cursor = ours.cursor(&next);
        let url = ours.page(&ListQuery { cursor: cursor.clone(), ..ListQuery::default() }).unwrap();
        let uri: Uri = url.parse().unwrap();
        let authority = uri.authority().map(Authority::as_str);
        assert_eq!(authority, Some("api.example.com"), "{next}");
        assert!(uri.path().starts_with("/v1/"), "{next}: {uri}");
        assert!(!uri.path().split('/').any(|part| part == ".." || part == "."), "{next}: {uri}");
        assert_eq!(cursor.as_ref().and_then(|it| ours.cursor(it)), cursor, "{next}");
    });
}
