//! The services and commands by themselves, for tests: `clock timesyncd`, `clock timedatectl …`.
//! On the appliance they are applets of `host`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        eprintln!("error: clock is called as `clock APPLET …`");
        return 2.into();
    };
    match name.as_str() {
        "timesyncd" => clock::timesyncd::main(rest),
        "time-wait-sync" => clock::wait::main(rest),
        "hostnamed" => clock::hostnamed::main(rest),
        "timedated" => clock::timedated::main(rest),
        "timedatectl" => clock::timedatectl::main(rest),
        "hostnamectl" => clock::hostnamectl::main(rest),
        other => {
            eprintln!("error: no applet `{other}`");
            2
        }
    }
    .into()
}
