//! What a person has set down for every box. The files become options of the command line, before those that
//! were typed: so each key means what the option of its name means, is checked by the same table, and gives way
//! to what is typed.

mod rc;
mod yaml;

use clap::{Arg, ArgAction, CommandFactory};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file larger than this is no configuration.
const SIZE_MAX: u64 = 64 << 10;
/// Names another file than the usual ones; empty: none.
const VARIABLE: &str = "TOOLBOX_CONFIG";
/// Options that say what is done with a box and not what it is.
const NOT_FOR_FILES: [&str; 6] = ["explain", "json", "help", "target", "keep", "report"];

/// What the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Options, each `--NAME` or `--NAME=VALUE`.
    pub options: Vec<String>,
    /// What is not done, and why.
    pub notes: Vec<String>,
}

/// Why a file is refused; one line for each problem, with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\ntoolbox: error: "))]
pub struct ConfigError(Vec<String>);

enum Form {
    Yaml,
    Rc,
}

/// Reads the files of a caller: /etc/toolbox.yaml, then ~/.toolboxrc, then toolbox.yaml in `$XDG_CONFIG_HOME` or
/// ~/.config; `$TOOLBOX_CONFIG` instead of them all. A later one's options come after an earlier one's.
///
/// # Errors
/// See [`ConfigError`]: a file that is wrong in one place is used in none.
pub fn load(environment: &BTreeMap<String, String>) -> Result<Defaults, ConfigError> {
    let mut all = Defaults::default();
    for (path, form) in files(environment) {
        let Some(text) =
            read(&path).map_err(|why| ConfigError(vec![format!("{}: {why}", path.display())]))?
        else {
            continue;
        };
        let home = environment.get("HOME").map(String::as_str);
        let read = match form {
            Form::Yaml => yaml::read(&text, home).map(|options| Defaults { options, notes: Vec::new() }),
            Form::Rc => rc::read(&text),
        };
        let placed = |lines: Vec<String>| lines.into_iter().map(|line| format!("{}:{line}", path.display()));
        let mut read = read.map_err(|problems| ConfigError(placed(problems).collect()))?;
        all.options.append(&mut read.options);
        all.notes.extend(placed(read.notes));
    }
    Ok(all)
}

fn files(environment: &BTreeMap<String, String>) -> Vec<(PathBuf, Form)> {
    if let Some(path) = environment.get(VARIABLE) {
        let path = Some(path).filter(|path| !path.is_empty());
        return path.map(|path| (path.into(), Form::Yaml)).into_iter().collect();
    }
    let folder = |name: &str| environment.get(name).filter(|path| path.starts_with('/')).map(PathBuf::from);
    let home = folder("HOME");
    let config = folder("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let mut files = vec![(PathBuf::from("/etc/toolbox.yaml"), Form::Yaml)];
    files.extend(home.map(|home| (home.join(".toolboxrc"), Form::Rc)));
    files.extend(config.map(|config| (config.join("toolbox.yaml"), Form::Yaml)));
    files
}

/// The text of a file, or nothing when there is none. What another user wrote is not followed.
fn read(path: &Path) -> Result<Option<String>, String> {
    // A FIFO in its place would keep everything waiting.
    let file = match fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        // HOME is another user's, as sudo and su may leave it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path.symlink_metadata().is_err() => {
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
    };
    let owner = owner_of(&file).map_err(|error| error.to_string())?;
    if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        return Err(format!("it belongs to another user ({owner}); give it to yourself, or set {VARIABLE}="));
    }
    let mut text = String::new();
    file.take(SIZE_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > SIZE_MAX {
        return Err(format!("it is larger than {} KiB", SIZE_MAX >> 10));
    }
    Ok(Some(text))
}

fn owner_of(file: &File) -> io::Result<u32> {
    let metadata = file.metadata()?;
    // /dev/null is an empty file to a person.
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(metadata.uid())
}

