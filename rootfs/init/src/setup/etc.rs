//! /etc: the slot's defaults, copied into memory at every boot, so that nothing drifts.

use super::{SetupError, state};
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use sys::mount::{Flags, Mount};

/// Where the copy is made, before it takes its place in one move.
const STAGING: &str = "/run/slipway/etc";

/// Puts a writable /etc over the slot's. Gives the machine's id, machine-id(5).
pub(super) fn set_up() -> Result<String, SetupError> {
    let (staging, etc) = (Path::new(STAGING), Path::new("/etc"));
    SetupError::creating(staging, fs::create_dir_all(staging))?;
    Mount::new("tmpfs", staging, "tmpfs")
        .flags(Flags::MS_NOSUID | Flags::MS_NODEV)
        .options("mode=0755")
        .mount()?;
    copy_tree(etc, staging)?;
    let id = machine_id(&Path::new("/var").join(state::MACHINE_ID))?;
    let path = staging.join("machine-id");
    SetupError::writing(&path, fs::write(&path, format!("{id}\n")))?;
    sys::mount::move_mount(staging, etc)?;
    Ok(id)
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), SetupError> {
    for entry in SetupError::reading(from, fs::read_dir(from))? {
        let source = SetupError::reading(from, entry)?.path();
        let Some(name) = source.file_name() else { continue };
        let target = to.join(name);
        let metadata = SetupError::reading(&source, fs::symlink_metadata(&source))?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            SetupError::creating(&target, fs::create_dir(&target))?;
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            let link = SetupError::reading(&source, fs::read_link(&source))?;
            SetupError::creating(&target, symlink(link, &target))?;
        } else if kind.is_file() {
            SetupError::creating(&target, fs::copy(&source, &target))?;
        } else {
            let cause = io::Error::from(io::ErrorKind::Unsupported);
            return Err(SetupError::File { verb: "copy", path: source, cause });
        }
        if metadata.uid() != 0 || metadata.gid() != 0 {
            SetupError::creating(&target, lchown(&target, Some(metadata.uid()), Some(metadata.gid())))?;
        }
        if kind.is_dir() {
            // Last of all, for a change of owner drops setgid.
            let mode = Permissions::from_mode(metadata.mode() & 0o7777);
            SetupError::creating(&target, fs::set_permissions(&target, mode))?;
        }
    }
    Ok(())
}

/// The id in `path`, made when it is not there or damaged.
fn machine_id(path: &Path) -> Result<String, SetupError> {
    let is_id = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) if is_id(text.trim_end()) => return Ok(text.trim_end().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(SetupError::File { verb: "read", path: path.to_owned(), cause }),
    }
    let id = state::new_machine_id().map_err(SetupError::Random)?;
    SetupError::writing(path, replace(path, format!("{id}\n").as_bytes(), 0o444))?;
    Ok(id)
}

/// Writes a file in one step that a power cut cannot divide: it is the old one or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // A name that is too long with an ending is cut: it only has to differ from the other one.
    let short: String = name.chars().take(60).collect();
    let temporary = parent.join(format!(".{short}.slipway-new"));
    let write = || {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(parent)?.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_modes_and_links_of_the_original() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("ssh")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("ssh/key"), "secret").unwrap();
        fs::set_permissions(from.join("ssh/key"), Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(from.join("ssh"), Permissions::from_mode(0o2750)).unwrap();
        symlink("ssh/key", from.join("link")).unwrap();
        copy_tree(&from, &to).unwrap();
        let mode = |path: &str| fs::symlink_metadata(to.join(path)).unwrap().mode() & 0o7777;
        assert_eq!((mode("ssh"), mode("ssh/key")), (0o2750, 0o600));
        assert_eq!(fs::read(to.join("link")).unwrap(), b"secret");
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("ssh/key"));
    }

    #[test]
    fn a_machine_id_is_made_once_and_again_when_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine-id");
        let id = machine_id(&path).unwrap();
        assert_eq!(machine_id(&path).unwrap(), id);
        assert_eq!((id.len(), &id[12..13]), (32, "4"));
        fs::write(&path, b"\xff\xfe").unwrap();
        let again = machine_id(&path).unwrap();
        assert_ne!(again, id);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
