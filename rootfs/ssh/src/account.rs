//! Users and groups: passwd(5) and group(5).

use std::path::Path;
use std::{fs, io};

/// A line of passwd(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Name.
    pub name: String,
    /// User.
    pub uid: u32,
    /// First group.
    pub gid: u32,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// The account of a name. Lines of another form are skipped, as getpwnam(3) does.
pub fn account(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [user, _, uid, gid, _, home, shell] = fields.as_slice() else { return None };
        let safe = !user.is_empty() && !user.contains('/') && !user.starts_with('.');
        (*user == name && safe).then_some(())?;
        Some(Account {
            name: name.to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: (*home).to_owned(),
            shell: (*shell).to_owned(),
        })
    })
}

/// The groups that name a user as a member.
pub fn groups(group: &str, name: &str) -> Vec<u32> {
    group
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, gid, members] = fields.as_slice() else { return None };
            members.split(',').any(|member| member == name).then(|| gid.parse().ok())?
        })
        .collect()
}

/// Whoever logs in: account and all groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The account.
    pub account: Account,
    /// First group and the others, each once.
    pub groups: Vec<u32>,
}

/// Looks a user up in the files below `root`.
///
/// # Errors
/// /etc/passwd cannot be read. A missing /etc/group is empty.
pub fn look_up(root: &Path, name: &str) -> io::Result<Option<User>> {
    let Some(account) = account(&fs::read_to_string(root.join("etc/passwd"))?, name) else { return Ok(None) };
    let file = fs::read_to_string(root.join("etc/group")).unwrap_or_default();
    let mut groups = vec![account.gid];
    for group in self::groups(&file, name) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    Ok(Some(User { account, groups }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_groups() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbad:line\n../x:x:1:1::/:\ncore:x:500:501:Op:/home/core:/bin/sh\n";
        let core = account(passwd, "core").unwrap();
        assert_eq!((core.uid, core.gid, core.home.as_str()), (500, 501, "/home/core"));
        assert_eq!(account(passwd, "nobody"), None);
        assert_eq!(account(passwd, "../x"), None);
        assert_eq!(account(passwd, ""), None);
        let group = "root:x:0:\nwheel:x:10:core,other\ncore:x:501:core\nx:x:7:score\n";
        assert_eq!(groups(group, "core"), [10, 501]);
    }
}
