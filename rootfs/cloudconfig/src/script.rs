//! A `#!` document: run once per boot, last of all.

use crate::Plan;
use document::{Place, Problems};

/// A script to run at each boot after the units of the document are in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its number among the scripts, from 1.
    pub number: usize,
    /// The program of its first line, which the image must have.
    pub interpreter: String,
    /// The one argument that may stand there (execve(2), "Interpreter scripts").
    pub argument: Option<String>,
    /// The whole text.
    pub text: String,
    /// Where the interpreter stands in the document.
    pub place: Place,
}

impl Script {
    /// Name of the unit that runs it.
    pub fn unit_name(&self) -> String {
        format!("user-data-script-{}.service", self.number)
    }

    /// Where its text is put.
    pub fn path(&self) -> String {
        format!("/run/slipway/scripts/{}", self.number)
    }

    /// The unit that runs it: after the basic system, scripts one after the other. The
    /// interpreter is named, so that a folder mounted without execution does no harm.
    pub fn unit(&self) -> String {
        let argument =
            self.argument.as_ref().map(|argument| format!(" {}", quote(argument))).unwrap_or_default();
        let mut after = "basic.target".to_owned();
        if self.number > 1 {
            after = format!("{after} user-data-script-{}.service", self.number - 1);
        }
        format!(
            "[Unit]\nDescription=Script {} of the user-data\nAfter={after}\n\n[Service]\nType=oneshot\n\
             RemainAfterExit=yes\nTimeoutStartSec=infinity\nExecStart={}{argument} {}\n\
             StandardOutput=journal+console\nStandardError=journal+console\n",
            self.number,
            quote(&self.interpreter),
            self.path(),
        )
    }
}

/// A word of a command line in a unit: no specifier, no variable.
fn quote(word: &str) -> String {
    let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{word}\"")
}

pub(crate) fn read(text: &str, plan: &mut Plan, problems: &Problems) {
    let first = text.lines().next().unwrap_or_default();
    let place = Place { line: 1, column: 3 };
    let line = first.strip_prefix("#!").unwrap_or_default().trim();
    let (interpreter, argument) = match line.split_once([' ', '\t']) {
        Some((program, rest)) => (program, Some(rest.trim().to_owned())),
        None => (line, None),
    };
    let is_path = interpreter.starts_with('/')
        && !interpreter.ends_with('/')
        && interpreter.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_path {
        return problems.add(place, format!("interpreter {interpreter:?} is not an absolute path"));
    }
    if argument.as_ref().is_some_and(|argument| argument.chars().any(char::is_control)) {
        return problems.add(place, "the argument of the interpreter has control characters");
    }
    plan.scripts.push(Script {
        number: plan.scripts.len() + 1,
        interpreter: interpreter.to_owned(),
        argument,
        text: text.to_owned(),
        place,
    });
}
