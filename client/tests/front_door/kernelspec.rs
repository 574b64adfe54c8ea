//! `kernel install`, `uninstall` and `list`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::perilune::{Finished, Home, Running};

/// A kernelspec's directory below a prefix in this home, both as an argument and as a path.
fn place(home: &Home, name: &str) -> (String, std::path::PathBuf) {
    let prefix = home.path().join("environment");
    (prefix.display().to_string(), prefix.join("share/jupyter/kernels").join(name))
}

fn read(directory: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(directory.join("kernel.json")).unwrap()).unwrap()
}

/// Runs the binary in an environment of this test's, so that no Jupyter of this machine is found.
fn alone(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perilune"));
    command.args(arguments).env_clear().env("HOME", home.path()).current_dir(home.path());
    command.envs(variables.iter().copied());
    Running::start(command).finish()
}

#[test]
fn it_is_installed_listed_and_removed() {
    let home = Home::new();
    let (prefix, directory) = place(&home, "perilune");
    home.perilune(&["kernel", "uninstall", "--prefix", &prefix]).expect_error(1, &["perilune kernel install"]);
    for _ in 0..2 {
        home.perilune(&["kernel", "install", "--prefix", &prefix]).expect_ok();
    }
    let specification = read(&directory);
    assert_eq!(specification["argv"][0], env!("CARGO_BIN_EXE_perilune"));
    assert_eq!(specification["interrupt_mode"], "message");
    let mut files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["kernel.json", "logo-32x32.png", "logo-64x64.png", "logo-svg.svg"]);
    home.perilune(&["kernel", "uninstall", "--prefix", &prefix]).expect_ok();
    assert_eq!(fs::read_dir(&prefix).unwrap().count(), 0);
}

#[test]
fn a_name_of_its_own_stands_beside_the_others() {
    let home = Home::new();
    let (prefix, directory) = place(&home, "moon-2");
    let arguments = ["kernel", "install", "--prefix", &prefix, "--name", "Moon-2", "--display-name", "Moon two"];
    home.perilune(&arguments).expect_ok();
    assert_eq!(read(&directory)["display_name"], "Moon two");
    home.perilune(&["kernel", "install", "--prefix", &prefix]).expect_ok();
    home.perilune(&["kernel", "uninstall", "--prefix", &prefix, "--name", "moon-2"]).expect_ok();
    assert!(!directory.exists() && place(&home, "perilune").1.exists());
    home.perilune(&["kernel", "install", "--prefix", &prefix, "--name", "../up"]).expect_error(1, &["`../up`"]);
}

#[test]
fn what_others_put_there_stays() {
    let home = Home::new();
    let (prefix, directory) = place(&home, "perilune");
    for (theirs, word) in [
        (r#"{"argv": ["x"], "display_name": "Another", "language": "lua"}"#, "Another"),
        (r#"{"argv": ["x"], "metadata": {"perilune": {"installed_by": "a Python package"}}}"#, "a Python package"),
        ("no json", "kernel.json"),
    ] {
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("kernel.json"), theirs).unwrap();
        for what in ["install", "uninstall"] {
            home.perilune(&["kernel", what, "--prefix", &prefix]).expect_error(1, &[word, "--name"]);
        }
        assert_eq!(fs::read_to_string(directory.join("kernel.json")).unwrap(), theirs);
    }
    fs::remove_file(directory.join("kernel.json")).unwrap();
    fs::write(directory.join("kernel.js"), "theirs").unwrap();
    home.perilune(&["kernel", "install", "--prefix", &prefix]).expect_ok();
    home.perilune(&["kernel", "uninstall", "--prefix", &prefix]).expect_ok();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn the_active_environment_is_found() {
    let home = Home::new();
    let (prefix, directory) = place(&home, "perilune");
    fs::create_dir(&prefix).unwrap();
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        alone(&home, &["kernel", "install", "--sys-prefix"], &[(variable, &prefix)]).expect_ok();
        alone(&home, &["kernel", "uninstall", "--sys-prefix"], &[(variable, &prefix)]).expect_ok();
        assert!(!directory.exists());
    }
    let sys_prefix = ["kernel", "install", "--sys-prefix"];
    alone(&home, &sys_prefix, &[("VIRTUAL_ENV", "/gone")]).expect_error(1, &["`VIRTUAL_ENV`", "/gone", "--prefix"]);
    alone(&home, &sys_prefix, &[]).expect_error(1, &["--prefix", "--user", "PATH"]);
}

#[test]
fn a_kernelspec_whose_program_is_gone_is_told() {
    let home = Home::new();
    let listed = || alone(&home, &["kernel", "list", "--output", "json"], &[]).expect_ok().json();
    assert_eq!(listed()["kernelspecs"].as_array().unwrap().len(), 0);
    alone(&home, &["kernel", "install", "--user"], &[]).expect_ok();
    assert_eq!(listed()["kernelspecs"][0]["starts"], true);
    let file = home.path().join(".local/share/jupyter/kernels/perilune/kernel.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(env!("CARGO_BIN_EXE_perilune"), "/gone/perilune")).unwrap();
    assert_eq!(listed()["kernelspecs"][0]["starts"], false);
    let text = alone(&home, &["kernel", "list"], &[]).stdout;
    assert!(text.contains("/gone/perilune (missing"), "{text}");
}
