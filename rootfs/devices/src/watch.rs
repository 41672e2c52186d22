//! Block devices that were written to: when the writer closes one, it is looked at anew, for a
//! `mkfs` does not make the kernel say anything (inotify(7)).

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Watches on nodes, each for a device's path.
pub(crate) struct Watches {
    inotify: Inotify,
    devices: BTreeMap<WatchDescriptor, String>,
}

impl Watches {
    pub(crate) fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, devices: BTreeMap::new() })
    }

    /// Watches a node. The kernel drops the watch when the node goes.
    pub(crate) fn add(&mut self, node: &Path, devpath: &str) -> io::Result<()> {
        let watch = self.inotify.add_watch(node, AddWatchFlags::IN_CLOSE_WRITE)?;
        self.devices.insert(watch, devpath.to_owned());
        Ok(())
    }

    /// Paths of the devices that were written to and closed since the last call, each once.
    pub(crate) fn written(&mut self) -> io::Result<Vec<String>> {
        let mut written = Vec::new();
        loop {
            let events = match self.inotify.read_events() {
                Err(Errno::EAGAIN) => return Ok(written),
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.devices.remove(&event.wd);
                } else if let Some(devpath) = self.devices.get(&event.wd)
                    && !written.contains(devpath)
                {
                    written.push(devpath.clone());
                }
            }
        }
    }
}

impl AsFd for Watches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
