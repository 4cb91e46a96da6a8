//! The list of the account's jobs: where its rows are, how its pages follow each other, what its end
//! proves.

use http::HeaderMap;
use serde_json::Value;

use super::call::Call;
use super::pointer::{Pointer, scalar};
use super::section::{Faults, Place};
use super::values::Scope;

/// The list, or the list filtered by a marker.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) call: Call,
    pub(super) rows: Pointer,
    /// Where in a row the marker is.
    pub(super) marker: Option<Pointer>,
    pub(super) newest_first: bool,
    pub(super) covers: Covers,
    pub(super) next: Option<Next>,
}

/// What is in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Covers {
    /// Every job.
    All,
    /// Those that are not over.
    Active,
    /// That is not known: what it does not show may be there.
    Unknown,
}

/// Where the next page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// A cursor in the body, sent back in the query.
    Cursor { at: Pointer, query: String },
    /// A field of the last row, sent back in the query.
    LastRow { at: Pointer, query: String, go_on: Option<Pointer> },
    /// How many rows were read, sent in the query.
    Offset { query: String, go_on: Option<Pointer> },
    /// The `Link` header with `rel="next"`.
    Link,
    /// An address in the body.
    Url { at: Pointer },
}

/// Why it is not known whether a page is the last one. It must not count as the end of a list where the
/// end proves something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotKnown(&'static str);

/// What asks for a page after the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cursor {
    /// An addition to the query.
    Query { name: String, value: String },
    /// Path and query, as the provider gave them.
    Path(String),
}

const COVERS: [(&str, Covers); 3] =
    [("all", Covers::All), ("active", Covers::Active), ("unknown", Covers::Unknown)];

impl List {
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults, scope: &Scope<'_>) -> Option<Self> {
        let mut section = place.section(faults)?;
        let call = Call::from(&mut section, scope);
        let rows = section.require("rows", Pointer::read);
        let marker = section.read("marker", Pointer::read);
        let order = section.read("order", |place, faults| {
            place.word(faults, &[("newest_first", true), ("oldest_first", false), ("none", false)])
        });
        let covers = section.read("covers", |place, faults| place.word(faults, &COVERS));
        let next = section.read("next", Next::read);
        if call.as_ref().is_some_and(|call| !call.is_reading()) {
            section.fault_here("a list must be a get, or say reads: true");
        }
        section.finish();
        Some(Self {
            call: call?,
            rows: rows?,
            marker,
            newest_first: order.unwrap_or(false),
            covers: covers.unwrap_or(Covers::All),
            next,
        })
    }
}

