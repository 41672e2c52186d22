//! Users, roles and permissions: random permissions against a checker that looks at every
//! key, the rules for changes as a table, and what is checked when a command is applied.

#![allow(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod common;

use bytes::Bytes;
use common::disk::Disk;
use common::{Store, dump, options, put, restore, snapshot};
use kv_core::{
    AuthChange, Caller, Command, Compare, CompareResult, DeleteRange, Denial, Operation, Outcome, Permission,
    PermissionKind, Policy, Position, Put, Range, Refusal, Reply, State, Target, Txn,
};
use proptest::collection::vec;
use proptest::prelude::*;

const LETTERS: [u8; 3] = [0, b'a', b'b'];

/// Keys of one or two letters.
fn key() -> impl Strategy<Value = Bytes> {
    vec(prop::sample::select(LETTERS.to_vec()), 1..3).prop_map(Bytes::from)
}

fn end() -> impl Strategy<Value = Bytes> {
    prop_oneof![2 => Just(Bytes::new()), 1 => Just(Bytes::from_static(&[0])), 5 => key()]
}

fn kind() -> impl Strategy<Value = PermissionKind> {
    prop::sample::select(vec![PermissionKind::Read, PermissionKind::Write, PermissionKind::ReadWrite])
}

fn permission() -> impl Strategy<Value = Permission> {
    let permission = (kind(), key(), end());
    let permission = permission.prop_map(|(kind, key, range_end)| Permission { kind, key, range_end });
    permission.prop_filter("can be granted", Permission::is_valid)
}

/// All keys of up to three letters: of any hole between ranges that end at keys of up to
/// two, the first key is among them.
fn all_keys() -> Vec<Bytes> {
    let mut keys: Vec<Vec<u8>> = vec![Vec::new()];
    let mut from = 0;
    for _ in 0..3 {
        let to = keys.len();
        for at in from..to {
            for letter in LETTERS {
                keys.push([keys[at].as_slice(), &[letter]].concat());
            }
        }
        from = to;
    }
    keys.into_iter().skip(1).map(Bytes::from).collect()
}

fn lies_in(key: &Bytes, start: &Bytes, range_end: &Bytes) -> bool {
    match range_end.as_ref() {
        [] => key == start,
        [0] => key >= start,
        end => key >= start && key.as_ref() < end,
    }
}

fn change(change: AuthChange) -> Command {
    Command::Auth(change)
}

fn user_add(name: &str) -> AuthChange {
    AuthChange::UserAdd { name: name.into(), password: "hash".into(), no_password: false }
}

fn grant_role(user: &str, role: &str) -> AuthChange {
    AuthChange::UserGrantRole { user: user.into(), role: role.into() }
}

fn role_add(name: &str) -> AuthChange {
    AuthChange::RoleAdd { name: name.into() }
}

