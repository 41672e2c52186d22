//! What the command line says of connections.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::{Endpoint, Files};
use crate::flags::{Wrong, list, split};

/// Where URLs listen. Without TLS that is on this machine alone, unless that is wanted by name.
///
/// # Errors
/// [`Wrong::Value`].
pub fn addresses(flag: &'static str, urls: &str, plaintext: bool) -> Result<Vec<Endpoint>, Wrong> {
    let each = list(urls).into_iter().map(|url| {
        let wrong = |why| Wrong::Value { flag, value: url.clone(), why };
        let (host, port) = split(flag, &url)?;
        let address = match host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.parse().map_err(|_| wrong("its host must be an IP address or localhost"))?,
        };
        let tls = url.starts_with("https://");
        if !(tls || plaintext || address.is_loopback()) {
            return Err(wrong(
                "plain text is served on loopback only: use https:// with a certificate, listen on 127.0.0.1 \
                 or [::1], or accept that everyone on the way can read and change all of it with \
                 --insecure-plaintext-beyond-loopback",
            ));
        }
        Ok(Endpoint { address: SocketAddr::new(address, port), tls })
    });
    each.collect()
}

/// A flag that is true or false.
///
/// # Errors
/// [`Wrong::Value`] for anything else.
pub fn switch(flag: &'static str, value: String) -> Result<bool, Wrong> {
    match value.as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        _ => Err(Wrong::Value { flag, value, why: "it must be true or false" }),
    }
}

/// The files for TLS, if they are named, which must be so exactly where an address needs them. `flags`:
/// those of certificate, key, authorities and whether clients must show a certificate, in the order of
/// `files`.
///
/// # Errors
/// [`Wrong::Value`], with what is missing or too much.
pub fn files_of(
    flags: [&'static str; 4],
    prefix: &'static str,
    files: [String; 3],
    auth: bool,
    endpoints: &[Endpoint],
) -> Result<Option<Files>, Wrong> {
    let [cert, key, authorities] = files;
    let wrong = |flag, value: &str, why| Err(Wrong::Value { flag, value: value.to_owned(), why });
    if cert.is_empty() && !key.is_empty() {
        return wrong(flags[1], &key, "a certificate belongs to it (the flag with cert-file)");
    }
    if key.is_empty() && !cert.is_empty() {
        return wrong(flags[0], &cert, "a key belongs to it (the flag with key-file)");
    }
    let any_tls = endpoints.iter().any(|endpoint| endpoint.tls);
    if cert.is_empty() {
        if any_tls {
            return wrong(flags[0], "", "an https:// address needs a certificate and its key");
        }
        if auth || !authorities.is_empty() {
            let flag = if auth { flags[3] } else { flags[2] };
            return wrong(flag, if auth { "true" } else { &authorities }, "it needs a certificate and a key");
        }
        return Ok(None);
    }
    if !any_tls {
        return wrong(flags[0], &cert, "no address that is listened on here begins with https://");
    }
    if auth && authorities.is_empty() {
        return wrong(flags[3], "true", "it needs the authorities that vouch for clients (trusted-ca-file)");
    }
    let trusted_ca = Some(authorities).filter(|path| !path.is_empty()).map(PathBuf::from);
    Ok(Some(Files { prefix, cert: cert.into(), key: key.into(), trusted_ca }))
}
