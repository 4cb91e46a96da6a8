//! Credentials: where they are, read when they are needed, shown nowhere.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::section::{DescriptionFault, Faults, Place};

/// A file is read again when it was read longer ago: tokens rotate.
const READ_AGAIN: Duration = Duration::from_secs(10);
/// Larger files are no credentials.
const LARGEST: usize = 64 * 1024;
/// In the place of a secret.
pub(super) const MASK: &str = "***";

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretAt {
    /// In this variable of the environment.
    Env { name: String, pointer: String },
    /// In this file, which may be replaced at any time.
    File { path: PathBuf, pointer: String },
}

/// How requests are authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Auth {
    pub(super) header: HeaderName,
    pub(super) form: AuthForm,
    pub(super) secret: SecretAt,
}

/// What the header holds beside the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AuthForm {
    /// This text before it.
    Prefix(String),
    /// HTTP Basic with this user.
    Basic(String),
}

impl SecretAt {
    fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        if !place.value.is_object() {
            return place.expected(faults, "{env: NAME} or {file: PATH}, never the secret itself");
        }
        let mut section = place.section(faults)?;
        let name = section.read("env", |place, faults| {
            let name = place.text(faults)?;
            Some(Self::Env { name: name.to_owned(), pointer: place.pointer.clone() })
        });
        let path = section.read("file", |place, faults| {
            let path = PathBuf::from(place.text(faults)?);
            if !path.is_absolute() {
                return place.fault(faults, "must be an absolute path");
            }
            Some(Self::File { path, pointer: place.pointer.clone() })
        });
        if section.has("env") == section.has("file") {
            section.fault_here("needs either env or file");
        }
        section.finish();
        name.or(path)
    }
}

