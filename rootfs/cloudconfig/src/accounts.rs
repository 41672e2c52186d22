//! `passwd(5)`, `group(5)` and `shadow(5)` with the users of a document.
//!
//! Ids must be the same at every boot, on every machine and whatever else a document says, for
//! files on STATE and on shared disks keep them. So an id follows from the name alone: with `h`
//! the 32-bit FNV-1a hash of the name, it is 10000 + h mod 50000, and 600 + h mod 300 for users
//! of the system; where that is taken, the next free one (after the last, the first). The user's
//! own group has the same number where that is free.

use crate::file::Owner;
use crate::{Account, Plan, User};
use document::{Place, Problem};
use std::collections::BTreeSet;

/// Ids of people: first, and how many.
const PEOPLE: (u32, u32) = (10_000, 50_000);
/// Ids of users of the system.
const SYSTEM: (u32, u32) = (600, 300);
/// Group of users without one of their own.
const USERS_GROUP: &str = "users";
const SHELL: &str = "/usr/bin/login-shell";
const SYSTEM_SHELL: &str = "/usr/sbin/nologin";

/// The three tables, a line an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    passwd: Vec<Vec<String>>,
    group: Vec<Vec<String>>,
    shadow: Vec<Vec<String>>,
}

/// A home to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Where.
    pub path: String,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Accounts {
    /// Reads the image's tables. Lines that are none are left out.
    pub fn read(passwd: &str, group: &str, shadow: &str) -> Self {
        let table = |text: &str, fields: usize| {
            let rows = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
            rows.filter(|row| row.len() == fields && !row[0].is_empty()).collect()
        };
        Self { passwd: table(passwd, 7), group: table(group, 4), shadow: table(shadow, 9) }
    }

    /// The texts of passwd, group and shadow.
    pub fn texts(&self) -> [String; 3] {
        [&self.passwd, &self.group, &self.shadow]
            .map(|table| table.iter().map(|row| row.join(":") + "\n").collect())
    }

    /// Adds the users of a plan; gives the homes to make.
    ///
    /// # Errors
    /// Groups that are nowhere, each with the place of its user.
    pub fn add(&mut self, users: &[User]) -> Result<Vec<Home>, Vec<Problem>> {
        let mut problems = Vec::new();
        // First all own groups: others may name them.
        for user in users {
            if self.row(&user.name).is_none() {
                self.make(user, &mut problems);
            }
        }
        let mut homes = Vec::new();
        for user in users {
            self.change(user, &mut problems);
            let makes_home = !user.no_create_home && !user.system;
            if let Some(row) = self.row(&user.name).filter(|_| makes_home) {
                let number = |field: usize| row[field].parse().unwrap_or(0);
                homes.push(Home { path: row[5].clone(), uid: number(2), gid: number(3) });
            }
        }
        if problems.is_empty() { Ok(homes) } else { Err(problems) }
    }

    /// Homes on STATE of the users who are there.
    pub fn homes(&self) -> Vec<Home> {
        let on_state = self.passwd.iter().filter(|row| row[5].starts_with("/var/home/"));
        on_state
            .filter_map(|row| {
                Some(Home { path: row[5].clone(), uid: row[2].parse().ok()?, gid: row[3].parse().ok()? })
            })
            .collect()
    }

    fn row(&self, name: &str) -> Option<&Vec<String>> {
        self.passwd.iter().find(|row| row[0] == name)
    }

    fn make(&mut self, user: &User, problems: &mut Vec<Problem>) {
        let range = if user.system { SYSTEM } else { PEOPLE };
        let uid = free(&user.name, range, &ids(&self.passwd));
        let own_group = self.gid(&Account::Name(user.name.clone()));
        let gid = if let Some(group) = &user.primary_group {
            // Its group may yet be made; what is missing then is said later.
            self.gid(group).unwrap_or(0)
        } else if user.no_user_group {
            self.gid(&Account::Name(USERS_GROUP.to_owned()))
                .unwrap_or_else(|| missing(problems, user.place, "group users is not known on this machine"))
        } else if let Some(gid) = own_group {
            gid
        } else {
            let taken = ids(&self.group);
            let gid = if taken.contains(&uid) { free(&user.name, range, &taken) } else { uid };
            self.group.push(vec![user.name.clone(), "x".to_owned(), gid.to_string(), String::new()]);
            gid
        };
        let home = if user.system { "/".to_owned() } else { format!("/var/home/{}", user.name) };
        let shell = if user.system { SYSTEM_SHELL } else { SHELL };
        let row = [&user.name, "x", &uid.to_string(), &gid.to_string(), "", &home, shell];
        self.passwd.push(row.map(str::to_owned).to_vec());
    }

    /// What the document says of a user who is there, be it since a moment.
    fn change(&mut self, user: &User, problems: &mut Vec<Problem>) {
        let primary = user.primary_group.as_ref().map(|group| (group, self.gid(group)));
        let Some(row) = self.passwd.iter_mut().find(|row| row[0] == user.name) else { return };
        if let Some((group, gid)) = primary {
            match gid {
                Some(gid) => row[3] = gid.to_string(),
                None => {
                    missing(problems, user.place, &format!("group {group} is not known on this machine"));
                }
            }
        }
        for (field, value) in [(4, &user.gecos), (5, &user.homedir), (6, &user.shell)] {
            if let Some(value) = value {
                row[field].clone_from(value);
            }
        }
        for name in &user.groups {
            match self.group.iter_mut().find(|row| row[0] == *name) {
                Some(row) if row[3].split(',').any(|member| member == user.name) => {}
                Some(row) if row[3].is_empty() => row[3].clone_from(&user.name),
                Some(row) => row[3] = format!("{},{}", row[3], user.name),
                None => {
                    missing(problems, user.place, &format!("group {name} is not known on this machine"));
                }
            }
        }
        let index = self.shadow.iter().position(|row| row[0] == user.name).unwrap_or_else(|| {
            let fields = [user.name.as_str(), "!*", "", "0", "99999", "7", "", "", ""];
            self.shadow.push(fields.map(str::to_owned).to_vec());
            self.shadow.len() - 1
        });
        if let Some(hash) = &user.passwd {
            self.shadow[index][1].clone_from(hash);
        }
    }

    fn gid(&self, group: &Account) -> Option<u32> {
        match group {
            Account::Id(id) => Some(*id),
            Account::Name(name) => self.group.iter().find(|row| row[0] == *name)?[2].parse().ok(),
        }
    }

    /// Owners in the plan that are nowhere, each with its place.
    pub fn unknown_owners(&self, plan: &Plan) -> Vec<Problem> {
        let owners = plan.files.iter().filter_map(|file| file.owner.as_ref());
        owners
            .filter(|owner| self.resolve(owner).is_none())
            .map(|owner| Problem {
                place: owner.place,
                message: "no such user or group on this machine".to_owned(),
            })
            .collect()
    }

    /// Numbers of user and group. A number needs no account; its group is that of its account, or
    /// the same number.
    pub fn resolve(&self, owner: &Owner) -> Option<(u32, u32)> {
        let number = |row: &[String], field: usize| row[field].parse::<u32>().ok();
        let (uid, own) = match &owner.user {
            Account::Id(id) => {
                let row = self.passwd.iter().find(|row| number(row, 2) == Some(*id));
                (*id, row.and_then(|row| number(row, 3)).unwrap_or(*id))
            }
            Account::Name(name) => {
                let row = self.row(name)?;
                (number(row, 2)?, number(row, 3)?)
            }
        };
        let gid = owner.group.as_ref().map_or(Some(own), |group| self.gid(group))?;
        Some((uid, gid))
    }
}

