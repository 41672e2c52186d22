//! Credentials (containers-auth.json(5), and Docker's config.json), and what registries ask for
//! (RFC 9110, 11.6.1; distribution: "Token Authentication").

use super::reference::Reference;
use super::{Registries, RegistryError};
use base64::Engine as _;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest credentials file.
const MAX_FILE: u64 = 1 << 20;

/// Where credentials are looked for, in this order, given what environment variables are set:
/// `$REGISTRY_AUTH_FILE` alone if it is set, else `$XDG_RUNTIME_DIR/containers/auth.json`,
/// `$XDG_CONFIG_HOME/containers/auth.json` and `$DOCKER_CONFIG/config.json`, the last two below
/// `$HOME` by default.
pub fn auth_files(variable: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = |below: &str| variable("HOME").map(|home| home.join(below));
    let runtime = variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
    let config = variable("XDG_CONFIG_HOME").or_else(|| home(".config"));
    let config = config.map(|folder| folder.join("containers/auth.json"));
    let docker = variable("DOCKER_CONFIG").or_else(|| home(".docker"));
    let docker = docker.map(|folder| folder.join("config.json"));
    [runtime, config, docker].into_iter().flatten().collect()
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// `USER:PASSWORD` in base 64, as the files have it and HTTP wants it.
    Basic(String),
    /// An OAuth 2 refresh token.
    Identity(String),
}

#[derive(Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "lowercase")]
#[derive(Default)]
struct Auth {
    #[serde(rename = "auth")]
    pair: String,
    identitytoken: String,
    username: String,
    password: String,
}

/// The credentials for a reference, from the first file that has some.
pub(super) fn find(
    registries: &Registries,
    reference: &Reference,
) -> Result<Option<Credentials>, RegistryError> {
    for path in &registries.auth_files {
        let broken = |reason: String| RegistryError::AuthFile { path: path.clone(), reason };
        let text = match read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            text => text.map_err(|error| broken(error.to_string()))?,
        };
        if let Some(found) = in_file(&text, reference).map_err(broken)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(text)
}

/// The most particular entry: a repository's before a registry's.
fn in_file(text: &[u8], reference: &Reference) -> Result<Option<Credentials>, String> {
    // The parser's message may hold a piece of a password; its place is enough.
    let file: AuthFile = serde_json::from_slice(text).map_err(|error| {
        format!("no credentials file, at line {} column {}", error.line(), error.column())
    })?;
    let full = format!("{}/{}", reference.registry, reference.repository);
    let mut keys: Vec<String> =
        full.match_indices('/').map(|(at, _)| full[..at].to_owned()).chain([full.clone()]).rev().collect();
    keys.push(format!("https://{}", reference.registry));
    if reference.registry == "docker.io" {
        keys.extend(["https://index.docker.io/v1/", "index.docker.io"].map(str::to_owned));
    }
    let Some(found) = keys.iter().find_map(|key| file.auths.get(key)) else { return Ok(None) };
    if !found.identitytoken.is_empty() {
        return Ok(Some(Credentials::Identity(found.identitytoken.clone())));
    }
    let engine = base64::engine::general_purpose::STANDARD;
    if !found.pair.is_empty() {
        let plain = engine.decode(found.pair.trim()).map_err(|_| "an entry is no base 64".to_owned())?;
        if !plain.contains(&b':') {
            return Err("an entry has no colon between user and password".to_owned());
        }
        return Ok(Some(Credentials::Basic(engine.encode(plain))));
    }
    let pair = format!("{}:{}", found.username, found.password);
    Ok((!found.username.is_empty()).then(|| Credentials::Basic(engine.encode(pair))))
}

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    /// Where a token is to be had, and for what.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = BTreeMap::new();
        let mut rest = rest.trim_start();
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=')?;
            let (value, after) = match after.strip_prefix('"') {
                Some(after) => after.split_once('"')?,
                None => after.split_at(after.find(',').unwrap_or(after.len())),
            };
            parameters.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
            rest = after.trim_start().trim_start_matches(',').trim_start();
        }
        let realm = parameters.remove("realm")?;
        Some(Self::Bearer { realm, service: parameters.remove("service"), scope: parameters.remove("scope") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let header = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        let bearer = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("registry.example".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        assert_eq!(Challenge::parse(header), Some(bearer));
        assert_eq!(Challenge::parse("basic realm=\"x\""), Some(Challenge::Basic));
        for header in
            ["", "Digest realm=\"x\"", "Bearer", "Bearer realm=\"x", "Bearer service=\"x\"", "Bearer x"]
        {
            assert_eq!(Challenge::parse(header), None, "{header}");
        }
    }

    #[test]
    fn the_most_particular_credentials_win() {
        let file = br#"{"auths":{"x.example":{"auth":"YTpi"},"x.example/team":{"auth":"Yzpk"},
            "https://index.docker.io/v1/":{"username":"u","password":"p"},"t.example":{"identitytoken":"t"},
            "bad.example":{"auth":"%"}}}"#;
        let of = |text: &str| in_file(file, &text.parse().unwrap());
        assert!(of("x.example/team/a") == Ok(Some(Credentials::Basic("Yzpk".into()))));
        assert!(of("x.example/other") == Ok(Some(Credentials::Basic("YTpi".into()))));
        assert!(of("alpine") == Ok(Some(Credentials::Basic("dTpw".into()))));
        assert!(of("t.example/a") == Ok(Some(Credentials::Identity("t".into()))));
        assert!(of("y.example/a") == Ok(None));
        assert!(of("bad.example/a").is_err());
        let error = in_file(b"{\"auths\": secret", &"a".parse().unwrap()).err().unwrap();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn files_are_those_of_the_other_tools() {
        let files = |set: &[(&str, &str)]| {
            auth_files(|name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(files(&[("REGISTRY_AUTH_FILE", "/f"), ("HOME", "/h")]), [Path::new("/f")]);
        let all = files(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")]);
        let expected =
            ["/r/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"];
        assert_eq!(all, expected.map(PathBuf::from));
        assert!(files(&[]).is_empty());
    }
}
