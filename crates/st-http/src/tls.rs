//! Whom the client believes: the system's roots, an extra CA file, or anybody.
//!
//! ring is passed by hand, never installed as the process default, so that this crate neither
//! depends on nor disturbs what else the program does with rustls.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::{Config, Error};

/// The TLS settings that `config` asks for. Reads the system's certificates, so it blocks shortly.
pub(crate) fn client_config(config: &Config) -> Result<ClientConfig, Error> {
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if config.tls_verify {
        let extra = config.ca_bundle.as_deref().map(read_bundle).transpose()?.unwrap_or_default();
        let verifier =
            Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).map_err(|error| {
                Error::config_because(
                    "there are no usable root certificates: install ca-certificates or set ca_bundle",
                    error,
                )
            })?;
        Arc::new(verifier)
    } else {
        Arc::new(Anybody(Arc::clone(&provider)))
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config_because("tls cannot be set up", error))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn read_bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| {
            Error::config_because(format!("ca_bundle {} cannot be read", path.display()), error)
        })?;
    if certificates.is_empty() {
        return Err(Error::config(format!("ca_bundle {} has no certificate", path.display())));
    }
    Ok(certificates)
}

/// Accepts every certificate, for `tls_verify: false`. Still checks that the server has the key of
/// the certificate that it shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
