//! Connection files: what they must hold, and how errors name what they do not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use perilune_protocol::{ConnectionFile, zmq};
use serde_json::{Value, json};

fn valid() -> Value {
    json!({"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5, "ip": "127.0.0.1", "key": "k",
        "transport": "tcp", "signature_scheme": "hmac-sha256", "kernel_name": "perilune", "jupyter_session": "a.ipynb"})
}

fn read(text: &str) -> Result<ConnectionFile, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("connection.json");
    fs::write(&path, text).unwrap();
    ConnectionFile::read(&path).map_err(|error| error.to_string().replace(path.to_str().unwrap(), "FILE"))
}

#[test]
fn a_file_survives_writing_with_the_fields_that_are_not_ours() {
    let file = read(&valid().to_string()).unwrap();
    assert_eq!((file.shell_port, file.hb_port, file.key.as_str()), (1, 5, "k"));
    let mut file = ConnectionFile { curve: Some(zmq::generate_keys()), ..file };
    file.shell_port = 4711;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("connection.json");
    for _ in 0..2 {
        file.write(&path).unwrap();
    }
    assert_eq!(ConnectionFile::read(&path).unwrap(), file);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((&written["jupyter_session"], &written["signature_scheme"]), (&json!("a.ipynb"), &json!("hmac-sha256")));
}

#[test]
fn each_error_names_the_file_and_the_field() {
    let with = |field: &str, value: Value| {
        let mut fields = valid();
        fields[field] = value;
        read(&fields.to_string()).unwrap_err()
    };
    let cases = [
        (
            with("shell_port", json!(65536)),
            "has `65536` in the field `shell_port`; it should be a port between 0 and 65535",
        ),
        (with("hb_port", json!("5")), "has `\"5\"` in the field `hb_port`; it should be a port between 0 and 65535"),
        (with("iopub_port", Value::Null), "lacks the field `iopub_port`, a port between 0 and 65535"),
        (with("ip", json!("")), "lacks the field `ip`, the address to listen on, e.g. `127.0.0.1`"),
        (with("key", json!(12345)), "has a number in the field `key`; it should be a text"),
        (
            with("transport", json!("carrier pigeon")),
            "has `carrier pigeon` in the field `transport`; it should be `tcp`",
        ),
        (
            with("signature_scheme", json!("md5")),
            "has `md5` in the field `signature_scheme`; it should be `hmac-sha256`",
        ),
        (
            with("curve_publickey", json!("short")),
            "has 5 bytes in the field `curve_publickey`; it should be a key of 40 characters in Z85",
        ),
        (
            with("curve_secretkey", json!("x".repeat(40))),
            "lacks the field `curve_publickey`, the other half of `curve_secretkey`",
        ),
    ];
    for (error, expected) in cases {
        assert_eq!(error, format!("the connection file `FILE` {expected}"));
    }
    let error = read("{\"shell_port\": 1").unwrap_err();
    assert!(error.starts_with("the connection file `FILE` is not a JSON object: EOF"), "{error}");
    assert_eq!(read("[1]").unwrap_err(), "the connection file `FILE` is not a JSON object: it is a list");
    let missing = ConnectionFile::read("no/such/file.json".as_ref()).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the connection file `no/such/file.json`: "), "{missing}");
}

#[test]
fn no_key_is_printed() {
    let file = ConnectionFile { key: "secret".into(), curve: Some(zmq::generate_keys()), ..ConnectionFile::local() };
    let printed = format!("{file:?} {:?}", file.curve);
    assert!(!printed.contains("secret") && !printed.contains(&file.curve.as_ref().unwrap().secret), "{printed}");
}

#[test]
fn keys_of_local_files_differ() {
    assert_ne!(ConnectionFile::local().key, ConnectionFile::local().key);
    assert!(ConnectionFile::local().key.len() >= 64);
}
