//! A `.network`, `.netdev` or `.link` file. Never a panic; what it asks for can be planned and
//! written as requests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use net::config::{Candidate, Machine, Set, Source};
use net::netlink::message::{create_link, set_address, set_route};
use net::netlink::rule;
use net::plan::{self, Change, Given};
use std::path::Path;

fuzz_target!(|input: &[u8]| {
    for name in ["f.network", "f.netdev", "f.link"] {
        let set = Set::parse(&[Source::one(Path::new(name), input)]);
        for problem in &set.problems {
            let _ = problem.to_string();
        }
        let _ = set.clone().for_machine(&Machine::default());
        let link = Candidate { name: "eth0".into(), kind_of_type: "ether".into(), ..Candidate::default() };
        let _ = (set.network_for(&link), set.link_for(&link));
        for network in &set.networks {
            let content = plan::content(network, Given::default());
            let _ = plan::names(network, Given::default());
            for change in plan::changes(&plan::Content::default(), &content) {
                match change {
                    Change::SetAddress(new) => drop(set_address(1, &new).finish(1)),
                    Change::SetRoute(route) => drop(set_route(1, &route).finish(1)),
                    Change::SetRule(new) => {
                        // Behind the header of 16 bytes.
                        let found = rule::parse(&rule::add(&new).finish(1)[16..]);
                        let found = found.map(|found| rule::Rule { priority: new.priority, ..found });
                        assert!(found.is_some_and(|found| new.is(&found)), "{new:?}");
                    }
                    Change::RemoveAddress(_) | Change::RemoveRoute(_) | Change::RemoveRule(_) => {
                        unreachable!("nothing was there")
                    }
                }
            }
        }
        for netdev in &set.netdevs {
            drop(create_link(&netdev.name, (&netdev.kind, &netdev.settings), netdev.mac, netdev.mtu, Some(1)).finish(1));
        }
    }
});
