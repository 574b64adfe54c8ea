//! Both ends of both transports, with verbs.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use perilune_protocol::{ClientEnds, ConnectionFile, Frames, KernelEnds, in_process, zmq};

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("nothing came in time")
}

pub fn frames<const N: usize>(frames: [&'static str; N]) -> Frames {
    frames.into_iter().map(Bytes::from).collect()
}

pub fn local(encrypted: bool) -> ConnectionFile {
    ConnectionFile { curve: encrypted.then(zmq::generate_keys), ..ConnectionFile::local() }
}

/// In process, over ZeroMQ, and over ZeroMQ with CURVE.
pub async fn pairs() -> Vec<(KernelEnds, ClientEnds)> {
    let mut pairs = vec![in_process()];
    for encrypted in [false, true] {
        let (kernel, file) = zmq::bind(&local(encrypted)).await.unwrap();
        pairs.push((kernel, zmq::connect(&file, PATIENCE).await.unwrap()));
    }
    pairs
}
