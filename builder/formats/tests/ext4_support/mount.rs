//! The kernel's own mount, in a mount name space that ends with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A mounted image: a process in a private mount name space holds it, and lets it be
/// entered through `/proc`.
pub struct Mounted {
    holder: Child,
    folder: TempDir,
}

const HOLDER: &str = r#"
mount -t ext4 -o "loop,$3" "$1" "$2" || exit 1
device=$(findmnt -n -o SOURCE "$2")
echo mounted
while read -r line; do sh -c "$line" sh "$1" "$2" "$device" || exit 1; echo done; done
umount "$2" || exit 1
"#;

impl Mounted {
    /// Mounts with these options (`ro`, `rw`).
    pub fn new(image: &Path, options: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", HOLDER, "sh"])
            .args([image, folder.path()])
            .arg(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare runs (as root; install util-linux and mount)");
        let mut this = Self { holder, folder };
        this.expect("mounted");
        this
    }

    fn expect(&mut self, word: &str) {
        let mut line = String::new();
        let output = self.holder.stdout.as_mut().expect("a pipe");
        // One word at a time is asked for, so nothing is lost with the reader's buffer.
        BufReader::with_capacity(1, output).read_line(&mut line).expect("an answer");
        if line.trim() != word {
            let mut error = String::new();
            self.holder.stderr.take().expect("a pipe").read_to_string(&mut error).expect("an error");
            panic!("{error}\nneeded are root, a loop device, and the packages mount, attr, libcap2-bin");
        }
    }

    /// Runs a command in the name space: `$1` is the image, `$2` the mount point, `$3` the device.
    pub fn run(&mut self, command: &str) {
        writeln!(self.holder.stdin.as_mut().expect("a pipe"), "{command} >&2").expect("a command");
        self.expect("done");
    }

    /// The mounted root, as this process reaches it.
    pub fn root(&self) -> PathBuf {
        let path = format!("/proc/{}/root{}", self.holder.id(), self.folder.path().display());
        PathBuf::from(path)
    }

    /// Unmounts, and waits until that is done.
    pub fn unmount(mut self) {
        drop(self.holder.stdin.take());
        let status = self.holder.wait().expect("it ends");
        assert!(status.success(), "the file system cannot be unmounted");
    }
}

impl Drop for Mounted {
    /// A failed test too leaves no mount: the name space ends with its holder.
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
