//! `[Mount]` (systemd.mount(5)) and `[Slice]` (systemd.slice(5)).

use super::command::Command;
use super::config::{Phase, Special, Unit};
use super::directive::{Scope, cgroup_key, kill_or_context_key};
use super::name::{UnitName, escape_path};
use super::{Fault, value};
use std::path::{Path, PathBuf};

/// `argv[0]` of PID 1's own program when it mounts.
pub const MOUNT: &str = "(mount)";
/// `argv[0]` of PID 1's own program when it unmounts.
pub const UNMOUNT: &str = "(umount)";

/// `[Mount]`. The commands that mount and unmount are the unit's `service`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as the manual has them")]
pub struct MountConfig {
    /// `What=`.
    pub what: String,
    /// `Where=`.
    pub target: PathBuf,
    /// `Type=`; empty is found out.
    pub fs_type: String,
    /// `Options=`.
    pub options: String,
    /// `SloppyOptions=`.
    pub sloppy: bool,
    /// `LazyUnmount=`.
    pub lazy: bool,
    /// `ForceUnmount=`.
    pub force: bool,
    /// `ReadWriteOnly=`.
    pub read_write_only: bool,
    /// `DirectoryMode=`.
    pub directory_mode: Option<u32>,
}

impl MountConfig {
    /// The device node of `What=`, where it is on one (`LABEL=` and its kin are links that the device
    /// manager makes).
    pub fn node(&self) -> Option<PathBuf> {
        let by =
            [("LABEL=", "label"), ("UUID=", "uuid"), ("PARTLABEL=", "partlabel"), ("PARTUUID=", "partuuid")];
        for (prefix, folder) in by {
            if let Some(value) = self.what.strip_prefix(prefix) {
                let value = value.trim_matches('"');
                return Some(Path::new("/dev/disk").join(format!("by-{folder}")).join(encode(value)));
            }
        }
        self.what.starts_with("/dev/").then(|| PathBuf::from(&self.what))
    }

    /// Whether it needs the network (systemd.mount(5), `_netdev`).
    pub fn is_remote(&self) -> bool {
        let types =
            ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "9p", "fuse.sshfs", "afs", "ocfs2", "gfs2"];
        types.contains(&self.fs_type.as_str()) || self.has("_netdev")
    }

    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|word| word == option)
    }

    /// The commands of PID 1's own program that mount, remount and unmount.
    pub(super) fn commands(&self) -> [(Phase, Command); 3] {
        let what = self.node().map_or_else(|| self.what.clone(), |node| node.to_string_lossy().into_owned());
        let target = self.target.to_string_lossy().into_owned();
        let command = |argv: Vec<String>| Command {
            program: "/proc/self/exe".into(),
            argv,
            literal: true,
            ..Command::default()
        };
        let mode = format!("{:o}", self.directory_mode.unwrap_or(0o755));
        let mount = |options: String| {
            let words = [MOUNT, &what, &target, &self.fs_type, &options, &mode];
            let mut argv: Vec<String> = words.map(str::to_owned).into();
            argv.extend(self.sloppy.then(|| "sloppy".to_owned()));
            argv.extend(self.read_write_only.then(|| "read-write-only".to_owned()));
            command(argv)
        };
        let mut unmount = vec![UNMOUNT.to_owned(), target.clone()];
        unmount.extend(self.lazy.then(|| "lazy".to_owned()));
        unmount.extend(self.force.then(|| "force".to_owned()));
        let remount =
            if self.options.is_empty() { "remount".into() } else { format!("remount,{}", self.options) };
        [
            (Phase::Start, mount(self.options.clone())),
            (Phase::Reload, mount(remount)),
            (Phase::Stop, command(unmount)),
        ]
    }
}

/// A label as udev writes it into a file name: what is no plain character as `\xHH`.
fn encode(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii();
    text.chars().map(|c| if plain(c) { c.to_string() } else { format!("\\x{:02x}", c as u32) }).collect()
}

pub(super) fn section(unit: &mut Unit, at: &Scope<'_>) -> Result<(), Fault> {
    let Special::Mount(mount) = &mut unit.special else { return Err(at.no_section()) };
    match at.key() {
        "What" => mount.what = at.expanded()?,
        "Where" => mount.target = at.absolute(at.text())?,
        "Type" => mount.fs_type = at.expanded()?,
        "Options" => mount.options = at.expanded()?,
        "SloppyOptions" => mount.sloppy = at.boolean_or(false)?,
        "LazyUnmount" => mount.lazy = at.boolean_or(false)?,
        "ForceUnmount" => mount.force = at.boolean_or(false)?,
        "ReadWriteOnly" => mount.read_write_only = at.boolean_or(false)?,
        "DirectoryMode" => mount.directory_mode = Some(at.want(value::mode(at.text()), "an octal mode")?),
        "TimeoutSec" => {
            if let Some(service) = &mut unit.service {
                service.start_timeout = Some(at.timeout()?);
                service.stop_timeout = at.timeout()?;
            }
        }
        _ => {
            let Some(service) = &mut unit.service else { return Err(at.unknown()) };
            return kill_or_context_key(service, at);
        }
    }
    Ok(())
}

pub(super) fn slice_section(unit: &mut Unit, at: &Scope<'_>) -> Result<(), Fault> {
    let Special::Slice(context) = &mut unit.special else { return Err(at.no_section()) };
    cgroup_key(context, at)
}

/// The mount units of a path and of every folder above it but the root (`RequiresMountsFor=`).
pub fn mounts_for(path: &Path) -> Vec<UnitName> {
    let folders = path.ancestors().filter(|folder| *folder != Path::new("/"));
    folders.filter_map(|folder| mount_name(folder).ok()).collect()
}

/// The unit of a mount point.
///
/// # Errors
/// The path is too long for a name.
pub fn mount_name(path: &Path) -> Result<UnitName, super::name::NameError> {
    UnitName::parse(&format!("{}.mount", escape_path(&path.to_string_lossy())))
}

/// The unit of a device node.
///
/// # Errors
/// The path is too long for a name.
pub fn device_name(path: &Path) -> Result<UnitName, super::name::NameError> {
    UnitName::parse(&format!("{}.device", escape_path(&path.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_names() {
        let mount = |what: &str| MountConfig { what: what.into(), ..MountConfig::default() }.node();
        assert_eq!(mount("LABEL=my data"), Some("/dev/disk/by-label/my\\x20data".into()));
        assert_eq!(mount("/dev/vdb"), Some("/dev/vdb".into()));
        assert_eq!(mount("tmpfs"), None);
        let names: Vec<_> = mounts_for(Path::new("/var/lib/a-b")).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["var-lib-a\\x2db.mount", "var-lib.mount", "var.mount"]);
        assert_eq!(mount_name(Path::new("/")).unwrap().as_str(), "-.mount");
    }
}
