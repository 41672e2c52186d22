//! A line that is being typed: keys in, what the terminal shall show out. No I/O is done here.
//!
//! The keys are those of every shell (readline(3), emacs mode): arrows, Home, End, Delete, Ctrl-A,
//! -B, -D, -E, -F, -H, -K, -L, -N, -P, -T, -U, -W, Tab. The line stays in one row, and moves
//! sideways when it is longer. Every character is taken to be one column wide.

/// Lines kept to go back to.
const HISTORY_MAX: usize = 500;
/// Characters of a line; more are not taken.
const LINE_MAX: usize = 16 << 10;
/// Bytes of an escape sequence; a longer one is none.
const SEQUENCE_MAX: usize = 16;

/// What a key leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The line is to be drawn again.
    Draw,
    /// More bytes belong to this key, or it means nothing.
    Nothing,
    /// The line is done.
    Line(String),
    /// Ctrl-C: the line is dropped.
    Dropped,
    /// Ctrl-D in an empty line.
    End,
    /// Ctrl-L: the screen is to be cleared first.
    Clear,
    /// Tab: the word before the cursor shall be completed ([`Editor::complete`]), if there is one
    /// without quotes. `first` says that it is the line's first.
    Complete {
        /// The word so far.
        word: String,
        /// Whether it is the line's first.
        first: bool,
    },
}

/// The line, and those before it.
#[derive(Debug, Default)]
pub struct Editor {
    text: Vec<char>,
    /// The cursor stands before this character.
    at: usize,
    history: Vec<String>,
    /// Which line of the history is shown; its length: the new one.
    place: usize,
    /// The new line, while one of the history is shown.
    draft: Vec<char>,
    /// An unfinished key: an escape sequence or a character of several bytes.
    pending: Vec<u8>,
}

impl Editor {
    /// A new line begins.
    pub fn begin(&mut self) {
        self.text.clear();
        self.draft.clear();
        self.pending.clear();
        self.at = 0;
        self.place = self.history.len();
    }

    /// Takes a byte from the terminal.
    pub fn key(&mut self, byte: u8) -> Event {
        if !self.pending.is_empty() {
            return self.continued(byte);
        }
        match byte {
            b'\r' | b'\n' => return self.done(),
            1 => self.at = 0,
            2 => self.at = self.at.saturating_sub(1),
            3 => {
                self.begin();
                return Event::Dropped;
            }
            4 if self.text.is_empty() => return Event::End,
            4 => self.delete(),
            5 => self.at = self.text.len(),
            6 => self.at = (self.at + 1).min(self.text.len()),
            8 | 0x7f if self.at > 0 => {
                self.at -= 1;
                self.text.remove(self.at);
            }
            b'\t' => return self.tab(),
            11 => self.text.truncate(self.at),
            12 => return Event::Clear,
            14 => self.walk(1),
            16 => self.walk(-1),
            20 if self.at > 0 && self.text.len() > 1 => {
                let at = self.at.min(self.text.len() - 1);
                self.text.swap(at - 1, at);
                self.at = at + 1;
            }
            21 => {
                self.text.drain(..self.at);
                self.at = 0;
            }
            23 => self.delete_word(),
            0x1b | 0xc2..=0xf4 => {
                self.pending.push(byte);
                return Event::Nothing;
            }
            b' '..=b'~' => self.insert(char::from(byte)),
            _ => return Event::Nothing,
        }
        Event::Draw
    }

