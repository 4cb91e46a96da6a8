//! URLs: what a `Location` means, and what of a URL may be shown.

use http::Uri;

/// The URL that a `Location` means (RFC 3986, section 5.2), without its fragment.
pub(super) fn joined(base: &Uri, location: &str) -> Option<String> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let location = location.split('#').next().unwrap_or_default();
    if has_scheme(location) {
        return Some(location.to_owned());
    }
    if location.starts_with("//") {
        return Some(format!("{scheme}:{location}"));
    }
    let (path, query) = match location.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (location, None),
    };
    if path.is_empty() && query.is_none() {
        return None;
    }
    let path = match path {
        "" => base.path().to_owned(),
        absolute if absolute.starts_with('/') => without_dots(absolute),
        relative => {
            let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            without_dots(&format!("{folder}/{relative}"))
        }
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{scheme}://{authority}{path}{query}"))
}

/// Whether a reference begins with a scheme, such as `https:`.
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|it| it.is_ascii_alphanumeric() || "+-.".contains(it))
    })
}

/// The path without `.` and `..`; nothing is above the root.
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            name => kept.push(name),
        }
    }
    let is_folder = ["/.", "/.."].iter().any(|end| path.ends_with(end));
    let end = if is_folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

/// A URL without what may be a secret in it.
pub(in super::super) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_resolved_against_its_url() {
        let base: Uri = "https://a.example/files/x?s=1".parse().unwrap();
        for (location, url) in [
            ("https://b.example/y#z", Some("https://b.example/y")),
            ("HTTPS://b.example/y", Some("HTTPS://b.example/y")),
            ("//b.example/y", Some("https://b.example/y")),
            ("/y?t=2", Some("https://a.example/y?t=2")),
            ("/x?next=https://b.example/y", Some("https://a.example/x?next=https://b.example/y")),
            ("y", Some("https://a.example/files/y")),
            ("./y", Some("https://a.example/files/y")),
            ("../y", Some("https://a.example/y")),
            ("../../../y/./z", Some("https://a.example/y/z")),
            ("/a/b/..", Some("https://a.example/a/")),
            ("?t=2", Some("https://a.example/files/x?t=2")),
            ("y?to=../z", Some("https://a.example/files/y?to=../z")),
            ("", None),
            ("#top", None),
        ] {
            assert_eq!(joined(&base, location).as_deref(), url, "{location}");
        }
    }
}