impl Next {
    fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let mut section = place.section(faults)?;
        let at = section.read("at", Pointer::read);
        let last = section.read("last_id", Pointer::read);
        let link = section.read("link", |place, faults| place.word(faults, &[("next", ())]));
        let url = section.read("url", Pointer::read);
        let name = |place: &Place<'_>, faults: &mut Faults| place.text(faults).map(str::to_owned);
        let offset = section.read("offset", name);
        let query = section.read("query", name);
        let go_on = section.read("while", Pointer::read);
        let forms = [at.is_some(), last.is_some(), link.is_some(), url.is_some(), offset.is_some()];
        if forms.iter().filter(|given| **given).count() != 1 {
            section.fault_here("needs one of at, last_id, link, url and offset");
        } else if query.is_none() && (at.is_some() || last.is_some()) {
            section.fault("query", "is required: the name that the cursor is sent back under");
        } else if query.is_some() && at.is_none() && last.is_none() {
            section.fault("query", "belongs to at or last_id");
        } else if go_on.is_some() && last.is_none() && offset.is_none() {
            section.fault("while", "belongs to last_id or offset");
        }
        section.finish();
        match (at, last, link, url, offset) {
            (Some(at), ..) => Some(Self::Cursor { at, query: query? }),
            (_, Some(at), ..) => Some(Self::LastRow { at, query: query?, go_on }),
            (_, _, Some(()), ..) => Some(Self::Link),
            (_, _, _, Some(at), _) => Some(Self::Url { at }),
            (.., offset) => Some(Self::Offset { query: offset?, go_on }),
        }
    }

    /// The cursor behind a page; `None` where the page says that it is the last one, an error where
    /// it does not say. `body`: its answer without the rows; `last`: its last row; `before`: the
    /// cursor that asked for it; `rows`: how many it has.
    pub(super) fn after(
        &self,
        headers: &HeaderMap,
        body: &Value,
        last: Option<&Value>,
        (before, rows): (Option<&Cursor>, usize),
    ) -> Result<Option<Cursor>, NotKnown> {
        let goes_on = |go_on: &Option<Pointer>| match go_on {
            Some(at) => {
                at.get(body).and_then(flag).ok_or(NotKnown("it does not say if more follows"))
            }
            None => Ok(rows > 0),
        };
        let asks = |query: &String, value| Cursor::Query { name: query.clone(), value };
        match self {
            Self::Cursor { at, query } => Ok(cursor(at, body)?.map(|value| asks(query, value))),
            Self::LastRow { at, query, go_on } => {
                if !goes_on(go_on)? {
                    return Ok(None);
                }
                let value = last.and_then(|last| scalar(at.get(last)?));
                let value = value.ok_or(NotKnown("its last row has nothing to go on from"))?;
                Ok(Some(asks(query, value)))
            }
            Self::Offset { query, go_on } => {
                if !goes_on(go_on)? {
                    return Ok(None);
                }
                let read: Option<usize> = match before {
                    Some(Cursor::Query { value, .. }) => value.parse().ok(),
                    Some(Cursor::Path(_)) | None => Some(0),
                };
                let read = read.ok_or(NotKnown("its offset is no number"))?;
                Ok(Some(asks(query, read.saturating_add(rows).to_string())))
            }
            Self::Link => {
                if headers.get_all(http::header::LINK).iter().any(|it| it.to_str().is_err()) {
                    return Err(NotKnown("its Link header cannot be read"));
                }
                Ok(link(headers).map(Cursor::Path))
            }
            Self::Url { at } => Ok(cursor(at, body)?.map(Cursor::Path)),
        }
    }
}

/// The cursor in a body; `None` where there is none any more.
fn cursor(at: &Pointer, body: &Value) -> Result<Option<String>, NotKnown> {
    match at.get(body) {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Bool(true) | Value::Array(_) | Value::Object(_)) => {
            Err(NotKnown("its cursor is neither text nor a number"))
        }
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_f64().map(|number| number > 0.0),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The target of `Link: <…>; rel="next"`.
fn link(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(http::header::LINK).into_iter();
    let mut links = values.filter_map(|value| value.to_str().ok()).flat_map(|value| {
        // A target may hold commas, so the links are split where one begins.
        value.split('<').skip(1).filter_map(|link| link.split_once('>'))
    });
    let is_next = |parameters: &str| {
        parameters.split([';', ',']).map(str::trim).any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let words = value.trim().trim_matches('"').to_ascii_lowercase();
            name.trim().eq_ignore_ascii_case("rel") && words.split(' ').any(|it| it == "next")
        })
    };
    links.find(|(_, parameters)| is_next(parameters)).map(|(target, _)| target.to_owned())
}

