//! The JSON of images (OCI image specification: "Image Index", "Image Manifest", "Image
//! Configuration"; Docker's image specification v1.2, `manifest.json`). Pure.

use super::OciError;
use crate::store::Config;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Largest document that is read.
pub const MAX_DOCUMENT: u64 = 4 << 20;
/// The name of an image in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A reference to a blob. The digest stays text until it is used, so that an entry that is not
/// wanted may have one of an unknown algorithm.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// `ALGORITHM:HEX`
    pub digest: String,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    /// Names among other things.
    #[serde(default, deserialize_with = "nullable")]
    pub annotations: BTreeMap<String, String>,
    /// What it runs on.
    #[serde(default)]
    pub platform: Option<Platform>,
}

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// As Go's GOOS.
    #[serde(default)]
    pub os: String,
    /// As Go's GOARCH.
    #[serde(default)]
    pub architecture: String,
    /// `v8` and such.
    #[serde(default, deserialize_with = "nullable")]
    pub variant: String,
}

/// `index.json`, or a manifest list.
#[derive(Debug, Clone, Deserialize)]
pub struct Index {
    /// One an image.
    #[serde(default, deserialize_with = "nullable")]
    pub manifests: Vec<Descriptor>,
}

/// An image's parts.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// Its configuration.
    pub config: Descriptor,
    /// The lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<Descriptor>,
}

/// One image of a docker archive.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Saved {
    /// Path of the configuration.
    pub config: String,
    /// `NAME:TAG`
    #[serde(default, deserialize_with = "nullable")]
    pub repo_tags: Vec<String>,
    /// Paths of the layers, the lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub layers: Vec<String>,
}

#[derive(Deserialize)]
struct ImageConfig {
    #[serde(default, deserialize_with = "nullable")]
    config: Runtime,
    #[serde(default, deserialize_with = "nullable")]
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "nullable")]
    diff_ids: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Runtime {
    #[serde(deserialize_with = "nullable")]
    env: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    working_dir: String,
    #[serde(deserialize_with = "nullable")]
    user: String,
    #[serde(deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
}

/// Go writes what is empty as null.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a document.
///
/// # Errors
/// It is malformed; `name` is what the message calls it.
pub fn parse<'t, T: Deserialize<'t>>(name: &str, text: &'t [u8]) -> Result<T, OciError> {
    serde_json::from_slice(text).map_err(|source| OciError::Json { name: name.to_owned(), source })
}

/// Reads an image's configuration: how it starts, and the `DiffID`s of its layers.
///
/// # Errors
/// It is malformed.
pub fn config(text: &[u8]) -> Result<(Config, Vec<String>), OciError> {
    let ImageConfig { config, rootfs } = parse("configuration", text)?;
    let some = |text: String| (!text.is_empty()).then_some(text);
    let config = Config {
        env: config.env,
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        working_dir: some(config.working_dir),
        user: some(config.user),
        labels: config.labels,
    };
    Ok((config, rootfs.diff_ids))
}

/// The `mediaType` that a document says it has.
pub fn media_type(text: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: String,
    }
    serde_json::from_slice::<Typed>(text).ok().map(|typed| typed.media_type)
}

/// The architecture of this machine as images name it (Go's GOARCH).
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

impl Index {
    /// Whether a descriptor is of another index.
    pub fn is_index(descriptor: &Descriptor) -> bool {
        matches!(
            descriptor.media_type.as_str(),
            "application/vnd.oci.image.index.v1+json"
                | "application/vnd.docker.distribution.manifest.list.v2+json"
        )
    }

