//! A machine that runs, as many at once as there are processors.

use crate::image::work_folder;
use crate::{Disk, Image};
use nix::fcntl::{Flock, FlockArg};
use slipway::machine::{Disk as MachineDisk, Event, Machine, MachineSpec, Start, find_firmware};
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What the console says at the end of a good boot.
pub const READY: &str = "slipway: ready";
/// What a good boot says some time later.
pub const BLESSED: &str = "slipway: blessed";
/// What may take a moment on a quiet machine may take this long on a busy one.
pub const LONG: Duration = Duration::from_mins(4);

/// A running machine. A failure of its test shows its console.
#[derive(Debug)]
pub struct Boot {
    /// The machine; nobody but the end takes it.
    machine: Option<Machine>,
    seen: usize,
    _permit: Flock<File>,
}

impl Boot {
    /// Starts a machine through firmware and boot loader.
    pub fn firmware(disk: &Disk) -> MachineSpec {
        let firmware = find_firmware(Path::new("/"))
            .unwrap_or_else(|places| panic!("no UEFI firmware in {places:?}: apt-get install ovmf"));
        Self::spec(disk, Start::Firmware(firmware))
    }

    /// Starts the kernel of a version without firmware: nothing counts such a boot.
    pub fn direct(disk: &Disk, image: &Image) -> MachineSpec {
        let start = Start::Direct {
            kernel: image.kernel.clone(),
            initrd: image.initrd.clone(),
            command_line: image.command_line.clone(),
        };
        Self::spec(disk, start)
    }

    /// Writes are kept, for tests look at the disk afterwards.
    fn spec(disk: &Disk, start: Start) -> MachineSpec {
        let mut spec = MachineSpec::new(start, &disk.path());
        spec.disk.snapshot = false;
        spec
    }

    /// Starts a machine.
    pub fn start(spec: &MachineSpec) -> Self {
        let permit = permit();
        let machine = Machine::start(spec, None, false)
            .unwrap_or_else(|error| panic!("{error}; apt-get install qemu-system-x86"));
        Self { machine: Some(machine), seen: 0, _permit: permit }
    }

    /// The machine.
    pub fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().unwrap()
    }

    /// Waits until the console says this, after what was waited for last; gives the line.
    pub fn wait(&mut self, needle: &str) -> String {
        let seen = self.seen;
        match self.machine().console().wait_from(seen, needle, LONG) {
            Ok((line, position)) => {
                self.seen = position;
                line
            }
            Err(error) => panic!("the console never says `{needle}`: {error:?}"),
        }
    }

    /// Waits until the console has said all of these, in whatever order, from its beginning.
    pub fn wait_for_all(&mut self, needles: &[&str]) {
        for needle in needles {
            if let Err(error) = self.machine().console().wait_from(0, needle, LONG) {
                panic!("the console never says `{needle}`: {error:?}");
            }
        }
    }

    /// Waits until the machine is ready; gives everything that the console said.
    pub fn ready(&mut self) -> String {
        self.wait(READY);
        self.text()
    }

    /// Everything that the console said so far.
    pub fn text(&mut self) -> String {
        self.machine().console().text()
    }

    /// Whether the guest was reset, by itself or from outside.
    pub fn resets(&mut self) -> usize {
        self.machine().events().iter().filter(|event| **event == Event::Reset).count()
    }

    /// Waits until the guest ends the machine by itself, for QEMU's reason `guest-shutdown` or,
    /// when resets end it, `guest-reset`; gives everything that the console said.
    pub fn ends_by(mut self, reason: &str) -> String {
        let wanted = Event::Shutdown(reason.to_owned());
        assert!(self.machine().wait_for_event(&wanted, LONG), "no {wanted:?}: {:?}", self.machine().events());
        let console = self.machine().console().clone();
        let machine = self.machine.take().unwrap();
        let ending = machine.wait().unwrap();
        assert!(ending.status.success(), "{ending:?}");
        console.text()
    }

    /// Cuts the power.
    pub fn cut(mut self) {
        self.machine.take().unwrap().power_cut().unwrap();
    }
}

impl Drop for Boot {
    #[expect(clippy::print_stderr, reason = "a failure without its console says nothing")]
    fn drop(&mut self) {
        if let Some(machine) = self.machine.take().filter(|_| thread::panicking()) {
            eprintln!("--- console, {:?}\n{}\n---", machine.events(), machine.console().text());
        }
    }
}

/// Gives a user-data document to a machine by `fw_cfg`.
pub fn give(spec: &mut MachineSpec, disk: &Disk, user_data: &str) {
    let path = disk.folder().join("user-data");
    fs::write(&path, user_data).unwrap();
    spec.user_data = Some(path);
}

/// Adds a disk that is only read.
pub fn add_disk(spec: &mut MachineSpec, path: &Path) {
    spec.more_disks.push(MachineDisk { path: path.to_owned(), format: "raw", snapshot: true });
}

/// Leave to run a machine: as many are given, to all test programs of this user together, as
/// there are processors.
fn permit() -> Flock<File> {
    static WAITED: AtomicUsize = AtomicUsize::new(0);
    let count = thread::available_parallelism().map_or(1, usize::from);
    let file = |number: usize| File::create(work_folder().join(format!("machine-{number}"))).unwrap();
    for number in 0..count {
        if let Ok(permit) = Flock::lock(file(number), FlockArg::LockExclusiveNonblock) {
            return permit;
        }
    }
    // All are taken, which happens when several test programs run: wait for one or another.
    let number = WAITED.fetch_add(1, Ordering::Relaxed) % count;
    Flock::lock(file(number), FlockArg::LockExclusive).unwrap()
}

/// A row of the status table.
pub fn row(console: &str, name: &str) -> String {
    let rows = console.lines().filter_map(|line| line.strip_prefix("  ")?.strip_prefix(name));
    let values: Vec<&str> = rows.filter(|rest| rest.starts_with(' ')).map(str::trim).collect();
    values.last().unwrap_or_else(|| panic!("the status table has no {name}")).to_string()
}
