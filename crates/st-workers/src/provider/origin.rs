//! Whether a URL is at some origin: scheme, host and port.

use http::Uri;

/// Whether `url` has this origin, such as `https://api.example.com`, which is in lower case. The usual
/// port of a scheme is the same as none; a URL with a user name or a password has no origin here.
pub(super) fn is_of_origin(url: &Uri, origin: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let parts = |uri: &Uri| {
        let authority = uri.authority().filter(|it| !it.as_str().contains('@'))?;
        let scheme = uri.scheme_str()?;
        let usual = if scheme == "https" { 443 } else { 80 };
        // An impossible port would be read as none.
        let port =
            if authority.as_str() == authority.host() { usual } else { authority.port_u16()? };
        Some((scheme.to_owned(), authority.host().to_ascii_lowercase(), port))
    };
    parts(url).is_some_and(|url| parts(&origin) == Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_and_port_must_be_the_same() {
        for (url, same) in [
            ("https://api.example.com/v1/files/1?a=b", true),
            ("https://API.example.com:443/x", true),
            ("HTTPS://api.example.com", true),
            ("http://api.example.com/x", false),
            ("https://api.example.com:8443/x", false),
            ("https://api.example.com:99999/x", false),
            ("https://api.example.com.evil.example/x", false),
            ("https://evil.example/https://api.example.com/", false),
            ("https://api.example.com@evil.example/", false),
            ("https://user@api.example.com/", false),
            ("/x", false),
        ] {
            let parsed = url.parse::<Uri>().unwrap();
            assert_eq!(is_of_origin(&parsed, "https://api.example.com"), same, "{url}");
        }
    }
}