fn grant(role: &str, kind: PermissionKind, key: &str, range_end: &str) -> AuthChange {
    let permission = Permission { kind, key: key.to_owned().into(), range_end: range_end.to_owned().into() };
    AuthChange::RoleGrantPermission { role: role.into(), permission: Some(permission) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_range_is_permitted_if_each_of_its_keys_is(
        roles in vec(vec(permission(), 0..4), 1..4),
        asked in vec((key(), end()), 40),
    ) {
        let mut policy = Policy::default();
        for step in [user_add("root"), grant_role("root", "root"), user_add("u")] {
            policy.change(&step).unwrap();
        }
        // What is granted counts last for each range.
        let mut granted: Vec<Permission> = Vec::new();
        for (number, permissions) in roles.iter().enumerate() {
            let role = number.to_string();
            policy.change(&role_add(&role)).unwrap();
            policy.change(&grant_role("u", &role)).unwrap();
            let mut mine: Vec<Permission> = Vec::new();
            for permission in permissions {
                mine.retain(|one| (&one.key, &one.range_end) != (&permission.key, &permission.range_end));
                mine.push(permission.clone());
                let permission = Some(permission.clone());
                policy.change(&AuthChange::RoleGrantPermission { role: role.clone(), permission }).unwrap();
            }
            granted.extend(mine);
        }
        policy.change(&AuthChange::Enable).unwrap();
        let caller = Caller { user: "u".into(), revision: policy.revision() };
        let keys = all_keys();
        for (key, range_end) in asked {
            let inside: Vec<_> = keys.iter().filter(|one| lies_in(one, &key, &range_end)).collect();
            if inside.is_empty() {
                continue;
            }
            // Behind the last of these keys only a permission without an end goes on.
            let open = range_end.as_ref() == [0];
            let covered = |wanted: fn(PermissionKind) -> bool| {
                let mine = || granted.iter().filter(|one| wanted(one.kind));
                inside.iter().all(|key| mine().any(|one| lies_in(key, &one.key, &one.range_end)))
                    && (!open || mine().any(|one| one.range_end.as_ref() == [0]))
            };
            let read = policy.check_read(&caller, &key, &range_end).is_ok();
            prop_assert_eq!(read, covered(PermissionKind::reads), "read {:?} {:?}", key, range_end);
            let write = policy.check_write(&caller, &key, &range_end).is_ok();
            prop_assert_eq!(write, covered(PermissionKind::writes), "write {:?} {:?}", key, range_end);
        }
    }
}

#[test]
fn changes_follow_etcds_rules() {
    use Denial::*;
    let long = |role: &str| AuthChange::RoleRevokePermission {
        role: role.into(),
        key: "a".into(),
        range_end: "z".into(),
    };
    let revoke = |user: &str, role: &str| AuthChange::UserRevokeRole { user: user.into(), role: role.into() };
    let delete = |name: &str| AuthChange::UserDelete { name: name.into() };
    let role_delete = |name: &str| AuthChange::RoleDelete { name: name.into() };
    let enter = |user: &str| AuthChange::Authenticate { user: user.into(), token: "t".into() };
    let no_password = AuthChange::UserAdd { name: "cert".into(), password: "hash".into(), no_password: true };
    let password = |name: &str| AuthChange::UserChangePassword { name: name.into(), password: "new".into() };
    let read = PermissionKind::Read;
    let mut policy = Policy::default();
    // The change, what comes of it, and the revision afterwards.
    for (change, expected, revision) in [
        (AuthChange::Disable, Ok(false), 1),
        (AuthChange::Enable, Err(RootUserNotExist), 1),
        (enter("root"), Err(AuthNotEnabled), 1),
        (user_add(""), Err(UserEmpty), 1),
        (user_add("root"), Ok(true), 2),
        (user_add("root"), Err(UserAlreadyExist), 2),
        (AuthChange::Enable, Err(RootRoleNotExist), 2),
        (grant_role("root", "r"), Err(RoleNotFound), 2),
        (grant_role("u", "root"), Err(UserNotFound), 2),
        (role_add(""), Err(RoleEmpty), 2),
        (role_add("r"), Ok(true), 3),
        (role_add("r"), Err(RoleAlreadyExist), 3),
        (grant_role("root", "r"), Ok(true), 4),
        (grant_role("root", "root"), Ok(true), 5),
        (grant_role("root", "root"), Ok(false), 5),
        (revoke("root", "x"), Err(RoleNotGranted), 5),
        (revoke("u", "r"), Err(UserNotFound), 5),
        (AuthChange::RoleGrantPermission { role: "r".into(), permission: None }, Err(PermissionNotGiven), 5),
        (grant("r", read, "b", "a"), Err(InvalidAuthMgmt), 5),
        (grant("x", read, "a", ""), Err(RoleNotFound), 5),
        (grant("r", read, "a", "z"), Ok(true), 6),
        (grant("r", PermissionKind::Write, "a", "z"), Ok(true), 7),
        (long("x"), Err(RoleNotFound), 7),
        (long("r"), Ok(true), 8),
        (long("r"), Err(PermissionNotGranted), 8),
        (no_password, Ok(true), 9),
        (password("cert"), Ok(true), 10),
        (password("u"), Err(UserNotFound), 10),
        (AuthChange::Enable, Ok(true), 10),
        (AuthChange::Enable, Ok(false), 10),
        (enter("root"), Ok(false), 10),
        (enter("cert"), Err(AuthFailed), 10),
        (enter("u"), Err(AuthFailed), 10),
        (delete("root"), Err(InvalidAuthMgmt), 10),
        (delete("u"), Err(UserNotFound), 10),
        (revoke("root", "root"), Err(InvalidAuthMgmt), 10),
        (role_delete("root"), Err(InvalidAuthMgmt), 10),
        (role_delete("x"), Err(RoleNotFound), 10),
        (role_delete("r"), Ok(true), 11),
        (AuthChange::Disable, Ok(true), 12),
        (delete("root"), Ok(true), 13),
    ] {
        assert_eq!(policy.change(&change), expected, "{change:?}");
        assert_eq!(policy.revision(), revision, "{change:?}");
        if change == AuthChange::Enable && expected == Ok(true) {
            assert_eq!(policy.user("cert").unwrap().password, "", "who has no password gets none");
            assert_eq!(policy.user("root").unwrap().roles, ["r", "root"]);
        }
    }
    assert_eq!(policy.users().collect::<Vec<_>>(), ["cert"]);
    assert_eq!(policy.roles().count(), 0);
}

/// A store where `u` may read and write `a` to `c`, and read `r`.
fn guarded() -> Store {
    let mut store = Store::new();
    for step in [
        user_add("root"),
        grant_role("root", "root"),
        role_add("r"),
        grant("r", PermissionKind::ReadWrite, "a", "c"),
        grant("r", PermissionKind::Read, "r", ""),
        user_add("u"),
        grant_role("u", "r"),
    ] {
        store.done(change(step));
    }
    store.done(Command::LeaseGrant { id: 7, ttl_s: 60 });
    store.done(Command::Put(Put { key: "z".into(), value: "v".into(), lease: 7, ..Put::default() }));
    store.done(change(AuthChange::Enable));
    store
}

fn apply(store: &mut Store, caller: &Caller, command: &Command) -> Reply {
    store.index += 1;
    let at = Position { term: 1, leader: 1, index: store.index };
    store.state.batch(|batch| batch.apply_as(at, caller, command)).unwrap()
}

fn caller(store: &Store, user: &str) -> Caller {
    Caller { user: user.into(), revision: store.state.policy().revision() }
}

fn delete(key: &'static str, end: &'static str, prev_kv: bool) -> DeleteRange {
    DeleteRange { key: key.into(), range_end: end.into(), prev_kv }
}

#[test]
fn a_command_is_checked_when_it_is_applied() {
    let mut store = guarded();
    let (user, root) = (caller(&store, "u"), caller(&store, "root"));
    let put_with =
        |key: &'static str, lease, prev_kv| Put { key: key.into(), lease, prev_kv, ..Put::default() };
    let compare = |key: &'static str| Compare {
        key: key.into(),
        range_end: Bytes::new(),
        result: CompareResult::Equal,
        target: Target::Version(0),
    };
    let read = |key: &'static str| Operation::Range(Range { key: key.into(), ..Range::default() });
    let txn = |key: &'static str, success: Vec<Operation>, failure: Vec<Operation>| Txn {
        compare: vec![compare(key)],
        success,
        failure,
    };
    let nested = txn("a", vec![], vec![Operation::Put(put_with("z", 0, false))]);
    for (command, may) in [
        (Command::Put(put_with("a", 0, true)), true),
        (Command::Put(put_with("c", 0, false)), false),
        (Command::Put(put_with("r", 0, false)), false),
        // The lease has a key that the user may not write.
        (Command::Put(put_with("a", 7, false)), false),
        (Command::DeleteRange(delete("a", "c", true)), true),
        (Command::DeleteRange(delete("a", "c\0", false)), false),
        (Command::DeleteRange(delete("a", "\0", false)), false),
        (Command::Txn(txn("r", vec![Operation::Put(put_with("a", 0, false))], vec![read("r")])), true),
        (Command::Txn(txn("z", vec![], vec![])), false),
        (Command::Txn(txn("a", vec![], vec![read("z")])), false),
        (Command::Txn(txn("a", vec![Operation::DeleteRange(delete("r", "", false))], vec![])), false),
        (Command::Txn(txn("a", vec![Operation::Txn(nested)], vec![])), false),
        (Command::LeaseRevoke { id: 7 }, false),
        (change(role_add("x")), false),
        (change(AuthChange::Disable), false),
    ] {
        let before = store.state.revision();
        let denied = Some(Refusal::Auth(Denial::PermissionDenied)).filter(|_| !may);
        assert_eq!(apply(&mut store, &user, &command).result.err(), denied, "{command:?}");
        if !may {
            assert_eq!(store.state.revision(), before, "{command:?}");
            let nobody = apply(&mut store, &Caller::default(), &command).result.err();
            assert_eq!(nobody, Some(Refusal::Auth(Denial::UserEmpty)), "{command:?}");
        }
    }
    assert!(apply(&mut store, &root, &put("z", "w")).result.is_ok());
    assert!(apply(&mut store, &root, &Command::LeaseRevoke { id: 7 }).result.is_ok());
}

