//! `kernel start`, `status` and `stop`.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use crate::perilune::{Home, Running, until};

#[test]
fn a_kernel_ends_when_told_and_removes_its_file() {
    let home = Home::new();
    for signal in ["INT", "TERM"] {
        let mut kernel = home.kernel("kernel.json");
        let file = kernel.connection_file.clone();
        assert!(file.is_absolute() && file.exists());
        kernel.process().signal(signal);
        kernel.finish().expect_ok();
        assert!(!file.exists(), "after {signal}");
    }
}

#[test]
fn status_and_stop_tell_the_truth() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    let file = kernel.connection_file.display().to_string();
    let port = kernel.connection()["shell_port"].to_string();
    let status = home.perilune(&["kernel", "status", "--connection-file", &file]);
    status.expect_ok();
    assert!(status.stdout.contains(&format!("127.0.0.1:{port}")), "{status:?}");
    assert!(status.stdout.contains("subscribers      1 with this command\n"), "{status:?}");
    let status = home.perilune(&["kernel", "status", "--connect", &file, "--output", "json"]).expect_ok().json();
    assert_eq!(status["peers"], json!({ "connected": 1, "cut_off": 0, "turned_away": 0 }));
    home.perilune(&["kernel", "stop", "--connection-file", &file]).expect_ok();
    assert!(!Path::new(&file).exists());
    kernel.finish().expect_ok();
    home.perilune(&["kernel", "status", "--connection-file", &file]).expect_error(3, &["kernel.json"]);
    home.perilune(&["kernel", "stop", "--connection-file", &file]).expect_error(3, &["kernel.json"]);
}

#[test]
fn the_resident_kernel_is_one_and_survives_its_starter() {
    let home = Home::new();
    home.perilune(&["kernel", "status"]).expect_error(3, &["perilune kernel start"]);
    home.perilune(&["kernel", "stop"]).expect_error(3, &["perilune kernel start"]);
    let start = home.perilune(&["kernel", "start", "--detach"]);
    start.expect_ok();
    let file = start.stdout.trim_end().to_owned();
    assert_eq!(Path::new(&file), home.path().join("run/kernel.json"));
    home.perilune(&["kernel", "status"]).expect_ok();
    home.perilune(&["--connect", &file, "exec", "6 * 7"]).expect_ok().expect_stdout("42\n");
    for again in [&["kernel", "start"][..], &["kernel", "start", "--detach"]] {
        home.perilune(again).expect_error(3, &[&file, "runs already"]);
    }
    home.perilune(&["kernel", "stop"]).expect_ok();
    assert!(!Path::new(&file).exists());
    // What is gone can be started again at once.
    home.perilune(&["kernel", "start", "--detach", "--output", "json"]).expect_ok().json();
    home.perilune(&["kernel", "stop"]).expect_ok();
}

#[test]
fn a_stale_resident_file_is_replaced() {
    let home = Home::new();
    let mut kernel = home.start(&["kernel", "start"]);
    kernel.line();
    kernel.signal("KILL");
    kernel.finish();
    assert!(home.path().join("run/kernel.json").exists());
    home.perilune(&["kernel", "status"]).expect_error(3, &["run/kernel.json"]);
    home.perilune(&["kernel", "start", "--detach"]).expect_ok();
    home.perilune(&["kernel", "stop"]).expect_ok();
    home.file("run/kernel.json", "garbage");
    home.perilune(&["kernel", "start", "--detach"]).expect_ok();
    home.perilune(&["kernel", "stop"]).expect_ok();
}

/// Five ports that were free a moment ago.
fn launcher_file(home: &Home) -> (String, u16) {
    launcher_file_with(home, "127.0.0.1", "given")
}

