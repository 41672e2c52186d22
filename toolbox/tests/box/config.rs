//! What a person has set down, and what is made of the table of options.

use super::*;

#[test]
fn a_file_gives_a_box_its_defaults() {
    let root = Root::new();
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".toolboxrc"), "touch $HOME/executed\nTOOLBOX_ENV=--setenv=A=rc\n").unwrap();
    fs::create_dir(home.path().join(".config")).unwrap();
    let file = home.path().join(".config/toolbox.yaml");
    fs::write(&file, "env: { B: yaml }\nprofile: net\nmount: [\"~/:/mine:ro\"]\n").unwrap();
    let run = |options: &[&str], script: &str| {
        let mut command = root.command(options, &["sh", "-c", script]);
        command.env("HOME", home.path()).env_remove("XDG_CONFIG_HOME").env_remove("TOOLBOX_CONFIG");
        command.output().unwrap()
    };
    let script = "echo $A $B; ls -A /mine; grep -c CapEff.*3 /proc/self/status";
    assert_eq!(said(&run(&[], script)), "rc yaml\n.config\n.toolboxrc\n1\n");
    assert_eq!(said(&run(&["--env", "B=typed"], "echo $A $B")), "rc typed\n");
    assert!(!home.path().join("executed").exists());
    fs::write(&file, "env: { B: yaml }\nprofle: net\n").unwrap();
    let output = run(&[], "true");
    assert_eq!(output.status.code(), Some(125));
    assert!(complaint(&output).contains("toolbox.yaml:2:1: unknown key `profle`"), "{output:?}");
}

#[test]
fn completions_and_manual_have_every_option() {
    let toolbox =
        |words: &[&str]| said(&Command::new(env!("CARGO_BIN_EXE_toolbox")).args(words).output().unwrap());
    let help = toolbox(&["--help"]);
    let options: Vec<&str> =
        help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 4).collect();
    assert!(options.len() > 15, "{help}");
    let manual = toolbox(&["man"]).replace('\\', "");
    let bash = toolbox(&["completions", "bash"]);
    for option in options {
        let name = option.trim_matches(|one: char| !one.is_ascii_alphabetic() && one != '-');
        assert!(manual.contains(name), "{name}\n{manual}");
        assert!(bash.contains(name), "{name}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bash).unwrap();
    let script = format!("source {} && complete -p toolbox", file.path().display());
    said(&Command::new("bash").args(["-c", &script]).output().unwrap());
}
