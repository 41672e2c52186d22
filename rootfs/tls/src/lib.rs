//! TLS as the machine's own programs speak it to servers: one provider of cryptography (aws-lc-rs),
//! one answer to whom they trust, and plain words for what is wrong with a certificate.
//!
//! Nothing is read before it is asked for: a program that never speaks TLS loads no roots. Start
//! with [`Trust::of_machine`].

mod fault;
mod trust;

pub use fault::Fault;
pub use rustls;
pub use trust::{BUNDLE, Trust, TrustError};

use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::sync::Arc;

/// The one provider of cryptography in every program here.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A client that trusts these, without a certificate of its own; TLS 1.3 or 1.2.
///
/// # Errors
/// [`rustls::Error`] when the provider has none of these versions.
pub fn client(trust: &Trust) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(trust.roots()).with_no_client_auth())
}
