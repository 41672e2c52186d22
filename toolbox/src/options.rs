//! The command line: one table, from which help, completions and the manual come too.

use crate::capabilities::Capabilities;
use crate::namespace::Namespace;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use std::ffi::OsString;
use std::path::PathBuf;

/// A throwaway shell with its own tools, which sees the host and leaves nothing behind.
///
/// Exit codes: the command's own, 128 and the number of the signal that ended it; 125 when toolbox itself
/// failed, 126 when the command cannot be executed, 127 when it is not there, 2 for a wrong command line.
#[derive(Debug, Parser)]
#[command(name = "toolbox", version, args_conflicts_with_subcommands = true, args_override_self = true)]
pub struct Cli {
    /// What to do; without it, an interactive shell.
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// Of the shell.
    #[command(flatten)]
    pub options: Options,
}

/// What is done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Runs a command, and passes its streams, signals and exit code through.
    Run(Run),
    /// Unpacks an image into the store, or asks a registry for its newest.
    Pull {
        /// What --from takes.
        source: String,
        /// A further name for it.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// How registries are asked.
        #[command(flatten)]
        registries: Registries,
    },
    /// Lists the images of the store.
    Images {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Removes kept boxes by name, and images by name, id, or the beginning of one.
    Rm {
        /// Which.
        #[arg(required = true, value_name = "NAME")]
        images: Vec<String>,
        /// Kept boxes only, where an image has the same name.
        #[arg(long)]
        r#box: bool,
    },
    /// Removes images without a name that no kept box uses, and what interrupted unpackings left.
    Gc,
    /// A further session in a kept box, which is started if it does not run.
    Enter {
        /// Which.
        name: String,
        /// The command and its arguments; without one, a shell.
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
        /// Prints what would be done, and does nothing.
        #[arg(long)]
        explain: bool,
        /// With --explain: as JSON.
        #[arg(long, requires = "explain")]
        json: bool,
    },
    /// Lists the kept boxes.
    Ls {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tells what a kept box changed in its image: A added, C changed, D removed.
    Diff {
        /// Which.
        name: String,
    },
    /// Writes a kept box as an image.
    Commit {
        /// Which.
        name: String,
        /// `FILE.tar`, `FILE.tar.gz`, `FILE.tar.zst`, `oci:FOLDER[:TAG]`, or a name in the store.
        to: String,
    },
    /// Takes an image into the store: any source, or a tar archive from standard input.
    Import {
        /// What --from takes, or `-`.
        source: String,
        /// A name for it.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// How registries are asked.
        #[command(flatten)]
        registries: Registries,
    },
    /// Prints completions for a shell: `source <(toolbox completions bash)`.
    Completions {
        /// Which.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Prints the manual page: `toolbox man | man -l -`.
    Man,
}

/// A box and what runs in it.
#[derive(Args, Debug)]
pub struct Run {
    /// Of the box.
    #[command(flatten)]
    pub options: Box<Options>,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// A command line that was read.
#[derive(Debug)]
pub struct Line {
    /// What it says.
    pub cli: Cli,
    /// Its verb's name.
    pub verb: Option<String>,
    /// What was given to the verb, or without one.
    pub given: ArgMatches,
}

/// Reads a command line, the program's name before it.
///
/// # Errors
/// What is wrong with it, as clap says it; and what is asked for by --help and --version.
pub fn read(line: &[OsString]) -> Result<Line, clap::Error> {
    // The table of one verb takes a third of the time of all. What is wrong is found, and said, by the whole.
    if line.get(1).is_some_and(|verb| verb == "run")
        && let Ok(given) = table_of_run().try_get_matches_from(&line[1..])
        && let Ok(run) = Run::from_arg_matches(&given)
    {
        let options = Options::clone(&run.options);
        return Ok(Line {
            cli: Cli { verb: Some(Verb::Run(run)), options },
            verb: Some("run".to_owned()),
            given,
        });
    }
    let mut given = Cli::command().try_get_matches_from(line)?;
    let cli = Cli::from_arg_matches(&given)?;
    let below = given.remove_subcommand();
    Ok(match below {
        Some((verb, given)) => Line { cli, verb: Some(verb), given },
        None => Line { cli, verb: None, given },
    })
}

fn table_of_run() -> Command {
    Run::augment_args(Command::new("run").args_override_self(true))
}

/// By task: what of the host a box has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Sees the host, and changes nothing of it.
    #[default]
    View,
    /// Also sets links, addresses and routes, and captures packets.
    Net,
    /// Also has the block devices, and mounts file systems.
    Disk,
    /// Also has the host's processes, to trace and signal them.
    Process,
    /// All of these, and the host's files writable.
    All,
}

/// How system calls are filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// What no tool needs is refused.
    Default,
    /// Nothing is.
    Off,
    /// As a file in the form of OCI runtimes says.
    File(PathBuf),
}

/// `SOURCE:TARGET[:ro]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// On the host, absolute.
    pub source: PathBuf,
    /// In the box, absolute.
    pub target: PathBuf,
    /// Not to be written to.
    pub read_only: bool,
}

