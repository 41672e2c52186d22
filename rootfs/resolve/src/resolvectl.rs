//! `resolvectl`: asks, shows, sets.

use crate::config::{Llmnr, Server};
use crate::control::{Found, LinkStatus, Request, Response, SOCKET, Status};
use service::call::{CallError, ask};
use service::config::boolean;
use std::fmt::Write as _;
use std::path::Path;

const USAGE: &str = "hint: resolvectl [--json] [-t TYPE] [--search=BOOL] query NAME… | status [LINK…] | \
                     statistics | flush-caches | dns [LINK [SERVER…]] | domain [LINK [[~]DOMAIN…]] | \
                     llmnr [LINK [yes|no|resolve]] | default-route [LINK [yes|no]] | revert LINK";

/// The command. Exit code: 0 done, 1 failed or not found, 2 usage.
pub fn main(arguments: &[String]) -> u8 {
    let options = match Options::of(arguments) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("error: {why}\n{USAGE}");
            return 2;
        }
    };
    if options.help {
        println!("{USAGE}");
        return 0;
    }
    match run(&options, &mut |request| ask(Path::new(SOCKET), request)) {
        Ok((text, code)) => {
            print!("{text}");
            code
        }
        Err(Failure::Usage(why)) => {
            eprintln!("error: {why}\n{USAGE}");
            2
        }
        Err(Failure::Refused(why)) => {
            eprintln!("error: {why}");
            1
        }
        Err(Failure::Call(error)) => {
            eprintln!("error: {error}\nhint: does systemd-resolved.service run?");
            1
        }
    }
}

#[derive(Debug)]
enum Failure {
    Usage(String),
    Refused(String),
    Call(CallError),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    json: bool,
    help: bool,
    no_search: bool,
    kind: Option<String>,
    words: Vec<String>,
}

impl Options {
    fn of(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--json" | "--json=short" | "--json=pretty" | "-j" => options.json = true,
                "--help" | "-h" => options.help = true,
                "--no-pager" => {}
                "-t" | "--type" => options.kind = Some(rest.next().ok_or("-t needs a record type")?.clone()),
                other => match other.split_once('=') {
                    Some(("--type", kind)) => options.kind = Some(kind.to_owned()),
                    Some(("--search", value)) => {
                        options.no_search = !boolean(value)
                            .ok_or_else(|| format!("--search={value} is neither yes nor no"))?;
                    }
                    _ if other.starts_with('-') && other.len() > 1 => {
                        return Err(format!("unknown option `{other}`"));
                    }
                    _ => options.words.push(other.to_owned()),
                },
            }
        }
        Ok(options)
    }
}

type Asker<'a> = &'a mut dyn FnMut(&Request) -> Result<Response, CallError>;

fn run(options: &Options, ask: Asker) -> Result<(String, u8), Failure> {
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    let (verb, rest) = words.split_first().map_or(("status", &[][..]), |(verb, rest)| (*verb, rest));
    let usage = |why: &str| Err(Failure::Usage(why.to_owned()));
    match (verb, rest) {
        ("query", []) => usage("query needs a name"),
        ("query", names) => query(options, names, ask),
        ("status", links) => {
            let status = status(ask)?;
            let mut shown = Vec::new();
            for word in links {
                shown.push(link_of(&status, word)?);
            }
            if options.json {
                return Ok((if links.is_empty() { json(&status) } else { json(&shown) }, 0));
            }
            let mut text = String::new();
            if links.is_empty() {
                text = show_global(&status);
                shown = status.links.iter().collect();
            }
            for link in shown {
                let gap = if text.is_empty() { "" } else { "\n" };
                let _ = write!(text, "{gap}{}", show_link(link));
            }
            Ok((text, 0))
        }
        ("statistics", []) => statistics(options, ask),
        ("flush-caches", []) => done(ask(&Request::FlushCaches)?),
        ("dns" | "domain" | "llmnr" | "default-route", []) => list(options, verb, None, ask),
        ("dns" | "domain" | "llmnr" | "default-route", [link]) => list(options, verb, Some(link), ask),
        ("dns" | "domain" | "llmnr" | "default-route", [link, values @ ..]) => {
            let index = link_of(&status(ask)?, link)?.index;
            // An empty word clears a list, as in systemd.
            let values: Vec<&str> = values.iter().copied().filter(|value| !value.is_empty()).collect();
            let request = set(verb, index, &values).map_err(Failure::Usage)?;
            done(ask(&request)?)
        }
        ("revert", [link]) => {
            let index = link_of(&status(ask)?, link)?.index;
            done(ask(&Request::Revert(index))?)
        }
        _ => Err(Failure::Usage(format!("`{}` is not understood", words.join(" ")))),
    }
}

