//! User-data: from each of its sources, kept, and refused as a whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use qemu_tests::{Boot, Disk, Image, add_disk, give, row, seed};
use slipway::boot::{Request, prepare};
use slipway::inputs::cache::Cache;
use slipway::machine::Accel;

const DOCUMENT: &str = r#"#cloud-config
hostname: anna
write_files:
  - path: /etc/motto
    permissions: "0640"
    content: |
      nothing drifts
units:
  - name: hello.service
    enable: true
    content: |
      [Service]
      Type=oneshot
      StandardOutput=journal+console
      ExecStart=/usr/bin/busybox sh -c "echo hello from `busybox hostname`: `busybox cat /etc/motto`"
      ExecStart=/usr/bin/busybox stat -c "mode %%a" /etc/motto
      [Install]
      WantedBy=multi-user.target
"#;

/// The document was carried out.
fn assert_applied(boot: &mut Boot) -> String {
    boot.wait("hello from anna: nothing drifts");
    boot.wait("mode 640");
    let console = boot.ready();
    assert!(row(&console, "units").ends_with(" 0 failed"), "{console}");
    row(&console, "user-data")
}

#[test]
fn a_nocloud_disk_is_read_once_and_kept() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let mut spec = Boot::direct(&disk, &image);
    let disk_only = spec.clone();
    add_disk(&mut spec, &seed(&disk, DOCUMENT));
    let mut boot = Boot::start(&spec);
    assert_eq!(assert_applied(&mut boot), "applied, from NoCloud disk /dev/vdb");
    boot.cut();

    // The source is gone, and another one is not looked at.
    let mut spec = disk_only;
    give(&mut spec, &disk, "#cloud-config\nhostname: berta\n");
    let mut boot = Boot::start(&spec);
    assert_eq!(assert_applied(&mut boot), "applied, kept from an earlier boot");
}

#[test]
fn fw_cfg() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let mut spec = Boot::direct(&disk, &image);
    give(&mut spec, &disk, DOCUMENT);
    let source = assert_applied(&mut Boot::start(&spec));
    assert_eq!(source, "applied, from QEMU fw_cfg opt/slipway/user-data");
}

#[test]
fn smbios() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let mut spec = Boot::direct(&disk, &image);
    let value = format!("type=11,value=slipway.user-data=base64:{}", STANDARD.encode(DOCUMENT));
    spec.more.extend(["-smbios".into(), value.into()]);
    let source = assert_applied(&mut Boot::start(&spec));
    assert_eq!(source, "applied, from SMBIOS OEM string slipway.user-data");
}

#[test]
fn a_large_document_of_a_laptop_goes_onto_a_disk() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let path = disk.folder().join("large.yaml");
    let filler = "    # what fw_cfg should not carry\n".repeat(4000);
    std::fs::write(&path, DOCUMENT.replacen("units:\n", &format!("units:\n{filler}"), 1)).unwrap();
    let request = Request {
        image: disk.path(),
        user_data: Some(path),
        memory_mib: 256,
        cpus: 1,
        forwards: Vec::new(),
        snapshot: true,
        direct: true,
        accel: Some(Accel::Tcg),
    };
    let cache = Cache::open(&disk.folder().join("cache")).unwrap();
    let prepared = prepare(&request, &cache).unwrap();
    assert_eq!(prepared.spec.user_data, None);
    let source = assert_applied(&mut Boot::start(&prepared.spec));
    assert_eq!(source, "applied, from NoCloud disk /dev/vdb");
}

#[test]
fn a_document_with_faults_is_refused_as_a_whole() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let mut spec = Boot::direct(&disk, &image);
    let lines = DOCUMENT.lines().count();
    give(&mut spec, &disk, &format!("{DOCUMENT}  - name: [no name]\nsurprise: 1\n"));
    let mut boot = Boot::start(&spec);
    boot.wait("user-data: REFUSED: QEMU fw_cfg");
    boot.wait(&format!("user-data: {}:", lines + 1));
    boot.wait(&format!("user-data: {}:1: ", lines + 2));
    let console = boot.ready();
    assert!(row(&console, "user-data").starts_with("REFUSED"), "{console}");
    assert!(!console.contains("hello from"), "{console}");
    boot.cut();

    // It was not kept: a good one is taken at the next boot.
    give(&mut spec, &disk, DOCUMENT);
    let source = assert_applied(&mut Boot::start(&spec));
    assert_eq!(source, "applied, from QEMU fw_cfg opt/slipway/user-data");
}
