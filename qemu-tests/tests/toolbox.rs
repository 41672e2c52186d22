//! The default image, whose slot has no shell: `toolbox` opens one with the tools that the image brings, of a unit
//! as root and of a user by SSH.

use qemu_tests::{Boot, Disk, Image, Ssh, document, give};
use std::io::{Read, Write as _};
use std::process::Stdio;

/// What each tool says of itself, so that its libraries are there; that the host's files are seen and not written
/// to; that there is a home to write to.
const LOOK: &str = "set -e; strace -V; ip -br link show lo; ss -tln; curl --version; tcpdump --version; nano --version; \
                    e2fsck -V; htop --version; lsblk -V; \
                    ls -d /media/root/usr/bin/toolbox; ! touch /media/root/var/never; cd ~; touch new /tmp/new; id -u; \
                    echo the-tools-are-there";
const SAID: [&str; 11] = [
    "strace -- version",
    "lo               UNKNOWN",
    ":22",
    "curl 7.",
    "tcpdump version",
    "GNU nano, version",
    "e2fsck 1.",
    "htop 3.",
    "lsblk from util-linux",
    "/media/root/usr/bin/toolbox",
    "Read-only file system",
];

/// Reads until `needle` has come; gives all that came.
fn until(from: &mut impl Read, needle: &str) -> String {
    let mut seen = Vec::new();
    let mut byte = [0];
    while from.read(&mut byte).unwrap() == 1 {
        seen.push(byte[0]);
        if seen.ends_with(needle.as_bytes()) {
            return String::from_utf8_lossy(&seen).into_owned();
        }
    }
    panic!("`{needle}` does not come after {:?}", String::from_utf8_lossy(&seen));
}

#[test]
fn a_machine_without_a_shell_opens_one_with_tools() {
    let image = Image::standard();
    let disk = Disk::of(&image);
    let ssh = Ssh::new(&disk);
    let unit = format!(
        "[Unit]\nWants=network-online.target\nAfter=network-online.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         StandardOutput=journal+console\nStandardError=journal+console\n\
         ExecStart=/usr/bin/toolbox run -- sh -c \"{LOOK}\"\n[Install]\nWantedBy=multi-user.target\n"
    );
    let mut user_data = document(&[("tools.service", &unit)]);
    user_data += &ssh.users(&[]);
    let mut spec = Boot::direct(&disk, &image);
    ssh.forward(&mut spec);
    give(&mut spec, &disk, &user_data);
    let mut boot = Boot::start(&spec);
    boot.wait_for_all(&["the-tools-are-there", "slipway: ready"]);
    let console = boot.text();
    for said in SAID {
        assert!(console.contains(said), "`{said}` is not said");
    }

    // As a user, in a user namespace.
    let output = ssh.run("core", &format!("toolbox run -- sh -c '{LOOK}'"));
    let told = [output.stdout.as_slice(), &output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(output.status.success(), "{told}");
    for said in SAID {
        assert!(told.contains(said), "`{said}` is not in {told}");
    }
    assert_eq!(ssh.run("core", "toolbox run -- sh -c 'exit 42'").status.code(), Some(42));

    // The processes of boxes, those of this one among them.
    let count = || ssh.good("toolbox run --profile process -- sh -c 'ps -o args | grep -c [t]oolbox'");
    let before = count();

    // A shell on a terminal, with a prompt that says where one is.
    let mut shell = ssh.on_terminal("toolbox");
    shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let (mut keys, mut screen) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
    let prompt = until(&mut screen, "# ");
    assert!(prompt.contains("root@") && prompt.contains(':'), "{prompt:?}");
    keys.write_all(b"tty; cd /media/root/etc && pwd; echo $((6 * 7))-$TERM\n").unwrap();
    until(&mut screen, "/media/root/etc\r\n");
    until(&mut screen, "42-");
    until(&mut screen, ":/media/root/etc# ");
    keys.write_all(b"exit 7\n").unwrap();
    assert_eq!(shell.wait().unwrap().code(), Some(7));

    // Nothing of a box stays.
    assert_eq!(count(), before, "processes of boxes");
    boot.cut();
}
