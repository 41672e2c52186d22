//! Documents in envelopes: gzip, base64, MIME. Python's `email` makes the messages and is the second
//! opinion of how they come apart.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's failure is a panic")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloudconfig::envelope::{Kind, open};
use cloudconfig::{Context, Facts, Plan, Problem, mime};
use proptest::prelude::*;
use std::io::Write as _;
use std::process::Command;

fn parse(bytes: &[u8]) -> Result<Plan, Vec<Problem>> {
    cloudconfig::parse(bytes, &Context { facts: &Facts::default(), check_unit: &|_, _| Vec::new() })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// What a Python program prints.
fn python(program: &str) -> Vec<u8> {
    let output = Command::new("python3").args(["-c", program]).output().expect("apt-get install python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

const DOCUMENT: &str = "#cloud-config\nhostname: node-1\n";

#[test]
fn packed_documents_are_unpacked() {
    let packed = gzip(DOCUMENT.as_bytes());
    for bytes in [
        packed.clone(),
        STANDARD.encode(DOCUMENT).into_bytes(),
        STANDARD.encode(&packed).into_bytes(),
        gzip(&packed),
        [b"\xef\xbb\xbf".as_slice(), DOCUMENT.as_bytes()].concat(),
    ] {
        assert_eq!(parse(&bytes).unwrap().hostname.as_deref(), Some("node-1"));
    }
    let broken = gzip(b"#cloud-config\nhostnam: x\n");
    assert_eq!(
        parse(&broken).unwrap_err()[0].to_string(),
        "1:1: unpacked, 2:1: unknown key `hostnam`; did you mean `hostname`?"
    );
    let cut = parse(&packed[..packed.len() - 9]).unwrap_err();
    assert!(cut[0].message.starts_with("the document is not gzip"), "{cut:?}");
}

#[test]
fn bombs_are_refused() {
    let megabytes = |count: usize| gzip(&vec![b' '; count << 20]);
    assert!(parse(&megabytes(17)).unwrap_err()[0].message.contains("more than 1048576 bytes"));
    let mut nested = gzip(DOCUMENT.as_bytes());
    for _ in 0..5 {
        nested = gzip(&nested);
    }
    assert!(parse(&nested).unwrap_err()[0].message.contains("envelopes in each other"));
    let part = format!(
        "--b\nContent-Type: application/gzip\nContent-Transfer-Encoding: base64\n\n{}\n",
        STANDARD.encode(megabytes(1))
    );
    let message = format!("Content-Type: multipart/mixed; boundary=b\n\n{}--b--\n", part.repeat(20));
    assert!(parse(message.as_bytes()).unwrap_err()[0].message.contains("8388608 bytes"));
}

/// A message with every encoding, as Python writes it.
const MAKE: &str = r##"
import sys
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.mime.application import MIMEApplication
import email.charset, gzip
outer = MIMEMultipart()
outer.attach(MIMEText("#cloud-config\nhostname: node-1\n", "cloud-config", "us-ascii"))
outer.attach(MIMEText("#!/bin/sh\necho b\u00fccher\n", "x-shellscript", "utf-8"))
qp = email.charset.Charset("utf-8"); qp.body_encoding = email.charset.QP
text = MIMEText("", "plain"); del text["Content-Transfer-Encoding"]
text.set_payload("#cloud-config\nwrite_files:\n  - path: /etc/a\n    content: 'b\u00fccher = " + "x" * 100 + "'\n", qp)
outer.attach(text)
outer.attach(MIMEApplication(gzip.compress(b"#cloud-config\nmanage_etc_hosts: localhost\n"), "gzip"))
inner = MIMEMultipart()
inner.attach(MIMEText("#cloud-config\nunits:\n  - name: a.service\n    mask: true\n", "cloud-config", "us-ascii"))
outer.attach(inner)
sys.stdout.write(outer.as_string())
"##;

#[test]
fn a_message_of_pythons_is_read() {
    let plan = parse(&python(MAKE)).unwrap();
    assert_eq!(plan.hostname.as_deref(), Some("node-1"));
    assert!(plan.manage_etc_hosts);
    assert_eq!(plan.scripts[0].text, "#!/bin/sh\necho b\u{fc}cher\n");
    assert_eq!(plan.files[0].content, format!("b\u{fc}cher = {}", "x".repeat(100)).into_bytes());
    assert_eq!(plan.units[0].name, "a.service");
}

#[test]
fn parts_come_apart_as_in_python() {
    let make = python(MAKE);
    let ours: Vec<(String, usize)> = mime::parts(std::str::from_utf8(&make).unwrap())
        .unwrap()
        .into_iter()
        .filter(|part| !part.content_type.starts_with("multipart/"))
        .map(|part| (part.content_type, part.body.len()))
        .collect();
    let program = format!(
        "import subprocess, sys, email\nmade = subprocess.run([sys.executable, '-c', {MAKE:?}], stdout=-1).stdout\n\
         for part in email.message_from_bytes(made).get_payload():\n    if not part.is_multipart():\n        \
         print(part.get_content_type(), len(part.get_payload(decode=True)))\n"
    );
    let theirs = String::from_utf8(python(&program)).unwrap();
    let ours: String = ours.iter().map(|(kind, length)| format!("{kind} {length}\n")).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn problems_in_parts_have_the_places_of_the_message() {
    let message = "\
MIME-Version: 1.0
Content-Type: multipart/mixed;
 boundary=\"=x\"

preamble
--=x
Content-Type: text/cloud-config

#cloud-config
hostnam: a
--=x
Content-Type: text/cloud-config
Content-Transfer-Encoding: base64

aG9zdG5hbTogYQo=
--=x--
";
    let problems: Vec<String> =
        parse(message.as_bytes()).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "10:1: unknown key `hostnam`; did you mean `hostname`?",
            "15:1: part 2, 1:1: unknown key `hostnam`; did you mean `hostname`?"
        ]
    );
    let said = |from: &str, to: &str| parse(message.replace(from, to).as_bytes()).unwrap_err()[0].to_string();
    assert!(said("--=x--\n", "").contains("is it cut short?"));
    assert!(said("boundary", "bound").contains("names no boundary"));
    assert!(said("base64", "base65").contains("unknown Content-Transfer-Encoding"));
    assert!(said("aG9", "%").contains("15:1: not base64"));
    assert!(
        said("Type: text/cloud-config\nC", "Type: text/x-include-url\nC").contains("12:1: parts of type")
    );
}

#[test]
fn two_parts_cannot_contradict_each_other() {
    let part = "--b\nContent-Type: text/cloud-config\n\nhostname: a\nwrite_files: [{path: /etc/a}]\n";
    let message = format!("Content-Type: multipart/mixed; boundary=b\n\n{part}{part}--b--\n");
    let problems: Vec<String> =
        parse(message.as_bytes()).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        ["11:11: key `hostname` stands in an earlier part, too", "12:22: path \"/etc/a\" stands twice"]
    );
}

proptest! {
    #[test]
    fn no_message_makes_it_panic(text in "(MIME-Version: 1.0\n)?Content-Type: multipart/mixed; boundary=b\n(--b|--b--|\n|[a-zA-Z]+: [ -~]{0,9}\n|=[0-9A-F]{0,2}|[ -~]{0,9}){0,40}") {
        drop(parse(text.as_bytes()));
    }

    #[test]
    fn what_is_opened_is_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for part in open(&gzip(&bytes)).unwrap_or_default() {
            prop_assert!(part.text.len() <= bytes.len());
            prop_assert!(matches!(part.kind, Kind::CloudConfig | Kind::Script));
        }
    }
}
