//! No verb takes a flag and ignores it: each is tried, without it and with it. Those of boxes are tried in
//! `src/plan/tests.rs`.

use super::shop::{Shop, Who};
use super::*;
use clap::CommandFactory;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

/// A verb, a flag of it, and what shows that it does something.
type Row = (&'static str, &'static str, fn(&Shop));

const ROWS: [Row; 9] = [
    ("pull", "name", |shop| names("pull", shop)),
    ("pull", "insecure-registry", |shop| asks_without_tls("pull", shop)),
    ("images", "json", images_json),
    ("rm", "box", rm_box),
    ("enter", "explain", enter_explain),
    ("enter", "json", enter_json),
    ("ls", "json", ls_json),
    ("import", "name", |shop| names("import", shop)),
    ("import", "insecure-registry", |shop| asks_without_tls("import", shop)),
];

/// All pairs of a verb and a flag, `run` with a box's apart.
fn table() -> BTreeSet<(String, String)> {
    let mut command = toolbox::options::Cli::command();
    command.build();
    let verbs = command.get_subcommands().filter(|verb| !["run", "help"].contains(&verb.get_name()));
    let flags = verbs.flat_map(|verb| {
        let flags = verb.get_arguments().filter_map(|flag| flag.get_long());
        flags.map(|flag| (verb.get_name().to_owned(), flag.to_owned())).collect::<Vec<_>>()
    });
    flags.filter(|(_, flag)| !["help", "version"].contains(&flag.as_str())).collect()
}

#[test]
fn every_flag_of_every_verb_does_something() {
    let rows = ROWS.iter().map(|(verb, flag, _)| ((*verb).to_owned(), (*flag).to_owned()));
    assert_eq!(rows.collect::<BTreeSet<_>>(), table(), "a row for each flag");
    for (verb, flag, shows) in ROWS {
        println!("{verb} --{flag}");
        shows(&Shop::new(Who::Root));
    }
}

#[test]
fn a_verb_refuses_the_flags_that_it_does_not_have() {
    let shop = Shop::new(Who::Root);
    let table = table();
    let mut flags: BTreeSet<&str> = table.iter().map(|(_, flag)| flag.as_str()).collect();
    // A box's.
    flags.extend(["from", "keep", "profile"]);
    let command = toolbox::options::Cli::command();
    for verb in command.get_subcommands().map(clap::Command::get_name).filter(|verb| *verb != "run") {
        for flag in flags.iter().filter(|flag| !table.contains(&(verb.to_owned(), (**flag).to_owned()))) {
            shop.refuses(&[verb, &format!("--{flag}")], 2, &format!("unexpected argument '--{flag}'"));
        }
    }
    // Before the verb it would be a box's.
    shop.refuses(&["--insecure-registry", "r:5000", "images"], 2, "cannot be used with");
}

/// An archive of the root, as a word of the command line.
fn archive(shop: &Shop) -> String {
    let path = shop.top().join("a.tar").display().to_string();
    let root = shop.root.path().display().to_string();
    said(&Command::new("tar").args(["-C", &root, "-cf", &path, "."]).output().unwrap());
    path
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok()
}

fn names(verb: &str, shop: &Shop) {
    let archive = archive(shop);
    shop.says(&[verb, &archive]);
    assert!(!shop.says(&["images"]).contains("mine"));
    shop.says(&[verb, &archive, "--name", "mine"]);
    assert!(shop.says(&["images"]).contains("mine"));
}

/// A registry that speaks HTTP only, and has nothing.
fn asks_without_tls(verb: &str, shop: &Shop) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                // Who speaks TLS may have gone at what it was answered.
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            }
        });
        let reference = format!("{host}/tools:1");
        let complains = |options: &[&str]| {
            let mut command = shop.command(&[&[verb, &reference], options].concat());
            let output = command.env_remove("https_proxy").env_remove("HTTPS_PROXY").output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            complaint(&output)
        };
        let said = [
            complains(&[]),
            complains(&["--insecure-registry", "r:5000"]),
            complains(&["--insecure-registry", &host]),
        ];
        ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(&host).unwrap());
        for text in &said[..2] {
            assert!(text.contains("https://") && !text.contains("404"), "{text}");
        }
        assert!(said[2].contains("http://") && said[2].contains("404"), "{}", said[2]);
    });
}

fn images_json(shop: &Shop) {
    let id = shop.says(&["pull", &archive(shop)]);
    assert!(!is_json(&shop.says(&["images"])));
    let rows: serde_json::Value = serde_json::from_str(&shop.says(&["images", "--json"])).unwrap();
    assert_eq!((rows.as_array().unwrap().len(), rows[0]["id"].as_str()), (1, Some(id.trim_end())));
}

fn ls_json(shop: &Shop) {
    shop.keeps("one", "true");
    assert!(!is_json(&shop.says(&["ls"])));
    assert_eq!(shop.row("one")["name"], "one");
}

fn rm_box(shop: &Shop) {
    shop.says(&["pull", &archive(shop), "--name", "both"]);
    shop.keeps("both", "true");
    shop.assert_ended("both");
    shop.refuses(&["rm", "both"], 1, "both");
    shop.says(&["rm", "--box", "both"]);
    assert!(shop.says(&["images"]).contains("both"));
    assert_eq!(shop.says(&["ls", "--json"]).trim_end(), "[]");
    shop.refuses(&["rm", "--box", "both"], 1, "both");
}

fn enter_explain(shop: &Shop) {
    shop.keeps("one", "true");
    let enter = |options: &[&str], script: &str| {
        shop.says(&[&["enter", "one"], options, &["--", "sh", "-c", script]].concat())
    };
    assert_eq!(enter(&[], "echo first > /file; echo did"), "did\n");
    let plan = enter(&["--explain"], "echo second > /file; echo did");
    assert!(plan.lines().any(|line| line.starts_with("command")), "{plan}");
    assert_eq!(enter(&[], "cat /file"), "first\n");
}

fn enter_json(shop: &Shop) {
    shop.keeps("one", "true");
    assert!(!is_json(&shop.says(&["enter", "one", "--explain"])));
    assert!(is_json(&shop.says(&["enter", "one", "--explain", "--json"])));
    shop.refuses(&["enter", "one", "--json"], 2, "--explain");
}
