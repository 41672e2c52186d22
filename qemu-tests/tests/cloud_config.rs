//! Keys of cloud-config on a machine: the drop-in of the seed case, users and keys, daemons'
//! environments, scripts, a config drive with metadata, the recovery key.

use qemu_tests::{Boot, Disk, Image, add_disk, give, row, tool};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvcLRmK4Jf8GuTgqh2vGkYBSXgx9oPE7DHxyQ+xJ7Eh me";

/// The seed case: an existing unit is ordered after another and given an environment file.
#[test]
fn a_drop_in_changes_a_unit_that_is_not_touched() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let document = r#"#cloud-config
write_files:
  - path: /etc/app.env
    content: GREETING=hello from the environment file
coreos:
  units:
    - name: first.service
      content: |
        [Service]
        Type=oneshot
        ExecStart=/usr/bin/busybox sh -c "busybox sha256sum /usr/bin/host >/dev/null; echo is first > /run/first"
    - name: slipway-bless.service
      drop-ins:
        - name: 10-order.conf
          content: |
            [Unit]
            Requires=first.service
            After=first.service
            [Service]
            EnvironmentFile=/etc/app.env
            ExecStartPre=/usr/bin/busybox sh -c "echo bless says: $GREETING; echo first `busybox cat /run/first`"
"#;
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, document);
    let mut boot = Boot::start(&spec);
    boot.wait("bless says: hello from the environment file");
    boot.wait("first is first");
    boot.wait(qemu_tests::BLESSED);
}

