//! `/init` of the initramfs: the kernel's first process, which stays PID 1.

fn main() -> std::process::ExitCode {
    if let Some(code) = init::manager::mounting::main() {
        return code.into();
    }
    let stage1 = init::stage1::run();
    init::manager::boot::main(&stage1)
}
