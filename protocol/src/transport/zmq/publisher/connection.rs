//! One subscriber's connection: takes subscriptions, and writes what matches them.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use omq_tokio::Message;
use omq_tokio::proto::command::Command;
use omq_tokio::proto::connection::{Connection, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::Shared;
use super::greeting::Greeted;
use super::subscriber::{Held, Receiver, Subscriber, subscriber};
use crate::transport::Subscription;

/// Bytes that are framed ahead of what the system takes.
const AHEAD_BYTES: usize = 64 << 10;

/// Chunks handed to the system at once.
const CHUNKS: usize = 64;

/// Topics that one subscriber may subscribe to.
const MAX_TOPICS: usize = 1024;

/// Serves a subscriber until it goes, breaks the protocol, is cut off, or the queue ends. None of these is an error of ours.
pub(super) async fn serve(greeted: Greeted, shared: Arc<Shared>, notices: mpsc::Sender<Subscription>) {
    let Greeted { mut stream, mut connection } = greeted;
    let (subscriber, Receiver { queue: mut queued, progress, cut }) = subscriber();
    let mut topics = Topics { topics: Vec::new(), subscriber: Some(subscriber), shared: &shared, notices };
    let mut held = Held::default();
    let mut ended = false;
    let mut input = BytesMut::new();
    let (mut reader, mut writer) = stream.split();
    // What came right behind the greeting.
    if !topics.change(&mut connection).await {
        return;
    }
    while !ended || connection.has_pending_transmit() {
        tokio::select! {
            ready = writer.writable(), if connection.has_pending_transmit() => {
                let written = ready.and_then(|()| writer.try_write_vectored(&connection.transmit_chunks_capped(CHUNKS)));
                match written {
                    Ok(0) => return,
                    Ok(written) => {
                        connection.advance_transmit(written);
                        progress.advance(written);
                        held.written(written);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
            read = reader.read_buf(&mut input), if !ended && !connection.input_blocked_on_output() => {
                let read = matches!(read, Ok(1..)) && connection.handle_input(input.split().freeze()).is_ok();
                if !read || !topics.change(&mut connection).await {
                    return;
                }
            }
            message = queued.recv(), if !ended && connection.pending_transmit_size() < AHEAD_BYTES => {
                let mut next = message;
                ended = next.is_none();
                while let Some(queued_message) = next {
                    if topics.want(&queued_message.message) {
                        if connection.send_message(&queued_message.message).is_err() {
                            return;
                        }
                        held.framed(connection.pending_transmit_size(), queued_message.room);
                    }
                    if connection.pending_transmit_size() >= AHEAD_BYTES {
                        break;
                    }
                    next = queued.try_recv().ok();
                }
            }
            () = cut.cancelled() => return,
            () = shared.closing.cancelled(), if topics.subscriber.is_some() => return,
        }
    }
    // The last bytes are the system's now; a peer that is gone already cannot be told.
    let _ = writer.shutdown().await;
}

/// What one peer is subscribed to.
struct Topics<'a> {
    topics: Vec<Bytes>,
    /// Held back until the first subscription: what is published before is not for this one.
    subscriber: Option<Subscriber>,
    shared: &'a Shared,
    notices: mpsc::Sender<Subscription>,
}

impl Topics<'_> {
    /// Takes the changes that have come in; false if they are too many.
    async fn change(&mut self, connection: &mut Connection) -> bool {
        for change in changes(connection) {
            match change {
                Change::Subscribe(topic) if self.topics.len() < MAX_TOPICS => {
                    self.topics.push(topic.clone());
                    if let Some(subscriber) = self.subscriber.take() {
                        self.shared.subscribers.lock().await.push(subscriber);
                    }
                    // A full channel costs a welcome, no more.
                    let _ = self.notices.try_send(Subscription { topic });
                }
                Change::Subscribe(_) => return false,
                Change::Cancel(topic) => {
                    if let Some(position) = self.topics.iter().position(|other| *other == topic) {
                        self.topics.swap_remove(position);
                    }
                }
            }
        }
        true
    }

    fn want(&self, message: &Message) -> bool {
        let topic = message.part_slice(0).unwrap_or_default();
        self.topics.iter().any(|wanted| topic.starts_with(wanted))
    }
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
