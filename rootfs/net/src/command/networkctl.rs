//! `networkctl`: shows links and has the service change them.

use super::usage;
use crate::config::Set;
use crate::config::value::glob;
use crate::daemon::control::{self, Answer, Question};
use crate::daemon::report::Report;
use service::call::ask;
use std::fmt::Write as _;
use std::path::Path;

const USAGE: &str = "networkctl [--json=short|pretty] [list [LINK…] | status [-a | LINK…] | reload | \
    reconfigure LINK… | renew LINK… | up LINK… | down LINK… | verify]";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Short,
    Pretty,
}

/// `networkctl`: exit code 0 done, 1 failed, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    let (mut form, mut all) = (Form::Text, false);
    let mut words: Vec<&str> = Vec::new();
    for argument in arguments {
        match argument.as_str() {
            "--json=short" => form = Form::Short,
            "--json=pretty" => form = Form::Pretty,
            "--json=off" => form = Form::Text,
            "-a" | "--all" => all = true,
            "-h" | "--help" => {
                println!("{USAGE}");
                return 0;
            }
            option if option.starts_with('-') => return usage(option, USAGE),
            word => words.push(word),
        }
    }
    let (verb, names) = words.split_first().map_or(("list", &[][..]), |(verb, names)| (*verb, names));
    // A flag that a verb has no use for is a mistake.
    if (form != Form::Text && !matches!(verb, "list" | "status")) || (all && verb != "status") {
        return usage(verb, USAGE);
    }
    let done = match (verb, names) {
        ("list", _) => list(names, form),
        ("status", _) => status(names, all, form),
        ("verify", []) => return verify(),
        ("reload", []) => tell(&Question::Reload),
        ("reconfigure", [_, ..]) => each(names, Question::Reconfigure),
        ("renew", [_, ..]) => each(names, Question::Renew),
        ("up", [_, ..]) => each(names, Question::Up),
        ("down", [_, ..]) => each(names, Question::Down),
        ("reconfigure" | "renew" | "up" | "down", []) => return usage(verb, "a link is wanted"),
        _ => return usage(verb, USAGE),
    };
    match done {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("error: {why}");
            1
        }
    }
}

fn answer(question: &Question) -> Result<Answer, String> {
    ask(&control::socket(Path::new("/")), question)
        .map_err(|error| format!("{error}\nhint: is systemd-networkd.service running?"))
}

fn tell(question: &Question) -> Result<(), String> {
    match answer(question)? {
        Answer::Done => Ok(()),
        Answer::Failed(why) => Err(why),
        Answer::Links(_) => Err("the service answered another question".to_owned()),
    }
}

/// Does it for each link; a failure does not keep the others from it.
fn each(names: &[&str], question: fn(String) -> Question) -> Result<(), String> {
    let failures: Vec<String> =
        names.iter().filter_map(|name| tell(&question((*name).to_owned())).err()).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\nerror: ")) }
}

/// The links that are named, by name or pattern; all of them without a name.
fn links(names: &[&str]) -> Result<Vec<Report>, String> {
    let all = match answer(&Question::List)? {
        Answer::Links(all) => all,
        Answer::Failed(why) => return Err(why),
        Answer::Done => return Err("the service answered another question".to_owned()),
    };
    let is = |report: &Report, name: &str| {
        glob(name, &report.name)
            || report.alternative_names.iter().any(|other| glob(name, other))
            || report.index.to_string() == name
    };
    if let Some(name) = names.iter().find(|name| !all.iter().any(|report| is(report, name))) {
        return Err(format!("there is no link {name}"));
    }
    Ok(all
        .into_iter()
        .filter(|report| names.is_empty() || names.iter().any(|name| is(report, name)))
        .collect())
}

fn json(value: &serde_json::Value, form: Form) -> Result<(), String> {
    let text = match form {
        Form::Pretty => serde_json::to_string_pretty(value),
        _ => serde_json::to_string(value),
    };
    println!("{}", text.map_err(|error| error.to_string())?);
    Ok(())
}

fn list(names: &[&str], form: Form) -> Result<(), String> {
    let all = links(names)?;
    if form != Form::Text {
        return json(&serde_json::json!({ "Interfaces": all }), form);
    }
    print!("{}", table(&all));
    Ok(())
}

