//! `modprobe`: loads modules by name or alias. The kernel runs it, too, for what it finds that it
//! lacks: a file system's type, a kind of network link (`request_module`, kernel/kmod.c).

use crate::alias::Aliases;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use sys::modules::ModuleError;

/// Runs the command: `modprobe [-q] [-a] [--] NAME…`; gives its exit code.
pub fn main(arguments: &[String]) -> u8 {
    let mut is_quiet = false;
    let mut names = Vec::new();
    let mut only_names = false;
    for argument in arguments {
        match argument.as_str() {
            "--" if !only_names => only_names = true,
            "-q" | "--quiet" if !only_names => is_quiet = true,
            // Several names are the rule here.
            "-a" | "--all" if !only_names => {}
            other if other.starts_with('-') && !only_names => {
                say(&format!("error: `{other}` is not supported\nhint: modprobe [-q] [-a] NAME…"));
                return 2;
            }
            name => names.push(name),
        }
    }
    if names.is_empty() {
        say("error: no module is named\nhint: modprobe [-q] [-a] NAME…");
        return 2;
    }
    let mut code = 0;
    for name in names {
        if let Err(error) = load(name) {
            code = 1;
            if !(is_quiet && matches!(error, ModuleError::Unknown { .. })) {
                say(&format!("error: {error}"));
            }
        }
    }
    code
}

/// Loads the module of a name, else those that answer to it.
fn load(name: &str) -> Result<(), ModuleError> {
    let unknown = match sys::modules::load(name) {
        Err(error @ ModuleError::Unknown { .. }) => error,
        other => return other.map(drop),
    };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let path = Path::new("/usr/lib/modules").join(release.trim()).join("modules.alias");
    let aliases = Aliases::new(fs::read_to_string(path).unwrap_or_default());
    let modules = aliases.modules(name);
    if modules.is_empty() {
        return Err(unknown);
    }
    modules.into_iter().try_for_each(|module| sys::modules::load(module).map(drop))
}

fn say(lines: &str) {
    let _ = writeln!(io::stderr(), "{lines}");
}
