//! The applets of this crate as a program of their own, for its tests: `net-applets APPLET …`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (applet, rest) =
        arguments.split_first().map_or(("", &[][..]), |(applet, rest)| (applet.as_str(), rest));
    ExitCode::from(match applet {
        "networkd" => net::command::networkd(rest),
        "networkctl" => net::command::networkctl(rest),
        "networkd-wait-online" => net::command::wait_online(rest),
        _ => 2,
    })
}
