//! What a request says about who sends it.

use std::sync::Arc;

use tonic::Request;

use crate::listen::Peer;

/// Where etcd's clients send their token, and where those of its gateway do.
const TOKEN: [&str; 2] = ["token", "authorization"];
/// The gateway's mark: a certificate on its connection is its own, not the client's.
const GATEWAY: &str = "grpcgateway-accept";

/// The common name in the certificate that the client of a connection has shown and that was
/// verified: see [`Peer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonName(pub Arc<str>);

/// A request's token and certificate.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The token, if one was sent.
    pub token: Option<String>,
    /// The certificate's common name, if there was a certificate.
    pub common_name: Option<CommonName>,
}

impl Credentials {
    /// Those of a request.
    pub fn of<T>(request: &Request<T>) -> Self {
        let metadata = request.metadata();
        let token = TOKEN.iter().find_map(|name| metadata.get(*name)).map(|value| {
            // One that is no text is nobody's.
            let text = value.to_str().unwrap_or_default();
            text.strip_prefix("Bearer ").unwrap_or(text).to_owned()
        });
        let common_name = if metadata.contains_key(GATEWAY) {
            None
        } else {
            request.extensions().get::<Peer>().and_then(|peer| peer.common_name.clone()).map(CommonName)
        };
        Self { token, common_name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_in_either_place_and_a_gateways_certificate_is_its_own() {
        let mut request = Request::new(());
        assert!(Credentials::of(&request).token.is_none());
        request.extensions_mut().insert(Peer { address: None, common_name: Some("u".into()) });
        assert_eq!(Credentials::of(&request).common_name, Some(CommonName("u".into())));
        request.metadata_mut().insert("authorization", "Bearer abc.1".parse().unwrap());
        assert_eq!(Credentials::of(&request).token.as_deref(), Some("abc.1"));
        request.metadata_mut().insert("token", "def.2".parse().unwrap());
        request.metadata_mut().insert(GATEWAY, "x".parse().unwrap());
        let both = Credentials::of(&request);
        assert_eq!((both.token.as_deref(), both.common_name), (Some("def.2"), None));
    }
}
