//! `/init` of the initramfs: the kernel's first process, which stays PID 1.
//!
//! It is executed for three more things, all by its own units: to mount, to unmount, and to be the
//! journal, which every boot waits for. So none of them needs a page of the slot.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = init::manager::mounting::main() {
        return code.into();
    }
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == "journald"
    {
        // By its path, which is PID 1's link, the kernel calls it "exe". Only lists of processes show it.
        let _ = nix::sys::prctl::set_name(c"journald");
        return journal::daemon::main(rest).into();
    }
    let stage1 = init::stage1::run();
    init::manager::boot::main(&stage1)
}