    /// Goes on with a key of several bytes.
    fn continued(&mut self, byte: u8) -> Event {
        self.pending.push(byte);
        let first = self.pending[0];
        if first != 0x1b {
            let length = if first < 0xe0 { 2 } else { 3 + usize::from(first >= 0xf0) };
            if byte & 0xc0 != 0x80 {
                // It was no character after all; what came instead counts.
                self.pending.clear();
                return self.key(byte);
            }
            if self.pending.len() < length {
                return Event::Nothing;
            }
            let bytes = std::mem::take(&mut self.pending);
            if let Some(c) = std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next()) {
                self.insert(c);
            }
            return Event::Draw;
        }
        // ECMA-48, section 5.4: ESC [, parameters, intermediates, a final byte; ESC O and one byte.
        match (self.pending.len(), byte) {
            (2, b'[' | b'O') => return Event::Nothing,
            (2, _) => {
                self.pending.clear();
                return Event::Nothing;
            }
            (3.., 0x20..=0x3f) if self.pending.len() < SEQUENCE_MAX => return Event::Nothing,
            _ => {}
        }
        let sequence = std::mem::take(&mut self.pending);
        match &sequence[2..] {
            b"A" => self.walk(-1),
            b"B" => self.walk(1),
            b"C" => self.at = (self.at + 1).min(self.text.len()),
            b"D" => self.at = self.at.saturating_sub(1),
            b"H" | b"1~" | b"7~" => self.at = 0,
            b"F" | b"4~" | b"8~" => self.at = self.text.len(),
            b"3~" => self.delete(),
            _ => return Event::Nothing,
        }
        Event::Draw
    }

    fn insert(&mut self, c: char) {
        if self.text.len() < LINE_MAX {
            self.text.insert(self.at, c);
            self.at += 1;
        }
    }

    fn delete(&mut self) {
        if self.at < self.text.len() {
            self.text.remove(self.at);
        }
    }

    fn delete_word(&mut self) {
        let before = &self.text[..self.at];
        let end = before.iter().rposition(|c| *c != ' ').map_or(0, |last| last + 1);
        let start = before[..end].iter().rposition(|c| *c == ' ').map_or(0, |blank| blank + 1);
        self.text.drain(start..self.at);
        self.at = start;
    }

    /// Goes to an earlier or later line.
    fn walk(&mut self, by: isize) {
        let Some(place) = self.place.checked_add_signed(by).filter(|place| *place <= self.history.len())
        else {
            return;
        };
        if self.place == self.history.len() {
            self.draft = std::mem::take(&mut self.text);
        }
        self.place = place;
        self.text = match self.history.get(place) {
            Some(line) => line.chars().collect(),
            None => std::mem::take(&mut self.draft),
        };
        self.at = self.text.len();
    }

    fn done(&mut self) -> Event {
        let line: String = self.text.iter().collect();
        if !line.trim().is_empty() && self.history.last() != Some(&line) {
            if self.history.len() == HISTORY_MAX {
                self.history.remove(0);
            }
            self.history.push(line.clone());
        }
        self.begin();
        Event::Line(line)
    }

    fn tab(&self) -> Event {
        let before: String = self.text[..self.at].iter().collect();
        let word = before.rsplit([' ', '\t']).next().unwrap_or_default().to_owned();
        // What is quoted is left to whoever quoted it.
        if before.contains(['\'', '"', '\\']) {
            return Event::Nothing;
        }
        let first = before.trim_start() == word;
        Event::Complete { word, first }
    }

    /// Completes the word of [`Event::Complete`] to what all candidates begin with, and a blank
    /// where there is only one that is no folder. `false`: nothing can be added.
    pub fn complete(&mut self, word: &str, candidates: &[String]) -> bool {
        let Some(one) = candidates.first() else { return false };
        let common = candidates[1..].iter().fold(one.as_str(), |common, other| {
            let same = common.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
            &common[..same.map_or(common.len().min(other.len()), |((at, _), _)| at)]
        });
        let Some(rest) = common.strip_prefix(word) else { return false };
        let mut added = escape(rest);
        if candidates.len() == 1 && !one.ends_with('/') {
            added.push(' ');
        }
        added.chars().for_each(|c| self.insert(c));
        !added.is_empty()
    }

    /// What shows the line in a terminal of so many columns.
    pub fn draw(&self, prompt: &str, columns: usize) -> String {
        let prompt_width = prompt.chars().count();
        // A prompt that leaves no room is left out.
        let (prompt, taken) = if prompt_width + 10 < columns { (prompt, prompt_width) } else { ("", 0) };
        let room = columns.saturating_sub(taken + 1).max(1);
        let start = self.at.saturating_sub(room);
        let shown: String = self.text.iter().skip(start).take(room).collect();
        let column = taken + self.at - start;
        let right = if column == 0 { String::new() } else { format!("\x1b[{column}C") };
        format!("\r{prompt}{shown}\x1b[K\r{right}")
    }
}

