//! The words of a command line, as `getopt_long(3)` takes them.

use std::collections::VecDeque;

/// A command line that is being read.
#[derive(Debug)]
pub struct Words {
    rest: VecDeque<String>,
    /// Letters behind `-`.
    letters: VecDeque<char>,
    only_operands: bool,
}

/// A word of it.
#[derive(Debug)]
pub enum Word {
    /// With its dashes; and the value behind `=`.
    Option(String, Option<String>),
    /// Anything else.
    Operand(String),
}

impl Words {
    /// Begins.
    pub fn new(arguments: &[String]) -> Self {
        Self { rest: arguments.iter().cloned().collect(), letters: VecDeque::new(), only_operands: false }
    }

    /// The next option or operand.
    #[expect(clippy::should_implement_trait, reason = "values of options are taken in between")]
    pub fn next(&mut self) -> Option<Word> {
        if let Some(letter) = self.letters.pop_front() {
            return Some(Word::Option(format!("-{letter}"), None));
        }
        let word = self.rest.pop_front()?;
        if self.only_operands || !word.starts_with('-') || word == "-" {
            return Some(Word::Operand(word));
        }
        if word == "--" {
            self.only_operands = true;
            return self.next();
        }
        Some(match word.strip_prefix("--") {
            Some(long) => match long.split_once('=') {
                Some((name, value)) => Word::Option(format!("--{name}"), Some(value.to_owned())),
                None => Word::Option(word, None),
            },
            None => {
                self.letters = word.chars().skip(1).collect();
                return self.next();
            }
        })
    }

    /// The value of an option: what is behind `=`, or behind its letter, or the next word.
    ///
    /// # Errors
    /// There is none.
    pub fn value(&mut self, name: &str, inline: Option<String>) -> Result<String, String> {
        let joined = (!self.letters.is_empty()).then(|| self.letters.drain(..).collect());
        inline.or(joined).or_else(|| self.rest.pop_front()).ok_or_else(|| format!("{name} wants a value"))
    }

    /// The same for an option that may have none: a next word counts if it looks like a value.
    pub fn may_value(&mut self, inline: Option<String>, is_value: impl Fn(&str) -> bool) -> Option<String> {
        if inline.is_some() {
            return inline;
        }
        let joined: String = self.letters.iter().collect();
        if !joined.is_empty() {
            return is_value(&joined).then(|| {
                self.letters.clear();
                joined
            });
        }
        self.rest.front().is_some_and(|word| is_value(word)).then(|| self.rest.pop_front())?
    }
}
