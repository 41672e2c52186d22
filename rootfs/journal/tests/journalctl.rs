//! `journalctl` beside Debian's, on the same entries: ours are exported, read by
//! `systemd-journal-remote`, and each call is made of both. Needs systemd-journal-remote.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

use journal::{Limits, Stamp, Writer};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LIMITS: Limits = Limits {
    use_bytes: 64 << 20,
    keep_free_bytes: 0,
    segment_bytes: 8 << 10,
    segments: 1000,
    retention: None,
};

/// 2026-11-22 18:05:09.000001 UTC.
const BEGIN_US: u64 = 1_795_370_709_000_001;

fn write(folder: &Path) {
    let (mut writer, _) = Writer::start(folder, LIMITS).unwrap();
    let long = format!("MESSAGE={}", "y".repeat(5000));
    let long_name = format!("SYSLOG_IDENTIFIER={}", "z".repeat(301));
    let mut entries: Vec<Vec<&[u8]>> = vec![
        vec![
            b"MESSAGE=plain Word",
            b"PRIORITY=6",
            b"_PID=5",
            b"SYSLOG_IDENTIFIER=sh",
            b"_SYSTEMD_UNIT=a.service",
        ],
        vec![b"MESSAGE=two\nlines\n\nand more\n\n", b"PRIORITY=3", b"_PID=6", b"_COMM=prog"],
        vec![
            b"MESSAGE=esc \x1b[1mbold\x1b[0m \x1b]8;;x\x07y",
            b"PRIORITY=4",
            b"SYSLOG_PID=77",
            b"SYSLOG_IDENTIFIER=x",
        ],
        vec![b"MESSAGE=", b"SYSLOG_IDENTIFIER=empty"],
        vec![b"FOO=no message", b"SYSLOG_IDENTIFIER=nomsg"],
        vec![
            b"MESSAGE=trail \n",
            b"_PID=8",
            b"_SYSTEMD_UNIT=b.service",
            b"A=1",
            b"A=2",
            b"SYSLOG_FACILITY=3",
        ],
        vec![b"MESSAGE=\xff\xfe", b"_PID=8", b"_SYSTEMD_UNIT=b.service", b"_SYSTEMD_USER_UNIT=u.service"],
        vec![b"MESSAGE=\x01", b"_PID=8", b"_SYSTEMD_USER_UNIT=u.service", b"_TRANSPORT=kernel"],
        vec![
            "MESSAGE=caf\u{e9} \u{9b} tab\there".as_bytes(),
            b"_PID=9",
            b"_SOURCE_REALTIME_TIMESTAMP=1795370709500000",
        ],
        vec!["MESSAGE=caf\u{e9}\ttab".as_bytes(), b"_SOURCE_MONOTONIC_TIMESTAMP=123456"],
        vec![long.as_bytes(), b"_PID=9", long_name.as_bytes()],
        vec![
            b"MESSAGE=started",
            b"_PID=1",
            b"UNIT=a.service",
            b"MESSAGE_ID=39f53479d3a045ac8e11786248231fbf",
        ],
    ];
    let blob = [b"MESSAGE=".as_slice(), &[1; 1600]].concat();
    entries.push(vec![&blob, b"_SYSTEMD_UNIT=aa.service"]);
    let constant: [&[u8]; 2] = [b"_MACHINE_ID=cccccccccccccccccccccccccccccccc", b"_HOSTNAME=h1"];
    let boots: [&[u8]; 2] =
        [b"_BOOT_ID=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", b"_BOOT_ID=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"];
    for (number, boot) in boots.iter().enumerate() {
        for (place, entry) in entries.iter().enumerate() {
            let stamp = Stamp {
                realtime_us: BEGIN_US + 3_600_000_000 * number as u64 + 1_000_000 * place as u64,
                monotonic_us: 5 + 500_000 * place as u64,
            };
            let fields: Vec<&[u8]> = constant.iter().chain([boot]).chain(entry).copied().collect();
            writer.append(stamp, &[], &fields);
        }
    }
}

struct Both {
    _folder: tempfile::TempDir,
    ours: PathBuf,
    theirs: PathBuf,
}