impl Cursor {
    /// As one text.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Query { name, value } => format!("{name}={value}"),
            Self::Path(path) => path.clone(),
        }
    }

    /// Reads what [`Self::to_text`] wrote for a list with these pages.
    pub(super) fn parse(text: &str, next: &Next) -> Option<Self> {
        match next {
            Next::Link | Next::Url { .. } => Some(Self::Path(text.to_owned())),
            Next::Cursor { query, .. }
            | Next::LastRow { query, .. }
            | Next::Offset { query, .. } => {
                let value = text.strip_prefix(query)?.strip_prefix('=')?.to_owned();
                Some(Self::Query { name: query.clone(), value })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn next(value: &Value) -> Result<Next, String> {
        let mut faults = Faults::default();
        let read = Next::read(&Place { value, pointer: String::new() }, &mut faults);
        match faults.0.first() {
            None => Ok(read.unwrap()),
            Some(fault) => Err(format!("{}: {}", fault.pointer, fault.message)),
        }
    }

    fn after(how: &Value, body: &Value, last: &Value) -> Option<String> {
        let next = next(how).unwrap();
        let cursor = next.after(&HeaderMap::new(), body, Some(last), (None, 2)).unwrap()?;
        let text = cursor.to_text();
        assert_eq!(Cursor::parse(&text, &next), Some(cursor));
        Some(text)
    }

    #[test]
    fn a_page_that_does_not_say_whether_it_is_the_last_one_is_not_taken_for_it() {
        let cursor = json!({"at": "/next", "query": "c"});
        let flagged = json!({"last_id": "/id", "query": "after", "while": "/has_more"});
        let last = json!({"last_id": "/id", "query": "after"});
        let offset = json!({"offset": "skip", "while": "/has_more"});
        for (how, body, row) in [
            (&cursor, json!({"next": {"token": "x"}}), json!({})),
            (&cursor, json!({"next": true}), json!({})),
            (&flagged, json!({}), json!({"id": "j1"})),
            (&flagged, json!({"has_more": "perhaps"}), json!({"id": "j1"})),
            (&flagged, json!({"has_more": true}), json!({"id": null})),
            (&last, json!({}), json!({"ID": "j1"})),
            (&offset, json!({"error": "busy"}), json!({})),
        ] {
            let next = next(how).unwrap();
            let after = next.after(&HeaderMap::new(), &body, Some(&row), (None, 2));
            assert!(after.is_err(), "{how} {body} {row}: {after:?}");
        }
        let mut headers = HeaderMap::new();
        let broken = http::HeaderValue::from_bytes(b"</n>; rel=\"next\"; title=\xe4").unwrap();
        headers.insert(http::header::LINK, broken);
        Next::Link.after(&headers, &json!({}), None, (None, 2)).unwrap_err();
    }

    #[test]
    fn each_form_of_paging_gives_the_next_page_or_the_end() {
        let cursor = json!({"at": "/metadata/continue", "query": "continue"});
        let more = json!({"metadata": {"continue": "a=b&c"}});
        assert_eq!(after(&cursor, &more, &json!({})).as_deref(), Some("continue=a=b&c"));
        for end in [json!({"metadata": {"continue": ""}}), json!({"metadata": {}}), json!({})] {
            assert_eq!(after(&cursor, &end, &json!({})), None);
        }
        let last = json!({"last_id": "/id", "query": "after", "while": "/has_more"});
        let row = json!({"id": "j9"});
        assert_eq!(after(&last, &json!({"has_more": true}), &row).as_deref(), Some("after=j9"));
        assert_eq!(after(&last, &json!({"has_more": false}), &row), None);
        let offset = json!({"offset": "skip"});
        assert_eq!(after(&offset, &json!({}), &row).as_deref(), Some("skip=2"));
        let url = json!({"url": "/next"});
        let at = json!({"next": "https://x.example/v1?c=1"});
        assert_eq!(after(&url, &at, &row).as_deref(), Some("https://x.example/v1?c=1"));
    }

    #[test]
    fn a_link_is_found_among_others() {
        for (header, target) in [
            (r#"<https://a.example/x?c=1,2>; rel="next""#, Some("https://a.example/x?c=1,2")),
            (r#"</p>; rel=prev, </n>; title="a"; rel=next"#, Some("/n")),
            (r#"</n>; rel="last next""#, Some("/n")),
            (r#"</n>; rel="nextish""#, None),
            ("nonsense", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::LINK, header.parse().unwrap());
            assert_eq!(link(&headers).as_deref(), target, "{header}");
        }
    }

    #[test]
    fn paging_is_one_form() {
        for (value, said) in [
            (json!({}), ": needs one of at, last_id, link, url and offset"),
            (json!({"at": "/a", "link": "next"}), ": needs one of"),
            (json!({"at": "/a"}), "/query: is required"),
            (json!({"link": "next", "query": "x"}), "/query: belongs to at or last_id"),
            (json!({"at": "/a", "query": "x", "while": "/m"}), "/while: belongs to last_id"),
            (json!({"link": "prev"}), "/link: \"prev\" is not legal, expected next"),
        ] {
            let error = next(&value).unwrap_err();
            assert!(error.starts_with(said), "{value}: {error}");
        }
    }
}