    /// The entry of this name or digest; without a name the only one, or `latest`, or, where all
    /// are one image for several platforms, this machine's.
    ///
    /// # Errors
    /// There is none, or it is not clear which.
    pub fn choose(&self, wanted: Option<&str>) -> Result<&Descriptor, OciError> {
        let name = |entry: &'_ Descriptor| entry.annotations.get(REF_NAME).cloned();
        let names = || -> Vec<String> {
            self.manifests.iter().map(|entry| name(entry).unwrap_or_else(|| entry.digest.clone())).collect()
        };
        let named = |wanted: &str| -> Vec<&Descriptor> {
            let is = |entry: &&Descriptor| entry.digest == wanted || name(entry).as_deref() == Some(wanted);
            self.manifests.iter().filter(is).collect()
        };
        let found = match wanted {
            Some(wanted) => named(wanted),
            None if self.manifests.len() == 1 => self.manifests.iter().collect(),
            None => match named("latest") {
                latest if !latest.is_empty() => latest,
                _ if self.manifests.iter().all(|entry| name(entry).is_none()) => {
                    self.manifests.iter().collect()
                }
                _ => return Err(OciError::Several(names())),
            },
        };
        match found.as_slice() {
            [] => {
                let wanted = wanted.unwrap_or("latest").to_owned();
                Err(OciError::NoReference { wanted, names: names() })
            }
            [only] => Ok(only),
            several => Self::for_platform(several, architecture()),
        }
    }

    /// This machine's entry.
    ///
    /// # Errors
    /// There is none.
    pub fn for_machine(&self) -> Result<&Descriptor, OciError> {
        let entries: Vec<&Descriptor> = self.manifests.iter().collect();
        Self::for_platform(&entries, architecture())
    }

    fn for_platform<'d>(entries: &[&'d Descriptor], architecture: &str) -> Result<&'d Descriptor, OciError> {
        let fits = |entry: &&&Descriptor| {
            entry.platform.as_ref().is_some_and(|platform| {
                platform.os == "linux"
                    && platform.architecture == architecture
                    // Higher variants of amd64 (v3, v4) are not for every machine.
                    && matches!(platform.variant.as_str(), "" | "v1" | "v8")
            })
        };
        entries.iter().find(fits).copied().ok_or_else(|| OciError::Platform {
            wanted: format!("linux/{architecture}"),
            found: entries
                .iter()
                .filter_map(|entry| entry.platform.as_ref())
                .map(|platform| format!("{}/{}", platform.os, platform.architecture))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[&str]) -> Index {
        parse("index", format!("{{\"manifests\":[{}]}}", entries.join(",")).as_bytes()).unwrap()
    }

    fn named(name: &str) -> String {
        format!(r#"{{"digest":"sha256:{name}","annotations":{{"{REF_NAME}":"{name}"}}}}"#)
    }

    fn platform(architecture: &str) -> String {
        format!(
            r#"{{"digest":"sha256:{architecture}","platform":{{"os":"linux","architecture":"{architecture}"}}}}"#
        )
    }

    #[test]
    fn entries_are_chosen_by_name_digest_and_platform() {
        let two = index(&[&named("a"), &named("b")]);
        assert_eq!(two.choose(Some("b")).unwrap().digest, "sha256:b");
        assert_eq!(two.choose(Some("sha256:a")).unwrap().digest, "sha256:a");
        assert!(matches!(two.choose(None), Err(OciError::Several(_))));
        assert!(matches!(two.choose(Some("c")), Err(OciError::NoReference { .. })));
        assert_eq!(index(&[&named("a"), &named("latest")]).choose(None).unwrap().digest, "sha256:latest");
        let platforms = index(&[&platform("mips"), &platform(architecture())]);
        assert_eq!(platforms.choose(None).unwrap().digest, format!("sha256:{}", architecture()));
        let other = index(&[&platform("mips"), &platform("riscv64")]);
        let error = other.for_machine().unwrap_err().to_string();
        assert!(error.ends_with("there are: linux/mips, linux/riscv64"), "{error}");
        assert!(index(&[]).choose(None).is_err());
    }

    #[test]
    fn configurations_with_nulls_are_read() {
        let (config, diff_ids) = config(
            br#"{"config":{"Env":["A=b"],"Cmd":null,"User":"1","Labels":null},"rootfs":{"diff_ids":["x"]}}"#,
        )
        .unwrap();
        assert_eq!((config.env.as_slice(), config.cmd.len()), (&["A=b".to_owned()][..], 0));
        assert_eq!((config.user.as_deref(), config.working_dir), (Some("1"), None));
        assert_eq!(diff_ids, ["x"]);
        assert!(super::config(b"{\"config\":null}").is_ok());
        assert!(super::config(b"[").is_err());
    }
}
