//! Filters from a file, as OCI runtimes and container engines have them: OCI Runtime Specification,
//! config-linux.md, "Seccomp", with the `includes` and `excludes` of containers' and Docker's profiles.
//!
//! A filter of the library knows two outcomes. So one program for each action says what that action is for, and
//! one says what becomes of what is not listed: the kernel runs all and takes the strictest answer (seccomp(2)).

use crate::capabilities::Capabilities;
use nix::libc;
use seccompiler::{BpfProgram, TargetArch, compile_from_json};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// The programs of a file's text, in the order in which they are to be put in place.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn compile(
    text: &str,
    capabilities: Capabilities,
    kernel: &str,
) -> Result<Vec<BpfProgram>, String> {
    let profile: Profile = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let named = |list: &[String]| list.iter().any(|name| name == "SCMP_ARCH_X86_64");
    let mapped: Vec<String> = profile.arch_map.iter().map(|map| map.architecture.clone()).collect();
    if !(profile.architectures.is_empty() && mapped.is_empty()
        || named(&profile.architectures)
        || named(&mapped))
    {
        return Err("it is not for SCMP_ARCH_X86_64".to_owned());
    }
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut listed = Vec::new();
    let mut by_action: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    for entry in &profile.syscalls {
        if !applies(entry, capabilities, kernel) {
            continue;
        }
        let action = action(&entry.action, entry.errno_ret)?;
        let rules = rules(entry)?;
        listed.extend(rules.clone());
        if action != default && action != json!("allow") {
            by_action.entry(action.to_string()).or_insert_with(|| (action, Vec::new())).1.extend(rules);
        }
    }
    let mut programs = Vec::new();
    for (action, rules) in by_action.into_values() {
        programs.push(program(&json!("allow"), &action, &rules)?);
    }
    // Last: it may forbid the call that puts programs in place.
    if default != json!("allow") {
        programs.push(program(&default, &json!("allow"), &listed)?);
    }
    Ok(programs)
}

fn action(name: &str, errno: Option<u32>) -> Result<Value, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => json!("allow"),
        "SCMP_ACT_ERRNO" => json!({ "errno": errno.unwrap_or(libc::EPERM as u32) }),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => json!("kill_thread"),
        "SCMP_ACT_KILL_PROCESS" => json!("kill_process"),
        "SCMP_ACT_TRAP" => json!("trap"),
        "SCMP_ACT_LOG" => json!("log"),
        other => return Err(format!("the action {other} is not supported")),
    })
}

/// Whether an entry is for these capabilities, this kernel and this architecture.
fn applies(entry: &Entry, capabilities: Capabilities, kernel: &str) -> bool {
    let has = |name: &String| name.parse::<Capabilities>().is_ok_and(|one| capabilities.has(one.0));
    let arch = |name: &String| name == "amd64" || name == "x86_64" || name == "x32";
    let included = entry.includes.as_ref().is_none_or(|wanted| {
        wanted.caps.iter().all(has)
            && (wanted.arches.is_empty() || wanted.arches.iter().any(arch))
            && wanted.min_kernel.as_ref().is_none_or(|version| number(kernel) >= number(version))
    });
    let excluded = entry
        .excludes
        .as_ref()
        .is_some_and(|foreign| foreign.caps.iter().any(has) || foreign.arches.iter().any(arch));
    included && !excluded
}

/// Major and minor of a kernel's version.
fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split(|byte: char| !byte.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// The rules of an entry, for those of its calls that this architecture has.
fn rules(entry: &Entry) -> Result<Vec<Value>, String> {
    let mut conditions = Vec::new();
    for argument in entry.args.iter().flatten() {
        let (op, value) = match argument.op.as_str() {
            "SCMP_CMP_NE" => (json!("ne"), argument.value),
            "SCMP_CMP_LT" => (json!("lt"), argument.value),
            "SCMP_CMP_LE" => (json!("le"), argument.value),
            "SCMP_CMP_EQ" => (json!("eq"), argument.value),
            "SCMP_CMP_GE" => (json!("ge"), argument.value),
            "SCMP_CMP_GT" => (json!("gt"), argument.value),
            "SCMP_CMP_MASKED_EQ" => (json!({ "masked_eq": argument.value }), argument.value_two),
            other => return Err(format!("there is no comparison {other}")),
        };
        conditions.push(json!({ "index": argument.index, "type": "qword", "op": op, "val": value }));
    }
    let rule = |name: &String| {
        if conditions.is_empty() {
            json!({ "syscall": name })
        } else {
            json!({ "syscall": name, "args": conditions })
        }
    };
    Ok(entry.names.iter().filter(|name| exists(name)).map(rule).collect())
}

/// Whether this architecture has a call. Profiles name those of all, as runtimes allow.
fn exists(name: &str) -> bool {
    program(&json!("allow"), &json!("trap"), &[json!({ "syscall": name })]).is_ok()
}

fn program(mismatch: &Value, matching: &Value, rules: &[Value]) -> Result<BpfProgram, String> {
    let document = json!({ "box": {
        "mismatch_action": mismatch, "match_action": matching, "filter": rules,
    } });
    let text = document.to_string();
    let mut programs =
        compile_from_json(text.as_bytes(), TargetArch::x86_64).map_err(|error| error.to_string())?;
    programs.remove("box").ok_or_else(|| "it makes no program".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<usize, String> {
        compile(text, Capabilities::BASE, "6.1.0").map(|programs| programs.len())
    }

    #[test]
    fn profiles_are_read_or_refused_by_name() {
        let list = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"archMap":[{"architecture":"SCMP_ARCH_X86_64"}],
            "syscalls":[{"names":["read","_llseek"],"action":"SCMP_ACT_ALLOW"},
            {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"excludes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["bpf"],"action":"SCMP_ACT_KILL_PROCESS","includes":{"caps":["CAP_BPF"]}},
            {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]}]}"#;
        assert_eq!(of(list), Ok(2), "one for what is not listed, one for clone3");
        for (text, wrong) in [
            ("{", "EOF"),
            (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "SCMP_ACT_NOTIFY"),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_ARM"]}"#, "SCMP_ARCH_X86_64"),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_TRAP",
                "args":[{"index":0,"value":1,"op":"SCMP_CMP_X"}]}]}"#,
                "SCMP_CMP_X",
            ),
        ] {
            assert!(of(text).unwrap_err().contains(wrong), "{text}");
        }
    }

    #[test]
    fn entries_are_for_kernels_and_capabilities() {
        let entry = |condition: &str| -> Entry {
            serde_json::from_str(&format!(r#"{{"names":[],"action":"SCMP_ACT_ALLOW",{condition}}}"#)).unwrap()
        };
        for (condition, expected) in [
            (r#""includes":{"minKernel":"4.8"}"#, true),
            (r#""includes":{"minKernel":"6.2"}"#, false),
            (r#""includes":{"caps":["CAP_CHOWN"],"arches":["amd64"]}"#, true),
            (r#""includes":{"caps":["CAP_SYS_ADMIN"]}"#, false),
            (r#""includes":{"arches":["s390x"]}"#, false),
            (r#""excludes":{"caps":["CAP_CHOWN"]}"#, false),
        ] {
            assert_eq!(applies(&entry(condition), Capabilities::BASE, "6.1.0-56"), expected, "{condition}");
        }
    }
}