/// How registries are asked, by those who may have to.
#[derive(Args, Clone, Debug, Default)]
pub struct Registries {
    /// Registries (HOST[:PORT]) that may be asked without TLS.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub insecure_registry: Vec<String>,
}

/// What a box is to be.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Options {
    /// The root's files: a folder; a .tar, .tar.gz, .tar.xz or .tar.zst; `oci:FOLDER[:TAG]`,
    /// `docker-archive:FILE[:TAG]`; a file with ext4 or a disk image (`DISK#PARTITION`), raw or qcow2; `deb:A,B`; a
    /// registry's reference; a name of the store; or `host` for the host's own.
    /// Without it, the tools that came with toolbox or the machine, or what `TOOLBOX_IMAGE` says.
    #[arg(long, value_name = "SOURCE")]
    pub from: Option<String>,
    /// How registries are asked.
    #[command(flatten)]
    pub registries: Registries,
    /// What of the host the box has.
    #[arg(long, short, value_enum, default_value_t)]
    pub profile: Profile,
    /// Keeps a namespace of the host.
    #[arg(long, value_enum, value_name = "NAMESPACE", value_delimiter = ',')]
    pub share: Vec<Namespace>,
    /// Makes a namespace of the box's own.
    #[arg(long, value_enum, value_name = "NAMESPACE", value_delimiter = ',')]
    pub unshare: Vec<Namespace>,
    /// Adds a capability, or `all`.
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub cap_add: Vec<Capabilities>,
    /// Takes a capability away, or `all`; added ones come after.
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    pub cap_drop: Vec<Capabilities>,
    /// Shows a file or folder of the host at another place: SOURCE:TARGET[:ro].
    #[arg(long, value_name = "MOUNT", value_parser = bind)]
    pub mount: Vec<Bind>,
    /// The most memory: bytes, or with K, M, G.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<u64>,
    /// The most processors' time, as 1.5.
    #[arg(long, value_name = "NUMBER", value_parser = processors)]
    pub cpus: Option<f64>,
    /// The most processes and threads.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub pids: Option<u64>,
    /// Nothing of the root can be changed, not even for the time being.
    #[arg(long)]
    pub read_only: bool,
    /// The filter of system calls: `default`, `off`, or a file in the form of OCI runtimes.
    #[arg(long, value_name = "FILE", value_parser = filter, default_value = "default")]
    pub seccomp: Filter,
    /// Sets a variable, or passes the caller's on: NAME[=VALUE].
    #[arg(long, short, value_name = "VARIABLE", value_parser = variable)]
    pub env: Vec<(String, Option<String>)>,
    /// The working folder.
    #[arg(long, short, value_name = "FOLDER")]
    pub workdir: Option<PathBuf>,
    /// Joins the processes, network, IPC and host name of a process or a unit's; its files are at /media/target.
    #[arg(long, value_name = "UNIT|PID")]
    pub target: Option<String>,
    /// Tells at the end what was done outside of the box: files, mounts, sockets, processes.
    #[arg(long)]
    pub report: bool,
    /// Prints what would be done, and does nothing.
    #[arg(long)]
    pub explain: bool,
    /// With --explain: as JSON.
    #[arg(long, requires = "explain")]
    pub json: bool,
    /// Keeps the box under a name: it is made if it is not there, entered if it is, and its layer stays.
    #[arg(long, value_name = "NAME", value_parser = box_name)]
    pub keep: Option<String>,
}

/// The longest name of a box: it is part of a cgroup's.
const BOX_NAME_MAX: usize = 128;

