//! What a session runs: a decision from the account, the key and the client's wish.

use crate::account::Account;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A shell.
    Shell,
    /// A command line.
    Exec(Vec<u8>),
    /// The subsystem `sftp`.
    Sftp,
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A program with its arguments, its own name first.
    Program {
        /// Path.
        path: String,
        /// Arguments.
        arguments: Vec<Vec<u8>>,
    },
    /// An applet of this very program, with arguments after its name.
    Applet {
        /// The name by which it is called, which chooses it: `sftp-server`, `login-shell`, `-login-shell`.
        called: &'static str,
        /// Arguments.
        arguments: Vec<Vec<u8>>,
    },
    /// The account is not for logging in.
    Refused,
}

/// Decides. `exists` says whether a program is there.
///
/// - An account whose shell is a nologin or a false is refused, except `core` and `root`: they get
///   the login shell of the host, for no other is in the slot.
/// - A shell that does not exist is replaced by that one.
/// - A command that is `forced` by the key stands for whatever the client wishes.
pub fn decide(account: &Account, forced: Option<&str>, wish: &Wish, exists: impl Fn(&str) -> bool) -> Start {
    let base = account.shell.rsplit('/').next().unwrap_or_default();
    let closed = matches!(base, "nologin" | "false");
    let operator = matches!(account.name.as_str(), "core" | "root");
    if closed && !operator {
        return Start::Refused;
    }
    // An empty field means sh (passwd(5)).
    let shell = if account.shell.is_empty() { "/bin/sh" } else { account.shell.as_str() };
    let own = closed || base == "login-shell" || !exists(shell);
    let command = |line: &[u8]| {
        let rest = vec![b"-c".to_vec(), line.to_vec()];
        if own {
            Start::Applet { called: "login-shell", arguments: rest }
        } else {
            let arguments = [vec![base.as_bytes().to_vec()], rest].concat();
            Start::Program { path: shell.to_owned(), arguments }
        }
    };
    match (forced, wish) {
        (Some(line), _) => command(line.as_bytes()),
        (None, Wish::Exec(line)) => command(line),
        (None, Wish::Sftp) => Start::Applet { called: "sftp-server", arguments: vec![] },
        (None, Wish::Shell) if own => Start::Applet { called: "-login-shell", arguments: vec![] },
        (None, Wish::Shell) => {
            let base = if base.is_empty() { "sh" } else { base };
            Start::Program { path: shell.to_owned(), arguments: vec![format!("-{base}").into_bytes()] }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, shell: &str) -> Account {
        Account { name: name.into(), uid: 1, gid: 1, home: "/".into(), shell: shell.into() }
    }

    fn start(name: &str, shell: &str, forced: Option<&str>, wish: &Wish) -> String {
        match decide(&account(name, shell), forced, wish, |path| path == "/bin/bash") {
            Start::Refused => "refused".to_owned(),
            Start::Program { path, arguments } => {
                format!("{path} {}", String::from_utf8(arguments.join(&b' ')).unwrap())
            }
            Start::Applet { called, arguments } => {
                format!("{called} {}", String::from_utf8(arguments.join(&b' ')).unwrap())
            }
        }
    }

    #[test]
    fn shells_and_commands() {
        let exec = Wish::Exec(b"ls -l".to_vec());
        assert_eq!(start("a", "/bin/bash", None, &Wish::Shell), "/bin/bash -bash");
        assert_eq!(start("a", "/bin/bash", None, &exec), "/bin/bash bash -c ls -l");
        assert_eq!(start("a", "/bin/zsh", None, &Wish::Shell), "-login-shell ");
        assert_eq!(start("a", "/usr/bin/login-shell", None, &exec), "login-shell -c ls -l");
        assert_eq!(start("a", "/usr/sbin/nologin", None, &Wish::Sftp), "refused");
        assert_eq!(start("a", "/bin/false", Some("x"), &Wish::Shell), "refused");
        assert_eq!(start("core", "/usr/sbin/nologin", None, &exec), "login-shell -c ls -l");
        assert_eq!(start("a", "/bin/bash", None, &Wish::Sftp), "sftp-server ");
        for wish in [Wish::Shell, exec, Wish::Sftp] {
            assert_eq!(start("a", "/bin/bash", Some("date"), &wish), "/bin/bash bash -c date");
        }
    }
}