#[test]
fn what_was_checked_before_a_change_is_refused_after_it() {
    let mut store = guarded();
    let (user, root) = (caller(&store, "u"), caller(&store, "root"));
    let enter = change(AuthChange::Authenticate { user: "u".into(), token: "t".into() });
    let reply = apply(&mut store, &user, &enter);
    assert_eq!(reply.result, Ok(Outcome::Authenticated { token: format!("t.{}", store.index) }));
    let password = AuthChange::UserChangePassword { name: "u".into(), password: "other".into() };
    assert!(apply(&mut store, &root, &change(password)).result.is_ok());
    let old = Some(Refusal::Auth(Denial::AuthOldRevision));
    assert_eq!(apply(&mut store, &user, &enter).result.err(), old, "by the old password");
    assert_eq!(apply(&mut store, &user, &put("a", "1")).result.err(), old);
    let user = caller(&store, "u");
    assert!(apply(&mut store, &user, &put("a", "1")).result.is_ok());
    // Of a batch that fails nothing stays.
    let failed = store.state.batch(|batch| {
        let at = Position { term: 1, leader: 1, index: store.index + 1 };
        batch.apply_as(at, &root, &change(AuthChange::Disable))?;
        batch.apply_as(at, &root, &change(AuthChange::Disable))
    });
    assert!(failed.is_err());
    assert!(store.state.policy().enabled() && store.state.view().unwrap().policy().unwrap().enabled());
}

