//! `users`

use crate::file::{account, path_fault};
use crate::import::{self, Import};
use crate::{Account, keys};
use document::{Fields, Node, Place, Problem, Problems};

/// A user to make, or to change when the image has one of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Hash of the password, crypt(5).
    pub passwd: Option<String>,
    /// Lines of `authorized_keys`.
    pub keys: Vec<String>,
    /// Where more keys come from, once the machine runs.
    pub imports: Vec<Import>,
    /// Full name.
    pub gecos: Option<String>,
    /// Home.
    pub homedir: Option<String>,
    /// The home is not to be made.
    pub no_create_home: bool,
    /// Name or number of the user's own group.
    pub primary_group: Option<Account>,
    /// More groups.
    pub groups: Vec<String>,
    /// No group with the user's name is made: the own one is `users`.
    pub no_user_group: bool,
    /// A user of the system: a low number, no home.
    pub system: bool,
    /// Login shell.
    pub shell: Option<String>,
    /// Where the document names it.
    pub place: Place,
}

impl User {
    fn new(name: &str, place: Place) -> Self {
        Self {
            name: name.to_owned(),
            passwd: None,
            keys: Vec::new(),
            imports: Vec::new(),
            gecos: None,
            homedir: None,
            no_create_home: false,
            primary_group: None,
            groups: Vec::new(),
            no_user_group: false,
            system: false,
            shell: None,
            place,
        }
    }
}

/// Keys that coreos-cloudinit or cloud-init know and this reader refuses, with what to do instead.
const REFUSED: [(&str, &str); 6] = [
    ("ssh_import_id", "not supported: use `coreos_ssh_import_github` or `coreos_ssh_import_url`"),
    ("inactive", "not supported (nor was it by coreos-cloudinit)"),
    ("lock_passwd", "not supported: a user without `passwd` has no password"),
    ("plain_text_passwd", "not supported: give a hash as `passwd`"),
    ("selinux_user", "not supported: there is no SELinux here"),
    ("sudo", "not supported: use `groups: [sudo]`"),
];

pub(crate) fn read(items: &[Node], users: &mut Vec<User>, warnings: &mut Vec<Problem>, problems: &Problems) {
    for item in items {
        let Some(fields) = item.fields(problems) else { continue };
        let user = one(&fields, warnings, problems);
        for (key, why) in REFUSED {
            if let Some(node) = fields.get(key) {
                problems.add(node.place, format!("`{key}`: {why}"));
            }
        }
        fields.finish();
        let Some(user) = user else { continue };
        if users.iter().any(|other| other.name == user.name) {
            problems.add(user.place, format!("user {} stands twice", user.name));
        } else {
            users.push(user);
        }
    }
}

fn one(fields: &Fields<'_>, warnings: &mut Vec<Problem>, problems: &Problems) -> Option<User> {
    let flag = |name| fields.get(name).and_then(|node| node.boolean(problems)).unwrap_or(false);
    let checked = |name, fault: fn(&str) -> Option<String>| {
        let node = fields.get(name)?;
        let text = node.text(problems)?;
        match fault(text) {
            None => Some(text.to_owned()),
            Some(fault) => {
                problems.add(node.place, format!("{name}: {fault}"));
                None
            }
        }
    };
    let name_node = fields.required("name");
    let mut user = User::new("", name_node.map_or(fields.place, |node| node.place));
    user.passwd = checked("passwd", passwd_fault);
    user.keys = keys::read(fields.items("ssh_authorized_keys"), problems);
    user.imports = import::read(fields, problems, warnings);
    user.gecos = checked("gecos", field_fault);
    user.homedir = checked("homedir", home_fault);
    user.shell = checked("shell", shell_fault);
    user.no_create_home = flag("no_create_home");
    user.no_user_group = flag("no_user_group");
    user.system = flag("system");
    // useradd's: no entry in lastlog, which nothing here keeps. So it is done either way.
    flag("no_log_init");
    let group = |node: &Node| match node.text(problems).map(|text| (text, account(text))) {
        Some((_, Some(account))) => Some(account),
        Some((text, None)) => {
            problems.add(node.place, format!("{text:?} is no group"));
            None
        }
        None => None,
    };
    user.primary_group = fields.get("primary_group").and_then(group);
    for node in fields.items("groups") {
        match group(node) {
            Some(Account::Name(name)) => user.groups.push(name),
            Some(Account::Id(_)) => problems.add(node.place, "groups are given by name"),
            None => {}
        }
    }
    if user.no_user_group && user.primary_group.is_some() {
        problems.add(
            user.place,
            "with `primary_group` no group of the user's own is made: leave `no_user_group` away",
        );
    }
    let node = name_node?;
    match account(node.text(problems)?) {
        Some(Account::Name(name)) => user.name = name,
        _ => {
            problems.add(
                node.place,
                "a user's name is a letter or `_`, then letters, digits, `_`, `-` and `.`, 32 at most",
            );
            return None;
        }
    }
    Some(user)
}

/// Gives a user more keys; makes an entry for it when there is none.
pub(crate) fn add_keys(users: &mut Vec<User>, name: &str, keys: Vec<String>) {
    if keys.is_empty() {
        return;
    }
    let index = users.iter().position(|user| user.name == name).unwrap_or_else(|| {
        users.push(User::new(name, Place { line: 1, column: 1 }));
        users.len() - 1
    });
    let known = &mut users[index].keys;
    for key in keys {
        if !known.contains(&key) {
            known.push(key);
        }
    }
}

/// crypt(5): `$id$…`, or `*` and `!` for none at all.
fn passwd_fault(text: &str) -> Option<String> {
    let id = text.strip_prefix('$').and_then(|rest| rest.split_once('$'));
    let is_hash = id.is_some_and(|(id, rest)| {
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) && rest.len() > 8
    });
    let is_clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    let is_ok = is_clean && (is_hash || matches!(text, "*" | "!" | "!!"));
    (!is_ok).then(|| "not a hash of a password: make one with `mkpasswd --method=yescrypt`".to_owned())
}

fn field_fault(text: &str) -> Option<String> {
    text.contains(|c: char| c == ':' || c.is_control())
        .then(|| "holds a colon or a line break, which passwd(5) cannot".to_owned())
}

fn home_fault(text: &str) -> Option<String> {
    field_fault(text).or_else(|| path_fault(text).map(|fault| format!("path {text:?} {fault}")))
}

fn shell_fault(text: &str) -> Option<String> {
    field_fault(text).or_else(|| (!text.starts_with('/')).then(|| "not an absolute path".to_owned()))
}