fn set(verb: &str, index: u32, values: &[&str]) -> Result<Request, String> {
    Ok(match (verb, values) {
        ("dns", servers) => {
            let parsed: Result<Vec<Server>, _> =
                servers.iter().map(|server| server.parse::<Server>()).collect();
            Request::SetServers(index, parsed.map_err(|error| error.to_string())?)
        }
        ("domain", domains) => {
            Request::SetDomains(index, domains.iter().map(|&domain| domain.to_owned()).collect())
        }
        ("llmnr", [value]) => Request::SetLlmnr(
            index,
            Llmnr::parse(value).ok_or_else(|| format!("`{value}` is not yes, no or resolve"))?,
        ),
        (_, [value]) => Request::SetDefaultRoute(
            index,
            boolean(value).ok_or_else(|| format!("`{value}` is neither yes nor no"))?,
        ),
        _ => return Err(format!("{verb} takes one value")),
    })
}

fn done(response: Response) -> Result<(String, u8), Failure> {
    match response {
        Response::Done => Ok((String::new(), 0)),
        other => Err(unexpected(other)),
    }
}

fn unexpected(response: Response) -> Failure {
    Failure::Refused(match response {
        Response::Refused(why) | Response::NotFound(why) => why,
        other => format!("the service answers {other:?}"),
    })
}

fn status(ask: Asker) -> Result<Status, Failure> {
    match ask(&Request::Status)? {
        Response::Status(status) => Ok(status),
        other => Err(unexpected(other)),
    }
}

fn link_of<'a>(status: &'a Status, word: &str) -> Result<&'a LinkStatus, Failure> {
    let found = status.links.iter().find(|link| link.name == word || link.index.to_string() == word);
    found.ok_or_else(|| Failure::Refused(format!("there is no link `{word}`")))
}

/// Every name is asked; those that are not found go to stderr and make the code 1.
fn query(options: &Options, names: &[&str], ask: Asker) -> Result<(String, u8), Failure> {
    let (mut text, mut code) = (String::new(), 0);
    for name in names {
        let request = Request::Query {
            name: (*name).to_owned(),
            kind: options.kind.clone(),
            search: !options.no_search,
        };
        match ask(&request)? {
            Response::Found(found) if options.json => text += &json(&found),
            Response::Found(found) => text += &show_found(name, &found, options.kind.is_some()),
            Response::NotFound(why) => {
                eprintln!("error: {why}");
                code = 1;
            }
            other => return Err(unexpected(other)),
        }
    }
    Ok((text, code))
}

fn show_found(name: &str, found: &Found, whole: bool) -> String {
    let mut text = String::new();
    let ends = found.records.iter().filter(|record| record.kind != "CNAME" || whole);
    for (index, record) in ends.enumerate() {
        let link = found.link.as_ref().map_or(String::new(), |link| format!("  -- link: {link}"));
        if whole {
            let _ = writeln!(text, "{} {} IN {} {}{link}", record.name, record.ttl, record.kind, record.data);
        } else {
            let head = if index == 0 { format!("{name}:") } else { " ".repeat(name.len() + 1) };
            let _ = writeln!(text, "{head} {}{link}", record.data.trim_end_matches('.'));
        }
    }
    let took = found.took_us as f64 / 1000.0;
    text + &format!("\n-- Information acquired from {} in {took:.1}ms.\n", found.source)
}

