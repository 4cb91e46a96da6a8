//! Clients follow settings, and tokens are stored.

use std::time::Duration;

use super::*;

fn accesses(folder: &Path, configured: Option<&str>) -> (Accesses, ReplicateAccess) {
    let configured = configured.map(|text| ApiToken::parse(text).unwrap());
    let client = Client::new(Config::default()).unwrap();
    let access = ReplicateAccess::new(client, configured.clone());
    let mut accesses = Accesses::new(folder, Config::default());
    let link = (access.clone(), configured);
    accesses.add_tokened(ProviderName::new("replicate"), Config::default(), link).unwrap();
    (accesses, access)
}

#[tokio::test]
async fn a_stored_token_takes_precedence_until_it_is_removed_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let replicate = ProviderName::new("replicate");
    let (accesses_of_first, access) = accesses(folder.path(), None);
    assert_eq!((accesses_of_first.token_source(&replicate), access.has_token()), (None, false));
    accesses_of_first.store_token(&replicate, " r8_stored\n").await.unwrap();
    assert!(access.has_token());
    let (second, access) = accesses(folder.path(), Some("r8_environment"));
    assert_eq!(second.token_source(&replicate), Some(TokenSource::Stored));
    assert!(!format!("{second:?} {access:?}").contains("r8_"));
    second.remove_token(&replicate).await.unwrap();
    assert_eq!(second.token_source(&replicate), Some(TokenSource::Environment));
    assert!(access.has_token());
    let (third, access) = accesses(folder.path(), None);
    assert_eq!((third.token_source(&replicate), access.has_token()), (None, false));
}

#[tokio::test]
async fn a_token_that_cannot_be_used_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (accesses, access) = accesses(folder.path(), None);
    let bad = accesses.store_token(&ProviderName::new("replicate"), "r8 x").await;
    assert!(matches!(bad, Err(TokenError::Invalid(_))), "{bad:?}");
    let elsewhere = accesses.store_token(&ProviderName::new("local"), "r8_x").await;
    assert!(matches!(elsewhere, Err(TokenError::NoToken(_))), "{elsewhere:?}");
    assert!(!access.has_token() && !folder.path().join(TOKENS).exists());
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (accesses, _) = accesses(folder.path(), None);
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let text = |text: &str| Some(text.to_owned());
    let none = ProviderSettings::default;
    let missing = text("/nowhere/ca.pem");
    for (settings, pointer, said) in [
        (ProviderSettings { ssl_ca_bundle: missing.clone(), ..none() }, "/ssl_ca_bundle", "read"),
        (
            // Also while it is not used.
            ProviderSettings { ssl_ca_bundle: missing, ssl_verify: Some(false), ..none() },
            "/ssl_ca_bundle",
            "read",
        ),
        (
            ProviderSettings { ssl_ca_bundle: text(empty.to_str().unwrap()), ..none() },
            "/ssl_ca_bundle",
            "has no certificate",
        ),
        (
            ProviderSettings { proxy_url: text("ftp://proxy.example"), ..none() },
            "/proxy_url",
            "http://",
        ),
        (
            ProviderSettings { proxy_url: text("http://ann:s3cret@proxy.example"), ..none() },
            "/proxy_url",
            "HTTPS_PROXY",
        ),
    ] {
        for provider in ["replicate", "local"] {
            let made = accesses.client(&ProviderName::new(provider), &none(), &settings).await;
            let faults = made.unwrap_err();
            assert_eq!(faults.len(), 1);
            assert_eq!(faults[0].pointer, pointer);
            assert!(faults[0].message.contains(said), "{}", faults[0].message);
            assert!(!faults[0].message.contains("s3cret"));
        }
    }
}

#[tokio::test]
async fn a_client_is_made_only_where_the_calls_change() {
    let folder = tempfile::tempdir().unwrap();
    let (accesses, _) = accesses(folder.path(), None);
    let replicate = ProviderName::new("replicate");
    let none = ProviderSettings::default();
    let other = ProviderSettings { max_concurrent: Some(3), ..none.clone() };
    assert!(accesses.client(&replicate, &none, &other).await.unwrap().is_none());
    let timed = ProviderSettings { http_timeout: Some(Duration::from_secs(2)), ..none.clone() };
    assert!(accesses.client(&replicate, &none, &timed).await.unwrap().is_some());
    assert!(accesses.client(&replicate, &timed, &timed).await.unwrap().is_none());
    let http = merged(&Config::default(), &timed).unwrap();
    assert_eq!(http.overall_timeout, Duration::from_secs(2));
    assert_eq!(http.attempt_timeout, Duration::from_secs(2));
}
