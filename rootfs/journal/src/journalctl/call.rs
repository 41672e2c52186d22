//! The command line of `journalctl`.

use crate::daemon::config::size;
use crate::daemon::control::Request;
use crate::field;
use crate::query::Query;
use crate::read::Span;
use crate::show::{Form, Look};
use crate::time;
use crate::words::{Word, Words};
use regex_lite::{Regex, RegexBuilder};
use std::path::{Path, PathBuf};

/// What the usage says.
pub const USAGE: &str = "\
journalctl [-u UNIT] [-t IDENTIFIER] [-p PRIORITY[..PRIORITY]] [--facility=FACILITY,…] [-g PATTERN] [-k]
           [-b [ID|OFFSET]] [-S TIME] [-U TIME] [-c|--after-cursor CURSOR] [--cursor-file FILE]
           [-n [[+]LINES]] [-e] [-r] [-f] [-x] [-a] [-q] [-m] [-o FORM] [--output-fields=FIELD,…]
           [--no-hostname] [--show-cursor] [-D FOLDER | -i FILE | --root FOLDER] [FIELD=VALUE…] [PROGRAM] [+]
journalctl --list-boots | -N | -F FIELD | --disk-usage | --verify | --header | --sync | --flush
           | --rotate | --vacuum-size BYTES | --vacuum-time SPAN | --vacuum-files NUMBER";

/// Options of systemd's that are not there, and what to do instead.
const REFUSED: [(&str, &str); 19] = [
    ("--user", "there are no user managers: what users say is in the one journal, `_UID=N`"),
    ("--user-unit", "there are no user managers: units are the system's, `-u`"),
    ("-M", "log in to the machine, or read its folder: `-D`"),
    ("--machine", "log in to the machine, or read its folder: `-D`"),
    ("--namespace", "there is one journal"),
    ("--image", "attach the image and read its folder: `-D`"),
    ("--no-full", "lines are never shortened; `--truncate-newline` shows first lines only"),
    ("--setup-keys", "the journal is not sealed: `--verify` looks for damage"),
    ("--interval", "the journal is not sealed: `--verify` looks for damage"),
    ("--verify-key", "the journal is not sealed: `--verify` looks for damage"),
    ("--force", "the journal is not sealed: `--verify` looks for damage"),
    ("--relinquish-var", "the journal is always in /var"),
    ("--smart-relinquish-var", "the journal is always in /var"),
    ("--update-catalog", "the catalog comes with the image: `-x` shows it"),
    ("--list-catalog", "the catalog comes with the image: `-x` shows it"),
    ("--dump-catalog", "the catalog comes with the image: `-x` shows it"),
    ("--synchronize-on-exit", "entries are on the disk soon anyway: `--sync` waits for it"),
    ("-I", "choose a boot, `-b`, and a time, `-S`"),
    ("--invocation", "choose a boot, `-b`, and a time, `-S`"),
];

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
    /// Say how to call it.
    Usage,
    /// Name the forms.
    Forms,
    /// Show boots.
    ListBoots,
    /// Show the names of fields.
    Names,
    /// Show the values of a field.
    Field(String),
    /// Show what the journal takes.
    DiskUsage,
    /// Look at every byte.
    Verify,
    /// Show what is known of each segment.
    Header,
    /// Have the daemon do something, in this order.
    Ask(Vec<Request>),
}

/// How many entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// All.
    All,
    /// The newest.
    Newest(usize),
    /// The oldest.
    Oldest(usize),
}

/// Where to begin: at an entry, or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// With this number.
    At(u64),
    /// Behind this one.
    Behind(u64),
}

/// A call.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub struct Call {
    /// What to do.
    pub action: Action,
    /// The folder, if it is not the machine's.
    pub folder: Option<PathBuf>,
    /// Units; names or patterns.
    pub units: Vec<String>,
    /// Which entries, besides the boot and the units.
    pub query: Query,
    /// Of which boot.
    pub boot: Option<BootChoice>,
    /// Of which time.
    pub span: Span,
    /// From where on.
    pub place: Option<Place>,
    /// Where the cursor is read from and written to.
    pub cursor_file: Option<PathBuf>,
    /// Only these messages.
    pub grep: Option<Regex>,
    /// How many.
    pub lines: Lines,
    /// How to show them.
    pub look: Look,
    /// With explanations.
    pub explain: bool,
    /// Go on.
    pub follow: bool,
    /// The newest first.
    pub reverse: bool,
    /// Only data.
    pub quiet: bool,
    /// As one, whatever boot they are of.
    pub merge: bool,
    /// Say where the last one is.
    pub show_cursor: bool,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            action: Action::Show,
            folder: None,
            units: Vec::new(),
            query: Query::All,
            boot: None,
            span: Span::default(),
            place: None,
            cursor_file: None,
            grep: None,
            lines: Lines::All,
            look: Form::Short.into(),
            explain: false,
            follow: false,
            reverse: false,
            quiet: false,
            merge: false,
            show_cursor: false,
        }
    }
}

