//! Bytes that are not ZeroMQ's on every socket, while a real client goes on.

use std::time::Duration;

use bytes::Bytes;
use perilune_protocol::zmq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peers::{PATIENCE, frames, local, soon};

/// A greeting of ZMTP 3.1 with the NULL mechanism, as a client sends it.
fn greeting() -> Vec<u8> {
    let mut greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL".to_vec();
    greeting.resize(64, 0);
    greeting
}

fn ready(kind: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
    body.push(kind.len() as u8);
    body.extend_from_slice(kind.as_bytes());
    let mut frame = vec![4, body.len() as u8];
    frame.extend(body);
    frame
}

pub fn after_ready(kind: &str, then: &[u8]) -> Vec<u8> {
    [&greeting()[..], &ready(kind), then].concat()
}

/// A frame header that claims 2^62 bytes.
const HUGE_FRAME: &[u8] = b"\x02\x40\0\0\0\0\0\0\0";
const HUGE_COMMAND: &[u8] = b"\x06\x40\0\0\0\0\0\0\0";

#[tokio::test]
async fn hostile_bytes_harm_nobody_else() {
    for encrypted in [false, true] {
        let (mut kernel, file) = zmq::bind(&local(encrypted)).await.unwrap();
        let mut client = zmq::connect(&file, PATIENCE).await.unwrap();
        soon(kernel.iopub.subscriptions.recv()).await.unwrap();
        let mut hostile = Vec::new();
        for (port, kind) in [
            (file.shell_port, "DEALER"),
            (file.control_port, "DEALER"),
            (file.stdin_port, "DEALER"),
            (file.iopub_port, "SUB"),
            (file.hb_port, "REQ"),
        ] {
            for bytes in [
                after_ready(kind, HUGE_FRAME),
                after_ready(kind, HUGE_COMMAND),
                after_ready(kind, b"\x07\xff"),
                after_ready("NONSENSE", b""),
                [&greeting()[..], HUGE_COMMAND].concat(),
                [&greeting()[..], HUGE_FRAME].concat(),
                greeting()[..10].to_vec(),
                b"GET / HTTP/1.1\r\n\r\n".repeat(50),
                vec![0xff; 4096],
                vec![0; 4096],
            ] {
                let mut peer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                // Who is cut off in the middle of it is cut off rightly.
                let _ = peer.write_all(&bytes).await;
                hostile.push(peer);
            }
        }
        for _ in 0..20 {
            client.shell.sender.send(frames(["request"])).await.unwrap();
            let request = soon(kernel.shell.receiver.recv()).await.unwrap();
            kernel.shell.sender.send(request).await.unwrap();
            assert_eq!(soon(client.shell.receiver.recv()).await.unwrap(), frames(["request"]));
            kernel.iopub.sender.publish(frames(["", "output"])).await.unwrap();
            assert_eq!(soon(client.iopub.recv()).await.unwrap(), frames(["", "output"]));
            assert!(client.heartbeat.probe(PATIENCE).await);
        }
    }
}

#[tokio::test]
async fn who_announces_a_huge_frame_is_cut_off() {
    let (_kernel, file) = zmq::bind(&local(false)).await.unwrap();
    for (port, kind) in [(file.shell_port, "DEALER"), (file.iopub_port, "SUB")] {
        let mut peer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        peer.write_all(&after_ready(kind, HUGE_FRAME)).await.unwrap();
        assert!(is_cut_off(&mut peer).await);
    }
}

#[tokio::test]
async fn who_stops_in_the_middle_of_the_greeting_is_cut_off() {
    let (_kernel, file) = zmq::bind(&local(false)).await.unwrap();
    let mut peers = Vec::new();
    for port in [file.shell_port, file.iopub_port] {
        let mut peer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        peer.write_all(&greeting()[..10]).await.unwrap();
        peers.push(peer);
    }
    for peer in &mut peers {
        assert!(is_cut_off(peer).await);
    }
}

/// Reads what the kernel still says, up to the end that it must make.
async fn is_cut_off(peer: &mut TcpStream) -> bool {
    let mut said = [0; 1024];
    let patience = zmq::HANDSHAKE_TIMEOUT + Duration::from_secs(10);
    let end = tokio::time::timeout(patience, async { while matches!(peer.read(&mut said).await, Ok(1..)) {} });
    end.await.is_ok()
}

#[tokio::test]
async fn a_flood_of_subscriptions_is_cut_off() {
    let (mut kernel, file) = zmq::bind(&local(false)).await.unwrap();
    let mut peer = TcpStream::connect(("127.0.0.1", file.iopub_port)).await.unwrap();
    let mut flood = after_ready("SUB", b"");
    for number in 0..2_000_u32 {
        flood.extend(b"\x04\x0e\x09SUBSCRIBE");
        flood.extend(number.to_be_bytes());
    }
    let _ = peer.write_all(&flood).await;
    assert!(is_cut_off(&mut peer).await);
    assert_eq!(soon(kernel.iopub.subscriptions.recv()).await.unwrap().topic, Bytes::from_static(b"\0\0\0\0"));
}
