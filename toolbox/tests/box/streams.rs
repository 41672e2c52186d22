//! Streams, signals and exit codes.

use super::*;
use std::io::{Read, Write};
use std::process::Stdio;

#[test]
fn the_commands_code_is_passed_through() {
    let root = Root::new();
    for (script, code) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -9 $$", 137)]
    {
        assert_eq!(root.run(&[], &["sh", "-c", script]).status.code(), Some(code), "{script}");
    }
}

#[test]
fn its_own_failures_have_codes_of_their_own() {
    let root = Root::new();
    let cases: [(&[&str], &str, i32, &str); 5] = [
        (&[], "no-such-command", 127, "no-such-command: No such file"),
        (&[], "/etc", 126, "/etc: Permission denied"),
        (&["--workdir", "/none"], "true", 125, "--workdir /none"),
        (&["--mount", "/none:/x"], "true", 125, "/none"),
        (&["--memory", "1x"], "true", 2, "`1x` is not a size"),
    ];
    for (options, command, code, text) in cases {
        let output = root.run(options, &[command]);
        assert_eq!(output.status.code(), Some(code), "{command}: {output:?}");
        assert!(complaint(&output).contains(text), "{output:?}");
    }
}

/// As execvp(3) has it.
#[test]
fn commands_are_looked_for_as_shells_do() {
    let root = Root::new();
    let file = |name: &str, mode, text: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    file("first/tool", 0o644, "echo not this one");
    file("second/tool", 0o755, "echo \"$0 $*\"");
    file("etc/passwd", 0o644, "");
    file("second/missing", 0o755, "#!/no/such/shell\n");
    let path = ["--env", "PATH=/none:/etc/passwd:/first:/second:/bin"];
    let said = |command: &[&str]| {
        let output = root.run(&path, command);
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    };
    assert_eq!(said(&["tool", "a b", "c"]), (0, "/second/tool a b c\n".to_owned()), "without a first line");
    assert_eq!(said(&["sh", "-c", "echo $PATH"]).1, "/none:/etc/passwd:/first:/second:/bin\n");
    assert_eq!(
        said(&["/first/tool"]),
        (126, "toolbox: error: /first/tool: Permission denied (os error 13)\n".to_owned())
    );
    assert_eq!(said(&["missing"]).0, 127);
    assert_eq!(said(&["/etc/passwd/x"]).0, 126, "no folder");
    assert_eq!(said(&[""]).0, 127);
    let only = root.run(&["--env", "PATH=/none:/first"], &["tool"]);
    assert_eq!(only.status.code(), Some(126), "{only:?}");
}

#[test]
fn streams_are_the_callers() {
    let root = Root::new();
    let mut child = root
        .command(&[], &["sh", "-c", "cat; echo error >&2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn({
        let sent = sent.clone();
        move || input.write_all(&sent)
    });
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    writer.join().unwrap().unwrap();
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    assert_eq!(complaint(&child.wait_with_output().unwrap()), "error\n");
}

#[test]
fn signals_reach_the_command() {
    let root = Root::new();
    for name in ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2"] {
        let script =
            format!("trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.1; done");
        let mut child = root.command(&[], &["sh", "-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut ready = [0; 6];
        output.read_exact(&mut ready).unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, format!("SIG{name}").parse::<nix::sys::signal::Signal>().unwrap())
            .unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(
            (rest.as_str(), child.wait().unwrap().code()),
            (format!("got {name}\n").as_str(), Some(5))
        );
    }
}

#[test]
fn a_command_without_signals_handled_ends_by_them() {
    let root = Root::new();
    let mut child = root
        .command(&[], &["sh", "-c", "echo ready; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn descriptors_of_the_caller_stay_outside() {
    let root = Root::new();
    let script = format!(
        "exec 7</etc/passwd; exec {} run --from {} -- ls /proc/self/fd",
        env!("CARGO_BIN_EXE_toolbox"),
        root.path().display()
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    // The fourth is the folder that ls reads.
    assert_eq!(said(&output), "0\n1\n2\n3\n");
}
