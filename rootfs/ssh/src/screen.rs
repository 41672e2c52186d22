//! The terminal at which lines are typed: keys by keys while a line is edited, as it was while a
//! program runs.

use crate::edit::{Editor, Event};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use std::io::{self, Write};

/// What came from whoever types.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Line(String),
    /// Ctrl-C.
    Dropped,
    End,
}

/// A terminal on stdin and stdout.
#[derive(Debug)]
pub(crate) struct Screen {
    /// As it was found, and as programs get it, whatever the one before has left.
    before: Termios,
    editor: Editor,
}

impl Screen {
    /// None: stdin is no terminal.
    pub(crate) fn new() -> Option<Self> {
        Some(Self { before: tcgetattr(io::stdin()).ok()?, editor: Editor::default() })
    }

    /// Lets a line be typed. `candidates` says what a word (the line's first, or not) may become.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn line(
        &mut self,
        prompt: &str,
        candidates: &dyn Fn(&str, bool) -> Vec<String>,
    ) -> io::Result<Typed> {
        let mut raw = self.before.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
        // Enter stays a line's end: what is typed before a program runs is then a line for it.
        raw.input_modes -= InputModes::IXON | InputModes::INLCR | InputModes::IGNCR;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        // What was typed meanwhile stays.
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        let typed = self.keys(prompt, candidates);
        tcsetattr(io::stdin(), OptionalActions::Drain, &self.before)?;
        typed
    }

    fn keys(&mut self, prompt: &str, candidates: &dyn Fn(&str, bool) -> Vec<String>) -> io::Result<Typed> {
        self.editor.begin();
        // A row of blanks: where a program has left its last line open, they go on to the next row.
        show(&format!("{}\r", " ".repeat(columns())))?;
        self.draw(prompt)?;
        let mut byte = [0];
        loop {
            match rustix::io::read(io::stdin(), &mut byte) {
                Ok(0) => return Ok(Typed::End),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            match self.editor.key(byte[0]) {
                Event::Nothing => {}
                Event::Draw => self.draw(prompt)?,
                Event::Clear => {
                    show("\x1b[H\x1b[2J")?;
                    self.draw(prompt)?;
                }
                Event::Line(line) => {
                    show("\n")?;
                    return Ok(Typed::Line(line));
                }
                Event::Dropped => {
                    show("^C\n")?;
                    return Ok(Typed::Dropped);
                }
                Event::End => return Ok(Typed::End),
                Event::Complete { word, first } => {
                    let found = candidates(&word, first);
                    if !self.editor.complete(&word, &found) {
                        match found.len() {
                            0 | 1 => show("\x07")?,
                            _ => show(&format!("\n{}\n", found.join("  ")))?,
                        }
                    }
                    self.draw(prompt)?;
                }
            }
        }
    }

    fn draw(&self, prompt: &str) -> io::Result<()> {
        show(&self.editor.draw(prompt, columns()))
    }
}

/// The window may have another size each time.
fn columns() -> usize {
    let columns = tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { 80 } else { columns }
}

fn show(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}
