//! `/init` of the initramfs: the kernel's first process, which stays PID 1.

fn main() {
    let stage1 = init::stage1::run();
    init::manager::boot::main(&stage1)
}
