//! The cookie of a browser's session.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::session::{LIFETIME, Opened};

/// A browser takes this one only over TLS, for this host alone and for all paths.
const SECURE: &str = "__Host-st_session";
const PLAIN: &str = "st_session";

fn name(secure: bool) -> &'static str {
    if secure { SECURE } else { PLAIN }
}

/// The session that a request shows.
pub(super) fn session(headers: &HeaderMap, secure: bool) -> Option<&str> {
    let wanted = name(secure);
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = values.flat_map(|value| value.split(';'));
    let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// The cookie of a new session.
pub(crate) fn session_cookie(opened: &Opened, secure: bool) -> Option<HeaderValue> {
    cookie(opened.token(), LIFETIME.as_secs(), secure)
}

/// The cookie that removes that of a session.
pub(crate) fn ended_cookie(secure: bool) -> Option<HeaderValue> {
    cookie("", 0, secure)
}

fn cookie(value: &str, seconds: u64, secure: bool) -> Option<HeaderValue> {
    let (name, secure) = (name(secure), if secure { "; Secure" } else { "" });
    let text =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |cookies: &[&'static str], secure| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(COOKIE, HeaderValue::from_static(cookie));
            }
            session(&headers, secure).map(str::to_owned)
        };
        assert_eq!(found(&["a=b; st_session=x;c"], false).as_deref(), Some("x"));
        assert_eq!(found(&["a=b", "st_session=x=y"], false).as_deref(), Some("x=y"));
        assert_eq!(found(&["st_session=x"], true), None, "over TLS it may be a neighbour's");
        assert_eq!(found(&["st_session=x; __Host-st_session=y"], true).as_deref(), Some("y"));
        assert_eq!(found(&["xst_session=x"], false), None);
        assert_eq!(found(&[], false), None);
    }

    #[test]
    fn a_cookie_is_kept_from_scripts_and_other_sites() {
        let text = |value: Option<HeaderValue>| value.unwrap().to_str().unwrap().to_owned();
        let rest = "Path=/; Max-Age=0; HttpOnly; SameSite=Strict";
        assert_eq!(text(ended_cookie(false)), format!("st_session=; {rest}"));
        assert_eq!(text(ended_cookie(true)), format!("__Host-st_session=; {rest}; Secure"));
        assert!(ended_cookie(true).unwrap().is_sensitive());
    }
}
