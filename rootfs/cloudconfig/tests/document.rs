//! Whole documents: what they ask for, and everything that is wrong with them.

use cloudconfig::{Account, Content, Context, DropIn, Facts, Plan, Problem, UnitCommand, UnitFault};
use proptest::prelude::*;

/// Parses for a machine that knows its private IPv4 address.
fn parse(bytes: &[u8]) -> Result<Plan, Vec<Problem>> {
    let mut facts = Facts::default();
    assert!(facts.read_assignment("private_ipv4=10.0.0.1").is_some());
    let check_unit = |_: &str, text: &str| {
        let bad = text.lines().enumerate().filter(|(_, line)| line.contains("bad"));
        bad.map(|(at, line)| UnitFault {
            line: at + 1,
            message: "a bad line".to_owned(),
            fatal: !line.contains("suspicious"),
        })
        .collect()
    };
    cloudconfig::parse(bytes, &Context { facts: &facts, check_unit: &check_unit })
}

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
18:11: unit \"x.device\" is of no kind that can be given here; kinds: container, link, mount, netdev, network, path, service, slice, socket, target, timer
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
    assert_eq!(problems("x: y\n"), "1:1: the first line must be `#cloud-config`, or begin with `#!`\n");
    assert!(problems("{\"ignition\": {}}").contains("Ignition"));
    assert!(parse(b" \n").unwrap().units.is_empty());
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

/// The texts of the generated files by path.
fn generated(plan: &Plan) -> Vec<(String, String)> {
    plan.generated.iter().map(|file| (file.path.clone(), file.render(""))).collect()
}

