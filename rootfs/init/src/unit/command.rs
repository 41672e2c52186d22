//! One command of an `Exec…=` line (systemd.service(5), "Command lines").

use super::name::UnitName;
use super::specifier::{Facts, UnknownSpecifier, expand};
use super::words::{WordError, split_marked};
use std::collections::BTreeMap;

/// A command as the unit file gives it; variables are replaced when it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent prefixes, as the manual has them")]
pub struct Command {
    /// The program: absolute, or a bare name that is looked up in the fixed search path.
    pub program: String,
    /// The arguments with `argv[0]`.
    pub argv: Vec<String>,
    /// Prefix `-`: a failure is recorded and counts as success.
    pub ignore_failure: bool,
    /// Prefix `:`: variables are not replaced.
    pub literal: bool,
    /// Prefix `+` or `!`: run without `User=`, capability and no-new-privileges settings.
    pub privileged: bool,
    /// Prefix `+`: also without the sandbox.
    pub unconfined: bool,
}

/// Why an `Exec…=` line cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Quotes or escapes.
    #[error(transparent)]
    Words(#[from] WordError),
    /// Specifiers.
    #[error(transparent)]
    Specifier(#[from] UnknownSpecifier),
    /// Nothing but prefixes.
    #[error("no program is named")]
    Empty,
    /// Neither an absolute path nor a bare name.
    #[error("program `{0}` is neither an absolute path nor a plain name")]
    Path(String),
}

/// Reads a line into its commands (a lone `;` separates several).
///
/// # Errors
/// [`CommandError`]: the line as a whole is then refused.
pub fn parse(line: &str, name: &UnitName, facts: &Facts) -> Result<Vec<Command>, CommandError> {
    let words = split_marked(line)?;
    words
        .split(|(word, plain)| *plain && word == ";")
        .filter(|part| !part.is_empty())
        .map(|part| parse_one(part, name, facts))
        .collect()
}

fn parse_one(words: &[(String, bool)], name: &UnitName, facts: &Facts) -> Result<Command, CommandError> {
    let mut command = Command::default();
    let mut own_argv0 = false;
    let mut words = words.iter().map(|(word, _)| word.as_str());
    let first = words.next().ok_or(CommandError::Empty)?;
    let mut program = first;
    while let Some(prefix) = program.chars().next().filter(|c| "-@:+!".contains(*c)) {
        match prefix {
            '-' => command.ignore_failure = true,
            '@' => own_argv0 = true,
            ':' => command.literal = true,
            other => {
                command.privileged = true;
                command.unconfined |= other == '+';
            }
        }
        program = &program[1..];
    }
    command.program = expand(program, name, facts)?;
    if command.program.is_empty() {
        return Err(CommandError::Empty);
    }
    if command.program.contains('/') && !command.program.starts_with('/') || command.program.ends_with('/') {
        return Err(CommandError::Path(command.program));
    }
    if !own_argv0 {
        command.argv.push(command.program.clone());
    }
    for word in words {
        command.argv.push(expand(word, name, facts)?);
    }
    if command.argv.is_empty() {
        return Err(CommandError::Empty); // `@` without the argv[0] that it announces
    }
    Ok(command)
}

impl Command {
    /// The arguments with variables replaced: `${X}` inside a word by its value, a word `$X` by its
    /// value split at white space (none if empty), `$$` by `$`; an unset variable is empty.
    pub fn arguments(&self, environment: &BTreeMap<String, String>) -> Vec<String> {
        if self.literal {
            return self.argv.clone();
        }
        let mut out = Vec::with_capacity(self.argv.len());
        for (index, word) in self.argv.iter().enumerate() {
            match word.strip_prefix('$') {
                Some(variable) if index > 0 && is_variable(variable) => {
                    let value = environment.get(variable).map_or("", String::as_str);
                    match super::words::split(value) {
                        Ok(words) => out.extend(words),
                        Err(_) => out.extend(value.split_whitespace().map(str::to_owned)),
                    }
                }
                _ => out.push(replace_braced(word, environment)),
            }
        }
        out
    }
}

fn is_variable(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn replace_braced(word: &str, environment: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((variable, tail)) = rest
            .strip_prefix('{')
            .and_then(|tail| tail.split_once('}'))
            .filter(|(variable, _)| is_variable(variable))
        {
            out.push_str(environment.get(variable).map_or("", String::as_str));
            rest = tail;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// `NAME=value` pairs of an `Environment=` line.
///
/// # Errors
/// The first word that is no assignment.
pub fn assignments(words: Vec<String>) -> Result<Vec<(String, String)>, String> {
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((variable, value)) if is_variable(variable) => Ok((variable.to_owned(), value.to_owned())),
            _ => Err(word),
        })
        .collect()
}

/// The pairs of an `EnvironmentFile=`: `#`/`;` comments, quotes, continuation lines
/// (systemd.exec(5)). Lines that are no assignment are left out, as systemd does.
pub fn environment_file(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = chars.peek() else { return pairs };
        if matches!(first, '#' | ';') {
            while chars.next_if(|c| *c != '\n').is_some() {}
            continue;
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| !matches!(c, '=' | '\n')) {
            key.push(c);
        }
        if chars.next() != Some('=') {
            continue;
        }
        while chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        let value = environment_value(&mut chars);
        let key = key.trim().trim_start_matches("export ").trim_start();
        if is_variable(key) {
            pairs.push((key.to_owned(), value));
        }
    }
}

fn environment_value(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut value = String::new();
    let mut keep = 0; // trailing white space is cut only where it stood outside quotes
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\n') => break,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            (Some('\''), _) => value.push(c),
            (_, '\\') => match chars.next() {
                None | Some('\n') => {}
                Some(escaped) => {
                    if quote.is_some() && !"\"\\`$".contains(escaped) {
                        value.push('\\');
                    }
                    value.push(escaped);
                }
            },
            (None, _) if c.is_whitespace() => {
                value.push(c);
                continue;
            }
            _ => value.push(c),
        }
        keep = value.len();
    }
    value.truncate(keep);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Vec<Command>, CommandError> {
        parse(text, &UnitName::parse("web@8080.service").unwrap(), &Facts::default())
    }

    #[test]
    fn prefixes_specifiers_and_several_commands() {
        let commands = line("-@/usr/bin/%p web --port %i \\; ; :+true $A").unwrap();
        assert_eq!(commands[0].program, "/usr/bin/web");
        assert_eq!(commands[0].argv, ["web", "--port", "8080", ";"]);
        assert!(commands[0].ignore_failure && !commands[0].literal);
        assert_eq!(commands[1].argv, ["true", "$A"]);
        assert!(commands[1].literal && commands[1].privileged);
        assert_eq!(line("-"), Err(CommandError::Empty));
        assert_eq!(line("bin/x"), Err(CommandError::Path("bin/x".into())));
    }

    #[test]
    fn variables() {
        let environment: BTreeMap<_, _> =
            [("ONE", "one"), ("TWO", "two two"), ("EMPTY", "")].map(|(k, v)| (k.into(), v.into())).into();
        // The example of systemd.service(5), "Command lines".
        let echo = &line("echo ${ONE} ${TWO} $TWO $EMPTY $$X x$ONE ${NONE}y ${").unwrap()[0];
        assert_eq!(
            echo.arguments(&environment),
            ["echo", "one", "two two", "two", "two", "$X", "x$ONE", "y", "${"]
        );
    }

    #[test]
    fn environment_files() {
        let text = "# c\nA=1 2  \nB=\"x y \" \nexport C='$\\n'\nnonsense\nD=a\\\nb\n;E=1\nF=\"l1\nl2\"\nG=";
        let pairs = environment_file(text);
        let expected = [("A", "1 2"), ("B", "x y "), ("C", "$\\n"), ("D", "ab"), ("F", "l1\nl2"), ("G", "")];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = environment_file(&text);
            if let Ok(commands) = line(&text) {
                for command in commands {
                    let _ = command.arguments(&BTreeMap::new());
                }
            }
        }
    }
}
