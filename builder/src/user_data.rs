//! User-data documents on a laptop: judged as the machine will judge them, against the accounts
//! and programs of an image.

use crate::inspect::{Files, InspectError, OpenImage};
use cloudconfig::{Facts, Plan, Problem, SIZE_MAX};
use init::verdict::{self, Image};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What documents are judged against.
pub struct Target {
    passwd: String,
    group: String,
    shadow: String,
    programs: Programs,
}

/// The programs of an image.
enum Programs {
    /// None that a script could name: the default image's root has no interpreter.
    None,
    /// Those of a slot.
    Of(Box<Files>),
}

impl Target {
    /// The default image, as `rootfs/tree` makes it.
    pub fn default_image() -> Self {
        Self {
            passwd: include_str!("../../rootfs/tree/etc/passwd").to_owned(),
            group: include_str!("../../rootfs/tree/etc/group").to_owned(),
            shadow: String::new(),
            programs: Programs::None,
        }
    }

    /// The first slot of an image that is not empty.
    ///
    /// # Errors
    /// The slot cannot be read.
    pub fn image(image: &OpenImage) -> Result<Self, InspectError> {
        let files = Files::open(image)?;
        let text = |path: &str| {
            let bytes = files.read(path)?.unwrap_or_default();
            Ok::<_, InspectError>(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Self {
            passwd: text("etc/passwd")?,
            group: text("etc/group")?,
            shadow: text("etc/shadow")?,
            programs: Programs::Of(Box::new(files)),
        })
    }

    /// Judges a document.
    ///
    /// # Errors
    /// Everything that is wrong with it; never empty.
    pub fn judge(&self, document: &[u8], facts: &Facts) -> Result<Plan, Vec<Problem>> {
        let has_program = |path: &str| match &self.programs {
            Programs::None => false,
            Programs::Of(files) => files.is_program(path),
        };
        let image = Image {
            passwd: &self.passwd,
            group: &self.group,
            shadow: &self.shadow,
            has_program: &has_program,
        };
        verdict::judge(document, facts, &image).map(|accepted| accepted.plan)
    }
}

/// Reads a document, one byte more at most than it may have: that is enough to be refused.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
