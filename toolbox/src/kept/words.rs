//! Options as words: so a box's record has them, and so they are compared.

use crate::options::{Cli, Options};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Parser};
use std::path::Path;

/// Options that do not say what a kept box is, but what is done now, or that the record has elsewhere.
const ELSEWHERE: [&str; 5] = ["from", "insecure_registry", "explain", "json", "keep"];

/// The options of a command line, each value with its option's name, in the order of the table.
pub fn given(matches: &ArgMatches) -> Vec<String> {
    let table = Options::augment_args(clap::Command::new("toolbox"));
    table.get_arguments().flat_map(|argument| of(argument, matches)).collect()
}

fn of(argument: &Arg, matches: &ArgMatches) -> Vec<String> {
    let id = argument.get_id().as_str();
    let Some(name) = argument.get_long() else { return Vec::new() };
    if ELSEWHERE.contains(&id) || matches.value_source(id) != Some(ValueSource::CommandLine) {
        return Vec::new();
    }
    if !argument.get_action().takes_values() {
        return vec![format!("--{name}")];
    }
    let values = matches.get_raw(id).into_iter().flatten();
    let value = |value: &std::ffi::OsStr| {
        let value = value.to_string_lossy();
        // Of whoever comes back from another folder.
        let is_path = id == "seccomp" && !["default", "off"].contains(&value.as_ref());
        match std::path::absolute(Path::new(value.as_ref())) {
            Ok(path) if is_path => format!("--{name}={}", path.display()),
            _ => format!("--{name}={value}"),
        }
    };
    values.map(value).collect()
}

/// Options of words that a record has.
///
/// # Errors
/// An option that this program does not know, as clap says it.
pub fn parse(words: &[String]) -> Result<Options, clap::Error> {
    let line = std::iter::once("toolbox").chain(words.iter().map(String::as_str));
    Ok(Cli::try_parse_from(line)?.options)
}

/// What is asked for and is not so, in words. What is not asked for is the box's.
pub fn differences(had: &[String], asked: &[String]) -> Vec<String> {
    let name = |word: &str| word.split('=').next().unwrap_or(word).to_owned();
    let of = |word: &String| {
        let values: Vec<&str> =
            had.iter().filter(|other| name(other) == name(word)).map(String::as_str).collect();
        match values[..] {
            [] => format!("{word} (it was made without {})", name(word)),
            _ => format!("{word} (it was made with {})", values.join(" ")),
        }
    };
    asked.iter().filter(|word| !had.contains(word)).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn words(line: &[&str]) -> Vec<String> {
        given(&Cli::command().try_get_matches_from([&["toolbox"], line].concat()).unwrap())
    }

    #[test]
    fn options_are_words_and_again_options() {
        let line =
            ["--keep", "a", "--from", "x", "-p", "net", "--share", "pid,ipc", "-e", "A=b,c", "--memory=1G"];
        let found = words(&line);
        assert_eq!(found, ["--profile=net", "--share=pid", "--share=ipc", "--memory=1G", "--env=A=b,c"]);
        let (one, two) = (parse(&found).unwrap(), parse(&words(&line)).unwrap());
        assert_eq!(format!("{one:?}"), format!("{two:?}"));
        assert_eq!(one.memory, Some(1 << 30));
        assert!(words(&["--seccomp", "x"])[0].starts_with("--seccomp=/"));
        assert_eq!(words(&["--seccomp", "off"]), ["--seccomp=off"]);
        assert!(words(&["--explain"]).is_empty());
        assert!(parse(&["--of-a-later-version".to_owned()]).is_err());
    }

    #[test]
    fn differences_are_named() {
        let had = words(&["--memory", "1G", "--share", "pid"]);
        assert!(differences(&had, &words(&["--share", "pid"])).is_empty());
        assert_eq!(
            differences(&had, &words(&["--memory", "2G", "--share", "pid", "--profile", "net"])),
            ["--profile=net (it was made without --profile)", "--memory=2G (it was made with --memory=1G)"]
        );
    }
}
