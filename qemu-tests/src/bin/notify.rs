//! A unit's main process in the tests: sends its arguments as one notification, stays until it
//! is told to end. See `sd_notify(3)`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

fn main() -> std::io::Result<()> {
    let message = std::env::args().skip(1).collect::<Vec<_>>().join("\n");
    let name = std::env::var("NOTIFY_SOCKET").map_err(std::io::Error::other)?;
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    loop {
        std::thread::park();
    }
}
