//! The image of a box when nobody names one: the tools.

use crate::images::{self, Images};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The variable that names an image.
const VARIABLE: &str = "TOOLBOX_IMAGE";
/// The name in the store.
const NAME: &str = "tools";
/// The archive's name, beside the program.
const ARCHIVE: &str = "tools.tar.zst";
/// The tools of a machine, as its image brings them.
const SYSTEM: &str = "/usr/share/toolbox";

/// Nobody named an image, and there is none to take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no image is named, and there are no tools: looked for {}", places.join(", "))]
pub struct NoDefault {
    /// Where was looked, in this order.
    pub places: Vec<String>,
}

impl NoDefault {
    /// What can be tried.
    pub fn hint(&self) -> &'static str {
        "name an image (toolbox --from SOURCE, `host` for the host's own programs), bring one under this name \
         (toolbox pull --name tools SOURCE), or make the tools (slipway build toolbox/tools.yaml) and put the \
         archive into one of these places as tools.tar.zst"
    }
}

/// Where tools are looked for when neither the variable nor the store has any, the best first: the machine's, then
/// those that came with `program`.
fn places(program: Option<&Path>) -> Vec<PathBuf> {
    let mut places = vec![Path::new(SYSTEM).join(NAME), Path::new(SYSTEM).join(ARCHIVE)];
    if let Some(folder) = program.and_then(Path::parent) {
        places.push(folder.join(ARCHIVE));
        if let Some(prefix) = folder.parent() {
            let shared = prefix.join("share/toolbox");
            places.extend([shared.join(NAME), shared.join(ARCHIVE)]);
        }
    }
    let mut seen = Vec::new();
    places.retain(|place| {
        let new = !seen.contains(place);
        seen.push(place.clone());
        new
    });
    places
}

/// Decides, told what is in the store and in the file system.
fn choose(
    variable: Option<&str>,
    store: &Path,
    named: bool,
    program: Option<&Path>,
    exists: impl Fn(&Path) -> bool,
) -> Result<String, NoDefault> {
    if let Some(image) = variable.filter(|image| !image.is_empty()) {
        return Ok(image.to_owned());
    }
    if named {
        return Ok(NAME.to_owned());
    }
    let places = places(program);
    if let Some(found) = places.iter().find(|place| exists(place)) {
        return Ok(found.display().to_string());
    }
    let mut looked = vec![format!("${VARIABLE}"), format!("the name {NAME} in {}", store.display())];
    looked.extend(places.iter().map(|place| place.display().to_string()));
    Err(NoDefault { places: looked })
}

/// The image of a caller who names none, in the form that `--from` takes: what `TOOLBOX_IMAGE` says; the image
/// named `tools` in the store; /usr/share/toolbox/tools, a folder, or tools.tar.zst beside it; tools.tar.zst beside
/// the program; the same in ../share/toolbox.
///
/// # Errors
/// There is none.
pub fn default_image(is_root: bool, environment: &BTreeMap<String, String>) -> Result<String, NoDefault> {
    let variable = environment.get(VARIABLE).map(String::as_str);
    let store = images::folder(is_root, environment).unwrap_or_else(|_| PathBuf::from("the store"));
    // To look for a name must not make a store.
    let named = store.join("names.json").exists()
        && Images::open(is_root, environment, Vec::new())
            .is_ok_and(|images| images.store().find(NAME).is_ok());
    // The program itself, not a link to it: its files are with it.
    let program = std::env::current_exe().ok();
    choose(variable, &store, named, program.as_deref(), Path::exists)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        variable: Option<&str>,
        named: bool,
        program: Option<&str>,
        there: &[&str],
    ) -> Result<String, NoDefault> {
        let exists = |path: &Path| there.iter().any(|known| Path::new(known) == path);
        choose(variable, Path::new("/var/lib/toolbox"), named, program.map(Path::new), exists)
    }

    #[test]
    fn the_nearest_to_the_person_is_taken() {
        let all = [
            "/usr/share/toolbox/tools",
            "/usr/share/toolbox/tools.tar.zst",
            "/opt/t/bin/tools.tar.zst",
            "/opt/t/share/toolbox/tools",
            "/opt/t/share/toolbox/tools.tar.zst",
        ];
        let program = Some("/opt/t/bin/toolbox");
        assert_eq!(of(Some("debian:12"), true, program, &all), Ok("debian:12".into()));
        assert_eq!(of(Some(""), true, program, &all), Ok("tools".into()));
        for first in 0..all.len() {
            assert_eq!(of(None, false, program, &all[first..]), Ok(all[first].into()));
        }
        assert_eq!(of(None, false, None, &all[2..]).unwrap_err().places.len(), 4);
    }

    #[test]
    fn what_was_looked_for_is_told_once_each() {
        let error = of(None, false, Some("/usr/bin/toolbox"), &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no image is named, and there are no tools: looked for $TOOLBOX_IMAGE, the name tools in \
             /var/lib/toolbox, /usr/share/toolbox/tools, /usr/share/toolbox/tools.tar.zst, /usr/bin/tools.tar.zst"
        );
        assert!(error.hint().contains("slipway build toolbox/tools.yaml"));
    }
}
