//! The command line: etcdctl's verbs and flags, in clap's words.

use clap::{Arg, ArgAction, Command, value_parser};
use std::ffi::OsString;

/// The whole command line, for parsing, completions and manual pages.
pub fn command() -> Command {
    Command::new("kvctl")
        .about("The store's command-line client: etcdctl's verbs of v3")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .infer_subcommands(true)
        .args(crate::globals::args())
        .subcommands([get(), put(), del(), txn(), compaction(), watch(), lease(), lock(), elect()])
        .subcommands([
            member(),
            endpoint(),
            snapshot(),
            alarm(),
            defrag(),
            move_leader(),
            make_mirror(),
            check(),
        ])
        .subcommands([user(), role(), auth()])
        .subcommand(verb("version", "Prints the version"))
        .subcommand(
            verb("completion", "Prints a completion script for a shell")
                .arg(Arg::new("shell").required(true).value_parser(value_parser!(clap_complete::Shell))),
        )
}

/// `get`, also as a line of a transaction.
pub(crate) fn get() -> Command {
    verb("get", "Gets the key or a range of keys: <key> [range_end]").args([
        text("consistency", "Linearizable(l) or Serializable(s)").default_value("l"),
        text("order", "Order of results; ASCEND or DESCEND (ASCEND by default)"),
        text("sort-by", "Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION"),
        number("limit", "Maximum number of results"),
        switch("prefix", "Get keys with matching prefix"),
        switch("from-key", "Get keys that are greater than or equal to the given key using byte compare"),
        number("rev", "Specify the kv revision"),
        switch("keys-only", "Get only the keys"),
        switch("count-only", "Get only the count"),
        switch("print-value-only", "Only write values when using the \"simple\" output format"),
        number("min-create-rev", "Minimum create revision"),
        number("max-create-rev", "Maximum create revision"),
        number("min-mod-rev", "Minimum modification revision"),
        number("max-mod-rev", "Maximum modification revision"),
    ])
}

/// `put`, also as a line of a transaction.
pub(crate) fn put() -> Command {
    verb(
        "put",
        "Puts the given key into the store: <key> <value>; without a value it is read from standard input",
    )
    .args([
        text("lease", "lease ID (in hexadecimal) to attach to the key").default_value("0"),
        switch("prev-kv", "return the previous key-value pair before modification"),
        switch("ignore-value", "updates the key using its current value"),
        switch("ignore-lease", "updates the key using its current lease"),
    ])
}

/// `del`, also as a line of a transaction.
pub(crate) fn del() -> Command {
    verb("del", "Removes the specified key or range of keys [key, range_end)").args([
        switch("prefix", "delete keys with matching prefix"),
        switch("prev-kv", "return deleted key-value pairs"),
        switch("from-key", "delete keys that are greater than or equal to the given key using byte compare"),
        switch("range", "delete range of keys (as given: <key> <range_end>)"),
    ])
}

/// `watch`, also as a line of an interactive one.
pub(crate) fn watch() -> Command {
    verb(
        "watch",
        "Watches events stream on keys or prefixes: [key or prefix] [range_end] [-- command arguments]",
    )
    .args([
        switch("interactive", "Interactive mode").short('i'),
        switch("prefix", "Watch on a prefix if prefix is set"),
        number("rev", "Revision to start watching"),
        switch("prev-kv", "get the previous key-value pair before the event happens"),
    ])
    .arg(
        Arg::new("exec")
            .last(true)
            .num_args(0..)
            .value_parser(value_parser!(OsString))
            .help("Command to run for each event"),
    )
}

fn txn() -> Command {
    verb("txn", "Txn processes all the requests in one transaction")
        .arg(switch("interactive", "Input transaction in interactive mode").short('i'))
}

fn compaction() -> Command {
    verb("compaction", "Compacts the event history: <revision>")
        .arg(switch("physical", "'true' to wait for compaction to physically remove all old revisions"))
}

fn lease() -> Command {
    group("lease", "Lease related commands").subcommands([
        verb("grant", "Creates leases: <ttl>"),
        verb("revoke", "Revokes leases: <leaseID>"),
        verb("timetolive", "Get lease information: <leaseID>")
            .arg(switch("keys", "Get keys attached to this lease")),
        verb("list", "List all active leases"),
        verb("keep-alive", "Keeps leases alive (renew): <leaseID>")
            .arg(switch("once", "Resets the keep-alive time to its original value and exits immediately")),
    ])
}

fn lock() -> Command {
    verb("lock", "Acquires a named lock: <lockname> [-- command arguments]")
        .arg(number("ttl", "timeout for session, in seconds").default_value("10"))
}

fn elect() -> Command {
    verb("elect", "Observes and participates in leader election: <election-name> [proposal]")
        .arg(switch("listen", "observation mode").short('l'))
}

fn member() -> Command {
    let urls = |help| text("peer-urls", help);
    group("member", "Membership related commands").subcommands([
        verb("add", "Adds a member into the cluster: <memberName>").args([
            urls("comma separated peer URLs for the new member."),
            switch("learner", "indicates if the new member is raft learner"),
        ]),
        verb("remove", "Removes a member from the cluster: <memberID>"),
        verb("update", "Updates a member in the cluster: <memberID>")
            .arg(urls("comma separated peer URLs for the updated member.")),
        verb("list", "Lists all members in the cluster")
            .arg(text("consistency", "Linearizable(l) or Serializable(s)").default_value("l")),
        verb("promote", "Promotes a non-voting member in the cluster: <memberID>"),
    ])
}

