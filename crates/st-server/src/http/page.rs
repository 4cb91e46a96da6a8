//! The operator's page: files within the program, which are sent without a key.
//!
//! They hold no data. The page reads and changes everything over the HTTP interface, as every other client
//! does, so that it may do what the caller's key or session may and nothing else. A debug build reads the
//! files from the source tree, so that a change shows at the next reload.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{LazyLock, OnceLock};

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderName, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use super::problem::Problem;

/// The addresses of the screens. Each is answered with the same document, which shows the screen.
const SCREENS: [&str; 11] = [
    "/",
    "/jobs/{id}",
    "/queue",
    "/approvals",
    "/costs",
    "/providers",
    "/system",
    "/audit",
    "/keys",
    "/signin",
    "/submit",
];
const FILES: &str = "/page/{version}/{*file}";
const INDEX: &str = "index.html";
/// The placeholder in the document for the folder of the other files.
const FOLDER: &str = "/page/VERSION/";

/// Scripts, styles and images of this server alone, no text that becomes a script or markup, and no frame
/// around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";
/// Asked for at each load, and answered with 304 where nothing has changed.
const ASK_AGAIN: &str = "no-cache";
/// A file under the version of all of them never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

#[derive(RustEmbed)]
#[folder = "page/src"]
struct Embedded;

/// The files of the page as they are sent.
#[derive(Debug)]
struct Page {
    /// The beginning of the SHA-256 of all files, in the address of each.
    version: String,
    files: BTreeMap<String, File>,
}

#[derive(Debug)]
struct File {
    media: &'static str,
    etag: HeaderValue,
    plain: Bytes,
    /// Made when it is asked for first; `None` where it would not be smaller.
    gzip: OnceLock<Option<Bytes>>,
}

impl Page {
    fn load() -> Self {
        let read = |name: Cow<'static, str>| {
            let data = Embedded::get(&name)?.data;
            // Every file of the page is text.
            let text = String::from_utf8(data.into_owned()).ok()?;
            let text = if is_ours(&name) { without_comments(&text) } else { text };
            media_of(&name).map(|media| (name.into_owned(), (media, text)))
        };
        let texts: BTreeMap<_, _> = Embedded::iter().filter_map(read).collect();
        let mut all = Sha256::new();
        for (name, (_, text)) in &texts {
            all.update(name.len().to_be_bytes());
            all.update(name);
            all.update(Sha256::digest(text));
        }
        let version: String = hex(&all.finalize()).chars().take(16).collect();
        let folder = format!("/page/{version}/");
        let files = texts.into_iter().filter_map(|(name, (media, text))| {
            let text = if name == INDEX { text.replace(FOLDER, &folder) } else { text };
            Some((name, File::new(media, text)?))
        });
        Self { files: files.collect(), version }
    }
}

impl File {
    fn new(media: &'static str, text: String) -> Option<Self> {
        // Weak, because it is the same with and without compression.
        let etag = format!("W/\"{}\"", hex(&Sha256::digest(&text)));
        let etag = HeaderValue::from_str(&etag).ok()?;
        Some(Self { media, etag, plain: text.into(), gzip: OnceLock::new() })
    }

    fn gzip(&self) -> Option<&Bytes> {
        let compressed = self.gzip.get_or_init(|| {
            let small = compress(&self.plain).ok()?;
            (small.len() < self.plain.len()).then(|| small.into())
        });
        compressed.as_ref()
    }

    fn answer(&self, asked: &HeaderMap, cache: &'static str) -> Response {
        let mut response = if is_known(asked, &self.etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let gzip = if takes_gzip(asked) { self.gzip() } else { None };
            let mut response = gzip.unwrap_or(&self.plain).clone().into_response();
            if gzip.is_some() {
                let encoding = HeaderValue::from_static("gzip");
                response.headers_mut().insert(CONTENT_ENCODING, encoding);
            }
            response
        };
        let headers = response.headers_mut();
        let fixed: [(HeaderName, &'static str); 8] = [
            (CONTENT_TYPE, self.media),
            (CACHE_CONTROL, cache),
            (VARY, "accept-encoding"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(ETAG, self.etag.clone());
        response
    }
}

/// The addresses of the page. They are no operations of the interface, and no key is asked for.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let page = SCREENS
        .into_iter()
        .fold(Router::new(), |router, screen| router.route(screen, on(MethodFilter::GET, shell)));
    page.route(FILES, on(MethodFilter::GET, file))
}

async fn shell(headers: HeaderMap) -> Result<Response, Problem> {
    with_page(|page| page.files.get(INDEX).map(|index| index.answer(&headers, ASK_AGAIN)))
}

async fn file(
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    with_page(|page| {
        let file = page.files.get(&name).filter(|_| name != INDEX)?;
        // A document of another release is answered too, so that an upgrade leaves no load of the page
        // half done; but no cache may keep that answer under that version.
        let cache = if version == page.version { FOR_EVER } else { ASK_AGAIN };
        Some(file.answer(&headers, cache))
    })
}

fn with_page(answer: impl FnOnce(&Page) -> Option<Response>) -> Result<Response, Problem> {
    static PAGE: LazyLock<Page> = LazyLock::new(Page::load);
    let answered = if cfg!(debug_assertions) { answer(&Page::load()) } else { answer(&PAGE) };
    answered.ok_or_else(|| Problem::not_found("the page has no such file"))
}

/// Whether it is a script or a style that was written for this page.
fn is_ours(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    matches!(extension, Some("js" | "css")) && !name.starts_with("vendor/")
}

/// The text without the lines that are comments, which are a third of it. Empty lines stand for them, so that
/// an error names the line of the source.
fn without_comments(text: &str) -> String {
    let mut is_within = false;
    let kept = text.lines().map(|line| {
        let line = line.trim_end();
        let start = line.trim_start();
        // What goes on after its comment, as a cast does, is no comment.
        let begins = start.starts_with("/*") && (!start.contains("*/") || start.ends_with("*/"));
        let is_comment = is_within || begins || start.starts_with("//");
        is_within = (is_within || begins) && !line.ends_with("*/");
        if is_comment { "\n".to_owned() } else { format!("{line}\n") }
    });
    kept.collect()
}

/// `None` for a file that is not sent, such as the types for the type checker.
fn media_of(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    match extension {
        "html" => Some("text/html; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "txt" => Some("text/plain; charset=utf-8"),
        _ => None,
    }
}

fn compress(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data)?;
    encoder.finish()
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The members of a header that is a list, also where it is sent several times.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether the client has the file with this tag already.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let Ok(etag) = etag.to_str() else { return false };
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    members(headers, &IF_NONE_MATCH).any(|tag| tag == "*" || opaque(tag) == opaque(etag))
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    members(headers, &ACCEPT_ENCODING).any(|member| {
        let (coding, weight) = member.split_once(';').unwrap_or((member, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
        coding.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|weight: f32| weight > 0.0)
    })
}

#[cfg(test)]
mod tests;
