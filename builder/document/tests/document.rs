//! Every problem of a document is found at once, each at its place.

use document::{Problem, Problems, read};
use proptest::prelude::*;
use std::fmt::Write as _;

fn problems_of(text: &str, take: impl Fn(&document::Node, &Problems)) -> Vec<String> {
    let problems = Problems::default();
    match read(text) {
        Ok(node) => take(&node, &problems),
        Err(Problem { place, message }) => problems.add(place, message),
    }
    problems.into_sorted().iter().map(ToString::to_string).collect()
}

#[test]
fn all_problems_at_once_with_places() {
    let both = problems_of("a-b: 1\na_b: 2\n", |node, problems| drop(node.fields(problems)));
    assert_eq!(both, ["2:1: key `a_b` stands twice, first at 1:1"]);
    let text = "name: [a]\nsise: 12\nsize: 12 parsecs\nmode: 0999\nname: again\n";
    let found = problems_of(text, |node, problems| {
        let fields = node.fields(problems).unwrap();
        fields.required("name").and_then(|node| node.text(problems));
        fields.get("size").and_then(|node| node.size(problems));
        fields.get("mode").and_then(|node| node.mode(problems));
        fields.required("version");
        fields.finish();
    });
    assert_eq!(
        found,
        [
            "1:1: key `version` is missing",
            "1:7: expected text, found a list",
            "2:1: unknown key `sise`; did you mean `size`?",
            "3:7: expected a size, such as 512M, found `12 parsecs`",
            "4:7: expected permission bits in octal, such as 0644, found `0999`",
            "5:1: key `name` stands twice, first at 1:1",
        ]
    );
}

#[test]
fn values_mean_what_they_say() {
    let problems = Problems::default();
    let node = read("a: 0644\nb: yes\nc: 2GiB\nd: &x [1, 2]\ne: *x\nf-g: ~\nh: \"true\"\n").unwrap();
    let fields = node.fields(&problems).unwrap();
    assert_eq!(fields.get("a").unwrap().mode(&problems), Some(0o644));
    assert_eq!(fields.get("a").unwrap().text(&problems), Some("0644"));
    assert_eq!(fields.get("b").unwrap().boolean(&problems), Some(true));
    assert_eq!(fields.get("c").unwrap().size(&problems), Some(2 << 30));
    assert_eq!(fields.texts("e"), ["1", "2"]);
    assert_eq!(fields.get("f_g"), None);
    assert!(problems.is_empty());
    assert_eq!(fields.get("h").unwrap().boolean(&problems), None);
    assert!(!problems.is_empty());
}

#[test]
fn syntax_errors_have_places() {
    assert_eq!(problems_of("a: b\n  c: d\n", |_, _| {}).len(), 1);
    assert!(problems_of("a: b\n---\nc: d\n", |_, _| {})[0].contains("second document"));
    assert!(problems_of("a: !tag b\n", |_, _| {})[0].starts_with("1:"));
}

#[test]
fn comments_are_free() {
    let comments = "  # one more\n".repeat(5000);
    let text = format!("{comments}a:\n{comments}  b: 1 # here\n{comments}");
    let node = read(&text).unwrap();
    let problems = Problems::default();
    let fields = node.fields(&problems).unwrap();
    assert!(fields.get("a").unwrap().fields(&problems).unwrap().get("b").is_some());
    assert_eq!(problems_of(&format!("{text}a: [\n"), |_, _| {}).len(), 1);
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let before = format!("*a{}", level - 1);
        let items = [before.as_str(); 9].join(", ");
        writeln!(text, "a{level}: &a{level} [{items}]").unwrap();
    }
    assert!(problems_of(&text, |_, _| {})[0].contains("250000 values"));
    let deep = "[".repeat(100_000);
    assert_eq!(problems_of(&deep, |_, _| {}).len(), 1);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\n&*\\[\\]{}:#!|>-]{0,200}") {
        let _ = read(&text);
    }
}
