//! The heartbeat: the kernel's side repeats what it hears, the client's side listens for it.

use std::time::Duration;

use bytes::Bytes;
use omq_tokio::{Message, Socket};
use tokio::time::{Instant, timeout_at};

/// Answers every beat until the socket is closed. A ROUTER that repeats serves any number of clients, and none can hold up another.
pub(super) async fn answer(socket: Socket) {
    while let Ok(beat) = socket.recv().await {
        if socket.send(beat).await.is_err() {
            break;
        }
    }
}

/// The client's side. A DEALER rather than a REQ, which could not ask again after an answer that never came.
#[derive(Debug)]
pub(in crate::transport) struct Heartbeat {
    socket: Socket,
    beats: u64,
}

impl Heartbeat {
    pub(super) fn new(socket: Socket) -> Heartbeat {
        Heartbeat { socket, beats: 0 }
    }

    pub(in crate::transport) async fn probe(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        self.beats += 1;
        let beat = Bytes::copy_from_slice(&self.beats.to_be_bytes());
        // The empty frame is what a REP on the other side wants to see first.
        let message = Message::multipart([Bytes::new(), beat.clone()]);
        if !matches!(timeout_at(deadline, self.socket.send(message)).await, Ok(Ok(()))) {
            return false;
        }
        // An answer to an earlier beat may still come in.
        while let Ok(Ok(answer)) = timeout_at(deadline, self.socket.recv()).await {
            if answer.iter().last().as_ref() == Some(&beat) {
                return true;
            }
        }
        false
    }
}
