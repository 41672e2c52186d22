//! Users and groups from /etc/passwd and /etc/group (passwd(5), group(5)).

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
    pub(super) shell: String,
}

fn lines(path: &str) -> Vec<Vec<String>> {
    let text = super::spawn::read_small(std::path::Path::new(path)).unwrap_or_default();
    text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
}

/// A user by name or number; a number without an entry is a user without a home.
pub(super) fn user(wanted: &str) -> Option<User> {
    let number = wanted.parse::<u32>().ok();
    let found = lines("/etc/passwd").into_iter().find_map(|fields| match fields.as_slice() {
        [name, _, uid, gid, _, home, shell]
            if name == wanted || number.is_some_and(|number| uid.parse() == Ok(number)) =>
        {
            Some(User {
                name: name.clone(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home: home.clone(),
                shell: shell.clone(),
            })
        }
        _ => None,
    });
    found.or_else(|| {
        number.map(|uid| User { name: wanted.into(), uid, gid: uid, home: "/".into(), shell: String::new() })
    })
}

/// A group by name or number.
pub(super) fn group(wanted: &str) -> Option<u32> {
    if let Ok(number) = wanted.parse() {
        return Some(number);
    }
    lines("/etc/group").into_iter().find_map(|fields| match fields.as_slice() {
        [name, _, gid, ..] if name == wanted => gid.parse().ok(),
        _ => None,
    })
}

/// The groups that list a user as a member.
pub(super) fn groups_of(user: &str) -> Vec<u32> {
    lines("/etc/group")
        .into_iter()
        .filter_map(|fields| match fields.as_slice() {
            [_, _, gid, members, ..] if members.split(',').any(|member| member == user) => gid.parse().ok(),
            _ => None,
        })
        .collect()
}

/// Whether a user or a group has the number.
pub(super) fn is_taken(id: u32) -> bool {
    let text = id.to_string();
    ["/etc/passwd", "/etc/group"]
        .iter()
        .any(|path| lines(path).iter().any(|fields| fields.get(2).is_some_and(|number| *number == text)))
}