/// What is put together once the whole line is read.
#[derive(Default)]
struct Parts {
    identifiers: Vec<Query>,
    facilities: Vec<Query>,
    matches: Vec<Vec<u8>>,
    lines: Option<Lines>,
    kernel: bool,
    no_tail: bool,
    pattern: Option<String>,
    case_sensitive: Option<bool>,
}

impl Call {
    /// Reads a command line; `now_us` is the wall clock's time.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(arguments: &[String], now_us: u64) -> Result<Self, String> {
        let mut call = Self::default();
        let mut parts = Parts::default();
        let mut words = Words::new(arguments);
        while let Some(word) = words.next() {
            match word {
                Word::Option(name, inline) => call.option(&name, inline, &mut words, &mut parts, now_us)?,
                Word::Operand(text) => parts.matches.push(operand(text)?),
            }
        }
        call.finish(parts)
    }

    fn option(
        &mut self,
        name: &str,
        inline: Option<String>,
        words: &mut Words,
        parts: &mut Parts,
        now_us: u64,
    ) -> Result<(), String> {
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(format!("`{name}` is not supported: {why}"));
        }
        if switch(self, parts, name) {
            return match inline {
                None => Ok(()),
                Some(_) => Err(format!("{name} takes no value")),
            };
        }
        let bad = |text: &str| format!("{name} does not take `{text}`");
        match name {
            "-b" | "--boot" => {
                let text = words.may_value(inline, |text| boot_choice(text).is_some() || text == "all");
                self.boot = match text.as_deref() {
                    None => Some(BootChoice::Offset(0)),
                    Some("all") => None,
                    Some(text) => Some(boot_choice(text).ok_or_else(|| bad(text))?),
                };
                return Ok(());
            }
            "-n" | "--lines" => {
                let text = words.may_value(inline, |text| lines(text).is_some());
                let text = text.unwrap_or_else(|| "10".into());
                parts.lines = Some(lines(&text).ok_or_else(|| bad(&text))?);
                return Ok(());
            }
            "--case-sensitive" => {
                parts.case_sensitive = Some(match inline.as_deref() {
                    None | Some("yes" | "true" | "1" | "on") => true,
                    Some("no" | "false" | "0" | "off") => false,
                    Some(text) => return Err(bad(text)),
                });
                return Ok(());
            }
            _ if !VALUED.contains(&name) => return Err(format!("`{name}` is not supported")),
            _ => {}
        }
        let text = words.value(name, inline)?;
        self.valued(name, &text, parts, now_us)
    }

    /// An option that has a value.
    fn valued(&mut self, name: &str, text: &str, parts: &mut Parts, now_us: u64) -> Result<(), String> {
        let bad = || format!("{name} does not take `{text}`");
        match name {
            "-u" | "--unit" => self.units.push(unit_name(text)),
            "-t" | "--identifier" => parts.identifiers.push(Query::field("SYSLOG_IDENTIFIER", text)),
            "--facility" => {
                for one in text.split(',') {
                    let number = facility(one).ok_or_else(bad)?;
                    parts.facilities.push(Query::field("SYSLOG_FACILITY", number.to_string()));
                }
            }
            "-p" | "--priority" => {
                let (from, to) = match text.split_once("..") {
                    Some((from, to)) => (priority(from), priority(to)),
                    None => (Some(0), priority(text)),
                };
                let (from, to) = from.zip(to).ok_or_else(bad)?;
                self.query = std::mem::replace(&mut self.query, Query::All)
                    .and(Query::priorities(from.min(to), from.max(to)));
            }
            "-g" | "--grep" => parts.pattern = Some(text.to_owned()),
            "-o" | "--output" if text == "help" => self.action = Action::Forms,
            "-o" | "--output" => self.look.form = Form::by_name(text).ok_or_else(bad)?,
            "--output-fields" => {
                let names = text.split(',').map(str::to_owned);
                self.look.fields.get_or_insert_default().extend(names);
            }
            "-S" | "--since" => self.span.since_us = time::parse(text, now_us).ok_or_else(bad)?,
            "-U" | "--until" => self.span.until_us = time::parse(text, now_us).ok_or_else(bad)?,
            "-c" | "--cursor" => self.begin(Place::At(cursor(text).ok_or_else(bad)?))?,
            "--after-cursor" => self.begin(Place::Behind(cursor(text).ok_or_else(bad)?))?,
            "--cursor-file" => self.cursor_file = Some(text.into()),
            "-D" | "--directory" | "-i" | "--file" => self.read_from(text.into())?,
            "--root" => self.read_from(Path::new(text).join(crate::FOLDER.trim_start_matches('/')))?,
            "-F" | "--field" => self.action = Action::Field(text.to_owned()),
            "--vacuum-size" => {
                let most = size(text).ok_or_else(bad)?;
                self.vacuum(|bytes, _, _| *bytes = Some(most));
            }
            "--vacuum-time" => {
                let most = time::span(text).ok_or_else(bad)?;
                self.vacuum(|_, age_us, _| *age_us = Some(most));
            }
            _ => {
                let most = text.parse().map_err(|_| bad())?;
                self.vacuum(|_, _, segments| *segments = Some(most));
            }
        }
        Ok(())
    }

    fn begin(&mut self, place: Place) -> Result<(), String> {
        match self.place.replace(place) {
            None => Ok(()),
            Some(_) => Err("only one of --cursor and --after-cursor can be given".into()),
        }
    }

    fn read_from(&mut self, folder: PathBuf) -> Result<(), String> {
        match self.folder.replace(folder) {
            None => Ok(()),
            Some(_) => Err("only one of -D, -i and --root can be given, once".into()),
        }
    }

    fn ask(&mut self, request: Request) {
        match &mut self.action {
            Action::Ask(requests) => requests.push(request),
            other => *other = Action::Ask(vec![request]),
        }
    }

    /// The limits of the one vacuum request.
    fn vacuum(&mut self, set: impl FnOnce(&mut Option<u64>, &mut Option<u64>, &mut Option<usize>)) {
        let is_vacuum = |request: &Request| matches!(request, Request::Vacuum { .. });
        if !matches!(&self.action, Action::Ask(requests) if requests.iter().any(is_vacuum)) {
            self.ask(Request::Vacuum { bytes: None, age_us: None, segments: None });
        }
        let Action::Ask(requests) = &mut self.action else { return };
        for request in requests {
            if let Request::Vacuum { bytes, age_us, segments } = request {
                set(bytes, age_us, segments);
                return;
            }
        }
    }

    fn finish(mut self, parts: Parts) -> Result<Self, String> {
        for list in [parts.identifiers, parts.facilities] {
            if !list.is_empty() {
                self.query = self.query.and(Query::Any(list));
            }
        }
        self.query = self.query.and(Query::matches(parts.matches.iter().map(Vec::as_slice)));
        if parts.kernel {
            self.query = self.query.and(Query::field("_TRANSPORT", "kernel"));
            self.boot = self.boot.or(Some(BootChoice::Offset(0)));
        }
        if let Some(pattern) = parts.pattern {
            // journalctl(1), --grep: a pattern in lower case matches either case.
            let sensitive = parts.case_sensitive.unwrap_or(pattern.chars().any(char::is_uppercase));
            let built = RegexBuilder::new(&pattern).case_insensitive(!sensitive).build();
            self.grep = Some(built.map_err(|error| format!("`{pattern}` is no pattern: {error}"))?);
        }
        if self.follow && self.reverse {
            return Err("-f and -r exclude each other".into());
        }
        if self.span.since_us > self.span.until_us {
            return Err("--since must be before --until".into());
        }
        if self.place.is_some() && (self.span.since_us > 0 || self.cursor_file.is_some()) {
            return Err("only one of --since, --cursor, --after-cursor and --cursor-file can be given".into());
        }
        if self.folder.is_some() && matches!(self.action, Action::Ask(_)) {
            return Err("only the daemon's own journal is changed: not with -D, -i or --root".into());
        }
        self.lines = match parts.lines {
            Some(lines) => lines,
            None if self.follow && !parts.no_tail => Lines::Newest(10),
            None => self.lines,
        };
        Ok(self)
    }
}

