//! Image versions: semantic, with a build number, in the order in which systemd-boot sorts them.

use std::fmt;
use std::str::FromStr;

/// `MAJOR.MINOR.PATCH[~PRE][-BUILD]`.
///
/// A pre-release stands behind `~`, because systemd-boot sorts that before the release and
/// would sort semver's own `-` after it (UAPI.10 version format). A `+` is refused: in an
/// entry's file name it starts the boot counter (UAPI.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let canonical = part == "0" || !part.starts_with('0');
            !part.is_empty() && part.len() <= 9 && canonical && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let (rest, build) = text.split_once('-').map_or((text, None), |(rest, build)| (rest, Some(build)));
        let (core, pre) = rest.split_once('~').map_or((rest, None), |(core, pre)| (core, Some(pre)));
        let core_fits = core.split('.').count() == 3 && core.split('.').all(number);
        let pre_fits = pre.is_none_or(|pre| {
            !pre.is_empty()
                && pre.len() <= 32
                && pre.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
        });
        if core_fits && pre_fits && build.is_none_or(number) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "`{text}` is no version: write MAJOR.MINOR.PATCH, then ~PRE for a pre-release, then -BUILD, such as 1.4.0~rc1-7"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for good in ["0.1.0", "1.20.3~rc1", "1.2.3-7", "1.2.3~beta.2-11"] {
            assert_eq!(good.parse::<Version>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.3+4",
            "1.2.3-",
            "1.2.3~",
            "01.2.3",
            "1.2.3-rc1",
            "1.2.x",
            "1.2.3/../x",
        ] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
