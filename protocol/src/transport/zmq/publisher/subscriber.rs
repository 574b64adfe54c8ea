//! One subscriber's connection: greets, takes subscriptions, and writes what matches them.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use omq_tokio::Message;
use omq_tokio::proto::command::Command;
use omq_tokio::proto::connection::{Connection, ConnectionConfig, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::super::HANDSHAKE_TIMEOUT;
use super::{Queued, Shared, Subscriber};
use crate::transport::Subscription;

/// Bytes that are framed ahead of what the system takes.
const AHEAD_BYTES: usize = 64 << 10;

/// Chunks handed to the system at once.
const CHUNKS: usize = 64;

/// Topics that one subscriber may subscribe to.
const MAX_TOPICS: usize = 1024;

/// Serves a subscriber until it goes, breaks the protocol, or the queue ends. None of these is an error of ours.
pub(super) async fn serve(
    mut stream: TcpStream,
    config: ConnectionConfig,
    shared: Arc<Shared>,
    notices: mpsc::Sender<Subscription>,
) {
    // Without it small messages might wait for each other, which is slower but not wrong.
    let _ = stream.set_nodelay(true);
    let (queue, mut queued) = mpsc::unbounded_channel::<Queued>();
    // Held back until the first subscription: what is published before is not for this one.
    let mut queue = Some(queue);
    let mut topics = Vec::new();
    let mut connection = Connection::new(config);
    let mut ended = false;
    let mut input = BytesMut::new();
    let (mut reader, mut writer) = stream.split();
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    while !ended || connection.has_pending_transmit() {
        let output = connection.clone_transmit_chunks();
        let slices: Vec<IoSlice<'_>> = output.iter().take(CHUNKS).map(|chunk| IoSlice::new(chunk)).collect();
        tokio::select! {
            written = writer.write_vectored(&slices), if !slices.is_empty() => match written {
                Ok(written) if written > 0 => connection.advance_transmit(written),
                _ => return,
            },
            read = reader.read_buf(&mut input), if !ended && !connection.input_blocked_on_output() => {
                if !matches!(read, Ok(1..)) || connection.handle_input(input.split().freeze()).is_err() {
                    return;
                }
                for change in changes(&mut connection) {
                    match change {
                        Change::Subscribe(topic) if topics.len() < MAX_TOPICS => {
                            topics.push(topic.clone());
                            if let Some(queue) = queue.take() {
                                shared.subscribers.lock().await.push(Subscriber::new(queue));
                            }
                            // A full channel costs a welcome, no more.
                            let _ = notices.try_send(Subscription { topic });
                        }
                        Change::Subscribe(_) => return,
                        Change::Cancel(topic) => {
                            if let Some(position) = topics.iter().position(|other| *other == topic) {
                                topics.swap_remove(position);
                            }
                        }
                    }
                }
            }
            message = queued.recv(), if !ended && connection.pending_transmit_size() < AHEAD_BYTES => {
                let mut next = message;
                ended = next.is_none();
                while let Some((message, _room)) = next {
                    if wanted(&topics, &message) && connection.send_message(&message).is_err() {
                        return;
                    }
                    if connection.pending_transmit_size() >= AHEAD_BYTES {
                        break;
                    }
                    next = queued.try_recv().ok();
                }
            }
            () = sleep_until(deadline), if !connection.is_ready() => return,
            () = shared.closing.cancelled(), if queue.is_some() => return,
        }
    }
    // The last bytes are the system's now; a peer that is gone already cannot be told.
    let _ = writer.shutdown().await;
}

enum Change {
    Subscribe(Bytes),
    Cancel(Bytes),
}

/// Subscriptions come as commands, or from peers of ZMTP 3.0 as messages that begin with a 1 or a 0.
fn changes(connection: &mut Connection) -> Vec<Change> {
    let mut changes = Vec::new();
    while let Some(event) = connection.poll_event() {
        match event {
            Event::Command(Command::Subscribe(topic)) => changes.push(Change::Subscribe(topic)),
            Event::Command(Command::Cancel(topic)) => changes.push(Change::Cancel(topic)),
            Event::Message(message) => changes.extend(change(&message)),
            _ => {}
        }
    }
    while let Some(message) = connection.poll_message() {
        changes.extend(change(&message));
    }
    changes
}

fn change(message: &Message) -> Option<Change> {
    let notice = message.part_bytes(0)?;
    match notice.first()? {
        1 => Some(Change::Subscribe(notice.slice(1..))),
        0 => Some(Change::Cancel(notice.slice(1..))),
        _ => None,
    }
}

fn wanted(topics: &[Bytes], message: &Message) -> bool {
    let topic = message.part_slice(0).unwrap_or_default();
    topics.iter().any(|wanted| topic.starts_with(wanted))
}