#[test]
fn users_keys_and_daemons_are_rendered_from_a_config_drive() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let tree = disk.folder().join("drive");
    fs::create_dir_all(tree.join("openstack/latest")).unwrap();
    let metadata = format!(
        "{{\"hostname\": \"from-metadata\", \"public_keys\": {{\"a\": \"{KEY}\"}}, \"meta\": {{\"private_ipv4\": \"10.0.0.7\"}}}}"
    );
    fs::write(tree.join("openstack/latest/meta_data.json"), metadata).unwrap();
    let document = format!(
        r#"MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=="

--==
Content-Type: text/cloud-config

#cloud-config
users:
  - name: anna
    passwd: $6$salt$0123456789abcdef
    groups: [sudo]
    ssh-authorized-keys: [{KEY}]
coreos:
  etcd2:
    advertise-client-urls: http://$private_ipv4:2379
  units:
    - name: etcd2.service
      command: start
      content: |
        [Service]
        Type=oneshot
        StandardOutput=journal+console
        ExecStart=/usr/bin/busybox sh -c "echo etcd at $ETCD_ADVERTISE_CLIENT_URLS on `busybox hostname`"
--==
Content-Type: text/x-shellscript

#!/usr/bin/busybox sh
exec > /dev/console
echo the script runs
busybox id anna
busybox stat -c 'home %n %a %U' /home/anna /var/home/core
busybox stat -c 'keys %n %a %U' /etc/ssh/authorized_keys.d/*
busybox stat -c 'shadow %a' /etc/shadow
echo hash `busybox grep anna: /etc/shadow`
echo script done
--==--
"#
    );
    fs::write(tree.join("openstack/latest/user_data"), document).unwrap();
    let drive = disk.folder().join("drive.iso");
    tool("xorriso", "xorrisofs", &[&"-quiet", &"-R", &"-V", &"config-2", &"-o", &drive, &tree]);
    let mut spec = Boot::direct(&disk, &image);
    add_disk(&mut spec, &drive);
    for source in ["applied, from config drive /dev/vdb", "applied, kept from an earlier boot"] {
        let mut boot = Boot::start(&spec);
        boot.wait(qemu_tests::READY);
        boot.wait_for_all(&[
            "etcd at http://10.0.0.7:2379 on from-metadata",
            "the script runs",
            "uid=",
            "(sudo)",
            "home /home/anna 700 anna",
            "home /var/home/core 700 core",
            "keys /etc/ssh/authorized_keys.d/anna 644 root",
            "keys /etc/ssh/authorized_keys.d/core 644 root",
            "shadow 600",
            "hash anna:$6$salt$0123456789abcdef::0:99999:7:::",
            "script done",
        ]);
        let console = boot.text();
        assert_eq!(row(&console, "user-data"), source, "{console}");
        boot.cut();
        // The drive is gone, and what its metadata said is kept.
        spec.more_disks.clear();
    }
}

#[test]
fn a_refused_document_lets_the_recovery_key_in_and_an_accepted_one_does_not() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let mut spec = Boot::direct(&disk, &image);
    spec.more.extend(["-smbios".into(), format!("type=11,value=slipway.recovery-key={KEY}").into()]);
    give(&mut spec, &disk, "#cloud-config\nhostnam: x\n");
    let mut boot = Boot::start(&spec);
    boot.wait("user-data: 2:1: unknown key `hostnam`; did you mean `hostname`?");
    boot.wait("user-data: the recovery key opens this machine for core");
    let console = boot.ready();
    assert!(row(&console, "user-data").starts_with("REFUSED"), "{console}");
    boot.cut();
    give(&mut spec, &disk, "#cloud-config\nhostname: x\n");
    let console = Boot::start(&spec).ready();
    assert!(!console.contains("recovery key"), "{console}");
}

#[test]
fn a_document_that_cannot_be_fetched_is_said_and_the_machine_gets_ready() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let mut spec = Boot::direct(&disk, &image);
    // Refused for good, so that nothing is tried again.
    let url = "ftp://example.org/cloud-config.yml";
    let smbios = format!("type=11,value=slipway.user-data-url={url}");
    spec.more.extend(["-smbios", &smbios, "-nic", "user,model=virtio-net-pci"].map(Into::into));
    let mut boot = Boot::start(&spec);
    boot.wait(&format!("user-data: not fetched: {url}: not a URL that begins with"));
    let console = boot.ready();
    let why = format!("NOT FETCHED: {url}: not a URL that begins with https:// or http://");
    assert_eq!(row(&console, "user-data"), why, "{console}");
    assert!(row(&console, "units").ends_with(" 0 failed"), "{console}");
    boot.wait_for_all(&[qemu_tests::BLESSED]);
}

/// Serves these bodies by path on the loopback, which a guest of QEMU's user network sees as
/// 10.0.2.2; anything else is not found. Gives the port.
fn serve(bodies: &'static [(&'static str, &'static str)]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
            let path = request.split(' ').nth(1).unwrap_or_default();
            let found = bodies.iter().find(|(known, _)| *known == path);
            let (status, body) = found.map_or((404, ""), |(_, body)| (200, *body));
            // The guest may have been cut off.
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    port
}

#[test]
fn a_document_is_fetched_before_the_default_target_and_kept() {
    const DOCUMENT: &str = "#cloud-config\nunits:\n  - name: fetched.service\n    enable: true\n    content: |\n      \
        [Service]\n      Type=oneshot\n      StandardOutput=journal+console\n      \
        ExecStart=/usr/bin/busybox sh -c \"echo fetched for $private_ipv4 on `busybox hostname`\"\n      \
        [Install]\n      WantedBy=multi-user.target\n";
    let port = serve(&[
        ("/latest/api/token", "secret"),
        ("/latest/meta-data/local-ipv4", "10.9.8.7"),
        ("/latest/meta-data/hostname", "from-the-network"),
        ("/latest/user-data", DOCUMENT),
    ]);
    let image = Image::older();
    let disk = Disk::of(&image);
    let mut spec = Boot::direct(&disk, &image);
    let url = format!("type=11,value=slipway.metadata-url=http://10.0.2.2:{port}");
    spec.more.extend(["-smbios", &url, "-nic", "user,model=virtio-net-pci"].map(Into::into));
    for word in ["applied, from http://10.0.2.2", "applied, kept from an earlier boot"] {
        let mut boot = Boot::start(&spec);
        boot.wait_for_all(&["fetched for 10.9.8.7 on from-the-network"]);
        let console = boot.ready();
        assert!(row(&console, "user-data").starts_with(word), "{console}");
        boot.cut();
    }
}

/// Keys are imported after the machine is ready, shown, and there again without the network.
#[test]
fn imported_keys_are_kept_for_a_boot_without_network() {
    let json = format!("[{{\"id\":1,\"key\":\"{KEY}\"}}]");
    let bodies = vec![("/users/octocat/keys?per_page=100", &*json.leak())];
    let port = serve(bodies.leak());
    let image = Image::older();
    let disk = Disk::of(&image);
    let document = format!(
        r#"#cloud-config
users:
  - name: core
    coreos-ssh-import-github: octocat
coreos:
  units:
    - name: slipway-ssh-import.service
      drop-ins:
        - name: 10-test.conf
          content: |
            [Service]
            ExecStart=
            ExecStart=/usr/bin/host import-ssh-keys --github-api=http://10.0.2.2:{port}
            ExecStopPost=/usr/bin/host status
    - name: look.service
      command: start
      content: |
        [Service]
        Type=oneshot
        StandardOutput=journal+console
        ExecStart=/usr/bin/busybox sh -c "busybox tail -n 1 /etc/ssh/authorized_keys.d/core.d/imported || true"
"#
    );
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, &document);
    let plain = spec.more.clone();
    spec.more.extend(["-nic", "user,model=virtio-net-pci"].map(Into::into));
    let mut boot = Boot::start(&spec);
    boot.wait_for_all(&["ssh keys of core: github octocat: 1 key", "ssh keys   core, github octocat: 1 key"]);
    let console = boot.ready();
    assert!(row(&console, "units").ends_with(" 0 failed"), "{console}");
    boot.cut();
    spec.more = plain;
    let mut boot = Boot::start(&spec);
    // The key stands there before the unit starts, and nothing can be asked.
    let key = KEY.trim_end_matches(" me");
    boot.wait_for_all(&[key, qemu_tests::READY, "ssh keys of core: github octocat: "]);
}
