//! The stdin channel: the kernel asks the client's user for a line.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Content;
use crate::lenient::{is_off, null_default};

/// What travels on stdin, in either direction.
#[derive(Clone, Debug, PartialEq)]
pub enum StdinMessage {
    /// Kernel to client.
    InputRequest(InputRequest),
    /// Client to kernel.
    InputReply(InputReply),
    /// A type that is not known here.
    Unknown {
        /// The header's type.
        msg_type: String,
        /// The content as it came.
        content: Value,
    },
}

/// Asks for a line of input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRequest {
    /// What to show.
    #[serde(default, deserialize_with = "null_default")]
    pub prompt: String,
    /// Whether what is typed must not be seen.
    #[serde(default, deserialize_with = "null_default")]
    pub password: bool,
}

/// The line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputReply {
    /// The text, without its line end.
    #[serde(default, deserialize_with = "null_default")]
    pub value: String,
    /// There is no more input (an extension: Jupyter has no word for it). Left out when false.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub eof: bool,
}

impl Content for StdinMessage {
    fn msg_type(&self) -> &str {
        match self {
            StdinMessage::InputRequest(_) => "input_request",
            StdinMessage::InputReply(_) => "input_reply",
            StdinMessage::Unknown { msg_type, .. } => msg_type,
        }
    }

    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            StdinMessage::InputRequest(content) => serde_json::to_vec(content),
            StdinMessage::InputReply(content) => serde_json::to_vec(content),
            StdinMessage::Unknown { content, .. } => serde_json::to_vec(content),
        }
    }

    fn from_json(msg_type: &str, content: &[u8]) -> Result<StdinMessage, serde_json::Error> {
        Ok(match msg_type {
            "input_request" => StdinMessage::InputRequest(serde_json::from_slice(content)?),
            "input_reply" => StdinMessage::InputReply(serde_json::from_slice(content)?),
            _ => StdinMessage::Unknown { msg_type: msg_type.to_owned(), content: serde_json::from_slice(content)? },
        })
    }
}