/// Options with a value that must be there.
const VALUED: [&str; 30] = [
    "-u",
    "--unit",
    "-t",
    "--identifier",
    "--facility",
    "-p",
    "--priority",
    "-g",
    "--grep",
    "-o",
    "--output",
    "--output-fields",
    "-S",
    "--since",
    "-U",
    "--until",
    "-c",
    "--cursor",
    "--after-cursor",
    "--cursor-file",
    "-D",
    "--directory",
    "-i",
    "--file",
    "--root",
    "-F",
    "--field",
    "--vacuum-size",
    "--vacuum-time",
    "--vacuum-files",
];

/// Options without a value; false if it is none of them.
fn switch(call: &mut Call, parts: &mut Parts, name: &str) -> bool {
    match name {
        "-k" | "--dmesg" => parts.kernel = true,
        "-e" | "--pager-end" => {
            call.lines = Lines::Newest(1000);
            call.boot.get_or_insert(BootChoice::Offset(0));
        }
        "-f" | "--follow" => call.follow = true,
        "--no-tail" => parts.no_tail = true,
        "-r" | "--reverse" => call.reverse = true,
        "-q" | "--quiet" => call.quiet = true,
        "-a" | "--all" => call.look.all = true,
        "-x" | "--catalog" => call.explain = true,
        "-m" | "--merge" => call.merge = true,
        "--no-hostname" => call.look.hostname = false,
        "--truncate-newline" => call.look.truncate = true,
        "--show-cursor" => call.show_cursor = true,
        // Nothing is ever paged or shortened here, times are in UTC, and there is one journal.
        "--no-pager" | "-l" | "--full" | "--utc" | "--system" => {}
        "-h" | "--help" => call.action = Action::Usage,
        "-N" | "--fields" => call.action = Action::Names,
        "--list-boots" => call.action = Action::ListBoots,
        "--disk-usage" => call.action = Action::DiskUsage,
        "--verify" => call.action = Action::Verify,
        "--header" => call.action = Action::Header,
        // There is no journal in /run that would have to be copied: what is taken is in /var.
        "--sync" | "--flush" => call.ask(Request::Sync),
        "--rotate" => call.ask(Request::Rotate),
        _ => return false,
    }
    true
}

