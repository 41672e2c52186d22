//! What a person sees of long work: bars on a terminal, plain lines elsewhere, or nothing.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::Instant;

/// How progress is shown.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Not at all.
    Quiet,
    /// A line when a stage ends, given to this function.
    Lines(fn(&str)),
    /// A bar for the stage that runs, then the line.
    Bars(fn(&str)),
}

/// Shows the stages of a piece of work, one after the other, on stderr.
#[derive(Debug)]
pub struct Progress {
    mode: Mode,
}

impl Progress {
    /// Bars when stderr is a terminal, else lines; nothing when `quiet`. Lines go to `say`.
    pub fn detect(quiet: bool, say: fn(&str)) -> Self {
        let mode = match quiet {
            true => Mode::Quiet,
            false if std::io::stderr().is_terminal() => Mode::Bars(say),
            false => Mode::Lines(say),
        };
        Self { mode }
    }

    /// Shows nothing.
    pub fn quiet() -> Self {
        Self { mode: Mode::Quiet }
    }

    /// Starts a stage of `total` bytes, when that is known. It ends when it is dropped.
    pub fn stage(&self, name: &'static str, total: Option<u64>) -> Stage {
        let bar = match self.mode {
            Mode::Quiet | Mode::Lines(_) => {
                ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden())
            }
            Mode::Bars(_) => {
                let template = match total {
                    Some(_) => "{prefix:>12} [{bar:30}] {bytes:>10}/{total_bytes} {eta:>4} {wide_msg}",
                    None => "{prefix:>12} {spinner} {bytes:>10} {wide_msg}",
                };
                let style =
                    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
                ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr())
                    .with_style(style.progress_chars("=> "))
            }
        };
        bar.set_prefix(name);
        Stage { name, bar, mode: self.mode, start: Instant::now() }
    }
}

/// One stage.
#[derive(Debug)]
pub struct Stage {
    name: &'static str,
    bar: ProgressBar,
    mode: Mode,
    start: Instant,
}

impl Stage {
    /// More bytes are done.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// What the stage is working on.
    pub fn note(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let (bytes, note) = (self.bar.position(), self.bar.message());
        self.bar.finish_and_clear();
        let (Mode::Lines(say) | Mode::Bars(say)) = self.mode else { return };
        let amount =
            if bytes == 0 { String::new() } else { format!(" {:.1} MiB", bytes as f64 / f64::from(1 << 20)) };
        let seconds = self.start.elapsed().as_secs_f64();
        let note = if note.is_empty() { note } else { format!(" {note}") };
        say(&format!("{:>12}{note}{amount} in {seconds:.2} s", self.name));
    }
}
