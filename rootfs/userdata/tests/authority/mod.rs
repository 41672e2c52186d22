//! An authority and servers with its certificates, both by Debian's OpenSSL.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Authority {
    folder: TempDir,
}

/// A server of the files of a folder, each a whole answer with its header.
pub struct Server {
    child: Child,
    pub base: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let made = command.current_dir(folder).args(arguments.split(' ')).output();
    let made = made.expect("openssl cannot be run: install the package openssl");
    assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

impl Authority {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = format!("req -x509 -subj /CN={name} -days 30 -keyout ca.key -out ca.pem");
        openssl(folder.path(), &format!("{root} {NEW_KEY}"));
        Self { folder }
    }

    pub fn bundle(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A file that servers have.
    pub fn file(&self, name: &str, status: &str, body: &str) {
        let text = format!("HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A server whose certificate is for this name (`IP:127.0.0.1`) between these times
    /// (`YYYYMMDDhhmmssZ`), with more options of `openssl s_server`.
    pub fn server(&self, name: &str, from: &str, until: &str, more: &[&str]) -> Server {
        let folder = self.folder.path();
        openssl(folder, &format!("req -new -subj /CN=server -keyout server.key -out server.csr {NEW_KEY}"));
        let settings = "[ca]\ndefault_ca=x\n[x]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n\
            policy=p\nunique_subject=no\n[p]\ncommonName=supplied\n";
        fs::write(folder.join("ca.conf"), settings).unwrap();
        fs::write(folder.join("index"), "").unwrap();
        fs::write(folder.join("serial"), "01\n").unwrap();
        fs::write(folder.join("ext"), format!("subjectAltName={name}\n")).unwrap();
        openssl(
            folder,
            &format!(
                "ca -batch -config ca.conf -cert ca.pem -keyfile ca.key -in server.csr -out server.pem \
                 -startdate {from} -enddate {until} -extfile ext"
            ),
        );
        let mut child = Command::new("openssl")
            .current_dir(folder)
            .args("s_server -HTTP -accept 127.0.0.1:0 -cert server.pem -key server.key".split(' '))
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));
        let address = address.expect("openssl s_server says where it listens");
        // What it says more is read, or it would stop for want of a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, base: format!("https://{address}") }
    }
}
