//! Both ends in one process, over bounded channels: the same frames, no sockets. A full channel makes the sender wait; an end that was
//! dropped lets nobody wait for it.

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::{
    Beating, Channel, ChannelReceiver, ChannelSender, ClientEnds, Closed, Closer, Closing, Departing, KernelEnds,
    PublishSender, Publishing, Receiving, Reconnecting, Sending, Subscribing, Subscription,
};
use crate::Frames;

/// Messages on their way per channel and direction.
const CAPACITY: usize = 256;

/// The one client's identity, as a ROUTER would have made one up.
const IDENTITY: &[u8] = b"in-process";

/// A kernel's and a client's end, connected. The client is subscribed to everything from the start.
pub fn in_process() -> (KernelEnds, ClientEnds) {
    let (kernel_shell, client_shell) = channel();
    let (kernel_control, client_control) = channel();
    let (kernel_stdin, client_stdin) = channel();
    let (publish, published) = mpsc::channel(CAPACITY);
    let (alive, heartbeat) = watch::channel(());
    let kernel = KernelEnds {
        shell: kernel_shell,
        control: kernel_control,
        stdin: kernel_stdin,
        iopub: super::Publisher {
            sender: PublishSender(Publishing::InProcess(Publisher(publish))),
            subscriptions: super::Subscriptions(Subscribing::InProcess(Subscriptions { announced: false, alive })),
        },
        departures: super::Departures(Departing::InProcess),
        closer: Closer(Closing::InProcess),
    };
    let client = ClientEnds {
        shell: client_shell,
        control: client_control,
        stdin: client_stdin,
        iopub: ChannelReceiver(Receiving::InProcess(Receiver(published))),
        heartbeat: super::Heartbeat(Beating::InProcess(Heartbeat(heartbeat))),
        reconnections: super::Reconnections(Reconnecting::InProcess),
        closer: Closer(Closing::InProcess),
    };
    (kernel, client)
}

fn channel() -> (Channel, Channel) {
    let (to_kernel, from_client) = mpsc::channel(CAPACITY);
    let (to_client, from_kernel) = mpsc::channel(CAPACITY);
    let end = |sender, receiver| Channel {
        sender: ChannelSender(Sending::InProcess(sender)),
        receiver: ChannelReceiver(Receiving::InProcess(Receiver(receiver))),
    };
    (end(Sender::ToClient(to_client), from_client), end(Sender::ToKernel(to_kernel), from_kernel))
}

/// Sends one way, and does to the identity what ROUTER and DEALER would.
#[derive(Clone, Debug)]
pub(super) enum Sender {
    ToKernel(mpsc::Sender<Frames>),
    ToClient(mpsc::Sender<Frames>),
}

impl Sender {
    pub(super) async fn send(&self, mut frames: Frames) -> Result<(), Closed> {
        match self {
            Sender::ToKernel(channel) => {
                frames.insert(0, Bytes::from_static(IDENTITY));
                channel.send(frames).await.map_err(|_| Closed)
            }
            Sender::ToClient(channel) => {
                if frames.first().is_none_or(|identity| identity != IDENTITY) {
                    // Nobody of that name is here; a ROUTER drops it just so.
                    return Ok(());
                }
                frames.remove(0);
                channel.send(frames).await.map_err(|_| Closed)
            }
        }
    }
}

/// Receives one way.
#[derive(Debug)]
pub(super) struct Receiver(mpsc::Receiver<Frames>);

impl Receiver {
    pub(super) async fn recv(&mut self) -> Option<Frames> {
        self.0.recv().await
    }
}

/// Publishes to the one client.
#[derive(Clone, Debug)]
pub(super) struct Publisher(mpsc::Sender<Frames>);

impl Publisher {
    pub(super) async fn publish(&self, frames: Frames) -> Result<(), Closed> {
        // A client that no longer listens is no subscriber, which is no error.
        let _ = self.0.send(frames).await;
        Ok(())
    }
}

/// The one client's one subscription, there from the start.
#[derive(Debug)]
pub(super) struct Subscriptions {
    announced: bool,
    /// Held by the kernel's end, and seen by the client's heartbeat.
    alive: watch::Sender<()>,
}

impl Subscriptions {
    pub(super) async fn recv(&mut self) -> Option<Subscription> {
        if self.announced {
            self.alive.closed().await;
            return None;
        }
        self.announced = true;
        Some(Subscription { topic: Bytes::new() })
    }
}

/// Sees whether the kernel's end is still there.
#[derive(Debug)]
pub(super) struct Heartbeat(watch::Receiver<()>);

impl Heartbeat {
    pub(super) fn probe(&self) -> bool {
        self.0.has_changed().is_ok()
    }
}
