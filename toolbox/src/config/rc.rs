//! `.toolboxrc` of `CoreOS`, Flatcar and RHCOS: a shell's file there, assignments here. Nothing of it is executed.

use super::{Defaults, refusal};
use std::collections::BTreeMap;

/// What the box has anyway.
const OWN_BINDS: [&str; 2] = ["/media/root", "/host"];

/// The options of a file.
///
/// # Errors
/// Values that cannot be meant, each with its line.
pub(super) fn read(text: &str) -> Result<Defaults, Vec<String>> {
    let mut found: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut notes = Vec::new();
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = assignment(line) else {
            notes.push(format!("{number}: not an assignment, and nothing here is executed"));
            continue;
        };
        match unquoted(value) {
            Some(value) => _ = found.insert(name, (number, value)),
            None if MEANT.contains(&name) => {
                problems
                    .push(format!("{number}: {name}: expansions are not made here; say the value itself"));
            }
            None => {}
        }
    }
    let mut defaults = Defaults { options: Vec::new(), notes };
    let mut options: Vec<(usize, String)> = Vec::new();
    let value = |name: &str| found.get(name).filter(|(_, value)| !value.is_empty());
    match (value("TOOLBOX_DOCKER_IMAGE"), value("TOOLBOX_DOCKER_TAG"), value("IMAGE"), value("REGISTRY")) {
        (Some((line, image)), tag, ..) => {
            let tag = tag.map_or("latest", |(_, tag)| tag.as_str());
            options.push((*line, format!("--from={image}:{tag}")));
        }
        (None, _, Some((line, image)), registry) => {
            let registry = registry.map_or("registry.redhat.io", |(_, name)| name.as_str());
            options.push((*line, format!("--from={registry}/{image}")));
        }
        _ => {}
    }
    for (name, form) in [("TOOLBOX_BIND", "--bind"), ("TOOLBOX_ENV", "--setenv")] {
        let Some((line, words)) = value(name) else { continue };
        for word in words.split_whitespace() {
            match option(word) {
                Ok(Some(option)) => options.push((*line, option)),
                Ok(None) => {}
                Err(()) => problems.push(format!("{line}: {name}: `{word}` is not {form}=…")),
            }
        }
    }
    let unused = [
        ("TOOLBOX_USER", "root", "the box's user is root, of the caller's rights"),
        ("TOOLBOX_DIRECTORY", "/var/lib/toolbox", "the store is /var/lib/toolbox, or below XDG_DATA_HOME"),
        ("TOOLBOX_FLAGS", "", "flags of systemd-nspawn have no meaning here"),
        ("TOOLBOX_NAME", "", "a box that is kept is asked for by --keep NAME"),
        ("AUTHFILE", "", "set REGISTRY_AUTH_FILE"),
    ];
    for (name, usual, why) in unused {
        if let Some((line, _)) = value(name).filter(|(_, value)| value != usual) {
            defaults.notes.push(format!("{line}: {name} is not used: {why}"));
        }
    }
    for (line, option) in options {
        match refusal(&option) {
            Some(why) => problems.push(format!("{line}: {why}")),
            None => defaults.options.push(option),
        }
    }
    if problems.is_empty() { Ok(defaults) } else { Err(problems) }
}

/// Variables whose value decides something.
const MEANT: [&str; 6] =
    ["TOOLBOX_DOCKER_IMAGE", "TOOLBOX_DOCKER_TAG", "TOOLBOX_BIND", "TOOLBOX_ENV", "IMAGE", "REGISTRY"];

fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=')?;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (!name.is_empty() && name.bytes().all(good)).then_some((name, value))
}

/// A value without its quotes and what is behind it; nothing if a shell would put something into it.
fn unquoted(value: &str) -> Option<String> {
    let mut text = String::new();
    let mut quote = None;
    for one in value.chars() {
        match (quote, one) {
            (None, '\'' | '"') => quote = Some(one),
            (Some(open), _) if one == open => quote = None,
            (Some('\''), _) => text.push(one),
            (_, '$' | '`' | '\\') => return None,
            (None, ' ' | '\t' | ';' | '#') => break,
            _ => text.push(one),
        }
    }
    quote.is_none().then_some(text)
}

/// An option of systemd-nspawn(1) as one of ours; nothing for what the box has anyway.
fn option(word: &str) -> Result<Option<String>, ()> {
    if let Some(variable) = word.strip_prefix("--setenv=") {
        return Ok(Some(format!("--env={variable}")));
    }
    let (bind, read_only) = match (word.strip_prefix("--bind="), word.strip_prefix("--bind-ro=")) {
        (Some(bind), _) => (bind, ""),
        (_, Some(bind)) => (bind, ":ro"),
        _ => return Err(()),
    };
    let (source, target) = bind.split_once(':').unwrap_or((bind, bind));
    let own = |target: &str| OWN_BINDS.iter().any(|own| std::path::Path::new(target).starts_with(own));
    Ok((!own(target)).then(|| format!("--mount={source}:{target}{read_only}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_options() {
        let text = "# mine\nTOOLBOX_DOCKER_IMAGE=docker.io/library/debian\nexport TOOLBOX_DOCKER_TAG='12'\n\
                    TOOLBOX_USER=root # always\n\
                    TOOLBOX_BIND=\"--bind=/:/media/root --bind=/usr:/media/root/usr --bind-ro=/srv --bind=/a:/b\"\n\
                    TOOLBOX_ENV=\"--setenv=KEY=VALUE\"\nOTHER=$(date)\n";
        let read = read(text).unwrap();
        assert_eq!(
            read.options,
            [
                "--from=docker.io/library/debian:12",
                "--mount=/srv:/srv:ro",
                "--mount=/a:/b",
                "--env=KEY=VALUE"
            ]
        );
        assert_eq!(read.notes, Vec::<String>::new());
        let read = super::read("REGISTRY=quay.io\nIMAGE=fedora/tools:40\n").unwrap();
        assert_eq!(read.options, ["--from=quay.io/fedora/tools:40"]);
    }

    #[test]
    fn nothing_is_executed() {
        let read = read("touch /tmp/x\nTOOLBOX_USER=core\nif true; then\n").unwrap();
        assert_eq!(read.options, Vec::<String>::new());
        assert_eq!(read.notes.len(), 3, "{read:?}");
        assert!(read.notes.iter().any(|note| note.starts_with("2: TOOLBOX_USER is not used")));
        for wrong in
            ["TOOLBOX_ENV=\"--setenv=A=$(id)\"", "IMAGE=`id`", "TOOLBOX_BIND='--bind", "TOOLBOX_BIND=--x"]
        {
            assert!(super::read(wrong).unwrap_err()[0].starts_with("1: "), "{wrong}");
        }
        assert!(super::read("TOOLBOX_BIND=--bind=/a:b").unwrap_err()[0].contains("absolute"));
    }
}
