//! ZeroMQ, the transport that Jupyter's clients speak. This module and those below it are the only ones that know which library does it.
//!
//! What is bounded, and how: a peer may send [`MAX_MESSAGE_BYTES`] at once, and is cut off when it announces more or does not greet as
//! it should within [`HANDSHAKE_TIMEOUT`]. A subscriber may lie [`SUBSCRIBER_KIBIBYTES`] behind; one that does not read is cut off then,
//! and delays nobody. A client that does not read its replies loses what is beyond [`PEER_MESSAGES`]. A connection whose other machine
//! is gone ends by `keepalive`. Closing waits for what is on its way, but no longer than [`LINGER`].

mod curve;
mod departures;
mod endpoint;
mod heartbeat;
mod knock;
mod publisher;
mod reconnection;
mod turned_away;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use omq_tokio::options::{KeepAlive, WorkloadProfile};
use omq_tokio::proto::connection::{ConnectionConfig, Role};
use omq_tokio::{Message, MonitorEvent, MonitorStream, Options, Socket, SocketType};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

pub use curve::generate_keys;
use curve::{client_mechanism, server_mechanism};
pub(super) use departures::Departures;
use endpoint::{Part, port, set_port};
pub(super) use heartbeat::Heartbeat;
use publisher::PublisherCloser;
pub(super) use publisher::{Publisher, Subscriptions};
pub(super) use reconnection::Reconnections;
use turned_away::TurnedAway;

use super::{
    Beating, Channel, ChannelReceiver, ChannelSender, ClientEnds, Closed, Closing, Departing, KernelEnds, NotSent,
    PublishSender, Publishing, Receiving, Reconnecting, Sending, Subscribing, TransportError,
};
use crate::{ConnectionFile, Frames};

/// The largest message taken from a peer, all its frames together.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// What a beat of the heart may weigh.
const MAX_BEAT_BYTES: usize = 64 << 10;

/// What a subscriber may lie behind, in KiB, with what places in queues take. With what allocating and encrypting add it costs
/// less than 64 MiB.
pub const SUBSCRIBER_KIBIBYTES: u32 = 48 << 10;

/// Messages that wait for, or from, one peer of the other channels.
pub const PEER_MESSAGES: u32 = 1 << 13;

/// Publications that wait for our client to take them; then it is the kernel's queue that fills. Merged text has 64 KiB each.
const PUBLISHED_MESSAGES: u32 = 1 << 10;

/// How long a peer may take to greet and to prove its keys.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Peers that may be about to greet at once; one beyond is turned away and tries again.
const PENDING_HANDSHAKES: usize = 512;

/// Connections that end before the greeting, one after the other, until a client believes that it is not let in.
const REFUSALS: usize = 4;

/// How often it is looked whether a peer that is waited for is there.
const CONNECTING_INTERVAL: Duration = Duration::from_millis(20);

/// How long a closing end waits for what is still on its way.
pub const LINGER: Duration = Duration::from_secs(1);

