//! `/init` of the initramfs.

fn main() {
    init::stage1::run()
}
