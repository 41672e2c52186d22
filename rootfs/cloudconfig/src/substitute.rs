//! `$private_ipv4` and the like: replaced in every text of a document.
//!
//! A variable that is not known here is an error at its place; `CoreOS` put an empty text in its
//! place, and machines came up that listened on nothing. `\$private_ipv4` stays as it is,
//! without the backslash. Comments and keys are left alone.

use crate::facts::{Facts, Variable};
use crate::text_place::Source;
use document::{Node, Problems, Value};

pub(crate) fn apply(node: &mut Node, source: &Source<'_>, facts: &Facts, problems: &Problems) {
    match &mut node.value {
        Value::Null => {}
        Value::Sequence(items) => {
            for item in items {
                apply(item, source, facts, problems);
            }
        }
        Value::Mapping(pairs) => {
            for (_, value) in pairs {
                apply(value, source, facts, problems);
            }
        }
        Value::Scalar { text, .. } => {
            let unknown = replace(text, facts);
            for (variable, number) in unknown {
                let written = format!("${}", variable.name());
                let place = source.find(node.place, &written, number).unwrap_or(node.place);
                let message = format!(
                    "{written} is not known here: no metadata gives it (write `\\{written}` for the text itself)"
                );
                problems.add(place, message);
            }
        }
    }
}

/// Replaces in a text. What is not known stays, and is given back with its number among the
/// occurrences of this variable.
fn replace(text: &mut String, facts: &Facts) -> Vec<(Variable, usize)> {
    if !text.contains('$') {
        return Vec::new();
    }
    let mut unknown = Vec::new();
    let mut seen = [0_usize; 4];
    let mut done = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        let Some(variable) = variable_at(from) else {
            done.push_str(before);
            done.push('$');
            rest = &from[1..];
            continue;
        };
        let (written, after) = from.split_at(1 + variable.name().len());
        let number = seen[variable as usize];
        seen[variable as usize] += 1;
        if let Some(plain) = before.strip_suffix('\\') {
            done.push_str(plain);
            done.push_str(written);
        } else {
            done.push_str(before);
            match facts.get(variable) {
                Some(address) => done.push_str(&address.to_string()),
                None => {
                    unknown.push((variable, number));
                    done.push_str(written);
                }
            }
        }
        rest = after;
    }
    done.push_str(rest);
    *text = done;
    unknown
}

/// The variable that a text beginning with `$` names: a longer word is another one's.
fn variable_at(text: &str) -> Option<Variable> {
    let name = &text[1..];
    Variable::ALL.into_iter().find(|variable| {
        name.strip_prefix(variable.name())
            .is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str, facts: &Facts) -> (String, usize) {
        let mut text = text.to_owned();
        let unknown = replace(&mut text, facts);
        (text, unknown.len())
    }

    #[test]
    fn variables_are_replaced_escaped_or_unknown() {
        let mut facts = Facts::default();
        facts.read_assignment("private_ipv4=10.0.0.1").unwrap();
        let good = |text: &str| {
            let (text, unknown) = replaced(text, &facts);
            assert_eq!(unknown, 0, "{text}");
            text
        };
        assert_eq!(good("http://$private_ipv4:2379,$private_ipv4"), "http://10.0.0.1:2379,10.0.0.1");
        assert_eq!(good(r"\$private_ipv4 \$public_ipv4"), "$private_ipv4 $public_ipv4");
        assert_eq!(
            good("$private_ipv4_x $HOME ${private_ipv4} $"),
            "$private_ipv4_x $HOME ${private_ipv4} $"
        );
        assert_eq!(replaced("$public_ipv4 $private_ipv4 $public_ipv6", &facts).1, 2);
    }
}
