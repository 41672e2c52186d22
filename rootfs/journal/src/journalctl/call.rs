//! The command line of `journalctl`.

use crate::daemon::config::size;
use crate::daemon::control::Request;
use crate::field;
use crate::query::Query;
use crate::read::Span;
use crate::show::Form;
use crate::time;
use std::collections::VecDeque;
use std::path::PathBuf;

/// What the usage says.
pub const USAGE: &str = "\
journalctl [-u UNIT] [-t IDENTIFIER] [-p PRIORITY[..PRIORITY]] [-k] [-b [ID|OFFSET]] [-S TIME] [-U TIME]
           [-n [LINES]] [-r] [-f] [-o FORM] [-D FOLDER] [-q] [--after-cursor CURSOR] [--show-cursor]
           [FIELD=VALUE…] [+]
journalctl --list-boots | -F FIELD | --disk-usage | --verify | --header | --sync | --rotate
           | --vacuum-size BYTES | --vacuum-time SPAN | --vacuum-files NUMBER";

/// Which boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootChoice {
    /// Counted from the newest (0, -1, …) or from the oldest (1, 2, …).
    Offset(i64),
    /// By id, and counted from there.
    Id(String, i64),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Show entries.
    Show,
    /// Show boots.
    ListBoots,
    /// Show the values of a field.
    Field(String),
    /// Show what the journal takes.
    DiskUsage,
    /// Look at every byte.
    Verify,
    /// Show what is known of each segment.
    Header,
    /// Have the daemon do something.
    Ask(Request),
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub struct Call {
    /// What to do.
    pub action: Action,
    /// The folder, if it is not the machine's.
    pub folder: Option<PathBuf>,
    /// Which entries, besides the boot.
    pub query: Query,
    /// Of which boot.
    pub boot: Option<BootChoice>,
    /// Of which time.
    pub span: Span,
    /// Behind which entry.
    pub after: u64,
    /// At most so many, the newest.
    pub lines: Option<usize>,
    /// How to show them.
    pub form: Form,
    /// Go on.
    pub follow: bool,
    /// The newest first.
    pub reverse: bool,
    /// Only data.
    pub quiet: bool,
    /// Say where the last one is.
    pub show_cursor: bool,
}

/// The words of a command line, as `getopt_long(3)` takes them.
struct Words {
    rest: VecDeque<String>,
    /// Letters behind `-`.
    letters: VecDeque<char>,
    only_operands: bool,
}

enum Word {
    Option(String, Option<String>),
    Operand(String),
}

