//! Which servers a name goes to (`systemd-resolved.service(8)`, "Protocols and routing").

use crate::config::{Config, Domains, Llmnr, Server};
use crate::links::Settings;
use hickory_proto::rr::Name;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Whose servers they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeId {
    /// The machine's, from resolved.conf.
    Global,
    /// A link's, by its number.
    Link(u32),
}

/// Servers with the names that they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Whose.
    pub id: ScopeId,
    /// Never empty.
    pub servers: Vec<SocketAddr>,
    /// Domains.
    pub domains: Domains,
    /// Whether names that no domain routes come here.
    pub default_route: bool,
}

/// A link as the machine has it now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Number.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Up and running.
    pub up: bool,
    /// Can do multicast, and is no loopback.
    pub multicast: bool,
    /// From the network service, or from `resolvectl`.
    pub settings: Settings,
}

impl Link {
    /// What LLMNR may do here.
    pub fn llmnr(&self, config: &Config) -> Llmnr {
        if self.up && self.multicast {
            config.llmnr.min(self.settings.llmnr.unwrap_or(Llmnr::Yes))
        } else {
            Llmnr::No
        }
    }
}

/// Whom the certificates of servers are to be for, of those for which that is said.
pub fn names(config: &Config, links: &[Link]) -> HashMap<SocketAddr, String> {
    let global = config.servers.iter().chain(&config.fallback).map(|server| (server, None));
    let of_links =
        links.iter().flat_map(|link| link.settings.servers.iter().map(|server| (server, Some(link.index))));
    let named =
        |(server, link): (&Server, _)| Some((server.socket(index_of(links), link), server.name.clone()?));
    of_links.chain(global).filter_map(named).collect()
}

/// The number of a link by its name, or by itself.
fn index_of(links: &[Link]) -> impl Fn(&str) -> Option<u32> + Copy {
    |name| {
        let found = links.iter().find(|link| link.name == name).map(|link| link.index);
        found.or_else(|| name.parse().ok())
    }
}

/// All scopes: the machine's first, then the links'. The fallback servers are the machine's when
/// there is no other server at all.
pub fn scopes(config: &Config, links: &[Link]) -> Vec<Scope> {
    let of = |servers: &[Server], link| {
        servers.iter().map(|server| server.socket(index_of(links), link)).collect::<Vec<_>>()
    };
    let mut scopes: Vec<Scope> = Vec::new();
    let has_link_server = links.iter().any(|link| !link.settings.servers.is_empty());
    let global =
        if config.servers.is_empty() && !has_link_server { &config.fallback } else { &config.servers };
    if !global.is_empty() {
        scopes.push(Scope {
            id: ScopeId::Global,
            servers: of(global, None),
            domains: config.domains.clone(),
            default_route: true,
        });
    }
    for link in links.iter().filter(|link| !link.settings.servers.is_empty()) {
        let domains = link.settings.domains.clone();
        // A link that is for certain domains does not volunteer for others.
        let only_routing = domains.routing.iter().any(|domain| !domain.is_root());
        scopes.push(Scope {
            id: ScopeId::Link(link.index),
            servers: of(&link.settings.servers, Some(link.index)),
            default_route: link.settings.default_route.unwrap_or(!only_routing),
            domains,
        });
    }
    scopes
}

/// The scopes that a name goes to, all at once: those with the longest matching domain, else
/// those that take what no domain routes.
pub fn route<'a>(scopes: &'a [Scope], name: &Name) -> Vec<&'a Scope> {
    let labels = |scope: &Scope| {
        let all = scope.domains.search.iter().chain(&scope.domains.routing);
        all.filter(|domain| domain.zone_of(name)).map(|domain| Some(domain.num_labels())).max().flatten()
    };
    match scopes.iter().filter_map(labels).max() {
        Some(best) => scopes.iter().filter(|scope| labels(scope) == Some(best)).collect(),
        // RFC 6762: what ends in .local is multicast DNS's unless somebody says otherwise.
        None if ends_in(name, "local") => Vec::new(),
        None => scopes.iter().filter(|scope| scope.default_route).collect(),
    }
}

/// Whether the last label of a name is this one.
pub fn ends_in(name: &Name, label: &str) -> bool {
    name.iter().next_back().is_some_and(|last| last.eq_ignore_ascii_case(label.as_bytes()))
}