/// Binds the kernel's sockets on the current tokio runtime. The file returned names the ports that were chosen for those given as 0.
pub async fn bind(file: &ConnectionFile) -> Result<(KernelEnds, ConnectionFile), TransportError> {
    let options = Options::new()
        .linger(LINGER)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .max_pending_handshakes(PENDING_HANDSHAKES)
        .tcp_keepalive(keepalive());
    let options = server_mechanism(options, file)?;
    // Not the library's latency profile: with it a ROUTER loses replies of a burst beyond a few dozen (0.33).
    let requests = options.clone().max_message_size(MAX_MESSAGE_BYTES).send_hwm(PEER_MESSAGES).recv_hwm(PEER_MESSAGES);
    let subscribers = ConnectionConfig::new(Role::Server, SocketType::XPub)
        .mechanism(options.mechanism.clone())
        .max_message_size(MAX_BEAT_BYTES);
    let beats = options.max_message_size(MAX_BEAT_BYTES).send_hwm(PEER_MESSAGES).recv_hwm(PEER_MESSAGES);

    let mut bound = file.clone();
    let shell = listen(Part::Shell, SocketType::Router, &requests, &mut bound).await?;
    let control = listen(Part::Control, SocketType::Router, &requests, &mut bound).await?;
    // A question to nobody is an error rather than dropped: its client may be about to connect.
    let questions = requests.clone().router_mandatory(true);
    let stdin = listen(Part::Stdin, SocketType::Router, &questions, &mut bound).await?;
    let listener = listen_to_subscribers(&mut bound).await?;
    let heart = listen(Part::Heartbeat, SocketType::Router, &beats, &mut bound).await?;
    let turned_away = TurnedAway::default();
    let parts = [(Part::Shell, &shell), (Part::Control, &control), (Part::Stdin, &stdin), (Part::Heartbeat, &heart)];
    let watching: Vec<_> =
        parts.map(|(part, socket)| spawn(turned_away.clone().watch(part.name(), socket.monitor()))).into();
    let (publisher, subscriptions, iopub) = publisher::start(listener, subscribers, keepalive(), turned_away);
    let departures = super::Departures(Departing::Zmq(Departures::of(control.monitor())));
    let sockets = parts.map(|(_, socket)| socket.clone()).into();
    let tasks = KernelTasks { iopub, heart: spawn(heartbeat::answer(heart)), _watching: watching };
    let kernel = KernelEnds {
        shell: channel(shell),
        control: channel(control),
        stdin: channel(stdin),
        iopub: super::Publisher {
            sender: PublishSender(Publishing::Zmq(publisher)),
            subscriptions: super::Subscriptions(Subscribing::Zmq(subscriptions)),
        },
        departures,
        closer: super::Closer(Closing::Zmq(Closer { sockets, kernel: Some(tasks) })),
    };
    Ok((kernel, bound))
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

/// Connects to a kernel's sockets on the current tokio runtime. Returns once all of them are there, which includes that the keys fit; an
/// address where nobody answers, or somebody else does, is an error within `patience`. A connection that breaks later is tried again
/// until the ends are closed: the heartbeat tells whether that is worth waiting for.
pub async fn connect(file: &ConnectionFile, patience: Duration) -> Result<ClientEnds, TransportError> {
    connect_to(file, &[Bytes::new()], patience).await
}

/// As [`connect`], for somebody who wants only the publications whose topic begins with one of `topics`.
pub async fn connect_to(
    file: &ConnectionFile,
    topics: &[Bytes],
    patience: Duration,
) -> Result<ClientEnds, TransportError> {
    knock::knock(file, patience).await?;
    let options = Options::new()
        .linger(LINGER)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .max_message_size(MAX_MESSAGE_BYTES)
        .reconnect(reconnection::POLICY)
        .tcp_keepalive(keepalive());
    let options = client_mechanism(options, file)?;
    // One identity for all three: a question on stdin is addressed to whoever sent the request on shell.
    let requests = options
        .clone()
        .identity(Uuid::new_v4().to_string())
        .workload_profile(WorkloadProfile::Latency)
        .send_hwm(PEER_MESSAGES)
        .recv_hwm(PEER_MESSAGES);
    let beats = options.clone().send_hwm(1).recv_hwm(PEER_MESSAGES);
    let iopub = options.recv_hwm(PUBLISHED_MESSAGES);

    let dial = |part, kind, options| dial(part, kind, options, file, patience);
    let (shell, control, stdin, iopub, heart) = tokio::try_join!(
        dial(Part::Shell, SocketType::Dealer, &requests),
        dial(Part::Control, SocketType::Dealer, &requests),
        dial(Part::Stdin, SocketType::Dealer, &requests),
        subscribed(dial(Part::Iopub, SocketType::Sub, &iopub), topics, file),
        dial(Part::Heartbeat, SocketType::Dealer, &beats),
    )?;
    let reconnections = Reconnections::of([&shell, &control, &stdin, &iopub].map(Socket::monitor));
    let sockets = [&shell, &control, &stdin, &iopub, &heart].map(Clone::clone).into();
    Ok(ClientEnds {
        shell: channel(shell),
        control: channel(control),
        stdin: channel(stdin),
        iopub: ChannelReceiver(Receiving::Zmq(Receiver(iopub))),
        heartbeat: super::Heartbeat(Beating::Zmq(Heartbeat::new(heart))),
        reconnections: super::Reconnections(Reconnecting::Zmq(reconnections)),
        closer: super::Closer(Closing::Zmq(Closer { sockets, kernel: None })),
    })
}

/// Notices within about a minute that a peer's machine is gone, where nothing is on its way to it.
fn keepalive() -> KeepAlive {
    KeepAlive::Enabled { idle: Duration::from_secs(30), intvl: Duration::from_secs(10), cnt: 3 }
}

async fn listen(
    part: Part,
    kind: SocketType,
    options: &Options,
    file: &mut ConnectionFile,
) -> Result<Socket, TransportError> {
    let address = endpoint::address(file, part);
    let failed = |error: omq_tokio::Error| match error {
        omq_tokio::Error::Io(error) => cannot_listen(part, file, &error),
        error => TransportError::Bind { channel: part.name(), address: address.clone(), reason: error.to_string() },
    };
    let socket = Socket::try_new(kind, options.clone()).map_err(failed)?;
    let endpoint = socket.bind(address.as_str()).await.map_err(failed)?;
    if let omq_tokio::Endpoint::Tcp { port, .. } = endpoint {
        set_port(file, part, port);
    }
    Ok(socket)
}

async fn listen_to_subscribers(file: &mut ConnectionFile) -> Result<TcpListener, TransportError> {
    let failed = |error| cannot_listen(Part::Iopub, file, &error);
    let listener = TcpListener::bind((file.host(), file.iopub_port)).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    set_port(file, Part::Iopub, port);
    Ok(listener)
}

fn cannot_listen(part: Part, file: &ConnectionFile, error: &io::Error) -> TransportError {
    let (channel, address) = (part.name(), endpoint::address(file, part));
    match error.kind() {
        io::ErrorKind::AddrInUse => TransportError::PortInUse { channel, address },
        _ => TransportError::Bind { channel, address, reason: error.to_string() },
    }
}

async fn dial(
    part: Part,
    kind: SocketType,
    options: &Options,
    file: &ConnectionFile,
    patience: Duration,
) -> Result<Socket, TransportError> {
    let address = endpoint::address(file, part);
    let failed =
        |reason: String| TransportError::Unreachable { channel: part.name(), address: address.clone(), reason };
    if port(file, part) == 0 {
        return Err(failed("port 0 is where nobody listens; the file was not written by a running kernel".to_owned()));
    }
    let socket = Socket::try_new(kind, options.clone()).map_err(|error| failed(error.to_string()))?;
    let mut events = socket.monitor();
    socket.connect(address.as_str()).await.map_err(|error| failed(error.to_string()))?;
    tokio::select! {
        connected = socket.wait_connected(1, patience) => match connected {
            Ok(_) => Ok(socket),
            Err(_) => Err(failed(format!("it did not greet within {} s", patience.as_secs_f32()))),
        },
        reason = refused(&mut events) => Err(failed(format!("{reason}; are these the keys of this kernel?"))),
    }
}

/// A subscriber's socket, subscribed.
async fn subscribed(
    dialled: impl Future<Output = Result<Socket, TransportError>>,
    topics: &[Bytes],
    file: &ConnectionFile,
) -> Result<Socket, TransportError> {
    let socket = dialled.await?;
    for topic in topics {
        socket.subscribe(topic.clone()).await.map_err(|error| TransportError::Unreachable {
            channel: Part::Iopub.name(),
            address: endpoint::address(file, Part::Iopub),
            reason: error.to_string(),
        })?;
    }
    Ok(socket)
}

/// Ends when the other side has ended more connections without a greeting than a network's mishap explains.
async fn refused(events: &mut MonitorStream) -> String {
    let mut attempts = 0;
    let mut reason = "it ends the connection instead of greeting".to_owned();
    loop {
        match events.recv().await {
            Ok(MonitorEvent::Connected { .. }) if attempts == REFUSALS => return reason,
            Ok(MonitorEvent::Connected { .. }) => attempts += 1,
            Ok(MonitorEvent::HandshakeFailed { reason: failure, .. }) => reason = failure,
            Ok(MonitorEvent::ConnectStopped { .. }) => return reason,
            Ok(_) => {}
            Err(_) => std::future::pending().await,
        }
    }
}

fn channel(socket: Socket) -> Channel {
    Channel {
        sender: ChannelSender(Sending::Zmq(Sender(socket.clone()))),
        receiver: ChannelReceiver(Receiving::Zmq(Receiver(socket))),
    }
}

/// Sends on a ROUTER or a DEALER.
#[derive(Clone, Debug)]
pub(super) struct Sender(Socket);

impl Sender {
    pub(super) async fn send(&self, frames: Frames) -> Result<(), Closed> {
        self.0.send(Message::multipart(frames)).await.map_err(|_| Closed)
    }

    pub(super) async fn send_when_there(&self, frames: Frames, patience: Duration) -> Result<(), NotSent> {
        let deadline = Instant::now() + patience;
        loop {
            match self.0.send(Message::multipart(frames.clone())).await {
                Ok(()) => return Ok(()),
                Err(omq_tokio::Error::Unroutable) if Instant::now() < deadline => sleep(CONNECTING_INTERVAL).await,
                Err(omq_tokio::Error::Unroutable) => return Err(NotSent::Absent),
                Err(_) => return Err(NotSent::Closed(Closed)),
            }
        }
    }
}

/// Receives from any socket.
#[derive(Debug)]
pub(super) struct Receiver(Socket);

impl Receiver {
    pub(super) async fn recv(&mut self) -> Option<Frames> {
        Some(self.0.recv().await.ok()?.iter().collect())
    }
}

/// Holds every socket of one end, and the tasks of a kernel's.
#[derive(Debug)]
pub(super) struct Closer {
    sockets: Vec<Socket>,
    kernel: Option<KernelTasks>,
}

#[derive(Debug)]
struct KernelTasks {
    iopub: PublisherCloser,
    heart: AbortOnDropHandle<()>,
    _watching: Vec<AbortOnDropHandle<()>>,
}

impl Closer {
    pub(super) async fn close(self) {
        // A socket that cannot be closed has been closed already.
        let sockets = join_all(self.sockets.into_iter().map(Socket::close));
        let Some(tasks) = self.kernel else {
            sockets.await;
            return;
        };
        tokio::join!(sockets, tasks.iopub.close());
        // It ends with its socket.
        let _ = tasks.heart.await;
    }
}