fn table(all: &[Report]) -> String {
    let mut rows = vec![["IDX", "LINK", "TYPE", "OPERATIONAL", "SETUP"].map(str::to_owned)];
    rows.extend(all.iter().map(|link| {
        [
            link.index.to_string(),
            link.name.clone(),
            link.kind_of_type.clone(),
            link.operational.clone(),
            link.setup.clone(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let line = format!(
            "{:>a$} {:b$} {:c$} {:d$} {}",
            row[0],
            row[1],
            row[2],
            row[3],
            row[4],
            a = widths[0],
            b = widths[1],
            c = widths[2],
            d = widths[3]
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text + &format!("\n{} links listed.\n", all.len())
}

fn status(names: &[&str], all: bool, form: Form) -> Result<(), String> {
    let found = links(names)?;
    if form != Form::Text {
        return match (found.as_slice(), names) {
            ([one], [_]) => json(&serde_json::json!(one), form),
            _ => json(&serde_json::json!({ "Interfaces": found }), form),
        };
    }
    if names.is_empty() && !all {
        print!("{}", summary(&found));
        return Ok(());
    }
    for (n, link) in found.iter().enumerate() {
        if n > 0 {
            println!();
        }
        print!("{}", one(link));
    }
    Ok(())
}

/// Rows of a name and values, one value a line; a row without values is left out.
fn rows(pairs: &[(&str, Vec<String>)]) -> String {
    let mut text = String::new();
    for (name, values) in pairs {
        for (n, value) in values.iter().enumerate() {
            let head = if n == 0 { format!("{name}:") } else { String::new() };
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{head:>21} {value}");
        }
    }
    text
}

fn summary(all: &[Report]) -> String {
    let best = all
        .iter()
        .filter(|link| link.kind_of_type != "loopback")
        .max_by_key(|link| link.operational.parse::<crate::config::network::OperState>().ok());
    let counted = |pick: fn(&Report) -> Vec<String>| {
        all.iter().filter(|link| link.kind_of_type != "loopback").flat_map(pick).collect::<Vec<_>>()
    };
    rows(&[
        ("State", vec![best.map_or("off", |link| &link.operational).to_owned()]),
        ("Address", counted(|link| link.addresses.iter().map(|a| format!("{a} on {}", link.name)).collect())),
        ("Gateway", counted(|link| link.gateways.iter().map(|g| format!("{g} on {}", link.name)).collect())),
        ("DNS", counted(|link| link.names.dns.iter().map(ToString::to_string).collect())),
        ("Search Domains", counted(|link| link.names.domains.clone())),
        ("NTP", counted(|link| link.names.ntp.clone())),
    ])
}

fn one(link: &Report) -> String {
    let some = |value: &str| if value.is_empty() { Vec::new() } else { vec![value.to_owned()] };
    let lease = link.dhcp4.as_ref().map(|dhcp| match (&dhcp.address, &dhcp.server, dhcp.lifetime) {
        (Some(address), Some(server), Some(lifetime)) => {
            format!("{}, {address} of {server} for {lifetime} s", dhcp.state)
        }
        _ => dhcp.state.clone(),
    });
    format!("{}: {}\n", link.index, link.name)
        + &rows(&[
            ("Link File", link.link_file.clone().into_iter().collect()),
            ("Network File", vec![link.network_file.clone().unwrap_or_else(|| "n/a".to_owned())]),
            ("State", vec![format!("{} ({})", link.operational, link.setup)]),
            (
                "Online state",
                some(if link.network_file.is_none() {
                    ""
                } else if link.online {
                    "online"
                } else {
                    "offline"
                }),
            ),
            ("Type", some(&link.kind_of_type)),
            ("Kind", some(&link.kind)),
            ("Path", some(&link.path)),
            ("Driver", some(&link.driver)),
            ("Alternative Names", link.alternative_names.clone()),
            ("Hardware Address", link.hardware_address.clone().into_iter().collect()),
            ("MTU", vec![link.mtu.to_string()]),
            ("Address", link.addresses.clone()),
            ("Gateway", link.gateways.clone()),
            ("DNS", link.names.dns.iter().map(ToString::to_string).collect()),
            ("Search Domains", link.names.domains.clone()),
            ("Route Domains", link.names.route_domains.clone()),
            ("NTP", link.names.ntp.clone()),
            ("DHCPv4", lease.into_iter().collect()),
            ("DHCPv6", link.dhcp6.clone().into_iter().collect()),
            ("Failure", link.failures.clone()),
        ])
}

/// Reads the machine's files and says what is wrong with them; fails when they ask for something
/// that is not done.
fn verify() -> u8 {
    let set = Set::load(Path::new("/"));
    for problem in &set.problems {
        println!("{problem}");
    }
    u8::from(set.problems.iter().any(crate::config::Problem::is_error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_links() {
        let link = |index, name: &str, kind: &str| Report {
            index,
            name: name.into(),
            kind_of_type: kind.into(),
            operational: "routable".into(),
            setup: "configured".into(),
            ..Report::default()
        };
        assert_eq!(
            table(&[link(1, "lo", "loopback"), link(12, "eth0", "ether")]),
            "IDX LINK TYPE     OPERATIONAL SETUP\n  1 lo   loopback routable    configured\n 12 eth0 ether    routable    configured\n\n2 links listed.\n"
        );
    }
}
