//! A command line taken apart without a shell: words, quotes and backslashes, and nothing else.

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A quote that nothing ends.
    #[error("a {0} is not closed")]
    Open(char),
    /// A backslash at the end.
    #[error("there is nothing behind the last backslash")]
    Backslash,
    /// What only a shell could do. Passing it on as text would do something else than was meant.
    #[error("`{0}` needs a shell, and there is none: only words, quotes and backslashes are read")]
    Shell(char),
}

/// Splits a line into words as sh(1) quotes them: `'…'` literal, `"…"` with `\"`, `\\`, `\$`,
/// `` \` ``, and a backslash before any other character outside of quotes. No expansion of any
/// kind is done but one: `~` at the start of a word, alone or before a slash, is `home`. An unquoted
/// character that a shell would act on (`|&;<>()$` `` ` `` `*?[`, `#` and another `~` at the start of a
/// word, a newline) is an error, and so are `$` and `` ` `` in double quotes.
///
/// # Errors
/// See [`WordsError`].
pub fn split(line: &str, home: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.trim().chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(WordsError::Open('\'')),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => match rest.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err(WordsError::Open('"')),
                        },
                        Some(c @ ('$' | '`')) => return Err(WordsError::Shell(c)),
                        Some(c) => word.push(c),
                        None => return Err(WordsError::Open('"')),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(rest.next().ok_or(WordsError::Backslash)?),
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '[' | '\n' => {
                return Err(WordsError::Shell(c));
            }
            '~' if word.is_none() && matches!(rest.peek(), None | Some('/' | ' ' | '\t')) => {
                word = Some(home.to_owned());
            }
            '#' | '~' if word.is_none() => return Err(WordsError::Shell(c)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_and_backslashes() {
        let words = |line: &str| split(line, "/home/a b").unwrap();
        assert_eq!(words("  systemctl  status sshd.service "), ["systemctl", "status", "sshd.service"]);
        assert_eq!(
            words(r#"a 'b  c' "d \"e\" \x" f\ g '' h"i"'j'"#),
            ["a", "b  c", "d \"e\" \\x", "f g", "", "hij"]
        );
        assert_eq!(words("a#b c~d"), ["a#b", "c~d"]);
        assert_eq!(words(r"'$x' \$y"), ["$x", "$y"]);
        assert_eq!(words("~ ~/'x y' '~'"), ["/home/a b", "/home/a b/x y", "~"]);
        assert!(words("").is_empty());
    }

    #[test]
    fn what_needs_a_shell_is_refused() {
        for line in [
            "a | b",
            "a; b",
            "a > f",
            "echo $HOME",
            "echo \"$HOME\"",
            "`a`",
            "ls *",
            "~root/x",
            "~''",
            "# a",
            "a\nb",
        ] {
            assert!(matches!(split(line, ""), Err(WordsError::Shell(_))), "{line}");
        }
        assert_eq!(split("a 'b", ""), Err(WordsError::Open('\'')));
        assert_eq!(split("a \"b\\", ""), Err(WordsError::Open('"')));
        assert_eq!(split("a\\", ""), Err(WordsError::Backslash));
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(words in proptest::collection::vec("[^'\\x00]*", 1..5)) {
            let line: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            prop_assert_eq!(split(&line.join(" "), "").unwrap(), words);
        }
    }
}