/// The names to try in turn for what a person typed: a single label with each search domain and
/// then alone, anything else as it is (resolv.conf(5) with `ndots:1`).
pub fn candidates(name: &Name, rooted: bool, config: &Config, links: &[Link]) -> Vec<Name> {
    let mut names = Vec::new();
    if name.num_labels() == 1 && !rooted {
        for domain in search_domains(config, links) {
            names.extend(name.clone().append_name(&domain).ok());
        }
    }
    names.push(name.clone());
    names
}

/// All search domains, the machine's first.
pub fn search_domains(config: &Config, links: &[Link]) -> Vec<Name> {
    let mut all: Vec<Name> = Vec::new();
    for domain in
        config.domains.search.iter().chain(links.iter().flat_map(|link| &link.settings.domains.search))
    {
        if !all.contains(domain) {
            all.push(domain.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::name;

    fn n(text: &str) -> Name {
        name(text).unwrap()
    }

    fn link(index: u32, server: &str, domains: &[&str]) -> Link {
        let mut settings = Settings { servers: vec![server.parse().unwrap()], ..Settings::default() };
        for domain in domains {
            settings.domains.add(domain).unwrap();
        }
        Link { index, name: format!("eth{index}"), up: true, multicast: true, settings }
    }

    fn config(servers: &[&str]) -> Config {
        Config {
            servers: servers.iter().map(|server| server.parse().unwrap()).collect(),
            ..Config::default()
        }
    }

    fn routed(scopes: &[Scope], text: &str) -> Vec<ScopeId> {
        route(scopes, &n(text)).iter().map(|scope| scope.id).collect()
    }

    #[test]
    fn the_longest_domain_wins() {
        use ScopeId::{Global, Link};
        let links = [
            link(2, "10.0.0.1", &["example"]),
            link(3, "10.0.0.2", &["~corp.example"]),
            link(4, "10.0.0.3", &[]),
        ];
        let scopes = scopes(&config(&["1.1.1.1"]), &links);
        assert_eq!(routed(&scopes, "www.corp.example"), [Link(3)]);
        assert_eq!(routed(&scopes, "CORP.Example"), [Link(3)]);
        assert_eq!(routed(&scopes, "www.example"), [Link(2)]);
        assert_eq!(routed(&scopes, "notcorp.test"), [Global, Link(2), Link(4)]);
    }

    #[test]
    fn the_root_as_routing_domain_takes_everything_else() {
        let links = [link(2, "10.0.0.1", &["~."]), link(3, "10.0.0.2", &["lan"])];
        let scopes = scopes(&config(&["1.1.1.1"]), &links);
        assert_eq!(routed(&scopes, "www.test"), [ScopeId::Link(2)]);
        assert_eq!(routed(&scopes, "a.lan"), [ScopeId::Link(3)]);
    }

    #[test]
    fn local_names_stay_off_dns_unless_routed() {
        let plain = scopes(&config(&["1.1.1.1"]), &[]);
        assert_eq!(routed(&plain, "printer.local"), []);
        let mut config = config(&["1.1.1.1"]);
        config.domains.add("~local").unwrap();
        assert_eq!(routed(&scopes(&config, &[]), "printer.local"), [ScopeId::Global]);
    }

    #[test]
    fn fallback_servers_only_without_any_other() {
        let config = Config { fallback: vec!["9.9.9.9".parse().unwrap()], ..Config::default() };
        assert_eq!(scopes(&config, &[])[0].servers, ["9.9.9.9:53".parse().unwrap()]);
        let with_link = scopes(&config, &[link(2, "10.0.0.1", &[])]);
        assert_eq!(with_link.iter().map(|scope| scope.id).collect::<Vec<_>>(), [ScopeId::Link(2)]);
    }

    #[test]
    fn search_domains_are_for_single_labels() {
        let mut config = config(&[]);
        config.domains.add("a.example").unwrap();
        let links = [link(2, "10.0.0.1", &["b.example", "a.example"])];
        assert_eq!(
            candidates(&n("www"), false, &config, &links),
            [n("www.a.example"), n("www.b.example"), n("www")]
        );
        assert_eq!(candidates(&n("www"), true, &config, &links), [n("www")]);
        assert_eq!(candidates(&n("www.x"), false, &config, &links), [n("www.x")]);
    }

    #[test]
    fn llmnr_is_the_lesser_of_link_and_machine() {
        let mut link = link(2, "10.0.0.1", &[]);
        assert_eq!(link.llmnr(&config(&[])), Llmnr::Yes);
        link.settings.llmnr = Some(Llmnr::Resolve);
        assert_eq!(link.llmnr(&config(&[])), Llmnr::Resolve);
        link.multicast = false;
        assert_eq!(link.llmnr(&config(&[])), Llmnr::No);
    }
}