fn statistics(options: &Options, ask: Asker) -> Result<(String, u8), Failure> {
    let response = ask(&Request::Statistics)?;
    let Response::Statistics { cache, questions, in_flight } = &response else {
        return Err(unexpected(response));
    };
    let text = if options.json {
        json(&response)
    } else {
        format!(
            "Questions\n  Current: {in_flight}\n    Total: {questions}\nCache\n  Entries: {}\n    Bytes: {}\n     \
             Hits: {}\n   Misses: {}\n",
            cache.entries, cache.bytes, cache.hits, cache.misses
        )
    };
    Ok((text, 0))
}

/// `dns`, `domain`, `llmnr`, `default-route` without a value.
fn list(options: &Options, verb: &str, link: Option<&str>, ask: Asker) -> Result<(String, u8), Failure> {
    let status = status(ask)?;
    let values = |link: &LinkStatus| match verb {
        "dns" => link.servers.iter().map(ToString::to_string).collect(),
        "domain" => link.domains.clone(),
        "llmnr" => vec![llmnr(link.llmnr).to_owned()],
        _ => vec![yes(link.default_route).to_owned()],
    };
    let links = match link {
        Some(word) => vec![link_of(&status, word)?],
        None => status.links.iter().collect(),
    };
    if options.json {
        let all: std::collections::BTreeMap<&str, Vec<String>> =
            links.iter().map(|link| (link.name.as_str(), values(link))).collect();
        return Ok((json(&all), 0));
    }
    let mut text = String::new();
    if link.is_none() {
        let global = match verb {
            "dns" => Some(status.servers.iter().map(ToString::to_string).collect::<Vec<_>>()),
            "domain" => Some(status.domains.clone()),
            "llmnr" => Some(vec![llmnr(status.llmnr).to_owned()]),
            _ => None,
        };
        if let Some(values) = global {
            let _ = writeln!(text, "Global: {}", values.join(" "));
        }
    }
    for link in links {
        let _ = writeln!(text, "Link {} ({}): {}", link.index, link.name, values(link).join(" "));
    }
    Ok((text, 0))
}

fn llmnr(mode: Llmnr) -> &'static str {
    match mode {
        Llmnr::No => "no",
        Llmnr::Resolve => "resolve",
        Llmnr::Yes => "yes",
    }
}

fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

/// A row when there is anything in it.
fn row(text: &mut String, title: &str, values: &[String]) {
    if !values.is_empty() {
        let _ = writeln!(text, "{title:>18}: {}", values.join(" "));
    }
}

fn show_global(status: &Status) -> String {
    let mut text = "Global\n".to_owned();
    row(&mut text, "LLMNR setting", &[llmnr(status.llmnr).to_owned()]);
    row(&mut text, "Current DNS Server", &status.current.iter().cloned().collect::<Vec<_>>());
    row(&mut text, "DNS Servers", &status.servers.iter().map(ToString::to_string).collect::<Vec<_>>());
    row(&mut text, "Fallback DNS", &status.fallback.iter().map(ToString::to_string).collect::<Vec<_>>());
    row(&mut text, "DNS Domain", &status.domains);
    text
}

fn show_link(link: &LinkStatus) -> String {
    let mut text = format!("Link {} ({})\n", link.index, link.name);
    row(&mut text, "LLMNR setting", &[llmnr(link.llmnr).to_owned()]);
    row(&mut text, "Default Route", &[yes(link.default_route).to_owned()]);
    row(&mut text, "Current DNS Server", &link.current.iter().cloned().collect::<Vec<_>>());
    row(&mut text, "DNS Servers", &link.servers.iter().map(ToString::to_string).collect::<Vec<_>>());
    row(&mut text, "DNS Domain", &link.domains);
    text
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}
