//! Connection files that are stale, malformed or meant for another kernel.

use std::fs;
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::perilune::Home;

fn expect_refusal(home: &Home, file: &str, words: &[&str]) {
    for arguments in [
        &["--connect", file, "exec", "1"][..],
        &["--connect", file, "model", "list"],
        &["kernel", "status", "--connection-file", file],
    ] {
        home.perilune(arguments).expect_error(3, words);
    }
}

fn write(home: &Home, connection: &Value) -> String {
    home.file("other.json", &connection.to_string())
}

#[test]
fn files_that_describe_no_kernel_are_named() {
    let home = Home::new();
    expect_refusal(&home, "missing.json", &["`missing.json`", "No such file"]);
    expect_refusal(&home, &home.file("text.json", "not json"), &["`text.json`", "JSON"]);
    expect_refusal(&home, &home.file("list.json", "[1]"), &["`list.json`", "JSON object"]);
    expect_refusal(&home, &home.file("part.json", "{\"ip\": \"127.0.0.1\"}"), &["`part.json`", "`shell_port`"]);
}

#[test]
fn a_file_left_by_a_dead_kernel_is_stale() {
    let home = Home::new();
    let mut kernel = home.kernel("kernel.json");
    kernel.process().signal("KILL");
    let file = kernel.connection_file.display().to_string();
    let port = kernel.connection()["shell_port"].to_string();
    kernel.finish();
    expect_refusal(&home, &file, &["kernel.json", &port, "refused"]);
}

#[test]
fn fields_of_the_wrong_kind_are_named() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    for (field, value) in [
        ("shell_port", json!("many")),
        ("iopub_port", json!(70_000)),
        ("signature_scheme", json!("rot13")),
        ("key", json!(7)),
    ] {
        let mut connection = kernel.connection();
        connection[field] = value;
        expect_refusal(&home, &write(&home, &connection), &["`other.json`", field]);
    }
}

#[test]
fn a_wrong_key_is_told() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    let mut connection = kernel.connection();
    connection["key"] = json!("another-key");
    home.perilune(&["--connect", &write(&home, &connection), "exec", "1"]).expect_error(3, &["`other.json`", "key"]);
    // The kernel does not mind.
    home.perilune(&kernel.arguments(&["exec", "1"])).expect_ok();
}

#[test]
fn a_listener_that_is_no_kernel_is_told() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = kernel.connection();
    connection["control_port"] = json!(listener.local_addr().unwrap().port());
    home.perilune(&["--connect", &write(&home, &connection), "exec", "1"])
        .expect_error(3, &["`other.json`", "control"]);
}

#[test]
fn connection_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    assert_eq!(fs::metadata(&kernel.connection_file).unwrap().permissions().mode() & 0o777, 0o600);
}