/// A name that a box can have: `[a-z0-9][a-z0-9_.-]*`.
///
/// # Errors
/// What is wrong, in words.
pub fn box_name(text: &str) -> Result<String, String> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let begins = text.bytes().next().is_some_and(letter);
    if begins && text.len() <= BOX_NAME_MAX && text.bytes().all(|byte| letter(byte) || b"_.-".contains(&byte))
    {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` cannot be a box's name: small letters, digits and `_.-`, a letter or digit first, {BOX_NAME_MAX} \
         at most"
    ))
}

fn bind(text: &str) -> Result<Bind, String> {
    let form = || format!("`{text}` is not SOURCE:TARGET or SOURCE:TARGET:ro");
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, read_only) = match parts[..] {
        [source, target] | [source, target, "rw"] => (source, target, false),
        [source, target, "ro"] => (source, target, true),
        _ => return Err(form()),
    };
    let absolute = |path: &str| {
        let path = PathBuf::from(path);
        let plain = path.is_absolute() && !path.components().any(|part| part.as_os_str() == "..");
        if plain {
            Ok(path)
        } else {
            Err(format!("`{}` is not an absolute path without `..`", path.display()))
        }
    };
    let target = absolute(target)?;
    if target.parent().is_none() {
        return Err("the root itself comes from --from".to_owned());
    }
    Ok(Bind { source: absolute(source)?, target, read_only })
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| format!("`{text}` is not a size; say it as 512M"))?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("`{text}` is not a size that a limit can have"))
}

fn processors(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number: &f64| (0.01..=10_000.0).contains(number))
        .ok_or_else(|| format!("`{text}` is not a number of processors; say it as 1.5"))
}

#[expect(clippy::unnecessary_wraps, reason = "clap asks for a result")]
fn filter(text: &str) -> Result<Filter, String> {
    Ok(match text {
        "default" => Filter::Default,
        "off" => Filter::Off,
        path => Filter::File(path.into()),
    })
}

fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        Err(format!("`{text}` has no name before `=`"))
    } else {
        Ok((name.to_owned(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_read_by_its_own_table_as_by_the_whole() {
        for line in [
            "true",
            "--from a --from b -p net --share pid,ipc --env A=b -e C --mount /a:/b:ro --memory 1G -- sh -c x --help",
            "--explain --json --seccomp off --cap-add all --read-only echo --from x",
            "",
            "--json true",
            "--no-such true",
            "--memory much true",
            "--help",
            "--from",
        ] {
            let words = ["toolbox", "run"].into_iter().chain(line.split_whitespace());
            let words: Vec<OsString> = words.map(OsString::from).collect();
            let one = read(&words).map(|line| match line.cli.verb {
                Some(Verb::Run(run)) => (format!("{run:?}"), line.verb, format!("{:?}", line.given)),
                other => panic!("{other:?}"),
            });
            let all = Cli::command().try_get_matches_from(&words).map(|given| {
                let run = Run::from_arg_matches(given.subcommand().unwrap().1).unwrap();
                (format!("{run:?}"), Some("run".to_owned()), format!("{:?}", given.subcommand().unwrap().1))
            });
            assert_eq!(
                one.map_err(|error| error.to_string()),
                all.map_err(|error| error.to_string()),
                "{line}"
            );
        }
    }

    #[test]
    fn values_are_read_or_refused_with_their_form() {
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("7"), Ok(7));
        for wrong in ["", "M", "0", "-1", "99999999999G", "1.5G", "5T"] {
            assert!(size(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
        assert_eq!(processors("1.5"), Ok(1.5));
        for wrong in ["", "0", "NaN", "-1", "inf"] {
            assert!(processors(wrong).is_err(), "{wrong}");
        }
        let good = Bind { source: "/a".into(), target: "/b".into(), read_only: true };
        assert_eq!(bind("/a:/b:ro"), Ok(good));
        for wrong in ["/a", "a:/b", "/a:b", "/a:/b:rx", "/a:/", "/a:/b/../c", "/a:/b:ro:x"] {
            assert!(bind(wrong).is_err(), "{wrong}");
        }
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), Some("b=c".to_owned()))));
        assert_eq!(variable("A"), Ok(("A".to_owned(), None)));
        assert!(variable("=b").is_err());
    }
}