#[test]
fn users_and_roles_are_in_the_database_the_snapshot_and_the_hash() {
    let mut store = guarded();
    let view = store.state.view().unwrap();
    let before = view.hash_all().unwrap().unwrap();
    assert_eq!(view.policy().unwrap(), *store.state.policy());
    let root = caller(&store, "root");
    apply(&mut store, &root, &change(role_add("x")));
    let view = store.state.view().unwrap();
    let after = view.hash_all().unwrap().unwrap();
    assert_ne!(before.hash, after.hash, "a role more is another state");
    assert_eq!(view.hash(0).unwrap(), store.state.view().unwrap().hash(0).unwrap());
    let bytes = snapshot(&view);
    let restored = restore(&bytes).unwrap();
    assert_eq!(dump(&restored.view().unwrap()), dump(&view));
    assert_eq!(restored.policy(), store.state.policy());
}

#[test]
fn users_and_roles_are_there_after_a_restart() {
    let disk = Disk::new();
    let mut state = State::open(disk.clone(), options()).unwrap();
    let mut policies = Vec::new();
    let steps = [
        user_add("root"),
        role_add("r"),
        grant_role("root", "r"),
        AuthChange::RoleDelete { name: "r".into() },
    ];
    for (index, step) in (1..).zip(steps) {
        let at = Position { term: 1, leader: 1, index };
        state.batch(|batch| batch.apply(at, &change(step))).unwrap().result.unwrap();
        state.make_durable().unwrap();
        policies.push(state.policy());
        drop(state);
        state = State::open(disk.clone(), options()).unwrap();
        assert_eq!(Some(&state.policy()), policies.last());
    }
    assert_ne!(policies[0], policies[3]);
}