impl Both {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("log"), folder.path().join("theirs.journal"));
        write(&ours);
        let both = Self { ours, theirs, _folder: folder };
        let export = both.ours.with_extension("export");
        std::fs::write(&export, both.ours(&["-o", "export"]).stdout).unwrap();
        let remote = Command::new("/lib/systemd/systemd-journal-remote")
            .arg("-o")
            .arg(&both.theirs)
            .arg(export)
            .output();
        let remote =
            remote.expect("this test needs systemd-journal-remote: apt-get install systemd-journal-remote");
        assert!(remote.status.success(), "{}", String::from_utf8_lossy(&remote.stderr));
        both
    }

    fn ours(&self, arguments: &[&str]) -> Output {
        let own = std::env::current_exe().unwrap();
        let program = own.parent().unwrap().parent().unwrap().join("examples/journald");
        assert!(program.exists(), "{} is missing: cargo test builds it", program.display());
        let mut command = Command::new(program);
        command.args(["journalctl", "-D"]).arg(&self.ours).args(arguments).output().unwrap()
    }

    fn theirs(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("journalctl");
        command.env("TZ", "UTC").env("LANG", "C.UTF-8").env_remove("SYSTEMD_COLORS");
        command.arg("--file").arg(&self.theirs).args(arguments).output().unwrap()
    }
}

/// Lines sorted, cursors cut: they name files, and Debian's order of fields is its file's.
fn settled(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let cut = |line: &str| match line.split_once("s=") {
        Some((head, _)) if line.contains(";i=") => head.to_owned(),
        _ => line.trim_end_matches(',').to_owned(),
    };
    let mut lines: Vec<String> = text.lines().map(cut).collect();
    lines.sort();
    lines
}

#[test]
fn lines_are_debians_byte_for_byte() {
    let both = Both::new();
    for words in [
        "",
        "-q",
        "-r",
        "-m",
        "-n3",
        "-n 3 -r",
        "-n0",
        "-e",
        "-a",
        "-a -q -o short-full",
        "-o short-full",
        "-o short-iso",
        "-o short-iso-precise",
        "-o short-precise",
        "-o short-monotonic",
        "-o short-delta",
        "-o short-unix",
        "-o with-unit",
        "-o cat",
        "-o help",
        "--utc -o short-full",
        "--no-hostname",
        "--no-hostname -o with-unit",
        "--no-pager -l",
        "-u a",
        "-u a.service -u b",
        "-u a*",
        "-u ?",
        "-u ?.service",
        "-u nothing",
        "-u nothing -o json",
        "-t sh -t x",
        "-t sh -u a",
        "-p err",
        "-p 3..4",
        "-p warning..crit",
        "--facility=daemon",
        "--facility=3,kern",
        "-k",
        "-k -b -1",
        "-b",
        "-b -1",
        "-b 1",
        "-b 0 -n1",
        "-b all",
        "-b aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "-b bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-1",
        "--list-boots",
        "_PID=5",
        "_PID=5 _PID=8",
        "_PID=8 _SYSTEMD_UNIT=b.service",
        "_PID=5 + _PID=8 A=1",
        "A=2",
        "FOO=nothing",
        "--since=@1795370712 --until=@1795370716",
        "-S 18:05:12 -U yesterday",
        "--since=tomorrow",
        "--since=2026-11-22\u{a0}18:05:15",
        "-U 2026-11-22",
        "--until=2026-11-22\u{a0}18:05:10",
        "-o cat --output-fields=A,FOO",
        "-o verbose -r --output-fields=MESSAGE",
        "-b -g word",
        "-b -g Word",
        "-b -g WORD",
        "-b -g WORD --case-sensitive=no",
        "-b -g word --case-sensitive",
        "-b -g ^t[rw]",
        "-b -n1 -g lines",
        "-b -q -g zzz",
    ] {
        let words: Vec<String> = words
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(|word| word.replace('\u{a0}', " "))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (ours, theirs) = (both.ours(&words), both.theirs(&words));
        // Wrong usage is 2 here.
        let codes = (ours.status.success(), theirs.status.success());
        if words.contains(&"verbose") {
            assert_eq!((settled(&ours), codes.0), (settled(&theirs), codes.1), "{words:?}");
            continue;
        }
        let texts =
            [&ours, &theirs].map(|output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        let differ = texts[0].lines().zip(texts[1].lines()).find(|(ours, theirs)| ours != theirs);
        let lines = [&texts[0], &texts[1]].map(|text| text.lines().count());
        assert!(texts[0] == texts[1], "{words:?}: ours and theirs: {differ:?}, {lines:?} lines");
        assert_eq!(codes.0, codes.1, "{words:?}");
    }
}

#[test]
fn forms_with_fields_are_debians_but_for_their_order() {
    let both = Both::new();
    for words in [
        "-o verbose",
        "-o verbose -a",
        "-o verbose -q",
        "-N",
        "-F A",
        "-F _PID",
        "-F NOPE",
        "-F _SYSTEMD_UNIT",
        "-a -o json-pretty",
        "-a -o json-pretty --output-fields=MESSAGE,_PID",
        "-o export -u a",
        "-o export --output-fields=_PID",
        "-a -o verbose --output-fields=A,_PID",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let (ours, theirs) = (settled(&both.ours(&words)), settled(&both.theirs(&words)));
        let first = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        assert!(ours == theirs, "{words:?}: {first:?}; {} lines, theirs {}", ours.len(), theirs.len());
    }
    for (form, begin, end) in
        [("json", "{", "}\n"), ("json-sse", "data: {", "}\n\n"), ("json-seq", "\x1e{", "}\n")]
    {
        for output in [both.ours(&["-n1", "-o", form]), both.theirs(&["-n1", "-o", form])] {
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.starts_with(begin) && text.ends_with(end), "{form}: {text:?}");
        }
    }
}

