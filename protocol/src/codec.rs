//! Messages to frames and back, signed: `[identities.., <IDS|MSG>, signature, header, parent header, metadata, content, buffers..]`.
//! What cannot be trusted is counted and refused before a byte of it is parsed.

mod window;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::transport::zmq::MAX_MESSAGE_BYTES;
use crate::{Content, Frames, Header, Message};
use window::ReplayWindow;

/// Ends the routing identities.
const DELIMITER: &[u8] = b"<IDS|MSG>";

/// The signature scheme that every Jupyter implementation uses.
pub(crate) const SCHEME: &str = "hmac-sha256";

/// The largest message that is sent: what a peer takes, less room for the frames around it.
const MAX_BYTES: usize = MAX_MESSAGE_BYTES - (64 << 10);

/// Signs, checks and frames the messages of one end. Each end has its own: a codec refuses to see a signature twice.
pub struct Codec {
    key: Option<Hmac<Sha256>>,
    window: Mutex<ReplayWindow>,
    unsigned: AtomicU64,
    wrong_signature: AtomicU64,
    replayed: AtomicU64,
    malformed: AtomicU64,
}

/// How many messages were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// They bore no signature where one is needed.
    pub unsigned: u64,
    /// Their signature was another one.
    pub wrong_signature: u64,
    /// They had been seen before.
    pub replayed: u64,
    /// They were not messages at all.
    pub malformed: u64,
}

/// Why a message could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A part is not representable in JSON.
    #[error("the {part} of a `{msg_type}` message cannot be written as JSON")]
    Json {
        /// Which frame.
        part: &'static str,
        /// The message's type.
        msg_type: String,
        /// What JSON says.
        source: serde_json::Error,
    },
    /// The other end would cut the connection rather than take it.
    #[error("a `{msg_type}` of {bytes} bytes is too large; a message holds at most {MAX_BYTES}")]
    TooLarge {
        /// The message's type.
        msg_type: String,
        /// Its size.
        bytes: usize,
    },
}

