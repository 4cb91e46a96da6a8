//! A request as the description has it, and as it goes out.

use http::{HeaderName, HeaderValue, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::pointer::{Pointer, scalar};
use super::section::{Faults, Place, Section};
use super::template::{Reference, RenderError, Template, Tree};
use super::values::{Scope, Values};

/// What is not encoded within one segment of a path, or within a query.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const METHODS: [(&str, Method); 5] = [
    ("get", Method::GET),
    ("post", Method::POST),
    ("put", Method::PUT),
    ("patch", Method::PATCH),
    ("delete", Method::DELETE),
];

/// Headers that the client sets itself, or that `auth` does.
const RESERVED: [&str; 6] = [
    "authorization",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "x-correlation-id",
];

/// A request of the description.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: Template,
    query: Vec<(String, Tree)>,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Tree>,
    content_type: HeaderValue,
    /// Where in the answer the job is.
    pub(super) root: Pointer,
    /// A request that changes nothing although its method could.
    pub(super) reads: bool,
}

/// A request as it goes out, without the credential.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outgoing {
    /// Such as `POST`.
    pub(super) method: Method,
    /// Path and query, below the base URL.
    pub(super) path: String,
    /// Headers of its own.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The JSON body and its content type.
    pub(super) body: Option<(Value, HeaderValue)>,
}

impl Call {
    /// Reads the keys of a request out of a section that may have others.
    pub(super) fn from(section: &mut Section<'_, '_>, scope: &Scope<'_>) -> Option<Self> {
        let mut found = Vec::new();
        for (name, method) in METHODS {
            if let Some(place) = section.get(name) {
                found.push((method, place));
            }
        }
        let query = query(section, scope);
        let headers = headers(section, scope);
        let body = section.read("body", |place, faults| Tree::read(place, faults, scope));
        let content_type = section.read("content_type", content_type);
        let root = section.read("root", Pointer::read).unwrap_or_else(Pointer::whole);
        let reads = section.read("reads", Place::boolean);
        let mut found = found.into_iter();
        let (Some((method, place)), None) = (found.next(), found.next()) else {
            section.fault_here("needs one of get, post, put, patch and delete with a path");
            return None;
        };
        if method == Method::GET && body.is_some() {
            section.fault("body", "a GET has no body");
        }
        let path = path(&place, section.faults, scope)?;
        let json = HeaderValue::from_static("application/json");
        let content_type = content_type.unwrap_or(json);
        Some(Self {
            method,
            path,
            query: query?,
            headers: headers?,
            body,
            content_type,
            root,
            reads: reads.unwrap_or(false),
        })
    }

