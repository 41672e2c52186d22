//! Plans compared as text, a line a step.

use super::*;
use crate::unit::load::apply_text;
use crate::unit::{Facts as UnitFacts, LoadState, Unit, UnitName};

fn sandbox(lines: &str) -> Sandbox {
    let mut unit = Unit::new(UnitName::parse("a.service").unwrap(), LoadState::Loaded);
    let text = format!("[Service]\n{lines}\n");
    let problems = apply_text(&mut unit, Path::new("a.service"), text.as_bytes(), &UnitFacts::default());
    assert_eq!(problems, []);
    unit.service.unwrap().context.sandbox.map(|sandbox| *sandbox).unwrap_or_default()
}

fn plan(lines: &str, facts: &Facts) -> Vec<String> {
    let Some(mounts) = mounts(&sandbox(lines), facts).unwrap() else { return Vec::new() };
    let flags = |set: u64| match set {
        0 => String::new(),
        READ_ONLY => " ro".into(),
        NO_EXEC => " noexec".into(),
        other => format!(" {other:#x}"),
    };
    let say = |step: &MountStep| match step {
        MountStep::Take { tree, source, flags: (set, _), optional, .. } => {
            let mark = if *optional { "?" } else { "" };
            format!("take {tree} {}{mark}{}", source.to_str().unwrap(), flags(*set))
        }
        MountStep::Put { tree, target, .. } => format!("put {tree} {}", target.to_str().unwrap()),
        MountStep::Cover { target, .. } => format!("cover {}", target.to_str().unwrap()),
        MountStep::Mount { fs_type, target, options, .. } => {
            let (fs_type, target, options) =
                (fs_type.to_str().unwrap(), target.to_str().unwrap(), options.to_str().unwrap());
            format!("mount {fs_type} {target} {options}")
        }
        MountStep::Flags { target, set, .. } => format!("flags {}{}", target.to_str().unwrap(), flags(*set)),
        MountStep::Link { text, path } => {
            format!("link {} {}", path.to_str().unwrap(), text.to_str().unwrap())
        }
    };
    mounts.steps.iter().map(say).collect()
}

#[test]
fn without_such_keys_there_is_no_namespace() {
    for lines in ["", "RestrictRealtime=yes", "PrivateNetwork=yes", "ProtectSystem=no"] {
        assert_eq!(mounts(&sandbox(lines), &Facts::default()).unwrap(), None, "{lines}");
    }
    assert_eq!(mounts(&sandbox("PrivateMounts=yes"), &Facts::default()).unwrap().unwrap().steps, []);
}

#[test]
fn what_lies_below_a_read_only_path_is_taken_before_it_changes() {
    let lines = "ProtectSystem=strict\nProtectHome=yes\nReadWritePaths=/var/lib/x -/var/log/x\nNoExecPaths=/var/log/x";
    let facts =
        Facts { folders: vec!["/run/x".into()], covers: ("/c/d".into(), "/c/f".into()), ..Facts::default() };
    assert_eq!(
        plan(lines, &facts),
        [
            "take 0 /c/d ro",
            "take 1 /c/f ro",
            "take 2 /dev?",
            "take 3 /proc?",
            "take 4 /run/x?",
            "take 5 /sys?",
            "take 6 /var/lib/x",
            "take 7 /var/log/x noexec",
            "flags / ro",
            "put 2 /dev",
            "cover /home",
            "put 3 /proc",
            "cover /root",
            "cover /run/user",
            "put 4 /run/x",
            "put 5 /sys",
            "put 6 /var/lib/x",
            "put 7 /var/log/x",
        ]
    );
}

#[test]
fn nothing_is_done_below_what_cannot_be_opened() {
    let facts = Facts { covers: ("/c/d".into(), "/c/f".into()), ..Facts::default() };
    assert_eq!(
        plan("InaccessiblePaths=/srv\nReadWritePaths=/srv/x\nBindPaths=/a:/srv/b", &facts),
        ["take 0 /c/d ro", "take 1 /c/f ro", "cover /srv"]
    );
}

#[test]
fn a_new_file_system_becomes_read_only_when_all_is_in_it() {
    assert_eq!(
        plan("TemporaryFileSystem=/srv:ro,size=1m\nBindReadOnlyPaths=/etc:/srv/etc", &Facts::default()),
        ["take 2 /etc ro", "mount tmpfs /srv mode=0755,size=1m", "put 2 /srv/etc", "flags /srv ro"]
    );
}

#[test]
fn a_root_directory_moves_every_path_but_those_of_the_host() {
    let lines = "RootDirectory=/srv/r\nProtectSystem=full\nMountAPIVFS=yes\nReadOnlyPaths=+/data /host";
    assert_eq!(
        plan(lines, &Facts::default()),
        [
            "take 2 /host ro",
            "take 3 /srv/r",
            "take 4 /srv/r/boot? ro",
            "take 5 /srv/r/data ro",
            "take 6 /dev",
            "take 7 /srv/r/efi? ro",
            "take 8 /srv/r/etc? ro",
            "take 9 /sys",
            "take 10 /srv/r/usr? ro",
            "put 2 /host",
            "put 3 /srv/r",
            "put 4 /srv/r/boot",
            "put 5 /srv/r/data",
            "put 6 /srv/r/dev",
            "put 7 /srv/r/efi",
            "put 8 /srv/r/etc",
            "mount proc /srv/r/proc ",
            "put 9 /srv/r/sys",
            "put 10 /srv/r/usr",
        ]
    );
}

#[test]
fn kernel_keys_and_capabilities() {
    let facts = Facts { covers: ("/c/d".into(), "/c/f".into()), ..Facts::default() };
    let steps = plan("ProtectProc=invisible\nProcSubset=pid\nProtectKernelLogs=yes", &facts);
    assert!(steps.contains(&"mount proc /proc hidepid=invisible,subset=pid".to_owned()), "{steps:?}");
    assert!(steps.contains(&"cover /dev/kmsg".to_owned()));
    let cap = |name: &str| 1 << sys::process::capability_by_name(name).unwrap();
    let dropped = dropped_capabilities(&sandbox("ProtectKernelLogs=yes\nPrivateDevices=yes"));
    assert_eq!(dropped, cap("SYSLOG") | cap("MKNOD") | cap("SYS_RAWIO"));
}

#[test]
fn a_dynamic_user_sees_its_private_folders_alone() {
    let facts = Facts {
        private_folders: vec!["/var/lib/private/x".into()],
        tmp: Some(("/tmp/p/tmp".into(), "/var/tmp/p/tmp".into())),
        ..Facts::default()
    };
    let steps = plan("DynamicUser=yes", &facts);
    let at = |step: &str| {
        steps.iter().position(|found| found == step).unwrap_or_else(|| panic!("{step}: {steps:#?}"))
    };
    assert!(at("flags / ro") < at("mount tmpfs /var/lib/private mode=0755"));
    assert!(steps.iter().any(|step| step.starts_with("put") && step.ends_with(" /var/lib/private/x")));
    assert!(steps.iter().any(|step| step.starts_with("put") && step.ends_with(" /tmp")));
}

#[test]
fn too_many_mounts_are_refused() {
    let lines: String = (0..250).map(|n| format!("ReadOnlyPaths=/p/{n}\n")).collect();
    assert!(matches!(mounts(&sandbox(&lines), &Facts::default()), Err(IsolationError::TooMany(252))));
}