fn endpoint() -> Command {
    let cluster = switch("cluster", "use all endpoints from the cluster member list").global(true);
    group("endpoint", "Endpoint related commands").arg(cluster).subcommands([
        verb("health", "Checks the healthiness of endpoints specified in `--endpoints` flag"),
        verb("status", "Prints out the status of endpoints specified in `--endpoints` flag"),
        verb("hashkv", "Prints the KV history hash for each endpoint in --endpoints")
            .arg(number("rev", "maximum revision to hash (default: latest revision)")),
    ])
}

fn snapshot() -> Command {
    group("snapshot", "Manages snapshots of a member").subcommands([
        verb("save", "Stores a snapshot to a given file: <filename>"),
        verb("status", "Gets the status of a snapshot's file: <filename>"),
    ])
}

fn alarm() -> Command {
    group("alarm", "Alarm related commands")
        .subcommands([verb("disarm", "Disarms all alarms"), verb("list", "Lists all alarms")])
}

fn defrag() -> Command {
    verb("defrag", "Defragments the storage of the members with given endpoints")
        .arg(switch("cluster", "use all endpoints from the cluster member list"))
}

fn move_leader() -> Command {
    verb("move-leader", "Transfers leadership to another member: <transferee-member-id>")
}

fn make_mirror() -> Command {
    verb("make-mirror", "Makes a mirror at the destination cluster: <destination>").args([
        text("prefix", "Key-value prefix to mirror"),
        number("rev", "Specify the kv revision to start to mirror"),
        text(
            "dest-prefix",
            "destination prefix to mirror a prefix to a different prefix in the destination cluster",
        ),
        switch("no-dest-prefix", "mirror key-values to the root of the destination cluster"),
        text(
            "dest-cert",
            "Identify secure client using this TLS certificate file for the destination cluster",
        ),
        text("dest-key", "Identify secure client using this TLS key file"),
        text("dest-cacert", "Verify certificates of TLS enabled secure servers using this CA bundle"),
        on("dest-insecure-transport", "Disable transport security for client connections"),
        text("dest-user", "Destination username[:password] for authentication"),
        text("dest-password", "Destination password for authentication"),
    ])
}

fn check() -> Command {
    group("check", "commands for checking properties of the cluster").subcommand(
        verb("perf", "Check the performance of the cluster").args([
            text("load", "The performance check's workload model: s(small), m(medium), l(large), xl(xLarge)")
                .default_value("s"),
            text("prefix", "The prefix for writing the performance check's keys.")
                .default_value("/etcdctl-check-perf/"),
            switch("auto-compact", "Compact storage with last revision after test is finished."),
            switch("auto-defrag", "Defragment storage after test is finished."),
        ]),
    )
}

fn user() -> Command {
    group("user", "User related commands").subcommands([
        verb("add", "Adds a new user: <user name or user:password>").args([
            on("interactive", "Read password from stdin instead of interactive terminal"),
            text("new-user-password", "Supply password from the command line flag"),
            switch("no-password", "Create a user without password (CN based auth only)"),
        ]),
        verb("delete", "Deletes a user: <user name>"),
        verb("get", "Gets detailed information of a user: <user name>")
            .arg(switch("detail", "Show permissions of roles granted to the user")),
        verb("list", "Lists all users"),
        verb("passwd", "Changes password of user: <user name>")
            .arg(on("interactive", "If true, read password from stdin instead of interactive terminal")),
        verb("grant-role", "Grants a role to a user: <user name> <role name>"),
        verb("revoke-role", "Revokes a role from a user: <user name> <role name>"),
    ])
}

fn role() -> Command {
    let span = |what: &'static str| {
        [
            switch("prefix", what),
            switch("from-key", "of keys that are greater than or equal to the given key"),
        ]
    };
    group("role", "Role related commands").subcommands([
        verb("add", "Adds a new role: <role name>"),
        verb("delete", "Deletes a role: <role name>"),
        verb("get", "Gets detailed information of a role: <role name>"),
        verb("list", "Lists all roles"),
        verb("grant-permission", "Grants a key to a role: <role name> <permission type> <key> [endkey]")
            .args(span("grant a prefix permission")),
        verb("revoke-permission", "Revokes a key from a role: <role name> <key> [endkey]")
            .args(span("revoke a prefix permission")),
    ])
}

fn auth() -> Command {
    group("auth", "Enable or disable authentication").subcommands([
        verb("enable", "Enables authentication"),
        verb("disable", "Disables authentication"),
        verb("status", "Returns authentication status"),
    ])
}

/// A verb; it counts its arguments itself, so as to say what etcdctl says.
fn verb(name: &'static str, about: &'static str) -> Command {
    let args = Arg::new("args").num_args(0..).value_parser(value_parser!(OsString)).hide(true);
    let command = Command::new(name).about(about);
    if name == "completion" { command } else { command.arg(args) }
}

fn group(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .infer_subcommands(true)
}

/// `--name`, `--name=true`, `--name=false`.
pub(crate) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_parser(value_parser!(bool))
        .overrides_with(name)
        .hide_default_value(true)
        .hide_possible_values(true)
        .action(ArgAction::Set)
}

/// A switch that is on unless it is set to false.
pub(crate) fn on(name: &'static str, help: &'static str) -> Arg {
    switch(name, help).default_value("true").hide_default_value(false)
}

/// `--name value`.
pub(crate) fn text(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .num_args(1)
        .overrides_with(name)
        .default_value("")
        .hide_default_value(true)
}

fn number(name: &'static str, help: &'static str) -> Arg {
    text(name, help).default_value("0").allow_negative_numbers(true).value_parser(value_parser!(i64))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
