//! A message with its typed content, and the trait that the per-channel enums implement.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::Header;

/// A message as the transports carry it: routing identities (or the iopub topic), the delimiter, the signature and the JSON parts.
pub type Frames = Vec<Bytes>;

/// One message of the Jupyter protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<C> {
    /// On the kernel's side the peer's routing identity, which a reply must repeat; on iopub the topic; empty on the client's other sockets.
    pub identities: Vec<Bytes>,
    /// This message's header.
    pub header: Header,
    /// The header of the message that this one belongs to; none is written as `{}`.
    pub parent_header: Option<Header>,
    /// Free metadata.
    pub metadata: Map<String, Value>,
    /// The typed content.
    pub content: C,
    /// Binary attachments.
    pub buffers: Vec<Bytes>,
}

impl<C: Content> Message<C> {
    /// A message that answers nothing, such as a client's request.
    pub fn new(session: impl Into<String>, content: C) -> Message<C> {
        Message {
            identities: Vec::new(),
            header: Header::new(content.msg_type(), session),
            parent_header: None,
            metadata: Map::new(),
            content,
            buffers: Vec::new(),
        }
    }

    /// A message that belongs to the one whose header is `parent`, such as an output of a request.
    pub fn child(session: impl Into<String>, parent: &Header, content: C) -> Message<C> {
        Message { parent_header: Some(parent.clone()), ..Message::new(session, content) }
    }

    /// Sets whom it goes to (or, on iopub, the topic).
    pub fn with_identities(mut self, identities: Vec<Bytes>) -> Message<C> {
        self.identities = identities;
        self
    }

    /// The reply to this message: parented to it and addressed to its sender.
    pub fn reply<R: Content>(&self, session: impl Into<String>, content: R) -> Message<R> {
        Message::child(session, &self.header, content).with_identities(self.identities.clone())
    }
}

/// The contents that one channel carries in one direction, told apart by the header's `msg_type`.
pub trait Content: Sized {
    /// The `msg_type` of this content's header.
    fn msg_type(&self) -> &str;

    /// The content frame.
    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error>;

    /// Parses a content frame. A `msg_type` that is not known is not an error; a known one with a content that cannot be right is.
    fn from_json(msg_type: &str, content: &[u8]) -> Result<Self, serde_json::Error>;
}
