//! Whole documents: what they ask for, and everything that is wrong with them.

use cloudconfig::{Account, DropIn, UnitCommand, parse};
use proptest::prelude::*;

const GOOD: &str = "\
#cloud-config
hostname: node-1
write-files:
  - path: /etc/motd
    content: |
      hello
    permissions: 0600
    owner: core:10
  - path: /var/lib/x
    encoding: gz+b64
    content: |
      H4sIAAAAAAAAA8tIzcnJ
      5wIAIDA6NgYAAAA=
units:
  - name: hello.service
    enable: yes
    command: start
    content: |
      [Service]
      ExecStart=/usr/bin/true
coreos:
  units:
    - name: late.service
      mask: true
    - name: hello@.service
      runtime: true
      drop-ins:
        - name: 10-x.conf
          content: '[Unit]'
";

#[test]
fn a_document_becomes_a_plan() {
    let plan = parse(GOOD.as_bytes()).unwrap();
    assert_eq!(plan.hostname.as_deref(), Some("node-1"));
    let [motd, packed] = plan.files.as_slice() else { panic!("{:?}", plan.files) };
    assert_eq!((motd.content.as_slice(), motd.mode), (b"hello\n".as_slice(), 0o600));
    let owner = motd.owner.as_ref().unwrap();
    assert_eq!((&owner.user, &owner.group), (&Account::Name("core".to_owned()), &Some(Account::Id(10))));
    assert_eq!((packed.content.as_slice(), packed.mode), (b"hello\n".as_slice(), 0o644));
    let [hello, late, template] = plan.units.as_slice() else { panic!("{:?}", plan.units) };
    assert_eq!((hello.enable, hello.command, hello.mask), (true, Some(UnitCommand::Start), false));
    assert_eq!((late.name.as_str(), late.mask), ("late.service", true));
    assert_eq!(template.drop_ins, [DropIn { name: "10-x.conf".to_owned(), content: "[Unit]".to_owned() }]);
    assert!(template.runtime);
}

/// The problems of a document, a line each.
fn problems(text: &str) -> String {
    let lines: Vec<String> = parse(text.as_bytes()).err().iter().flatten().map(ToString::to_string).collect();
    lines.join("\n") + "\n"
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = "\
#cloud-config
hostnam: x
hostname: a_b
write_files:
  - path: /usr/bin/x
    permissions: 0888
    owner: ''
    encoding: rot13
    content: x
  - content: x
  - path: /etc/a
  - path: /etc/a
  - path: /etc/a/b
    content: '%'
    encoding: b64
units:
  - name: x
  - name: x.device
  - name: a.service
    command: begin
  - name: a.service
    mask: true
    enable: true
  - name: a@.service
    command: start
write-files: []
";
    assert_eq!(
        problems(text),
        "\
2:1: unknown key `hostnam`; did you mean `hostname`?
3:11: host name \"a_b\" has other characters than letters, digits, `-` and `.`
5:11: path \"/usr/bin/x\" is in the slot, which is read-only; files can be in /etc, /home, /opt, /root, /run, /srv, /tmp, /var
6:18: permissions \"0888\" are not three or four octal digits, such as \"0644\"
7:12: owner \"\" is not USER or USER:GROUP, by name or number
8:15: unknown encoding \"rot13\"; known: base64, b64, and either after `gzip+` or `gz+`
10:5: key `path` is missing
12:11: path \"/etc/a\" stands twice
13:11: one of \"/etc/a\" and \"/etc/a/b\" would be a file and a folder at once
14:14: content is not base64: Invalid symbol 37, offset 0.
17:11: unit name \"x\" is not of the form NAME.KIND
18:11: unit \"x.device\" is of no kind that can be given here; kinds: container, mount, path, service, slice, socket, target, timer
20:14: unknown command \"begin\"; known: start, stop, restart, reload, try-restart, reload-or-restart, reload-or-try-restart
21:11: unit a.service is masked, so it cannot have content or be enabled
21:11: unit a.service stands twice
25:14: a@.service is a template: only its instances can have a command
26:1: key `write-files` stands twice, first at 4:1
"
    );
}

#[test]
fn what_is_no_document_is_refused_at_its_place() {
    assert_eq!(problems(""), "1:1: the first line must be `#cloud-config`\n");
    assert_eq!(problems("#!/bin/sh\n"), "1:1: the first line must be `#cloud-config`\n");
    assert_eq!(problems("#cloud-config\n- a\n"), "2:1: expected a mapping of keys to values, found a list\n");
    let broken = parse(b"#cloud-config\nhostname: \xff\n").unwrap_err();
    assert_eq!(broken[0].to_string(), "2:11: not UTF-8");
    assert_eq!(problems("#cloud-config\nhostname: [\n").lines().count(), 1);
    assert!(parse(b"#cloud-config  \n").is_ok());
}

#[test]
fn a_gzip_bomb_is_refused() {
    use base64::Engine;
    use std::io::Write;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..17 {
        packer.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let packed = base64::engine::general_purpose::STANDARD.encode(packer.finish().unwrap());
    let text =
        format!("#cloud-config\nwrite_files: [{{path: /etc/x, encoding: gz+b64, content: {packed}}}]\n");
    assert!(problems(&text).contains("unpacks to more than 16777216 bytes"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(parse(&bytes));
        drop(parse(&[b"#cloud-config\n", bytes.as_slice()].concat()));
    }

    #[test]
    fn no_change_of_a_good_document_makes_it_panic(at in 0..GOOD.len(), byte: u8) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = byte;
        drop(parse(&bytes));
    }
}