/// Why frames are not a message. All but `InvalidContent` are counted, and are to be dropped in silence: whoever sent them is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// No signature where one is needed.
    #[error("a message without signature; a key is set, so it needs one")]
    Unsigned,
    /// Another signature than the key gives.
    #[error("a message with a wrong signature")]
    WrongSignature,
    /// Seen before.
    #[error("a message that was seen before")]
    Replayed,
    /// Not a message.
    #[error("not a message: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// A proper message of a known type whose content cannot be right: its sender deserves an answer.
    ///
    /// Its text says where, and not what: contents do not belong into logs. The source quotes the value, for the sender.
    #[error("invalid content of `{}`: {}", header.msg_type, place(source))]
    InvalidContent {
        /// Whom to answer.
        identities: Vec<Bytes>,
        /// The header to answer to.
        header: Box<Header>,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Codec {
    /// A codec that signs with HMAC-SHA256; with an empty key nothing is signed or checked, as Jupyter has it.
    pub fn new(key: &str) -> Codec {
        // HMAC takes a key of any length, so this is `None` for the empty key alone.
        let key = (!key.is_empty()).then(|| Hmac::new_from_slice(key.as_bytes()).ok()).flatten();
        Codec {
            key,
            window: Mutex::new(ReplayWindow::default()),
            unsigned: AtomicU64::new(0),
            wrong_signature: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
        }
    }

    /// The frames of a message, signed.
    pub fn encode<C: Content>(&self, message: &Message<C>) -> Result<Frames, EncodeError> {
        let msg_type = message.content.msg_type();
        let error = |part| move |source| EncodeError::Json { part, msg_type: msg_type.to_owned(), source };
        let header = json(&message.header).map_err(error("header"))?;
        let parent_header = match &message.parent_header {
            Some(parent) => json(parent).map_err(error("parent header"))?,
            None => Bytes::from_static(b"{}"),
        };
        let metadata = json(&message.metadata).map_err(error("metadata"))?;
        // Without the room that writing left over, up to as much again: it may wait in many queues.
        let content = Bytes::from(message.content.to_json().map_err(error("content"))?.into_boxed_slice());

        let parts = [&header, &parent_header, &metadata, &content];
        let bytes = parts.into_iter().chain(&message.buffers).map(Bytes::len).sum();
        if bytes > MAX_BYTES {
            return Err(EncodeError::TooLarge { msg_type: msg_type.to_owned(), bytes });
        }
        let mut frames = Vec::with_capacity(message.identities.len() + 6 + message.buffers.len());
        frames.extend_from_slice(&message.identities);
        frames.push(Bytes::from_static(DELIMITER));
        frames.push(self.sign([&header, &parent_header, &metadata, &content]));
        frames.extend([header, parent_header, metadata, content]);
        frames.extend_from_slice(&message.buffers);
        Ok(frames)
    }

    /// The message that the frames are. Never panics, whatever they hold.
    pub fn decode<C: Content>(&self, frames: Frames) -> Result<Message<C>, DecodeError> {
        let result = self.decode_uncounted(frames);
        let counter = match &result {
            Ok(_) | Err(DecodeError::InvalidContent { .. }) => return result,
            Err(DecodeError::Unsigned) => &self.unsigned,
            Err(DecodeError::WrongSignature) => &self.wrong_signature,
            Err(DecodeError::Replayed) => &self.replayed,
            Err(DecodeError::Malformed { .. }) => &self.malformed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// What was dropped so far.
    pub fn dropped(&self) -> Dropped {
        Dropped {
            unsigned: self.unsigned.load(Ordering::Relaxed),
            wrong_signature: self.wrong_signature.load(Ordering::Relaxed),
            replayed: self.replayed.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
        }
    }

    fn decode_uncounted<C: Content>(&self, mut frames: Frames) -> Result<Message<C>, DecodeError> {
        let Some(delimiter) = frames.iter().position(|frame| frame == DELIMITER) else {
            return Err(malformed(format!("no `<IDS|MSG>` among its {} frames", frames.len())));
        };
        let mut message = frames.split_off(delimiter + 1);
        frames.truncate(delimiter);
        if message.len() < 5 {
            return Err(malformed(format!("{} frames after `<IDS|MSG>`; a message has at least 5", message.len())));
        }
        let buffers = message.split_off(5);
        let [signature, header, parent_header, metadata, content] = &message[..] else {
            return Err(malformed("it lacks a frame".to_owned()));
        };

        self.check(signature, [header, parent_header, metadata, content])?;
        let header: Header = parse("header", header)?;
        // A parent that is not a header says nothing; `{}` is how none is written.
        let parent_header = serde_json::from_slice(parent_header).ok();
        let metadata: Map<String, Value> = parse("metadata", metadata)?;
        match C::from_json(&header.msg_type, content) {
            Ok(content) => Ok(Message { identities: frames, header, parent_header, metadata, content, buffers }),
            Err(source) => Err(DecodeError::InvalidContent { identities: frames, header: Box::new(header), source }),
        }
    }

    fn sign(&self, parts: [&Bytes; 4]) -> Bytes {
        match self.digest(parts) {
            Some(mac) => Bytes::from(hex(&mac.finalize().into_bytes())),
            None => Bytes::new(),
        }
    }

    fn check(&self, signature: &[u8], parts: [&Bytes; 4]) -> Result<(), DecodeError> {
        let Some(mac) = self.digest(parts) else { return Ok(()) };
        if signature.is_empty() {
            return Err(DecodeError::Unsigned);
        }
        let digest = unhex(signature).ok_or(DecodeError::WrongSignature)?;
        mac.verify_slice(&digest).map_err(|_| DecodeError::WrongSignature)?;
        let mut window = self.window.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if window.admit(&digest) { Ok(()) } else { Err(DecodeError::Replayed) }
    }

    fn digest(&self, parts: [&Bytes; 4]) -> Option<Hmac<Sha256>> {
        let mut mac = self.key.clone()?;
        for part in parts {
            mac.update(part);
        }
        Some(mac)
    }
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Codec")
            .field("signed", &self.key.is_some())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// What serde found, without the value that it found.
fn place(error: &serde_json::Error) -> String {
    format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column()).to_lowercase()
}

fn malformed(reason: String) -> DecodeError {
    DecodeError::Malformed { reason }
}

fn parse<T: DeserializeOwned>(part: &str, frame: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(frame).map_err(|source| malformed(format!("{part}: {}", place(&source))))
}

fn json<T: Serialize>(part: &T) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(part).map(Bytes::from)
}

fn hex(digest: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    digest.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

fn unhex(text: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}