/// A match, or a program's path as one.
fn operand(text: String) -> Result<Vec<u8>, String> {
    if text.starts_with('/') {
        let path = std::fs::canonicalize(&text).map_err(|error| format!("{text}: {error}"))?;
        return Ok(field::join("_EXE", path.as_os_str().as_encoded_bytes()));
    }
    let (name, _) = field::split(text.as_bytes());
    if text != "+" && !(text.contains('=') && field::valid_name(name, true)) {
        return Err(format!("`{text}` is not FIELD=VALUE"));
    }
    Ok(text.into_bytes())
}

fn lines(text: &str) -> Option<Lines> {
    Some(match text.strip_prefix('+') {
        Some(oldest) => Lines::Oldest(oldest.parse().ok()?),
        None if text == "all" => Lines::All,
        None => Lines::Newest(text.parse().ok()?),
    })
}

/// The number in a cursor.
pub(super) fn cursor(text: &str) -> Option<u64> {
    let number = text.trim().split(';').find_map(|part| part.strip_prefix("i="));
    number.and_then(|digits| u64::from_str_radix(digits, 16).ok())
}

/// syslog(3)'s facilities, by name or number.
fn facility(text: &str) -> Option<u8> {
    const NAMES: [&str; 12] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    ];
    let found = NAMES.iter().position(|name| *name == text).map(|number| number as u8);
    let local = || text.strip_prefix("local")?.parse().ok().filter(|n| *n <= 7).map(|n: u8| 16 + n);
    found.or_else(local).or_else(|| text.parse().ok().filter(|number| *number <= 23))
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
    // A pattern is taken as it is.
    let known = text.contains(['*', '?']) || kinds.iter().any(|kind| text.ends_with(kind));
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
        assert_eq!((call.follow, call.lines), (true, Lines::Newest(10)));
        assert_eq!(call.units, ["sshd.service"]);
        assert_eq!(parse("-n50").unwrap().lines, Lines::Newest(50));
        assert_eq!(parse("-n 50 -r").unwrap().lines, Lines::Newest(50));
        assert_eq!(parse("-n -r").unwrap().lines, Lines::Newest(10));
        assert_eq!(parse("-n+3").unwrap().lines, Lines::Oldest(3));
        assert_eq!(parse("-xeu sshd").unwrap().lines, Lines::Newest(1000));
        assert_eq!(parse("-fn all").unwrap().lines, Lines::All);
        assert_eq!(parse("-f --no-tail").unwrap().lines, Lines::All);
        assert_eq!(parse("-b").unwrap().boot, Some(BootChoice::Offset(0)));
        assert_eq!(parse("-b -1 -u a").unwrap().boot, Some(BootChoice::Offset(-1)));
        assert_eq!(parse("-b-1").unwrap().boot, Some(BootChoice::Offset(-1)));
        let id = "0123456789abcdef0123456789ABCDEF";
        let chosen = BootChoice::Id(id.to_ascii_lowercase(), -2);
        assert_eq!(parse(&format!("--boot={id}-2")).unwrap().boot, Some(chosen));
        assert_eq!(parse("-p err").unwrap().query, Query::priorities(0, 3));
        assert_eq!(parse("-p 4..info").unwrap().query, Query::priorities(4, 6));
        assert_eq!(parse("-o json-pretty").unwrap().look.form, Form::JsonPretty);
        let look = parse("-aqm --no-hostname --output-fields=A,B --output-fields C").unwrap().look;
        assert_eq!((look.all, look.hostname), (true, false));
        assert_eq!(look.fields.unwrap(), ["A", "B", "C"]);
        assert_eq!(
            parse("--since=@5 -U -1s").unwrap().span,
            Span { since_us: 5_000_000, until_us: 999_999_000_000 }
        );
        assert_eq!(parse("_PID=1 +").unwrap().query, Query::matches([&b"_PID=1"[..]]));
        assert_eq!(parse("--after-cursor s=a;i=1f;b=c").unwrap().place, Some(Place::Behind(31)));
        assert_eq!(parse("-c i=1f").unwrap().place, Some(Place::At(31)));
        let facilities =
            Query::Any(vec![Query::field("SYSLOG_FACILITY", "3"), Query::field("SYSLOG_FACILITY", "23")]);
        assert_eq!(parse("--facility=daemon,local7").unwrap().query, facilities);
        assert_eq!(parse("/proc/").unwrap().query, Query::matches([&b"_EXE=/proc"[..]]));
        let vacuum = Request::Vacuum { bytes: Some(16 << 20), age_us: None, segments: Some(3) };
        let asked = Action::Ask(vec![Request::Rotate, vacuum]);
        assert_eq!(parse("--rotate --vacuum-size=16M --vacuum-files 3").unwrap().action, asked);
        for (text, why) in [
            ("-X", "`-X` is not supported"),
            (
                "--user",
                "`--user` is not supported: there are no user managers: what users say is in the one journal, `_UID=N`",
            ),
            ("--no-pager=1", "--no-pager takes no value"),
            ("--since=@5 --until=@4", "--since must be before --until"),
            ("-c i=1 --after-cursor i=1", "only one of --cursor and --after-cursor can be given"),
            ("--rotate -D x", "only the daemon's own journal is changed: not with -D, -i or --root"),
            ("-c x", "-c does not take `x`"),
            ("--facility=8x", "--facility does not take `8x`"),
            ("-u", "-u wants a value"),
            ("-o xml", "-o does not take `xml`"),
            ("-p 9", "-p does not take `9`"),
            ("word", "`word` is not FIELD=VALUE"),
            ("--since never", "--since does not take `never`"),
            ("-fr", "-f and -r exclude each other"),
        ] {
            assert_eq!(parse(text).err(), Some(why.to_owned()));
        }
        assert!(parse("-g [").is_err_and(|why| why.starts_with("`[` is no pattern: ")));
    }

    #[test]
    fn patterns_in_lower_case_match_either() {
        for (words, text, matches) in [
            ("-g word", "a Word", true),
            ("-g Word", "a word", false),
            ("-g WORD --case-sensitive=no", "a word", true),
            ("--case-sensitive -g word", "a Word", false),
            ("-g ^a.*d$", "a word", true),
        ] {
            assert_eq!(parse(words).unwrap().grep.unwrap().is_match(text), matches, "{words}");
        }
    }

    /// Every option of journalctl(1) of systemd 252 is obeyed, or refused by name with a cure.
    #[test]
    fn no_option_is_unknown() {
        let with_value = "--root=/x --image=x -D/x --file=/x -Mx --namespace=x -S@1 -U@1 -ci=1 --after-cursor=i=1 \
            --cursor-file=/x -b --unit=x --user-unit=x -tx -pinfo --facility=kern -gx --case-sensitive=no -ocat \
            --output-fields=X -n5 -FX --vacuum-size=1M --vacuum-files=1 --vacuum-time=1s --interval=1 --verify-key=x";
        let bare = "--system --user -m -k -f --no-tail -r --show-cursor --utc -x --no-hostname --no-full -l -a -q \
            --no-pager -e -h -N --list-boots --disk-usage --verify --sync --relinquish-var \
            --smart-relinquish-var --flush --rotate --header --list-catalog --dump-catalog --update-catalog \
            --setup-keys --force --truncate-newline";
        for option in with_value.split_whitespace().chain(bare.split_whitespace()) {
            let unknown = parse(option).err().is_some_and(|why| why.ends_with("is not supported"));
            assert!(!unknown, "{option}");
        }
    }
}