fn launcher_file_with(home: &Home, ip: &str, key: &str) -> (String, u16) {
    let listeners: Vec<_> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let port = |index: usize| listeners[index].local_addr().unwrap().port();
    let file = serde_json::json!({
        "transport": "tcp", "ip": ip, "key": key, "signature_scheme": "hmac-sha256", "shell_port": port(0),
        "iopub_port": port(1), "stdin_port": port(2), "control_port": port(3), "hb_port": port(4), "kernel_name": "perilune",
    });
    (home.file("launcher.json", &file.to_string()), port(0))
}

#[test]
fn a_launchers_file_is_obeyed_and_kept() {
    let home = Home::new();
    let (file, _) = launcher_file(&home);
    let before = fs::read(home.path().join(&file)).unwrap();
    let mut kernel = home.start(&["kernel", "start", "--connection-file", &file]);
    kernel.line();
    home.perilune(&["--connect", &file, "exec", "1 + 1"]).expect_ok().expect_stdout("2\n");
    kernel.signal("TERM");
    kernel.finish().expect_ok();
    assert_eq!(fs::read(home.path().join(&file)).unwrap(), before);
}

#[test]
fn an_address_that_others_reach_needs_keys_or_a_launcher() {
    let home = Home::new();
    for (ip, key) in [("0.0.0.0", ""), ("0.0.0.0", "given"), ("*", "given")] {
        let (file, _) = launcher_file_with(&home, ip, key);
        for arguments in [
            &["kernel", "start", "--connection-file", &file][..],
            &["kernel", "start", "--detach", "--connection-file", &file],
        ] {
            home.perilune(arguments).expect_error(3, &["launcher.json", &format!("`{ip}`"), "CURVE", "127.0.0.1"]);
        }
        let mut command = home.command(&["kernel", "start", "--connection-file", &file]);
        command.env("JPY_PARENT_PID", std::process::id().to_string());
        let launched = Running::start(command);
        until(|| home.perilune(&["--connect", &file, "exec", "1"]).code == Some(0));
        home.perilune(&["kernel", "stop", "--connection-file", &file]).expect_ok();
        launched.finish().expect_ok().expect_stderr_has("WARN").expect_stderr_has(ip);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let home = Home::new();
    let (file, port) = launcher_file(&home);
    let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    for arguments in [
        &["kernel", "start", "--connection-file", &file][..],
        &["kernel", "start", "--detach", "--connection-file", &file],
    ] {
        home.perilune(arguments).expect_error(3, &["launcher.json", &port.to_string(), "in use"]);
    }
    home.file("broken.json", "{}");
    home.perilune(&["kernel", "start", "--connection-file", "broken.json"]).expect_error(3, &["broken.json"]);
}

#[test]
fn a_launched_kernel_outlives_sigint_but_not_its_launcher() {
    let home = Home::new();
    let (file, _) = launcher_file(&home);
    // The shell is the launcher: it starts the kernel, tells its process id, and ends when its input does.
    let script = format!(
        "JPY_PARENT_PID=$$ {} kernel start --connection-file {file} & echo $!; read line",
        env!("CARGO_BIN_EXE_perilune")
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).env("PERILUNE_HOME", home.path()).current_dir(home.path());
    let mut launcher = Running::start(command);
    let kernel = launcher.line().trim_end().to_owned();
    let answers = || home.perilune(&["--connect", &file, "exec", "1"]).code == Some(0);
    until(answers);
    let signal =
        |signal: &str| std::process::Command::new("kill").args([signal, &kernel]).output().unwrap().status.success();
    assert!(signal("-INT"));
    assert!(answers());
    launcher.type_line("");
    // The launcher's stdout is the kernel's too, so that its end is the kernel's.
    launcher.finish();
}

/// jupyter_kernel_gateway starts kernels with `PATH` and nothing else when a jupyter_server asks it to.
#[test]
fn without_an_environment_the_system_tells_the_home() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_perilune"));
    command.args(["kernel", "status"]).env_clear();
    Running::start(command).finish().expect_error(3, &["/.local/state/perilune/kernel.json"]);
}
