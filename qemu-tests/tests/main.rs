//! Real images in real machines: QEMU, by translation, most with the kernel started directly,
//! those about boot entries through UEFI firmware and boot loader.

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod absent_root;
mod boot_counting;
mod cloud_config;
mod devices;
mod first_boot;
mod flipped_bit;
mod grow;
mod hang;
mod heal;
mod journal;
mod links;
mod malformed;
mod memory;
mod names_and_time;
mod network;
mod oom;
mod power_cut;
mod second_boot;
mod services;
mod shutdown;
mod sshd;
mod together;
mod toolbox;
mod units;
mod user_data;
mod wheel;
mod zero_tries;
