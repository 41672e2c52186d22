//! `toolbox.yaml`: the long options' names as keys.

use super::{is_flag, known, refusal};
use document::{Node, Problems, Value};

/// The options of a document. `~/` at the beginning of a path is the home folder.
///
/// # Errors
/// All that is wrong in it, each with line and column.
pub(super) fn read(text: &str, home: Option<&str>) -> Result<Vec<String>, Vec<String>> {
    let problems = Problems::default();
    let mut options = Vec::new();
    match document::read(text) {
        Err(problem) => problems.add(problem.place, problem.message),
        Ok(Node { value: Value::Null, .. }) => {}
        Ok(Node { value: Value::Mapping(entries), .. }) => {
            for (key, value) in &entries {
                entry(key, value, home, &problems, &mut options);
            }
        }
        Ok(node) => problems.add(node.place, "expected keys with values, as `profile: net`"),
    }
    if problems.is_empty() {
        return Ok(options);
    }
    let lines = problems.into_sorted().into_iter();
    Err(lines
        .map(|problem| format!("{}:{}: {}", problem.place.line, problem.place.column, problem.message))
        .collect())
}

fn entry(key: &Node, value: &Node, home: Option<&str>, problems: &Problems, options: &mut Vec<String>) {
    let Some(name) = key.text(problems) else { return };
    let Some(option) = known().find(|option| option.get_long() == Some(name)) else {
        let names: Vec<String> = known().filter_map(|option| Some(option.get_long()?.to_owned())).collect();
        problems.add(key.place, format!("unknown key `{name}`; there are {}", names.join(", ")));
        return;
    };
    if is_flag(&option) {
        if value.boolean(problems) == Some(true) {
            options.push(format!("--{name}"));
        }
        return;
    }
    let mut add = |node: &Node, text: String| {
        let text = match (home, text.strip_prefix("~/")) {
            (Some(home), Some(rest)) => format!("{home}/{rest}"),
            _ => text,
        };
        if text.starts_with("./") || text.starts_with("../") {
            problems.add(node.place, format!("{name}: `{text}` would depend on where toolbox is started"));
            return;
        }
        let option = format!("--{name}={text}");
        match refusal(&option) {
            Some(why) => problems.add(node.place, why),
            None => options.push(option),
        }
    };
    match &value.value {
        Value::Sequence(items) => {
            for item in items {
                if let Some(text) = item.text(problems) {
                    add(item, text.to_owned());
                }
            }
        }
        // `env: { A: 1 }`
        Value::Mapping(entries) if name == "env" => {
            for (variable, value) in entries {
                if let (Some(variable), Some(text)) = (variable.text(problems), value.text(problems)) {
                    add(value, format!("{variable}={text}"));
                }
            }
        }
        _ => {
            if let Some(text) = value.text(problems) {
                add(value, text.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_options() {
        let text = "from: docker.io/library/debian:12\nprofile: net\nread-only: true\nmemory: 1G\n\
                    env: { A: 1, B: \"x y\" }\nmount: [/srv:/srv:ro, \"~/work:/work\"]\nshare: [ipc]\n";
        assert_eq!(
            read(text, Some("/home/anna")).unwrap(),
            [
                "--from=docker.io/library/debian:12",
                "--profile=net",
                "--read-only",
                "--memory=1G",
                "--env=A=1",
                "--env=B=x y",
                "--mount=/srv:/srv:ro",
                "--mount=/home/anna/work:/work",
                "--share=ipc",
            ]
        );
        assert_eq!(read("", None), Ok(Vec::new()));
        assert_eq!(read("read-only: false\n", None), Ok(Vec::new()));
    }

    #[test]
    fn every_problem_is_told_with_its_place() {
        let text = "profil: net\nprofile: nett\nmemory: lots\nread-only: perhaps\nfrom: ./x\nexplain: true\n";
        let problems = read(text, None).unwrap_err();
        let expected = [
            ("1:1:", "unknown key `profil`; there are"),
            ("2:10:", "[possible values: view, net"),
            ("3:9:", "say it as 512M"),
            ("4:12:", ""),
            ("5:7:", "where toolbox is started"),
            ("6:1:", "unknown key `explain`"),
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, (place, words)) in problems.iter().zip(expected) {
            assert!(problem.starts_with(place) && problem.contains(words), "{problem}");
        }
        assert!(read("- a\n", None).unwrap_err()[0].starts_with("1:1:"));
        assert!(read("a: [\n", None).is_err());
    }
}
