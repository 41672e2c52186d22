//! What the service keeps and tells: `/run/systemd/netif` for others and for its own restart,
//! `/var/lib/systemd/network` for the next boot.

use super::report::{Overall, Report};
use crate::plan::Content;
use crate::{dhcp4, dhcp6};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The folders.
#[derive(Debug, Clone)]
pub(super) struct Files {
    root: PathBuf,
}

/// What was set on a link, for a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// A number is given again; a name with it is the same link.
    name: String,
    content: Content,
    dhcp6: Option<(dhcp6::Lease, Duration)>,
}

impl Files {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn run(&self, folder: &str, index: u32) -> PathBuf {
        self.root.join("run/systemd/netif").join(folder).join(index.to_string())
    }

    fn saved(&self, name: &str) -> PathBuf {
        self.root.join("var/lib/systemd/network").join(format!("dhcp4-{name}.lease"))
    }

    /// Keeps a lease for a restart and for the next boot.
    pub(super) fn keep_lease(
        &self,
        index: u32,
        name: &str,
        lease: &dhcp4::Lease,
        age: Duration,
    ) -> io::Result<()> {
        let acquired = wall_clock().saturating_sub(age).as_secs();
        let text = lease.to_text(acquired);
        replace(&self.run("leases", index), &text)?;
        replace(&self.saved(name), &text)
    }

    /// Forgets a lease that was given back, refused or is over.
    pub(super) fn drop_lease(&self, index: u32, name: &str) {
        // What is not there is forgotten already.
        let _ = fs::remove_file(self.run("leases", index));
        let _ = fs::remove_file(self.saved(name));
    }

    /// The lease of a link, its age, and whether this boot's service got it.
    pub(super) fn lease(&self, index: u32, name: &str) -> Option<(dhcp4::Lease, Duration, bool)> {
        let read = |path: PathBuf| dhcp4::Lease::from_text(&fs::read_to_string(path).ok()?);
        let ((lease, acquired), of_this_boot) = match read(self.run("leases", index)) {
            Some(found) => (found, true),
            None => (read(self.saved(name))?, false),
        };
        Some((lease, wall_clock().saturating_sub(Duration::from_secs(acquired)), of_this_boot))
    }

    /// Keeps what was set on a link, for a restart.
    pub(super) fn keep_content(
        &self,
        index: u32,
        name: &str,
        content: &Content,
        dhcp6: Option<(&dhcp6::Lease, Duration)>,
    ) -> io::Result<()> {
        let dhcp6 = dhcp6.map(|(lease, acquired)| (lease.clone(), acquired));
        let kept = Kept { name: name.to_owned(), content: content.clone(), dhcp6 };
        let text = serde_json::to_string(&kept)?;
        replace(&self.run("content", index), &text)
    }

    /// What was set on a link before a restart.
    pub(super) fn content(
        &self,
        index: u32,
        name: &str,
    ) -> Option<(Content, Option<(dhcp6::Lease, Duration)>)> {
        let text = fs::read_to_string(self.run("content", index)).ok()?;
        let kept: Kept = serde_json::from_str(&text).ok()?;
        (kept.name == name).then_some((kept.content, kept.dhcp6))
    }

    /// Forgets all of this boot about a link that is gone.
    pub(super) fn forget(&self, index: u32) {
        for folder in ["links", "leases", "content"] {
            let _ = fs::remove_file(self.run(folder, index));
        }
    }

    /// Forgets links that went while the service was away.
    pub(super) fn forget_all_but(&self, there: &[u32]) {
        let Ok(entries) = fs::read_dir(self.root.join("run/systemd/netif/links")) else { return };
        for entry in entries.flatten() {
            if let Some(index) = entry.file_name().to_str().and_then(|name| name.parse().ok())
                && !there.contains(&index)
            {
                self.forget(index);
            }
        }
    }

    /// Tells others of a link: the keys of systemd's own files.
    pub(super) fn tell(&self, link: &Report) -> io::Result<()> {
        replace(&self.run("links", link.index), &link_text(link))
    }

    /// Tells others of the machine.
    pub(super) fn tell_overall(&self, overall: &Overall) -> io::Result<()> {
        replace(&self.root.join("run/systemd/netif/state"), &overall_text(overall))
    }
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn join<T: Display>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn lines(pairs: &[(&str, String)]) -> String {
    let head = "# This is private data. Do not parse.\n".to_owned();
    pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .fold(head, |text, (key, value)| text + key + "=" + value + "\n")
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn link_text(link: &Report) -> String {
    let managed = link.network_file.is_some();
    let required = link.required_for_online.clone();
    let mut pairs = vec![
        ("ADMIN_STATE", link.setup.clone()),
        ("OPER_STATE", link.operational.clone()),
        ("CARRIER_STATE", link.carrier.clone()),
        ("ADDRESS_STATE", link.address_state.clone()),
        ("IPV4_ADDRESS_STATE", link.ipv4_state.clone()),
        ("IPV6_ADDRESS_STATE", link.ipv6_state.clone()),
    ];
    if managed {
        pairs.extend([
            ("ONLINE_STATE", if link.online { "online" } else { "offline" }.to_owned()),
            ("REQUIRED_FOR_ONLINE", yes_no(required.is_some())),
            ("REQUIRED_OPER_STATE_FOR_ONLINE", required.unwrap_or_default()),
            ("NETWORK_FILE", link.network_file.clone().unwrap_or_default()),
            ("DNS", join(&link.names.dns)),
            ("NTP", join(&link.names.ntp)),
            ("DOMAINS", join(&link.names.domains)),
            ("ROUTE_DOMAINS", join(&link.names.route_domains)),
            ("LLMNR", link.llmnr.clone()),
            ("DNS_DEFAULT_ROUTE", link.dns_default_route.map(yes_no).unwrap_or_default()),
        ]);
    }
    lines(&pairs)
}

fn overall_text(overall: &Overall) -> String {
    lines(&[
        ("OPER_STATE", overall.operational.clone()),
        ("ONLINE_STATE", overall.online.clone()),
        ("DNS", join(&overall.names.dns)),
        ("NTP", join(&overall.names.ntp)),
        ("DOMAINS", join(&overall.names.domains)),
        ("ROUTE_DOMAINS", join(&overall.names.route_domains)),
    ])
}

/// A file as a whole, or as it was: a reader never sees a half. The same text is not written again,
/// so that watchers are not woken.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.new"));
    fs::write(&temporary, text)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp4::lease::tests::lease;

    #[test]
    fn leases_outlive_the_boot_and_are_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let files = Files::new(root.path());
        let age = Duration::from_secs(100);
        files.keep_lease(3, "eth0", &lease(), age).unwrap();
        let (found, found_age, of_this_boot) = files.lease(3, "eth0").unwrap();
        assert_eq!((found, of_this_boot), (lease(), true));
        assert!(found_age >= age && found_age < age * 2);
        files.forget(3);
        assert!(files.lease(3, "eth0").is_some_and(|(_, _, of_this_boot)| !of_this_boot));
        files.drop_lease(3, "eth0");
        assert!(files.lease(3, "eth0").is_none());
    }

    #[test]
    fn content_is_of_a_link_not_of_a_number() {
        let root = tempfile::tempdir().unwrap();
        let files = Files::new(root.path());
        files.keep_content(3, "eth0", &Content::default(), None).unwrap();
        assert!(files.content(3, "eth0").is_some());
        assert!(files.content(3, "eth1").is_none());
        fs::write(root.path().join("run/systemd/netif/content/3"), "{").unwrap();
        assert!(files.content(3, "eth0").is_none());
    }
}