#[test]
fn sections_of_daemons_become_drop_ins_in_either_spelling() {
    let text = "\
#cloud-config
coreos:
  etcd2:
    name: one
    advertise-client-urls: http://$private_ipv4:2379
    initial_cluster_token: 'a\"b%c'
    proxy: off
    debug: yes
    election-timeout: 1000
    data_dir: ''
  fleet:
    metadata: region=a,disk=ssd
    etcd_servers: http://$private_ipv4:2379
  flannel:
    interface: $private_ipv4
    ip_masq: true
  locksmith:
    endpoint: http://127.0.0.1:2379
    window-start: Thu 04:00
    window_length: 1h30m
  update:
    group: beta
    reboot-strategy: off
  oem:
    id: rackspace
    name: Rackspace Cloud
    home-url: https://example.org/$x
";
    let plan = parse(text.as_bytes()).unwrap();
    let expected = [
        (
            "/run/systemd/system/etcd2.service.d/20-cloudinit.conf",
            "[Service]\nEnvironment=\"ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.1:2379\"\n\
             Environment=\"ETCD_DEBUG=true\"\nEnvironment=\"ETCD_ELECTION_TIMEOUT=1000\"\n\
             Environment=\"ETCD_INITIAL_CLUSTER_TOKEN=a\\\"b%%c\"\nEnvironment=\"ETCD_NAME=one\"\n\
             Environment=\"ETCD_PROXY=off\"\n",
        ),
        (
            "/run/systemd/system/fleet.service.d/20-cloudinit.conf",
            "[Service]\nEnvironment=\"FLEET_ETCD_SERVERS=http://10.0.0.1:2379\"\n\
             Environment=\"FLEET_METADATA=region=a,disk=ssd\"\n",
        ),
        (
            "/run/systemd/system/flanneld.service.d/20-cloudinit.conf",
            "[Service]\nEnvironment=\"FLANNELD_IFACE=10.0.0.1\"\nEnvironment=\"FLANNELD_IP_MASQ=true\"\n",
        ),
        ("/run/flannel/options.env", "FLANNELD_IFACE=10.0.0.1\nFLANNELD_IP_MASQ=true\n"),
        (
            "/run/systemd/system/locksmithd.service.d/20-cloudinit.conf",
            "[Service]\nEnvironment=\"LOCKSMITHD_ENDPOINT=http://127.0.0.1:2379\"\n\
             Environment=\"REBOOT_WINDOW_LENGTH=1h30m\"\nEnvironment=\"REBOOT_WINDOW_START=Thu 04:00\"\n",
        ),
        ("/etc/coreos/update.conf", "GROUP=beta\nREBOOT_STRATEGY=off\n"),
        (
            "/etc/oem-release",
            "ID=rackspace\nNAME=\"Rackspace Cloud\"\nHOME_URL=\"https://example.org/\\$x\"\n",
        ),
        ("/etc/environment", "COREOS_PRIVATE_IPV4=10.0.0.1\n"),
    ];
    let expected: Vec<_> = expected.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
    assert_eq!(generated(&plan), expected);
    assert!(matches!(plan.generated[0].text, Content::Whole(_)));
    let masked: Vec<_> =
        plan.units.iter().map(|unit| (unit.name.as_str(), unit.mask, unit.runtime)).collect();
    assert_eq!(masked, [("locksmithd.service", true, true)]);
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvcLRmK4Jf8GuTgqh2vGkYBSXgx9oPE7DHxyQ+xJ7Eh me";

#[test]
fn users_and_keys_are_taken() {
    let text = format!(
        "#cloud-config\nssh_authorized_keys: [{KEY}]\nmanage-etc-hosts: localhost\nusers:\n  - name: anna\n    passwd: $6$salt$0123456789abcdef\n    ssh-authorized-keys:\n      - {KEY}\n    gecos: Anna\n    homedir: /home/a\n    no-create-home: true\n    primary-group: users\n    groups: [sudo, docker]\n    system: no\n    no-log-init: true\n    shell: /bin/sh\n"
    );
    let plan = parse(text.as_bytes()).unwrap();
    assert!(plan.manage_etc_hosts);
    let [anna, core] = plan.users.as_slice() else { panic!("{:?}", plan.users) };
    assert_eq!((core.name.as_str(), core.keys.as_slice()), ("core", [KEY.to_owned()].as_slice()));
    assert_eq!(
        (anna.keys.len(), anna.groups.as_slice()),
        (1, ["sudo".to_owned(), "docker".to_owned()].as_slice())
    );
    assert_eq!(anna.primary_group, Some(Account::Name("users".to_owned())));
    assert_eq!((anna.homedir.as_deref(), anna.shell.as_deref()), (Some("/home/a"), Some("/bin/sh")));
}

#[test]
fn faults_of_all_sections_are_said_at_once() {
    let text = "\
#cloud-config
ssh_authorized_keys:
  - ssh-dss AAAA
manage_etc_hosts: true
users:
  - name: 1a
    passwd: secret
    gecos: a:b
    homedir: /usr/x
    shell: sh
    sudo: ALL
    coreos-ssh-import-github: anna/b
  - name: a
    grups: [x]
  - name: a
coreos:
  hostname: x
  etcd:
    addr: x
  etcd2:
    nam: x
    debug: maybe
    proxy: perhaps
    name: \"a\\nb\"
    election_timeout: 1s
    data_dir: $public_ipv4 and $private_ipv4, $public_ipv4
  update: {reboot_strategy: never}
  locksmith: {window_start: 25:00}
  units:
    - name: a.service
      content: |
        [Service]

        bad $private_ipv4
        suspicious bad
      drop-ins:
        - name: b.conf
          content: \"[Unit]\\nbad\"
    - name: a.network
      enable: true
";
    assert_eq!(
        problems(text),
        "\
3:5: DSA keys (ssh-dss) are not taken: make one with `ssh-keygen -t ed25519`
4:19: manage_etc_hosts can only be `localhost`, found `true`
6:11: a user's name is a letter or `_`, then letters, digits, `_`, `-` and `.`, 32 at most
7:13: passwd: not a hash of a password: make one with `mkpasswd --method=yescrypt`
8:12: gecos: holds a colon or a line break, which passwd(5) cannot
9:14: homedir: path \"/usr/x\" is in the slot, which is read-only; files can be in /etc, /home, /opt, /root, /run, /srv, /tmp, /var
10:12: shell: not an absolute path
11:11: `sudo`: not supported: use `groups: [sudo]`
12:31: not the name of a GitHub account
14:5: unknown key `grups`; did you mean `groups`?
15:11: user a stands twice
17:13: `hostname` belongs to the top of the document, not below `coreos`
19:5: `etcd` configured etcd 0.4, which nothing here speaks; use `etcd2`, whose keys are those of etcd
21:5: unknown key `nam`; did you mean `name`?
22:12: expected true or false, found `maybe`
23:12: expected one of off, on, readonly, found `perhaps`
24:11: expected one line of text, found `a
b`
25:23: expected a whole number within bounds, found `1s`
26:15: $public_ipv4 is not known here: no metadata gives it (write `\\$public_ipv4` for the text itself)
26:47: $public_ipv4 is not known here: no metadata gives it (write `\\$public_ipv4` for the text itself)
27:29: expected one of best-effort, etcd-lock, off, reboot, found `never`
28:29: expected a time such as `14:00` or `Thu 04:00`, found `25:00`
34:9: a.service: a bad line
38:20: a.service: a bad line
39:13: a.network is read by the network service: it cannot be enabled or have a command
"
    );
}

#[test]
fn a_suspicious_unit_is_a_warning_with_its_place() {
    let text =
        "#cloud-config\nunits:\n  - name: a.service\n    content: |\n      [Unit]\n      suspicious bad\n";
    let plan = parse(text.as_bytes()).unwrap();
    assert_eq!(plan.warnings[0].to_string(), "6:7: a.service: a bad line");
}

#[test]
fn a_script_becomes_a_unit_after_the_basic_system() {
    let plan = parse(b"#!/bin/sh -e\necho $private_ipv4\n").unwrap();
    let [script] = plan.scripts.as_slice() else { panic!("{plan:?}") };
    assert_eq!((script.interpreter.as_str(), script.argument.as_deref()), ("/bin/sh", Some("-e")));
    let unit = script.unit();
    assert!(unit.contains("After=basic.target\n"), "{unit}");
    assert!(unit.contains("ExecStart=\"/bin/sh\" \"-e\" /run/slipway/scripts/1\n"), "{unit}");
    assert_eq!(problems("#!sh\n"), "1:3: interpreter \"sh\" is not an absolute path\n");
}

#[test]
fn keys_are_imported_by_either_spelling() {
    let text = "users:
  - name: core
    coreos-ssh-import-github: octocat
    coreos_ssh_import_github_users: [anna, octocat, berta_x]
    coreos-ssh-import-url: http://token:x@10.0.0.1/keys
";
    let context = Context { facts: &Facts::default(), check_unit: &|_, _| Vec::new() };
    let plan = cloudconfig::parse(format!("#cloud-config\n{text}").as_bytes(), &context).unwrap();
    let imports: Vec<String> = plan.users[0].imports.iter().map(ToString::to_string).collect();
    assert_eq!(imports, ["github octocat", "github anna", "github berta_x", "url http://10.0.0.1/keys"]);
    let warnings: Vec<String> = plan.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["6:28: keys over http:// are whatever anyone on the way says they are: use https://"]
    );
    for url in ["ftp://x/", "https://", "https:///x", "https://a b"] {
        let text = format!("#cloud-config\nusers:\n  - name: core\n    coreos-ssh-import-url: \"{url}\"\n");
        let problems = cloudconfig::parse(text.as_bytes(), &context).unwrap_err();
        assert_eq!(problems.len(), 1, "{url}: {problems:?}");
    }
}
