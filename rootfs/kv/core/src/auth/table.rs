//! The policy in the database: tables `auth`, `auth_users`, `auth_roles`
//! (docs/FORMATS.md, "The store's database"). They are there from the first change on.

use std::collections::BTreeMap;

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::{Permission, PermissionKind, Policy, Role, User};
use crate::error::{At, Error};
use crate::record::{number, push};

pub(crate) const AUTH: TableDefinition<&'static str, u64> = TableDefinition::new("auth");
pub(crate) const USERS: TableDefinition<&'static str, &'static [u8]> = TableDefinition::new("auth_users");
pub(crate) const ROLES: TableDefinition<&'static str, &'static [u8]> = TableDefinition::new("auth_roles");

const READING: &str = "reading users and roles";
const WRITING: &str = "writing users and roles";

/// Reads the policy.
pub(crate) fn load(transaction: &ReadTransaction) -> Result<Policy, Error> {
    let auth = there(transaction.open_table(AUTH))?;
    let users = there(transaction.open_table(USERS))?;
    let roles = there(transaction.open_table(ROLES))?;
    read(auth.as_ref(), users.as_ref(), roles.as_ref())
}

/// Reads the policy as a transaction that writes has it.
pub(crate) fn load_written(transaction: &WriteTransaction) -> Result<Policy, Error> {
    let auth = transaction.open_table(AUTH).at(READING)?;
    let users = transaction.open_table(USERS).at(READING)?;
    let roles = transaction.open_table(ROLES).at(READING)?;
    read(Some(&auth), Some(&users), Some(&roles))
}

fn there<T>(table: Result<T, TableError>) -> Result<Option<T>, Error> {
    match table {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => table.map(Some).at(READING),
    }
}

fn read(
    auth: Option<&impl ReadableTable<&'static str, u64>>,
    users: Option<&impl ReadableTable<&'static str, &'static [u8]>>,
    roles: Option<&impl ReadableTable<&'static str, &'static [u8]>>,
) -> Result<Policy, Error> {
    let number = |name: &str, default| match auth {
        None => Ok(default),
        Some(auth) => Ok(auth.get(name).at(READING)?.map_or(default, |value| value.value())),
    };
    let users = entries("auth_users", users, user_of)?;
    let roles = entries("auth_roles", roles, role_of)?;
    Ok(Policy::new(number("enabled", 0)? != 0, number("revision", 1)?, users, roles))
}

fn entries<T>(
    name: &'static str,
    table: Option<&impl ReadableTable<&'static str, &'static [u8]>>,
    decode: fn(&[u8]) -> Option<T>,
) -> Result<BTreeMap<String, T>, Error> {
    let mut all = BTreeMap::new();
    let Some(table) = table else { return Ok(all) };
    for entry in table.iter().at(READING)? {
        let (key, value) = entry.at(READING)?;
        let damaged = || Error::Damaged { table: name, key: key.value().to_owned() };
        all.insert(key.value().to_owned(), decode(value.value()).ok_or_else(damaged)?);
    }
    Ok(all)
}

/// Writes what is another in `new` than in `old`.
pub(crate) fn save(transaction: &WriteTransaction, old: &Policy, new: &Policy) -> Result<(), Error> {
    let mut auth = transaction.open_table(AUTH).at(WRITING)?;
    auth.insert("enabled", u64::from(new.enabled)).at(WRITING)?;
    auth.insert("revision", new.revision).at(WRITING)?;
    differences(transaction, USERS, (&old.users, &new.users), user_record)?;
    differences(transaction, ROLES, (&old.roles, &new.roles), role_record)
}