#[test]
fn cursors_say_where_to_go_on() {
    let both = Both::new();
    let text = |words: &[&str]| String::from_utf8_lossy(&both.ours(words).stdout).into_owned();
    let with_cursor = text(&["-n1", "-o", "cat", "-u", "b", "-b", "-1", "--show-cursor"]);
    let cursor = with_cursor.lines().last().unwrap().strip_prefix("-- cursor: ").unwrap().to_owned();
    let count =
        |words: &[&str]| text(&[words, &["-o", "json", "--output-fields=_PID"]].concat()).lines().count();
    // It is entry 7 of 26.
    for (words, expected) in [(["-c", cursor.as_str()], 20), (["--after-cursor", cursor.as_str()], 19)] {
        assert_eq!(count(&words), expected, "{words:?}");
        assert_eq!(
            count(&[words.as_slice(), &["-r"]].concat()),
            if words[0] == "-c" { 27 - expected } else { 25 - expected },
            "{words:?} -r"
        );
    }
    let file = both.ours.with_extension("cursor");
    let file = format!("--cursor-file={}", file.display());
    assert_eq!(count(&[&file, "-b", "-1"]), 13);
    assert_eq!(count(&[&file]), 13);
    assert_eq!(count(&[&file]), 0);
    assert_eq!(count(&["-n+3"]), 3);
    let mut segments: Vec<_> =
        std::fs::read_dir(&both.ours).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    assert!(segments.len() >= 2, "{segments:?}");
    let sum: usize = segments
        .iter()
        .map(|path| {
            let mut command = Command::new(
                std::env::current_exe()
                    .unwrap()
                    .parent()
                    .unwrap()
                    .parent()
                    .unwrap()
                    .join("examples/journald"),
            );
            let output = command.args(["journalctl", "-qo", "json", "-i"]).arg(path).output().unwrap();
            String::from_utf8_lossy(&output.stdout).lines().count()
        })
        .sum();
    assert_eq!(sum, 26);
}

/// Debian's systemd-analyze reads times as `--since` does.
#[test]
fn times_are_debians() {
    for text in [
        "2026-11-22 18:05:09",
        "2026-11-22 18:05",
        "2026-11-22",
        "26-11-22 18:05:09",
        "70-01-01",
        "Sun 2026-11-22",
        "Sunday 2026-11-22 7:5",
        "Mon 2026-11-22",
        "2026-11-22 18:05:09.5",
        "2026-11-22 18:05:09 UTC",
        "2026-11-22 24:00",
        "@5",
        "@5.25",
        "2026-11",
        "sunday",
        "12h",
        "soon",
        "yesterday 10:00",
        "2028-02-29",
        "today",
        "yesterday",
        "tomorrow",
        "10:00",
    ] {
        let output = Command::new("systemd-analyze").env("TZ", "UTC").args(["timestamp", text]).output();
        let output = output.expect("this test needs systemd-analyze: apt-get install systemd");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let theirs =
            said.lines().find_map(|line| line.trim().strip_prefix("UNIX seconds: @").map(str::to_owned));
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64;
        let ours = journal::time::parse(text, now).map(|us| match us % 1_000_000 {
            0 => (us / 1_000_000).to_string(),
            micros => format!("{}.{micros:06}", us / 1_000_000),
        });
        assert_eq!(ours, theirs, "{text}");
    }
}