/// A text as it is typed: a backslash before what would mean something.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if " \t'\"\\|&;<>()$`*?[#~".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The line after these bytes and Enter.
    fn typed(editor: &mut Editor, bytes: &[u8]) -> String {
        for byte in bytes {
            editor.key(*byte);
        }
        match editor.key(b'\r') {
            Event::Line(line) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_edit_the_line() {
        let mut editor = Editor::default();
        editor.begin();
        for (keys, line) in [
            (&b"ab\x1b[Dx"[..], "axb"),
            (b"b\x01a\x05c", "abc"),
            (b"abc\x7f\x08d", "ad"),
            (b"one two \x17three", "one three"),
            (b"abc\x02\x02\x0b", "a"),
            (b"abc\x02\x15x", "xc"),
            (b"abc\x1b[H\x1b[3~", "bc"),
            (b"abc\x1bOH\x04x\x1bOFy", "xbcy"),
            (b"a\xc3\xa4\xe2\x82\xac\x1b[D\x7f", "a\u{20ac}"),
            (b"ba\x14", "ab"),
            (b"a\xc3b", "ab"),
            (b"a\x1b[1;5Cb\x1b[99~\x1bxc", "abc"),
        ] {
            assert_eq!(typed(&mut editor, keys), line, "{}", keys.escape_ascii());
        }
    }

    #[test]
    fn earlier_lines_come_back() {
        let mut editor = Editor::default();
        for line in ["one", "two", "two", "  "] {
            typed(&mut editor, line.as_bytes());
        }
        assert_eq!(typed(&mut editor, b"\x1b[A\x1b[A"), "one", "one after the other, without doubles");
        assert_eq!(typed(&mut editor, b"new\x10\x0e!"), "new!", "what was typed is kept");
        assert_eq!(typed(&mut editor, b"\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A"), "one");
        assert_eq!(typed(&mut editor, b"\x1b[Bx"), "x");
    }

    #[test]
    fn the_end_and_a_dropped_line() {
        let mut editor = Editor::default();
        assert_eq!(editor.key(4), Event::End);
        assert_eq!((editor.key(b'a'), editor.key(4)), (Event::Draw, Event::Draw));
        assert_eq!(editor.key(3), Event::Dropped);
        assert_eq!(typed(&mut editor, b""), "");
    }

    #[test]
    fn words_are_completed() {
        let mut editor = Editor::default();
        "system".bytes().for_each(|byte| drop(editor.key(byte)));
        assert_eq!(editor.key(b'\t'), Event::Complete { word: "system".into(), first: true });
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert!(editor.complete("system", &names(&["systemctl", "systemctx"])));
        assert!(!editor.complete("systemct", &names(&["systemctl", "systemctx"])));
        assert!(editor.complete("systemct", &names(&["systemctl"])));
        assert_eq!(editor.key(b'\t'), Event::Complete { word: String::new(), first: false });
        assert!(editor.complete("", &names(&["a b/"])));
        assert_eq!(editor.key(b'\t'), Event::Nothing);
        assert_eq!(typed(&mut editor, b""), "systemctl a\\ b/");
    }

    #[test]
    fn a_long_line_moves_sideways() {
        let mut editor = Editor::default();
        (b'a'..=b'z').for_each(|byte| drop(editor.key(byte)));
        assert_eq!(editor.draw("> ", 80), "\r> abcdefghijklmnopqrstuvwxyz\x1b[K\r\x1b[28C");
        assert_eq!(editor.draw("> ", 20), "\r> jklmnopqrstuvwxyz\x1b[K\r\x1b[19C");
        editor.key(1);
        assert_eq!(editor.draw("> ", 20), "\r> abcdefghijklmnopq\x1b[K\r\x1b[2C");
        assert_eq!(editor.draw("a long prompt> ", 5), "\rabcd\x1b[K\r");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_line(bytes in proptest::collection::vec(any::<u8>(), 0..300), columns in 0usize..100) {
            let mut editor = Editor::default();
            for byte in bytes {
                if let Event::Complete { word, .. } = editor.key(byte) {
                    editor.complete(&word, &[format!("{word}ä b"), format!("{word}äx")]);
                }
                prop_assert!(editor.draw("p> ", columns).chars().count() < columns + 20);
            }
        }
    }
}
