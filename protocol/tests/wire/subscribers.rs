//! Subscribers that do not read, or read slowly, beside one that does. Over ZeroMQ without CURVE, whose bytes can be written by hand;
//! `tests/python/test_subscribers.py` does the same with libzmq's sockets and with CURVE.

use std::time::{Duration, Instant};

use bytes::Bytes;
use perilune_protocol::{ConnectionFile, KernelEnds, zmq};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::hostile::after_ready;
use crate::peers::{PATIENCE, local, soon};

const MEBIBYTE: usize = 1 << 20;

/// A subscriber to everything, as bytes; it reads nothing by itself.
async fn subscriber(kernel: &mut KernelEnds, file: &ConnectionFile) -> TcpStream {
    let mut peer = TcpStream::connect(("127.0.0.1", file.iopub_port)).await.unwrap();
    peer.write_all(&after_ready("SUB", b"\x04\x0a\x09SUBSCRIBE")).await.unwrap();
    assert_eq!(soon(kernel.iopub.subscriptions.recv()).await.unwrap().topic, "");
    peer
}

fn numbered(number: u32, large: &Bytes) -> Vec<Bytes> {
    vec![Bytes::new(), number.to_be_bytes().to_vec().into(), large.clone()]
}

/// All bytes that still come, up to the end of the connection.
async fn drain(peer: &mut TcpStream) -> usize {
    let mut buffer = vec![0; MEBIBYTE];
    let mut total = 0;
    while let Ok(read @ 1..) = soon(peer.read(&mut buffer)).await {
        total += read;
    }
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_do_not_read_delay_nobody_and_are_cut_off() {
    let (mut kernel, file) = zmq::bind(&local(false)).await.unwrap();
    let mut stalled = Vec::new();
    for _ in 0..3 {
        stalled.push(subscriber(&mut kernel, &file).await);
    }
    let mut reading = zmq::connect(&file, PATIENCE).await.unwrap();
    soon(kernel.iopub.subscriptions.recv()).await.unwrap();
    let large = Bytes::from(vec![0; MEBIBYTE]);
    let mut took = Vec::new();
    for number in 0..150_u32 {
        let began = Instant::now();
        kernel.iopub.sender.publish(numbered(number, &large)).await.unwrap();
        assert_eq!(soon(reading.iopub.recv()).await.unwrap()[1][..], number.to_be_bytes());
        took.push(began.elapsed());
    }
    took.sort();
    println!("1 MiB to the one that reads: median {:?}, most {:?}", took[75], took[149]);
    // Waiting for even one of the others would take longer.
    assert!(took[149] < Duration::from_millis(100), "{:?}", took[149]);
    let counts = kernel.iopub.sender.counts();
    assert_eq!(counts.cut_off, 3, "{counts:?}");
    for peer in &mut stalled {
        let heard = drain(peer).await;
        assert!(heard < 150 * MEBIBYTE, "it was not cut off: {heard} bytes");
    }
    // It is welcome to come back.
    let mut again = subscriber(&mut kernel, &file).await;
    kernel.iopub.sender.publish(numbered(150, &Bytes::new())).await.unwrap();
    let mut heard = [0; 512];
    assert!(soon(again.read(&mut heard)).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_reads_gets_a_flood_whole_beside_one_that_does_not() {
    let (mut kernel, file) = zmq::bind(&local(false)).await.unwrap();
    let _stalled = subscriber(&mut kernel, &file).await;
    let mut reading = zmq::connect(&file, PATIENCE).await.unwrap();
    soon(kernel.iopub.subscriptions.recv()).await.unwrap();
    let publisher = kernel.iopub.sender.clone();
    let publish = tokio::spawn(async move {
        let large = Bytes::from(vec![0; MEBIBYTE]);
        for number in 0..400_u32 {
            publisher.publish(numbered(number, &large)).await.unwrap();
        }
        publisher.counts()
    });
    for number in 0..400_u32 {
        assert_eq!(soon(reading.iopub.recv()).await.unwrap()[1][..], number.to_be_bytes());
    }
    assert_eq!(publish.await.unwrap().cut_off, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_one_loses_nothing_within_the_bound() {
    let (mut kernel, file) = zmq::bind(&local(false)).await.unwrap();
    let mut slow = subscriber(&mut kernel, &file).await;
    let large = Bytes::from(vec![0; MEBIBYTE]);
    let bytes = 44 * MEBIBYTE;
    for number in 0..44 {
        // At once, all of it: nobody reads yet.
        timeout(Duration::from_secs(1), kernel.iopub.sender.publish(numbered(number, &large))).await.unwrap().unwrap();
    }
    let mut heard = 0;
    let mut buffer = vec![0; 64 << 10];
    while heard < bytes {
        heard += soon(slow.read(&mut buffer)).await.unwrap();
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    assert_eq!(kernel.iopub.sender.counts().cut_off, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_alone_that_reads_slowly_paces_the_publisher() {
    let (mut kernel, file) = zmq::bind(&local(false)).await.unwrap();
    let mut slow = subscriber(&mut kernel, &file).await;
    let publisher = kernel.iopub.sender.clone();
    let publish = tokio::spawn(async move {
        let large = Bytes::from(vec![0; MEBIBYTE]);
        for number in 0..200 {
            publisher.publish(numbered(number, &large)).await.unwrap();
        }
        publisher.counts()
    });
    let mut heard = 0;
    let mut buffer = vec![0; 256 << 10];
    while heard < 200 * MEBIBYTE {
        let read = soon(slow.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "cut off after {heard} bytes");
        heard += read;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(publish.await.unwrap().cut_off, 0);
}

#[tokio::test]
async fn peers_that_do_not_greet_make_way_for_those_that_do() {
    let (mut kernel, file) = zmq::bind(&local(true)).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(("127.0.0.1", file.iopub_port)).await.unwrap());
    }
    let wrong = ConnectionFile { curve: Some(zmq::generate_keys()), ..file.clone() };
    zmq::connect(&wrong, Duration::from_millis(500)).await.unwrap_err();
    let began = Instant::now();
    let _client = zmq::connect(&file, PATIENCE).await.unwrap();
    soon(kernel.iopub.subscriptions.recv()).await.unwrap();
    println!("connected in {:?} beside 600 that say nothing", began.elapsed());
    assert!(began.elapsed() < zmq::HANDSHAKE_TIMEOUT / 2);
    assert!(kernel.iopub.sender.counts().turned_away >= 300, "{:?}", kernel.iopub.sender.counts());
}