/// Puts those options of the files that `verb` has into a command line with this verb, behind the word that they
/// belong to.
pub fn insert(line: &[OsString], verb: Option<&str>, options: &[String]) -> Vec<OsString> {
    let table = crate::options::Cli::command();
    let place = verb.and_then(|verb| Some((verb, line.iter().skip(1).position(|word| word == verb)? + 2)));
    // A box's own options come before its command.
    let (at, whose) = match place {
        Some((verb, at)) => (at, table.find_subcommand(verb).unwrap_or(&table)),
        None => (1, &table),
    };
    let at = at.min(line.len());
    let fits = |option: &&String| {
        let name = option.trim_start_matches("--").split('=').next();
        whose.get_arguments().any(|argument| argument.get_long() == name)
    };
    let mut whole = line[..at].to_vec();
    whole.extend(options.iter().filter(fits).map(OsString::from));
    whole.extend_from_slice(&line[at..]);
    whole
}

/// The options that a file may have.
fn known() -> impl Iterator<Item = Arg> {
    let command = crate::options::Cli::command();
    let options: Vec<Arg> = command.get_arguments().cloned().collect();
    options.into_iter().filter(|option| {
        option.get_long().is_some_and(|name| !NOT_FOR_FILES.contains(&name) && name != "version")
    })
}

fn is_flag(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::SetTrue)
}

/// What is wrong with an option, as the command line's table sees it.
fn refusal(option: &str) -> Option<String> {
    use clap::Parser;
    let error = crate::options::Cli::try_parse_from(["toolbox", option]).err()?;
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let said: Vec<&str> = lines.take_while(|line| !line.starts_with("For more")).collect();
    Some(said.join(" ").trim().trim_start_matches("error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Cli, Profile, Run, Verb};
    use clap::Parser;

    fn parsed(typed: &str, options: &[&str]) -> Cli {
        let line: Vec<OsString> = typed.split_whitespace().map(OsString::from).collect();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let verb = Cli::command().try_get_matches_from(&line).unwrap();
        Cli::try_parse_from(insert(&line, verb.subcommand_name(), &options)).unwrap()
    }

    #[test]
    fn what_is_typed_comes_after_what_the_files_say() {
        let options = ["--profile=net", "--env=A=1", "--insecure-registry=r:5000", "--read-only"];
        let cli = parsed("toolbox", &options);
        assert_eq!(cli.options.profile, Profile::Net);
        let cli = parsed("toolbox --profile all --env B=2", &options);
        assert_eq!(cli.options.profile, Profile::All);
        assert_eq!(cli.options.env.len(), 2);
        let cli = parsed("toolbox run -p process -- run --profile disk", &options);
        let Some(Verb::Run(Run { options: run, command })) = cli.verb else { panic!() };
        assert_eq!((run.profile, run.read_only), (Profile::Process, true));
        assert_eq!(command, ["run", "--profile", "disk"]);
        for line in ["toolbox pull x", "toolbox import x", "toolbox pull --name images x"] {
            let Some(Verb::Pull { registries, .. } | Verb::Import { registries, .. }) =
                parsed(line, &options).verb
            else {
                panic!("{line}");
            };
            assert_eq!(registries.insecure_registry, ["r:5000"], "{line}");
        }
        for line in ["images --json", "ls", "rm x", "gc", "enter x", "diff x", "commit x y", "man"] {
            parsed(&format!("toolbox {line}"), &options);
        }
        // A value that has a verb's name is none.
        assert_eq!(parsed("toolbox --from images", &options).options.profile, Profile::Net);
    }

    #[test]
    fn files_are_found_and_one_of_another_user_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("toolbox.yaml");
        fs::write(&file, "profile: net\n").unwrap();
        let environment = |name: &str, value: &Path| {
            BTreeMap::from([(name.to_owned(), value.to_str().unwrap().to_owned())])
        };
        let good = load(&environment("XDG_CONFIG_HOME", folder.path())).unwrap();
        assert_eq!(good.options, ["--profile=net"]);
        assert_eq!(load(&environment(VARIABLE, Path::new(""))).unwrap(), Defaults::default());
        std::os::unix::fs::chown(&file, Some(54_321), None).unwrap();
        let error = load(&environment(VARIABLE, &file)).unwrap_err().to_string();
        assert!(error.contains("another user"), "{error}");
        let error = load(&environment(VARIABLE, folder.path())).unwrap_err().to_string();
        assert!(error.contains("directory"), "{error}");
        fs::write(&file, "#\n".repeat(40_000)).unwrap();
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
        let error = load(&environment(VARIABLE, &file)).unwrap_err().to_string();
        assert!(error.contains("64 KiB"), "{error}");
    }
}