fn missing(problems: &mut Vec<Problem>, place: Place, message: &str) -> u32 {
    problems.push(Problem { place, message: message.to_owned() });
    0
}

fn ids(table: &[Vec<String>]) -> BTreeSet<u32> {
    table.iter().filter_map(|row| row[2].parse().ok()).collect()
}

/// The id of a name: its hash's, else the next free one.
fn free(name: &str, (first, count): (u32, u32), taken: &BTreeSet<u32>) -> u32 {
    let start = fnv1a(name) % count;
    (0..count).map(|step| first + (start + step) % count).find(|id| !taken.contains(id)).unwrap_or(first)
}

/// FNV-1a, 32 bits.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/usr/sbin/nologin\ncore:x:500:500::/var/home/core:/bin/bash\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:\nsudo:x:27:core\nusers:x:100:\ncore:x:500:\n";

    fn users(text: &str) -> Vec<User> {
        let context = crate::Context { facts: &crate::Facts::default(), check_unit: &|_, _| Vec::new() };
        crate::parse(format!("#cloud-config\nusers:\n{text}").as_bytes(), &context).unwrap().users
    }

    fn rendered(text: &str) -> ([String; 3], Vec<Home>) {
        let mut accounts = Accounts::read(PASSWD, GROUP, "");
        let homes = accounts.add(&users(text)).unwrap();
        (accounts.texts(), homes)
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // The reference values of the FNV page.
        assert_eq!((fnv1a(""), fnv1a("a"), fnv1a("foobar")), (0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968));
    }

    #[test]
    fn an_id_follows_from_the_name_whatever_stands_beside_it() {
        let (alone, _) = rendered("  - name: anna\n");
        let (beside, _) = rendered("  - name: berta\n  - name: anna\n");
        let line = |texts: &[String; 3], name: &str| {
            texts[0].lines().find(|line| line.starts_with(name)).unwrap().to_owned()
        };
        let id = 10_000 + fnv1a("anna") % 50_000;
        assert_eq!(line(&alone, "anna"), format!("anna:x:{id}:{id}::/var/home/anna:/usr/bin/login-shell"));
        assert_eq!(line(&alone, "anna"), line(&beside, "anna"));
        assert!(alone[1].contains(&format!("anna:x:{id}:\n")));
        assert_eq!(free("anna", PEOPLE, &BTreeSet::from([id])), id + 1);
    }

    #[test]
    fn an_existing_user_keeps_its_number_and_takes_the_rest() {
        let hash = "$6$salt$0123456789abcdef";
        let (texts, homes) = rendered(&format!(
            "  - name: core\n    passwd: {hash}\n    gecos: The Core\n    groups: [wheel, sudo]\n    shell: /bin/sh\n"
        ));
        assert!(texts[0].contains("core:x:500:500:The Core:/var/home/core:/bin/sh\n"), "{}", texts[0]);
        assert!(texts[1].contains("wheel:x:10:core\nsudo:x:27:core\n"), "{}", texts[1]);
        assert!(texts[2].contains(&format!("core:{hash}::0:99999:7:::\n")), "{}", texts[2]);
        assert_eq!(homes, [Home { path: "/var/home/core".to_owned(), uid: 500, gid: 500 }]);
    }

    #[test]
    fn groups_and_homes_are_as_the_keys_say() {
        let (texts, homes) = rendered(
            "  - name: a\n    primary_group: b\n    no_create_home: true\n  - name: b\n    homedir: /srv/b\n  - name: c\n    no_user_group: true\n  - name: daemon-x\n    system: yes\n",
        );
        let field = |name: &str, field: usize| {
            let row = texts[0].lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
            row.split(':').nth(field).unwrap().to_owned()
        };
        assert_eq!(field("c", 3), "100");
        assert_eq!(field("daemon-x", 6), "/usr/sbin/nologin");
        assert!((600..900).contains(&field("daemon-x", 2).parse::<u32>().unwrap()));
        assert_eq!(field("a", 3), field("b", 3));
        let paths: Vec<&str> = homes.iter().map(|home| home.path.as_str()).collect();
        assert_eq!(paths, ["/srv/b", "/var/home/c"]);
        let mut accounts = Accounts::read(PASSWD, GROUP, "");
        let problems = accounts.add(&users("  - name: a\n    groups: [nope]\n")).unwrap_err();
        assert_eq!(problems[0].to_string(), "3:11: group nope is not known on this machine");
    }
}
