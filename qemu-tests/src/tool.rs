//! Programs of others, for a second opinion.

use std::ffi::OsStr;
use std::process::Command;

/// Runs a program of the Debian package `package` and gives its stdout.
///
/// # Panics
/// It is not installed, or does not succeed.
pub fn tool(package: &str, program: &str, arguments: &[&dyn AsRef<OsStr>]) -> String {
    let mut command = Command::new(program);
    // Those for administrators are not in everybody's path.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command.args(arguments.iter().map(AsRef::as_ref));
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{program} cannot be run ({error}): apt-get install {package}"),
    };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}