    /// Reads an object that is a request and nothing else.
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults, scope: &Scope<'_>) -> Option<Self> {
        let mut section = place.section(faults)?;
        let call = Self::from(&mut section, scope);
        section.finish();
        call
    }

    /// Whether asking it changes nothing.
    pub(super) fn is_reading(&self) -> bool {
        self.method == Method::GET || self.reads
    }

    /// The references that decide where it goes: those of its path, its query and its headers.
    pub(super) fn addressing(&self) -> Vec<&Reference> {
        let query = self.query.iter().flat_map(|(_, tree)| tree.references());
        let headers = self.headers.iter().flat_map(|(_, template)| template.references());
        self.path.references().chain(query).chain(headers).collect()
    }

    /// Whether one of its texts becomes such a text with these values.
    pub(super) fn has_text(&self, values: &Values<'_>, is_such: impl Fn(&str) -> bool) -> bool {
        let query = self.query.iter().flat_map(|(_, tree)| tree.templates());
        let headers = self.headers.iter().map(|(_, template)| template);
        let body = self.body.iter().flat_map(Tree::templates);
        let mut all = std::iter::once(&self.path).chain(query).chain(headers).chain(body);
        all.any(|template| template.plain(values).ok().flatten().is_some_and(|text| is_such(&text)))
    }

    /// Every reference in it.
    pub(super) fn references(&self) -> Vec<&Reference> {
        let query = self.query.iter().flat_map(|(_, tree)| tree.references());
        let headers = self.headers.iter().flat_map(|(_, template)| template.references());
        let body = self.body.iter().flat_map(Tree::references);
        self.path.references().chain(query).chain(headers).chain(body).collect()
    }

    /// The request with its values; `more` is added to the query.
    pub(super) fn render(
        &self,
        values: &Values<'_>,
        more: &[(&str, &str)],
    ) -> Result<Outgoing, RenderError> {
        let mut headers = Vec::new();
        for (name, template) in &self.headers {
            let Some(text) = template.plain(values)? else { continue };
            let value = HeaderValue::from_str(&text).map_err(|_not_legal| {
                RenderError::Place(format!("the header {name} cannot hold its value"))
            })?;
            headers.push((name.clone(), value));
        }
        let body = match &self.body {
            Some(tree) => tree.value(values)?.map(|body| (body, self.content_type.clone())),
            None => None,
        };
        let path = self.render_path(values, more)?;
        Ok(Outgoing { method: self.method.clone(), path, headers, body })
    }

    fn render_path(
        &self,
        values: &Values<'_>,
        more: &[(&str, &str)],
    ) -> Result<String, RenderError> {
        let path = self.path.text(values, |reference, text| {
            if text.is_empty() {
                let name = reference.path.join(".");
                return Err(RenderError::Place(format!("{name} is empty and part of a path")));
            }
            Ok(encode(&text))
        })?;
        let Some(mut path) = path else {
            return Err(RenderError::Place("a part of the path is absent".to_owned()));
        };
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(RenderError::Place(format!("the path {path} leaves its place")));
        }
        let mut mark = '?';
        let mut add = |name: &str, value: &str| {
            path.push(mark);
            path.push_str(&encode(name));
            path.push('=');
            path.push_str(&encode(value));
            mark = '&';
        };
        for (name, tree) in &self.query {
            let Some(value) = tree.value(values)? else { continue };
            let several = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
            for value in several {
                let text = scalar(value).ok_or_else(|| {
                    RenderError::Place(format!("{name} in the query must be text or a number"))
                })?;
                // The cursor of a later page takes the place of the first page's.
                if !more.iter().any(|(known, _)| known == name) {
                    add(name, &text);
                }
            }
        }
        for (name, value) in more {
            add(name, value);
        }
        Ok(path)
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

fn path(place: &Place<'_>, faults: &mut Faults, scope: &Scope<'_>) -> Option<Template> {
    let text = place.text(faults)?;
    let template = Template::read(place, faults, scope)?;
    if !text.starts_with('/') {
        return place.fault(faults, format!("{text:?} is not legal, a path begins with /"));
    }
    let strange = |char: char| !char.is_ascii_graphic() || "?#\"<>\\^`{|}%".contains(char);
    if template.literals().any(|literal| literal.contains(strange)) {
        let message = "a path is ASCII without ? # % and the like; a query belongs under query";
        return place.fault(faults, message);
    }
    if text.split('/').any(|segment| matches!(segment, "." | "..")) {
        return place.fault(faults, "a path may not have the segments . and ..");
    }
    Some(template)
}

fn query(section: &mut Section<'_, '_>, scope: &Scope<'_>) -> Option<Vec<(String, Tree)>> {
    let mut query = Vec::new();
    for (name, place) in section.members("query") {
        let is_scalar = |value: &Value| scalar(value).is_some();
        let legal = match place.value {
            Value::Array(items) => items.iter().all(is_scalar),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => is_scalar(place.value),
        };
        if !legal {
            place.expected::<()>(section.faults, "text, a number or a list of them");
            continue;
        }
        query.push((name.to_owned(), Tree::read(&place, section.faults, scope)));
    }
    query.into_iter().map(|(name, tree)| Some((name, tree?))).collect()
}

/// The headers of a request, or of all of them.
pub(super) fn headers(
    section: &mut Section<'_, '_>,
    scope: &Scope<'_>,
) -> Option<Vec<(HeaderName, Template)>> {
    let mut headers = Vec::new();
    for (name, place) in section.members("headers") {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
        let parsed = parsed.filter(|name| !RESERVED.contains(&name.as_str()));
        if parsed.is_none() {
            let message = format!(
                "{name:?} cannot be set here, expected a header other than {}",
                RESERVED.join(", ")
            );
            place.fault::<()>(section.faults, message);
        }
        headers.push(parsed.zip(Template::read(&place, section.faults, scope)));
    }
    headers.into_iter().collect()
}

fn content_type(place: &Place<'_>, faults: &mut Faults) -> Option<HeaderValue> {
    place.parsed(faults, |text| {
        let value = HeaderValue::from_str(text).ok().filter(|_| text.contains("json"));
        value.ok_or_else(|| "expected a kind of JSON such as application/merge-patch+json".into())
    })
}
