//! What holds for ZeroMQ alone: ports, keys, several clients.

use std::time::Duration;

use bytes::Bytes;
use perilune_protocol::{ConnectionFile, TransportError, zmq};

use crate::peers::{PATIENCE, frames, local, soon};

#[tokio::test]
async fn ports_of_zero_are_chosen_and_given_ports_are_kept() {
    let (kernel, file) = zmq::bind(&local(false)).await.unwrap();
    let ports = [file.shell_port, file.iopub_port, file.stdin_port, file.control_port, file.hb_port];
    assert!(ports.iter().all(|port| *port != 0), "{ports:?}");
    kernel.closer.close().await;
    drop((kernel.shell, kernel.control, kernel.stdin, kernel.iopub));
    let (_kernel, again) = zmq::bind(&file).await.unwrap();
    assert_eq!(again, file);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_channel() {
    let (_kernel, taken) = zmq::bind(&local(false)).await.unwrap();
    for (channel, port, file) in [
        ("shell", taken.shell_port, ConnectionFile { shell_port: taken.shell_port, ..local(false) }),
        ("iopub", taken.iopub_port, ConnectionFile { iopub_port: taken.iopub_port, ..local(false) }),
    ] {
        let error = zmq::bind(&file).await.unwrap_err();
        let expected =
            format!("the {channel} port tcp://127.0.0.1:{port} is in use; choose another, or 0 for any that is free");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn an_address_that_is_not_ours_is_named() {
    let error = zmq::bind(&ConnectionFile { ip: "192.0.2.1".into(), ..local(false) }).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot listen on tcp://192.0.2.1:0 for shell: "), "{error}");
}

#[tokio::test]
async fn a_stale_connection_file_is_an_error_at_once() {
    let (kernel, file) = zmq::bind(&local(false)).await.unwrap();
    kernel.closer.close().await;
    drop((kernel.shell, kernel.control, kernel.stdin, kernel.iopub));
    let error = soon(zmq::connect(&file, PATIENCE)).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("no kernel answers on tcp://127.0.0.1:{} (shell): ", file.shell_port)),
        "{error}"
    );
    let error = zmq::connect(&local(false), PATIENCE).await.unwrap_err().to_string();
    assert!(error.contains("the file was not written by a running kernel"), "{error}");
}

#[tokio::test]
async fn wrong_curve_keys_are_an_error_for_the_one_who_has_them() {
    let (mut kernel, file) = zmq::bind(&local(true)).await.unwrap();
    let other = ConnectionFile { curve: Some(zmq::generate_keys()), ..file.clone() };
    let plain = ConnectionFile { curve: None, ..file.clone() };
    for wrong in [other, plain] {
        let error = zmq::connect(&wrong, Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(error, TransportError::Unreachable { .. }), "{error}");
    }
    let client = zmq::connect(&file, PATIENCE).await.unwrap();
    client.shell.sender.send(frames(["right"])).await.unwrap();
    assert_eq!(soon(kernel.shell.receiver.recv()).await.unwrap()[1], "right");
}

#[tokio::test]
async fn keys_that_are_no_keys_are_refused_by_name() {
    let mut file = local(true);
    file.curve.as_mut().unwrap().public = "\"".repeat(40);
    let error = zmq::bind(&file).await.unwrap_err().to_string();
    assert!(error.starts_with("the field `curve_publickey` of the connection file is not a CURVE key"), "{error}");
    let mut file = local(true);
    file.curve.as_mut().unwrap().public = zmq::generate_keys().public;
    assert!(matches!(zmq::bind(&file).await, Err(TransportError::CurvePair)));
}

#[tokio::test]
async fn replies_go_to_the_one_who_asked() {
    let (mut kernel, file) = zmq::bind(&local(false)).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(zmq::connect(&file, PATIENCE).await.unwrap());
    }
    for (number, client) in clients.iter().enumerate() {
        client.shell.sender.send(vec![Bytes::from(number.to_string())]).await.unwrap();
    }
    for _ in &clients {
        let request = soon(kernel.shell.receiver.recv()).await.unwrap();
        kernel.shell.sender.send(request).await.unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(soon(client.shell.receiver.recv()).await.unwrap(), [number.to_string()]);
    }
}

#[tokio::test]
async fn each_new_subscriber_is_announced_and_hears_its_welcome() {
    let (mut kernel, file) = zmq::bind(&local(false)).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(zmq::connect(&file, PATIENCE).await.unwrap());
        assert_eq!(soon(kernel.iopub.subscriptions.recv()).await.unwrap().topic, "");
        kernel.iopub.sender.publish(frames(["iopub_welcome"])).await.unwrap();
        assert_eq!(soon(clients.last_mut().unwrap().iopub.recv()).await.unwrap(), frames(["iopub_welcome"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_trip_takes_less_than_half_a_millisecond() {
    let (mut kernel, file) = zmq::bind(&local(false)).await.unwrap();
    let mut client = zmq::connect(&file, PATIENCE).await.unwrap();
    let echo = tokio::spawn(async move {
        while let Some(request) = kernel.shell.receiver.recv().await {
            kernel.shell.sender.send(request).await.unwrap();
        }
    });
    let mut took = Vec::new();
    for _ in 0..500 {
        let began = std::time::Instant::now();
        client.shell.sender.send(frames(["<IDS|MSG>", "signature", "{}", "{}", "{}", "{}"])).await.unwrap();
        soon(client.shell.receiver.recv()).await.unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    println!("round trip: median {:?}, p95 {:?}", took[250], took[475]);
    assert!(took[250] < Duration::from_micros(500), "median {:?}", took[250]);
    echo.abort();
}
