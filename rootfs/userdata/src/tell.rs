//! What people are to know.

use init::control::{Request, Response, Row, SOCKET, client};
use std::io::{self, Write};
use std::path::Path;

/// A line for journal and console; whoever reads them may be gone.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A row of the status table. That it is not taken is said, and no more.
pub(crate) fn tell(row: Row, text: &str) {
    let request = Request::Tell { row, text: text.to_owned() };
    match client::ask(Path::new(SOCKET), &request) {
        Ok(Response::Done(_)) => {}
        Ok(other) => say(&format!("status: PID 1 answered {other:?}")),
        Err(error) => say(&format!("status: {error}")),
    }
}