impl Auth {
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let mut section = place.section(faults)?;
        let bearer = section.read("bearer", SecretAt::read);
        let basic = section.read("basic", |place, faults| {
            let mut section = place.section(faults)?;
            let user = section.require("user", |place, faults| {
                let user = place.text(faults)?;
                if user.contains(':') {
                    return place.fault(faults, "may not hold a colon");
                }
                Some(user)
            });
            let password = section.require("password", SecretAt::read);
            section.finish();
            user.map(str::to_owned).zip(password)
        });
        let header = section.read("header", |place, faults| {
            place.parsed(faults, |text| {
                HeaderName::from_bytes(text.as_bytes())
                    .map_err(|_no_name| "expected the name of a header".to_owned())
            })
        });
        let prefix = section.read("prefix", Place::text);
        let value = section.read("value", SecretAt::read);
        let forms = ["bearer", "basic", "header"];
        if forms.iter().filter(|form| section.has(form)).count() != 1 {
            section.fault_here("needs one of bearer, basic and header with value");
        } else if section.has("header") != section.has("value") {
            section.fault("value", "belongs to header, and header needs it");
        } else if section.has("prefix") && !section.has("header") {
            section.fault("prefix", "belongs to header");
        }
        section.finish();
        let of = |form, secret| Some(Self { header: AUTHORIZATION, form, secret });
        match (bearer, basic, header.zip(value)) {
            (Some(secret), ..) => of(AuthForm::Prefix("Bearer ".to_owned()), secret),
            (_, Some((user, secret)), _) => of(AuthForm::Basic(user), secret),
            (.., Some((header, secret))) => {
                let form = AuthForm::Prefix(prefix.unwrap_or_default().to_owned());
                Some(Self { header, form, secret })
            }
            _ => None,
        }
    }

    /// The header as it is shown.
    pub(super) fn masked(&self) -> String {
        match &self.form {
            AuthForm::Prefix(prefix) => format!("{prefix}{MASK}"),
            AuthForm::Basic(_) => format!("Basic {MASK}"),
        }
    }

    fn value(&self, secret: &str) -> Option<HeaderValue> {
        let text = match &self.form {
            AuthForm::Prefix(prefix) => format!("{prefix}{secret}"),
            AuthForm::Basic(user) => format!("Basic {}", encoded(user, secret)),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// User and password as HTTP Basic sends them.
fn encoded(user: &str, secret: &str) -> String {
    STANDARD.encode(format!("{user}:{secret}"))
}

/// A credential that is there. Nothing prints it.
pub(super) struct Credential {
    auth: Auth,
    /// Guards the secret as it was last read, and when that was.
    latest: Mutex<(String, Instant)>,
}

/// Why a credential cannot be read now.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoCredential {
    #[error("the credential in {} cannot be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the credential in {} is empty, or no header can hold it", path.display())]
    Unusable { path: PathBuf },
}

impl Credential {
    /// Reads it for the first time.
    pub(super) fn load(
        auth: &Auth,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, DescriptionFault> {
        let (secret, pointer) = match &auth.secret {
            SecretAt::Env { name, pointer } => {
                let value = environment.get(name).map(|value| value.trim().to_owned());
                let value = value.filter(|value| !value.is_empty());
                (value.ok_or_else(|| format!("the environment has no {name}")), pointer)
            }
            SecretAt::File { path, pointer } => {
                (read_file(path).map_err(|error| st_log::Chain(&error).to_string()), pointer)
            }
        };
        let fault = |message| DescriptionFault { pointer: pointer.clone(), message };
        let secret = secret.map_err(fault)?;
        if auth.value(&secret).is_none() {
            return Err(fault("no header can hold its value".to_owned()));
        }
        Ok(Self { auth: auth.clone(), latest: Mutex::new((secret, Instant::now())) })
    }

    /// The header as it is now.
    pub(super) async fn header(&self) -> Result<(HeaderName, HeaderValue), NoCredential> {
        let (secret, read_at) = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let secret = match &self.auth.secret {
            SecretAt::File { path, .. } if read_at.elapsed() >= READ_AGAIN => {
                let file = path.clone();
                let read = st_log::spawn_blocking(move || read_file(&file)).await;
                let read = read.map_err(|error| NoCredential::Unreadable {
                    path: path.clone(),
                    source: io::Error::other(error),
                })??;
                *self.latest.lock().unwrap_or_else(PoisonError::into_inner) =
                    (read.clone(), Instant::now());
                read
            }
            SecretAt::Env { .. } | SecretAt::File { .. } => secret,
        };
        let value = self.auth.value(&secret).ok_or_else(|| match &self.auth.secret {
            SecretAt::File { path, .. } => NoCredential::Unusable { path: path.clone() },
            SecretAt::Env { name, .. } => NoCredential::Unusable { path: name.into() },
        })?;
        Ok((self.auth.header.clone(), value))
    }

    /// Identifies the account without revealing the secret. Of a secret that rotates the place counts.
    pub(super) fn fingerprint(&self) -> String {
        match &self.auth.secret {
            SecretAt::File { path, .. } => format!("file:{}", path.display()),
            SecretAt::Env { .. } => {
                let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
                fingerprint_of(&latest.0)
            }
        }
    }

    /// The text without the secret: a provider may repeat what it got.
    pub(super) fn mask(&self, text: &str) -> String {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text.replace(latest.0.as_str(), MASK);
        match &self.auth.form {
            AuthForm::Prefix(_) => text,
            AuthForm::Basic(user) => text.replace(&encoded(user, &latest.0), MASK),
        }
    }
}

/// Tells secrets apart without saying what they are.
pub(super) fn fingerprint_of(secret: &str) -> String {
    let digest = Sha256::digest(secret.as_bytes());
    let first = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    format!("{first:016x}")
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}

/// As much of a file as a secret can have. Opening a pipe would wait for a writer, and a device has no end.
fn text_of(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(2 * LARGEST as u64).read_to_string(&mut text)?;
    Ok(text)
}

fn read_file(path: &Path) -> Result<String, NoCredential> {
    let unreadable = |source| NoCredential::Unreadable { path: path.to_owned(), source };
    let text = text_of(path).map_err(unreadable)?;
    let secret = text.trim();
    if secret.is_empty() || secret.len() > LARGEST || secret.contains(char::is_control) {
        return Err(NoCredential::Unusable { path: path.to_owned() });
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn auth(value: &Value) -> Result<Auth, String> {
        let mut faults = Faults::default();
        let read = Auth::read(&Place { value, pointer: "/auth".to_owned() }, &mut faults);
        match faults.0.first() {
            None => Ok(read.unwrap()),
            Some(fault) => Err(format!("{}: {}", fault.pointer, fault.message)),
        }
    }

    fn environment(secret: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("KEY".to_owned(), secret.to_owned())])
    }

    #[tokio::test]
    async fn each_form_makes_its_header_and_shows_nothing() {
        let secret = json!({"env": "KEY"});
        for (how, name, value) in [
            (json!({"bearer": secret}), "authorization", "Bearer s3cr3t"),
            (
                json!({"header": "Authorization", "prefix": "Key ", "value": secret}),
                "authorization",
                "Key s3cr3t",
            ),
            (json!({"header": "X-Token", "value": secret}), "x-token", "s3cr3t"),
            (
                json!({"basic": {"user": "ann", "password": secret}}),
                "authorization",
                "Basic YW5uOnMzY3IzdA==",
            ),
        ] {
            let auth = auth(&how).unwrap();
            let credential = Credential::load(&auth, &environment(" s3cr3t\n")).unwrap();
            let (header, sent) = credential.header().await.unwrap();
            assert_eq!((header.as_str(), sent.to_str().unwrap()), (name, value));
            assert!(sent.is_sensitive());
            let shown = format!("{credential:?} {auth:?} {} {sent:?}", auth.masked());
            assert!(!shown.contains("s3cr3t") && !shown.contains("MzY3"), "{shown}");
            assert_eq!(credential.mask("no s3cr3t here"), "no *** here");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_and_its_path_is_the_account() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "first\n").unwrap();
        let auth = auth(&json!({"bearer": {"file": path}})).unwrap();
        let credential = Credential::load(&auth, &BTreeMap::new()).unwrap();
        let fingerprint = credential.fingerprint();
        std::fs::write(&path, "second\n").unwrap();
        tokio::time::advance(READ_AGAIN).await;
        assert_eq!(credential.header().await.unwrap().1, "Bearer second");
        assert_eq!(credential.fingerprint(), fingerprint);
        assert_eq!(credential.mask("second"), MASK);
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(READ_AGAIN).await;
        credential.header().await.unwrap_err();
    }

    #[test]
    fn a_pipe_and_a_device_without_an_end_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [pipe.as_path(), Path::new("/dev/zero"), dir.path()] {
            let error = read_file(path).unwrap_err();
            assert!(matches!(error, NoCredential::Unreadable { .. }), "{path:?}: {error}");
        }
        let long = dir.path().join("long");
        std::fs::write(&long, "x".repeat(3 * LARGEST)).unwrap();
        assert!(matches!(read_file(&long), Err(NoCredential::Unusable { .. })));
    }

    #[test]
    fn what_is_no_credential_is_refused_without_repeating_it() {
        let bearer = auth(&json!({"bearer": {"env": "KEY"}})).unwrap();
        for bad in ["", "  ", "a\nb", "ä\u{7f}"] {
            let fault = Credential::load(&bearer, &environment(bad)).unwrap_err();
            assert_eq!(fault.pointer, "/auth/bearer/env", "{bad}");
            assert!(bad.trim().is_empty() || !fault.message.contains(bad), "{}", fault.message);
        }
        for (how, said) in [
            (json!({"bearer": "sk-planted"}), "/auth/bearer: expected {env: NAME} or {file: PATH}"),
            (json!({}), "/auth: needs one of bearer, basic and header with value"),
            (
                json!({"bearer": {"env": "A", "file": "/b"}}),
                "/auth/bearer: needs either env or file",
            ),
            (json!({"bearer": {"file": "b"}}), "/auth/bearer/file: must be an absolute path"),
            (json!({"header": "x y", "value": {"env": "A"}}), "/auth/header: \"x y\" is not legal"),
            (json!({"header": "X"}), "/auth/value: belongs to header"),
        ] {
            let error = auth(&how).unwrap_err();
            assert!(error.starts_with(said) && !error.contains("planted"), "{how}: {error}");
        }
    }
}
