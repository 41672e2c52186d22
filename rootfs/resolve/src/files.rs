//! `resolv.conf(5)` for programs that ask by themselves.

use crate::local::STUB;
use hickory_proto::rr::Name;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// Their folder.
pub const FOLDER: &str = "/run/systemd/resolve";
/// What resolv.conf(5) takes: more are not looked at.
const SERVERS_MAX: usize = 3;

const HEAD: &str = "# Made by systemd-resolved.service; changes are lost. `resolvectl status` tells more.\n";

/// The file for those that ask the stub.
pub fn stub(search: &[Name]) -> String {
    format!("{HEAD}nameserver {STUB}\noptions edns0 trust-ad\n{}", search_line(search))
}

/// The file for those that ask the servers themselves. resolv.conf(5) has no ports, so servers at
/// another than 53 are left out.
pub fn servers(servers: &[SocketAddr], search: &[Name]) -> String {
    let mut text = HEAD.to_owned();
    for (index, server) in servers.iter().filter(|server| server.port() == 53).enumerate() {
        if index == SERVERS_MAX {
            text += "# Too many name servers: the following are for the stub only.\n";
        }
        let mark = if index < SERVERS_MAX { "" } else { "# " };
        let address = match server {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => server.ip().to_string(),
        };
        text.extend([mark, "nameserver ", &address, "\n"]);
    }
    text + &search_line(search)
}

fn search_line(search: &[Name]) -> String {
    if search.is_empty() {
        // Else glibc takes the host name's domain.
        return "search .\n".to_owned();
    }
    let words: Vec<String> =
        search.iter().map(|name| name.to_string().trim_end_matches('.').to_owned()).collect();
    format!("search {}\n", words.join(" "))
}

/// Puts a text in place of a file at once; nothing is written when it has it already.
///
/// # Errors
/// The file or its folder cannot be written.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::name;

    #[test]
    fn both_files() {
        let search = [name("a.example").unwrap(), name("b.example").unwrap()];
        assert!(
            stub(&search)
                .ends_with("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch a.example b.example\n")
        );
        let list = ["10.0.0.1:53", "10.0.0.9:5353", "[fe80::1%2]:53", "10.0.0.3:53", "10.0.0.4:53"];
        let text = servers(&list.map(|text| text.parse().unwrap()), &[]);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines[..3], ["nameserver 10.0.0.1", "nameserver fe80::1%2", "nameserver 10.0.0.3"]);
        assert_eq!(lines[4..], ["# nameserver 10.0.0.4", "search ."]);
    }
}
