//! A router's advertisement, as a frame, and as a body whose sum is right. Never a panic; what is
//! kept of any number of them is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use net::dhcp4::frame::checksum;
use net::router::{Advertisement, Heard};
use std::time::Duration;

fuzz_target!(|input: &[u8]| {
    let mut heard = Heard::default();
    let mut take = |frame: &[u8]| {
        if let Some(advertisement) = Advertisement::decode(frame) {
            heard.take(Duration::from_secs(1), &advertisement);
            assert!(heard.dns().count() <= 16 && heard.domains().count() <= 16);
            assert!(heard.deadline().is_none_or(|deadline| deadline > Duration::from_secs(1)));
        }
    };
    take(input);
    let mut body = input[..input.len().min(1480)].to_vec();
    if body.len() < 4 {
        return;
    }
    (body[0], body[1], body[2], body[3]) = (134, 0, 0, 0);
    let addresses = [&[0xfe, 0x80][..], &[0; 13], &[1, 0xff, 2], &[0; 13], &[1]].concat();
    let length = body.len() as u16;
    let sum = checksum([&addresses[..], &u32::from(length).to_be_bytes(), &[0, 0, 0, 58], &body]);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let head = [&[0; 12][..], &[0x86, 0xdd, 0x60, 0, 0, 0], &length.to_be_bytes(), &[58, 255]].concat();
    take(&[head, addresses, body].concat());
});
