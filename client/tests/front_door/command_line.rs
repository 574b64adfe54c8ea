//! What the command line accepts, and what it says to the rest.

use crate::perilune::Home;

#[test]
fn the_version_is_told() {
    let version = format!("perilune {}\n", env!("CARGO_PKG_VERSION"));
    Home::new().perilune(&["--version"]).expect_ok().expect_stdout(&version);
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let home = Home::new();
    for arguments in [
        &["frobnicate"][..],
        &["run"],
        &[],
        &["exec", "1", "--seed", "minus one"],
        &["kernel", "install"],
        &["model", "load"],
    ] {
        home.perilune(arguments).expect_code(2).expect_stdout("");
    }
}

#[test]
fn help_lists_what_is_built_and_nothing_else() {
    let home = Home::new();
    let commands = |arguments: &[&str]| {
        let help = home.perilune(arguments);
        help.expect_ok();
        let list = help.stdout.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
        let entries = list.lines().filter(|line| !line.starts_with("   "));
        entries.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(
        commands(&["--help"]),
        [
            "run",
            "exec",
            "repl",
            "chat",
            "model",
            "provider",
            "config",
            "doctor",
            "kernel",
            "manual",
            "stubs",
            "usage",
            "bench",
            "completions",
            "man",
            "help"
        ]
    );
    assert_eq!(
        commands(&["model", "--help"]),
        [
            "list",
            "info",
            "available",
            "storage",
            "remove",
            "copy",
            "create",
            "install-ollama",
            "status",
            "load",
            "unload",
            "ps",
            "pull",
            "help"
        ]
    );
    assert_eq!(commands(&["provider", "--help"]), ["list", "test", "help"]);
    assert_eq!(commands(&["config", "--help"]), ["show", "path", "check", "schema", "help"]);
    assert_eq!(commands(&["kernel", "--help"]), ["start", "status", "stop", "install", "uninstall", "list", "help"]);
}

#[test]
fn a_missing_script_a_directory_and_a_binary_are_named() {
    let home = Home::new();
    home.perilune(&["run", "no/such.lua"]).expect_error(2, &["`no/such.lua`", "No such file"]);
    std::fs::create_dir(home.path().join("folder")).unwrap();
    home.perilune(&["run", "folder"]).expect_error(2, &["`folder`", "directory"]);
    std::fs::write(home.path().join("binary"), b"\n\xff\xfe").unwrap();
    home.perilune(&["run", "binary"]).expect_error(2, &["`binary`", "line 2"]);
}

#[test]
fn a_wrong_configuration_is_named() {
    let home = Home::new();
    home.file("config.toml", "default_modle = 'x'\n");
    home.perilune(&["exec", "1"]).expect_error(2, &["config.toml", "default_modle", "default_model"]);
}