fn differences<T: PartialEq>(
    transaction: &WriteTransaction,
    table: TableDefinition<&'static str, &'static [u8]>,
    (old, new): (&BTreeMap<String, T>, &BTreeMap<String, T>),
    encode: fn(&T) -> Vec<u8>,
) -> Result<(), Error> {
    let mut table = transaction.open_table(table).at(WRITING)?;
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        table.remove(name.as_str()).at(WRITING)?;
    }
    for (name, entry) in new.iter().filter(|(name, entry)| old.get(*name) != Some(*entry)) {
        table.insert(name.as_str(), encode(entry).as_slice()).at(WRITING)?;
    }
    Ok(())
}

impl Policy {
    /// All of it as entries of the tables, for snapshots and hashes.
    pub(crate) fn entries(&self) -> [Vec<(&str, Vec<u8>)>; 3] {
        let numbers = [("enabled", u64::from(self.enabled)), ("revision", self.revision)];
        [
            numbers.map(|(name, number)| (name, number.to_be_bytes().to_vec())).into(),
            self.users.iter().map(|(name, user)| (name.as_str(), user_record(user))).collect(),
            self.roles.iter().map(|(name, role)| (name.as_str(), role_record(role))).collect(),
        ]
    }
}

/// An entry of [`Policy::entries`] into its table; `false` if it does not have its form.
pub(crate) fn restore(
    transaction: &WriteTransaction,
    table: u8,
    key: &[u8],
    value: &[u8],
) -> Result<bool, Error> {
    let Ok(key) = std::str::from_utf8(key) else { return Ok(false) };
    match table {
        0 => {
            let Ok(number) = value.try_into().map(u64::from_be_bytes) else { return Ok(false) };
            transaction.open_table(AUTH).at(WRITING)?.insert(key, number).at(WRITING)?;
        }
        1 if user_of(value).is_some() => {
            transaction.open_table(USERS).at(WRITING)?.insert(key, value).at(WRITING)?;
        }
        2 if role_of(value).is_some() => {
            transaction.open_table(ROLES).at(WRITING)?.insert(key, value).at(WRITING)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn user_record(user: &User) -> Vec<u8> {
    let mut record = vec![u8::from(user.no_password)];
    text(&user.password, &mut record);
    for role in &user.roles {
        text(role.as_bytes(), &mut record);
    }
    record
}

fn user_of(record: &[u8]) -> Option<User> {
    let (no_password, rest) = record.split_first()?;
    let mut at = 0;
    let password = Bytes::copy_from_slice(text_of(rest, &mut at)?);
    let mut roles = Vec::new();
    while at < rest.len() {
        roles.push(String::from_utf8(text_of(rest, &mut at)?.to_vec()).ok()?);
    }
    Some(User { password, no_password: *no_password != 0, roles })
}

fn role_record(role: &Role) -> Vec<u8> {
    let mut record = Vec::new();
    for permission in role {
        record.push(match permission.kind {
            PermissionKind::Read => 0,
            PermissionKind::Write => 1,
            PermissionKind::ReadWrite => 2,
        });
        text(&permission.key, &mut record);
        text(&permission.range_end, &mut record);
    }
    record
}

fn role_of(record: &[u8]) -> Option<Role> {
    let mut role = Vec::new();
    let mut at = 0;
    while at < record.len() {
        let kind = match record[at] {
            0 => PermissionKind::Read,
            1 => PermissionKind::Write,
            2 => PermissionKind::ReadWrite,
            _ => return None,
        };
        at += 1;
        let key = Bytes::copy_from_slice(text_of(record, &mut at)?);
        let range_end = Bytes::copy_from_slice(text_of(record, &mut at)?);
        role.push(Permission { kind, key, range_end });
    }
    Some(role)
}

fn text(bytes: &[u8], record: &mut Vec<u8>) {
    push(bytes.len() as u64, record);
    record.extend_from_slice(bytes);
}

fn text_of<'r>(record: &'r [u8], at: &mut usize) -> Option<&'r [u8]> {
    let length = usize::try_from(number(record, at)?).ok()?;
    let bytes = record.get(*at..at.checked_add(length)?)?;
    *at += length;
    Some(bytes)
}