impl Words {
    fn next(&mut self) -> Option<Word> {
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
    fn value(&mut self, name: &str, inline: Option<String>) -> Result<String, String> {
        let joined = (!self.letters.is_empty()).then(|| self.letters.drain(..).collect());
        inline.or(joined).or_else(|| self.rest.pop_front()).ok_or_else(|| format!("{name} wants a value"))
    }

    /// The same for an option that may have none: a next word counts if it looks like a value.
    fn may_value(&mut self, inline: Option<String>, is_value: impl Fn(&str) -> bool) -> Option<String> {
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

impl Call {
    /// Reads a command line; `now_us` is the wall clock's time.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(arguments: &[String], now_us: u64) -> Result<Self, String> {
        let mut call = Self {
            action: Action::Show,
            folder: None,
            query: Query::All,
            boot: None,
            span: Span::default(),
            after: 0,
            lines: None,
            form: Form::Short,
            follow: false,
            reverse: false,
            quiet: false,
            show_cursor: false,
        };
        let (mut units, mut identifiers, mut matches) = (Vec::new(), Vec::new(), Vec::new());
        let (mut all_lines, mut kernel) = (false, false);
        let mut words = Words {
            rest: arguments.iter().cloned().collect(),
            letters: VecDeque::new(),
            only_operands: false,
        };
        while let Some(word) = words.next() {
            let (name, inline) = match word {
                Word::Option(name, inline) => (name, inline),
                Word::Operand(text) => {
                    let (field, _) = field::split(text.as_bytes());
                    if text != "+" && !(text.contains('=') && field::valid_name(field, true)) {
                        return Err(format!("`{text}` is not FIELD=VALUE"));
                    }
                    matches.push(text.into_bytes());
                    continue;
                }
            };
            let bad = |text: &str| format!("{name} does not take `{text}`");
            match name.as_str() {
                "-u" | "--unit" => units.push(Query::unit(&unit_name(&words.value(&name, inline)?))),
                "-t" | "--identifier" => {
                    identifiers.push(Query::field("SYSLOG_IDENTIFIER", words.value(&name, inline)?));
                }
                "-b" | "--boot" => {
                    let text = words.may_value(inline, |text| boot_choice(text).is_some() || text == "all");
                    call.boot = match text.as_deref() {
                        None => Some(BootChoice::Offset(0)),
                        Some("all") => None,
                        Some(text) => Some(boot_choice(text).ok_or_else(|| bad(text))?),
                    };
                }
                "-k" | "--dmesg" => kernel = true,
                "-n" | "--lines" => {
                    let number = |text: &str| text == "all" || text.parse::<usize>().is_ok();
                    let text = words.may_value(inline, number).unwrap_or_else(|| "10".into());
                    all_lines = text == "all";
                    call.lines = if all_lines { None } else { Some(text.parse().map_err(|_| bad(&text))?) };
                }
                "-e" | "--pager-end" => call.lines = Some(1000),
                "-p" | "--priority" => {
                    let text = words.value(&name, inline)?;
                    let (from, to) = match text.split_once("..") {
                        Some((from, to)) => (priority(from), priority(to)),
                        None => (Some(0), priority(&text)),
                    };
                    let (from, to) = from.zip(to).ok_or_else(|| bad(&text))?;
                    call.query = call.query.and(Query::priorities(from.min(to), from.max(to)));
                }
                "-o" | "--output" => {
                    let text = words.value(&name, inline)?;
                    call.form = Form::by_name(&text).ok_or_else(|| bad(&text))?;
                }
                "-S" | "--since" | "-U" | "--until" => {
                    let text = words.value(&name, inline)?;
                    let time = time::parse(&text, now_us).ok_or_else(|| bad(&text))?;
                    match name.as_str() {
                        "-S" | "--since" => call.span.since_us = time,
                        _ => call.span.until_us = time,
                    }
                }
                "--after-cursor" => {
                    let text = words.value(&name, inline)?;
                    let number = text.split(';').find_map(|part| part.strip_prefix("i="));
                    let number = number.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                    call.after = number.ok_or_else(|| bad(&text))?;
                }
                "--show-cursor" => call.show_cursor = true,
                "-f" | "--follow" => call.follow = true,
                "-r" | "--reverse" => call.reverse = true,
                "-q" | "--quiet" => call.quiet = true,
                // Nothing is ever paged or shortened here, and times are in UTC: the wish is met.
                "--no-pager" | "-a" | "--all" | "-l" | "--full" | "--utc" if inline.is_none() => {}
                "-D" | "--directory" => call.folder = Some(words.value(&name, inline)?.into()),
                "-F" | "--field" => call.action = Action::Field(words.value(&name, inline)?),
                "--list-boots" => call.action = Action::ListBoots,
                "--disk-usage" => call.action = Action::DiskUsage,
                "--verify" => call.action = Action::Verify,
                "--header" => call.action = Action::Header,
                "--sync" => call.action = Action::Ask(Request::Sync),
                "--rotate" => call.action = Action::Ask(Request::Rotate),
                "--vacuum-size" | "--vacuum-time" | "--vacuum-files" => {
                    let text = words.value(&name, inline)?;
                    let (mut bytes, mut age_us, mut segments) = match call.action {
                        Action::Ask(Request::Vacuum { bytes, age_us, segments }) => (bytes, age_us, segments),
                        _ => (None, None, None),
                    };
                    match name.as_str() {
                        "--vacuum-size" => bytes = Some(size(&text).ok_or_else(|| bad(&text))?),
                        "--vacuum-time" => age_us = Some(time::span(&text).ok_or_else(|| bad(&text))?),
                        _ => segments = Some(text.parse().map_err(|_| bad(&text))?),
                    }
                    call.action = Action::Ask(Request::Vacuum { bytes, age_us, segments });
                }
                other => return Err(format!("`{other}` is not supported")),
            }
        }
        for list in [units, identifiers] {
            if !list.is_empty() {
                call.query = call.query.and(Query::Any(list));
            }
        }
        call.query = call.query.and(Query::matches(matches.iter().map(Vec::as_slice)));
        if kernel {
            call.query = call.query.and(Query::field("_TRANSPORT", "kernel"));
            call.boot = call.boot.or(Some(BootChoice::Offset(0)));
        }
        if call.follow && call.reverse {
            return Err("-f and -r exclude each other".into());
        }
        if call.follow && call.lines.is_none() && !all_lines {
            call.lines = Some(10);
        }
        Ok(call)
    }
}

/// `sshd` is `sshd.service`.
fn unit_name(text: &str) -> String {
    let kinds = [
        ".service",
        ".socket",
        ".target",
        ".timer",
        ".path",
        ".mount",
        ".automount",
        ".swap",
        ".slice",
        ".scope",
        ".device",
    ];
    let known = kinds.iter().any(|kind| text.ends_with(kind));
    if known { text.to_owned() } else { format!("{text}.service") }
}

fn priority(text: &str) -> Option<u8> {
    let names = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
    let found = names.iter().position(|name| *name == text).map(|number| number as u8);
    found.or_else(|| text.parse().ok().filter(|number| *number <= 7))
}

fn boot_choice(text: &str) -> Option<BootChoice> {
    if text.len() < 12
        && let Ok(offset) = text.parse()
    {
        return Some(BootChoice::Offset(offset));
    }
    let (id, offset) =
        text.split_at_checked(32).filter(|(id, _)| id.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let offset = if offset.is_empty() { 0 } else { offset.parse().ok()? };
    Some(BootChoice::Id(id.to_ascii_lowercase(), offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Call, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Call::parse(&words, 1_000_000_000_000)
    }

    #[test]
    fn calls_as_people_type_them() {
        let call = parse("-fu sshd").unwrap();
        assert_eq!((call.follow, call.lines), (true, Some(10)));
        assert_eq!(call.query, Query::Any(vec![Query::unit("sshd.service")]));
        assert_eq!(parse("-n50").unwrap().lines, Some(50));
        assert_eq!(parse("-n 50 -r").unwrap().lines, Some(50));
        assert_eq!(parse("-n -r").unwrap().lines, Some(10));
        assert_eq!(parse("-fn all").unwrap().lines, None);
        assert_eq!(parse("-b").unwrap().boot, Some(BootChoice::Offset(0)));
        assert_eq!(parse("-b -1 -u a").unwrap().boot, Some(BootChoice::Offset(-1)));
        assert_eq!(parse("-b-1").unwrap().boot, Some(BootChoice::Offset(-1)));
        let id = "0123456789abcdef0123456789ABCDEF";
        let chosen = BootChoice::Id(id.to_ascii_lowercase(), -2);
        assert_eq!(parse(&format!("--boot={id}-2")).unwrap().boot, Some(chosen));
        assert_eq!(parse("-p err").unwrap().query, Query::priorities(0, 3));
        assert_eq!(parse("-p 4..info").unwrap().query, Query::priorities(4, 6));
        assert_eq!(parse("-o json-pretty").unwrap().form, Form::JsonPretty);
        assert_eq!(
            parse("--since=@5 -U -1s").unwrap().span,
            Span { since_us: 5_000_000, until_us: 999_999_000_000 }
        );
        assert_eq!(parse("_PID=1 +").unwrap().query, Query::matches([&b"_PID=1"[..]]));
        assert_eq!(parse("--after-cursor s=a;i=1f;b=c").unwrap().after, 31);
        let vacuum = Request::Vacuum { bytes: Some(16 << 20), age_us: None, segments: Some(3) };
        assert_eq!(parse("--vacuum-size=16M --vacuum-files 3").unwrap().action, Action::Ask(vacuum));
        for (text, why) in [
            ("-x", "`-x` is not supported"),
            ("-u", "-u wants a value"),
            ("-o xml", "-o does not take `xml`"),
            ("-p 9", "-p does not take `9`"),
            ("word", "`word` is not FIELD=VALUE"),
            ("--since never", "--since does not take `never`"),
            ("-fr", "-f and -r exclude each other"),
        ] {
            assert_eq!(parse(text), Err(why.to_owned()));
        }
    }
}
