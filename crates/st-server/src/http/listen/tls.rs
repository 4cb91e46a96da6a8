//! TLS of the server's own, for those who have no proxy in front of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};

use crate::config::{TlsFiles, plain};

/// A file with certificates or a key is no longer, in bytes.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Why TLS cannot be served with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds nothing of what it must hold.
    #[error("cannot read {what} from {}", path.display())]
    File {
        /// What it must hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: pem::Error,
    },
    /// The certificate and the key do not belong together, or are of a kind that is not served.
    #[error("cannot use the certificate of {} with the key of {}", cert.display(), key.display())]
    Pair {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
}

/// Reads both files.
pub(crate) fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let TlsFiles { cert, key } = files;
    let fault = |what: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { what, path, source }
    };
    let bytes = |path: &Path| plain::text(path, LONGEST).map_err(pem::Error::Io);
    let chain = bytes(cert)
        .and_then(|text| {
            CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>()
        })
        .and_then(|all| if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) })
        .map_err(fault("a certificate", cert))?;
    let secret = bytes(key).and_then(|text| PrivateKeyDer::from_pem_slice(text.as_bytes()));
    let secret = secret.map_err(fault("a private key", key))?;
    let pair = |source| TlsError::Pair { cert: cert.clone(), key: key.clone(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A certificate for `localhost` and 127.0.0.1, and its key, both for tests only.
    pub(crate) fn files() -> TlsFiles {
        let of = |name: &str| {
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls")).join(name)
        };
        TlsFiles { cert: of("server.pem"), key: of("server.key.pem") }
    }

    fn fault(files: &TlsFiles) -> String {
        st_log::Chain(&read(files).unwrap_err()).to_string()
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_the_reason() {
        let good = files();
        read(&good).unwrap();
        let missing = TlsFiles { cert: "/nowhere.pem".into(), ..good.clone() };
        let said = fault(&missing);
        assert!(said.starts_with("cannot read a certificate from /nowhere.pem: "), "{said}");
        let swapped = TlsFiles { cert: good.key.clone(), key: good.key.clone() };
        let said = fault(&swapped);
        assert!(said.starts_with("cannot read a certificate from "), "{said}");
        let no_key = TlsFiles { cert: good.cert.clone(), key: good.cert.clone() };
        let said = fault(&no_key);
        assert!(said.starts_with("cannot read a private key from "), "{said}");
        let other_key = TlsFiles { key: good.key.with_file_name("other.key.pem"), ..good };
        let said = fault(&other_key);
        assert!(said.starts_with("cannot use the certificate of "), "{said}");
    }
}
