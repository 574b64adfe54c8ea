//! The two ends of a connection, whatever carries it. Kernel and client see these types only; what is behind them is either
//! [`in_process`] or [`zmq`]. Both carry the same frames: shell, control and stdin frames on the kernel's side begin with the peer's
//! identity, iopub frames begin with the topic.

pub mod in_process;
pub mod zmq;

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Frames;

/// The kernel's end. Its parts are independent and go to different tasks; [`Closer`] ends them all.
#[derive(Debug)]
pub struct KernelEnds {
    /// Requests that may take long.
    pub shell: Channel,
    /// Requests that must not wait behind those.
    pub control: Channel,
    /// Questions to the client's user.
    pub stdin: Channel,
    /// Messages to everybody.
    pub iopub: Publisher,
    /// Tells who of those that sent requests by control has gone.
    pub departures: Departures,
    /// Ends the connection. The heartbeat is answered until then.
    pub closer: Closer,
}

/// The client's end.
#[derive(Debug)]
pub struct ClientEnds {
    /// Requests that may take long.
    pub shell: Channel,
    /// Requests that must not wait behind those.
    pub control: Channel,
    /// Questions to this client's user.
    pub stdin: Channel,
    /// Everything that the kernel publishes. The subscription is live once an `iopub_welcome` arrived, which a kernel older than JEP 65
    /// does not send; then it is live once something arrived for a request sent.
    pub iopub: ChannelReceiver,
    /// Whether the kernel is there.
    pub heartbeat: Heartbeat,
    /// Tells when the connection broke and is back.
    pub reconnections: Reconnections,
    /// Ends the connection.
    pub closer: Closer,
}

/// Both directions of a channel.
#[derive(Debug)]
pub struct Channel {
    /// Sends; can be cloned.
    pub sender: ChannelSender,
    /// Receives.
    pub receiver: ChannelReceiver,
}

/// The sending direction of a channel.
#[derive(Clone, Debug)]
pub struct ChannelSender(Sending);

#[derive(Clone, Debug)]
enum Sending {
    InProcess(in_process::Sender),
    Zmq(zmq::Sender),
}

/// The receiving direction of a channel.
#[derive(Debug)]
pub struct ChannelReceiver(Receiving);

#[derive(Debug)]
enum Receiving {
    InProcess(in_process::Receiver),
    Zmq(zmq::Receiver),
}

/// The kernel's iopub.
#[derive(Debug)]
pub struct Publisher {
    /// Publishes; can be cloned.
    pub sender: PublishSender,
    /// Tells who listens.
    pub subscriptions: Subscriptions,
}

/// Publishes frames to the subscribers.
#[derive(Clone, Debug)]
pub struct PublishSender(Publishing);

#[derive(Clone, Debug)]
enum Publishing {
    InProcess(in_process::Publisher),
    Zmq(zmq::Publisher),
}

/// The subscriptions as they come in.
#[derive(Debug)]
pub struct Subscriptions(Subscribing);

#[derive(Debug)]
enum Subscribing {
    InProcess(in_process::Subscriptions),
    Zmq(zmq::Subscriptions),
}

/// A subscriber wants messages whose topic begins with this; empty is all. From now on it gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The beginning of the topics.
    pub topic: Bytes,
}

/// Who listens to what is published, and who was sent away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerCounts {
    /// Subscribers that are there now.
    pub connected: usize,
    /// Subscribers that did not read and were cut off, since the start.
    pub cut_off: u64,
    /// Peers that were not let in, on any channel, since the start: they did not greet as they should, not with the right keys, or
    /// were too many.
    pub turned_away: u64,
}

/// The peers of a channel that have gone for good.
#[derive(Debug)]
pub struct Departures(Departing);

#[derive(Debug)]
enum Departing {
    InProcess,
    Zmq(zmq::Departures),
}

/// Asks the kernel for a sign of life.
#[derive(Debug)]
pub struct Heartbeat(Beating);

#[derive(Debug)]
enum Beating {
    InProcess(in_process::Heartbeat),
    Zmq(zmq::Heartbeat),
}

/// The times that a connection broke and came back by itself.
#[derive(Debug)]
pub struct Reconnections(Reconnecting);

#[derive(Debug)]
enum Reconnecting {
    InProcess,
    Zmq(zmq::Reconnections),
}

/// Ends a connection.
#[derive(Debug)]
pub struct Closer(Closing);

#[derive(Debug)]
enum Closing {
    InProcess,
    Zmq(zmq::Closer),
}

/// The other end is gone, or this one was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed")]
pub struct Closed;

/// Why a message did not go to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The connection is over.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The peer that it is addressed to has no connection to this channel.
    #[error("the peer is not connected to this channel")]
    Absent,
}

