//! Stores and kept boxes of a test's own.

use super::*;
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Who has the boxes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Who {
    Root,
    /// With one id.
    User,
    /// With a thousand more, by newuidmap.
    Ranges,
}

pub(super) const EVERYBODY: [Who; 3] = [Who::Root, Who::User, Who::Ranges];

/// A root, and a store of the test's own.
pub(super) struct Shop {
    pub(super) root: Root,
    who: Who,
}

impl Shop {
    pub(super) fn new(who: Who) -> Self {
        let shop = Self { root: Root::new(), who };
        let top = shop.top();
        fs::create_dir(top.join("store")).unwrap();
        if who != Who::Root {
            // Files of others cannot be changed in a user's box.
            let owner = format!("{NOBODY}:{NOBODY}");
            let folders = [top.join("store"), top.join("root")];
            said(&Command::new("chown").args(["-hR", &owner]).args(folders).output().unwrap());
        }
        // A folder of its own: a file that is bound above another goes when somebody replaces that one.
        fs::create_dir(top.join("etc")).unwrap();
        for (name, text) in [
            ("passwd", format!("root:x:0:0::/root:/bin/sh\ntester:x:{NOBODY}:{NOBODY}::/:/bin/sh\n")),
            ("group", format!("root:x:0:\ntester:x:{NOBODY}:\n")),
            ("nsswitch.conf", "passwd: files\ngroup: files\nsubid: files\n".to_owned()),
            ("resolv.conf", "nameserver 192.0.2.1\n".to_owned()),
        ] {
            fs::write(top.join("etc").join(name), text).unwrap();
        }
        shop.gives_ranges();
        shop
    }

    pub(super) fn gives_ranges(&self) {
        for name in ["subuid", "subgid"] {
            fs::write(self.top().join("etc").join(name), format!("{NOBODY}:700000:1000\n")).unwrap();
        }
    }

    pub(super) fn top(&self) -> PathBuf {
        self.root.0.path().to_owned()
    }

    pub(super) fn store(&self) -> PathBuf {
        let store = self.top().join("store");
        if self.who == Who::Root { store } else { store.join("toolbox") }
    }

    /// A program of the test's user, `before` done by root in a mount namespace of its own.
    pub(super) fn program(&self, before: &str, words: &[&str]) -> Command {
        let top = self.top().display().to_string();
        let mounts = match self.who {
            Who::Root => format!("mkdir -p /var/lib/toolbox; mount --bind {top}/store /var/lib/toolbox;"),
            Who::User => String::new(),
            Who::Ranges => format!("mount --bind {top}/etc /etc;"),
        };
        let user = self.becomes().join(" ");
        let script = format!("set -e; {mounts} {before}\nexec {user} \"$@\"");
        let mut command = Command::new("env");
        command
            .args(["--default-signal", "unshare", "--mount", "sh", "-c", &script, "sh"])
            .args(words)
            .env("TOOLBOX_CONFIG", "")
            .env("XDG_DATA_HOME", self.top().join("store"))
            .current_dir(self.top());
        command
    }

    /// What makes root the one who has the boxes.
    fn becomes(&self) -> Vec<String> {
        let user = format!("setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --");
        let words = if self.who == Who::Root { "" } else { &user };
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// A mount namespace for many commands.
    pub(super) fn place(&self) -> Place {
        let mut command = self.program("", &["sh", "-c", "echo up; exec cat"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        Place(child)
    }

    /// As [`Self::command`], the namespace being there: the process is the program's from early on.
    pub(super) fn command_in(&self, place: &Place, words: &[&str]) -> Command {
        let mut command = Command::new("env");
        command
            .args(["--default-signal", "nsenter", &format!("--mount=/proc/{}/ns/mnt", place.0.id()), "--"])
            .args(self.becomes())
            .arg(self.top().join("toolbox"))
            .args(words)
            .env("TOOLBOX_CONFIG", "")
            .env("XDG_DATA_HOME", self.top().join("store"));
        command
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let program = self.top().join("toolbox").display().to_string();
        self.program("", &[&[program.as_str()], words].concat())
    }

    pub(super) fn toolbox(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    pub(super) fn says(&self, words: &[&str]) -> String {
        said(&self.toolbox(words))
    }

    /// The box is made, if need be, and does this.
    pub(super) fn keeps(&self, name: &str, script: &str) -> String {
        let from = self.root.path().display().to_string();
        self.says(&["run", "--keep", name, "--from", &from, "--", "sh", "-c", script])
    }

    /// A session that says so when it is there, and ends when its input does.
    pub(super) fn session(&self, name: &str, code: u8) -> Session {
        let script = format!("echo in; cat >/dev/null; exit {code}");
        let mut child = self
            .command(&["enter", name, "--", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        Session(child)
    }

    pub(super) fn refuses(&self, words: &[&str], code: i32, text: &str) {
        let output = self.toolbox(words);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(complaint(&output).contains(text), "{}", complaint(&output));
    }

    pub(super) fn row(&self, name: &str) -> serde_json::Value {
        let rows: serde_json::Value = serde_json::from_str(&self.says(&["ls", "--json"])).unwrap();
        rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone()
    }

    /// Nothing of a box is on the host but its folder.
    pub(super) fn assert_ended(&self, name: &str) {
        let top = self.top().display().to_string();
        let found = || {
            let mut found = Vec::new();
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let command = String::from_utf8_lossy(&command).replace('\0', " ");
                if command.contains(&top) {
                    found.push(command);
                }
            }
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            found.extend(mounts.lines().filter(|line| line.contains(&top)).map(str::to_owned));
            for mount in sys::mount::mounts().unwrap().iter().filter(|mount| mount.fs_type == "cgroup2") {
                let folders = fs::read_dir(&mount.target).unwrap().flatten().map(|entry| entry.file_name());
                let mine = folders.filter_map(|folder| folder.into_string().ok());
                found.extend(mine.filter(|folder| folder.starts_with(&format!("toolbox-{name}-"))));
            }
            found
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !found().is_empty() {
            assert!(Instant::now() < deadline, "left: {:#?}", found());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// See [`Shop::place`]; gone with the value.
pub(super) struct Place(Child);

impl Place {
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

pub(super) struct Session(Child);

impl Session {
    pub(super) fn ends(mut self) -> Option<i32> {
        drop(self.0.stdin.take());
        self.0.wait().unwrap().code()
    }

    /// Ends by what happens to its box: its input stays open.
    pub(super) fn dies(mut self) -> Option<i32> {
        let _input = self.0.stdin.take();
        self.0.wait().unwrap().code()
    }
}