/// Why a transport could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Somebody else listens there.
    #[error("the {channel} port {address} is in use; choose another, or 0 for any that is free")]
    PortInUse {
        /// Which channel.
        channel: &'static str,
        /// Address and port.
        address: String,
    },
    /// The address is not one to listen on.
    #[error("cannot listen on {address} for {channel}: {reason}")]
    Bind {
        /// Which channel.
        channel: &'static str,
        /// Address and port.
        address: String,
        /// Why.
        reason: String,
    },
    /// Nobody answers there.
    #[error("no kernel answers on {address} ({channel}): {reason}")]
    Unreachable {
        /// Which channel.
        channel: &'static str,
        /// Address and port.
        address: String,
        /// Why.
        reason: String,
    },
    /// A CURVE key is not one.
    #[error("the field `{field}` of the connection file is not a CURVE key; it should be 40 characters of Z85")]
    CurveKey {
        /// Which field.
        field: &'static str,
    },
    /// Two CURVE keys that are not a pair.
    #[error("`curve_publickey` and `curve_secretkey` of the connection file do not belong together")]
    CurvePair,
}

impl ChannelSender {
    /// Sends a message. Waits while the way is full, except towards a client that does not take what it asked for: a kernel
    /// waits for none, and what that client's queue cannot hold is dropped.
    pub async fn send(&self, frames: Frames) -> Result<(), Closed> {
        match &self.0 {
            Sending::InProcess(sender) => sender.send(frames).await,
            Sending::Zmq(sender) => sender.send(frames).await,
        }
    }

    /// As [`ChannelSender::send`], on the kernel's stdin, but waits up to `patience` for the peer to connect, which may have sent its
    /// request by another channel before.
    pub async fn send_when_there(&self, frames: Frames, patience: Duration) -> Result<(), NotSent> {
        match &self.0 {
            Sending::InProcess(sender) => Ok(sender.send(frames).await?),
            Sending::Zmq(sender) => sender.send_when_there(frames, patience).await,
        }
    }
}

impl ChannelReceiver {
    /// The next message; none once the connection is closed.
    pub async fn recv(&mut self) -> Option<Frames> {
        match &mut self.0 {
            Receiving::InProcess(receiver) => receiver.recv().await,
            Receiving::Zmq(receiver) => receiver.recv().await,
        }
    }
}

impl PublishSender {
    /// Publishes a message whose first frame is its topic. Without subscribers it is done at once. It waits for a subscriber whose
    /// queue is full: in process until it is read or dropped, over ZeroMQ only as long as that subscriber keeps reading; then it is
    /// cut off.
    pub async fn publish(&self, frames: Frames) -> Result<(), Closed> {
        match &self.0 {
            Publishing::InProcess(publisher) => publisher.publish(frames).await,
            Publishing::Zmq(publisher) => publisher.publish(frames).await,
        }
    }

    /// Who listens, and who was cut off.
    pub fn counts(&self) -> PeerCounts {
        match &self.0 {
            // The one client of a channel is never cut off.
            Publishing::InProcess(_) => PeerCounts { connected: 1, ..PeerCounts::default() },
            Publishing::Zmq(publisher) => publisher.counts(),
        }
    }
}

impl Subscriptions {
    /// The next new subscription; none once the connection is closed.
    pub async fn recv(&mut self) -> Option<Subscription> {
        match &mut self.0 {
            Subscribing::InProcess(subscriptions) => subscriptions.recv().await,
            Subscribing::Zmq(subscriptions) => subscriptions.recv().await,
        }
    }
}

impl Departures {
    /// The identity of the next peer that lost its connection some time ago and has no other; none once the channel is closed. The one
    /// client in this process goes with the connection.
    pub async fn recv(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Departing::InProcess => std::future::pending().await,
            Departing::Zmq(departures) => departures.recv().await,
        }
    }
}

impl Heartbeat {
    /// Waits for an answer to a fresh beat. False if none came within `patience`: the kernel is lost, or its machine is.
    pub async fn probe(&mut self, patience: Duration) -> bool {
        match &mut self.0 {
            Beating::InProcess(heartbeat) => heartbeat.probe(),
            Beating::Zmq(heartbeat) => heartbeat.probe(patience).await,
        }
    }
}

impl Reconnections {
    /// Waits until a channel of the connection is back that was broken. What was published in between is lost, and so may be a request or
    /// a reply that was on its way. A channel in this process never breaks.
    pub async fn recv(&mut self) {
        match &mut self.0 {
            Reconnecting::InProcess => std::future::pending().await,
            Reconnecting::Zmq(reconnections) => reconnections.recv().await,
        }
    }
}

impl Closer {
    /// Ends the connection: what was sent goes out first, as far as the peers take it in time. The other parts then report `Closed`.
    pub async fn close(self) {
        match self.0 {
            Closing::InProcess => {}
            Closing::Zmq(closer) => closer.close().await,
        }
    }
}
