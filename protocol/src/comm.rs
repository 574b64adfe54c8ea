//! Comms: messages between an object in a frontend and one in the kernel, both ways, opened and closed by either side
//! (<https://jupyter-client.readthedocs.io/en/stable/messaging.html#custom-messages>). A client sends them on shell, a kernel on
//! iopub; none has a reply. Binary data travels in the message's buffers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::lenient::null_default;

/// Opens a comm: `comm_open`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CommOpen {
    /// Names the comm from now on; chosen by the side that opens it.
    pub comm_id: String,
    /// What it speaks to on the other side.
    pub target_name: String,
    /// Where a frontend finds that, if it has to look for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_module: Option<String>,
    /// For the target to read; an object, as everybody has it.
    #[serde(default = "object")]
    pub data: Value,
}

/// A message over an open comm, or its end: `comm_msg` and `comm_close`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CommData {
    /// Which comm.
    pub comm_id: String,
    /// For the other side to read; an object, as everybody has it.
    #[serde(default = "object")]
    pub data: Value,
}

/// Asks for the open comms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommInfoRequest {
    /// Only those of this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
}

/// The answer to `comm_info_request`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommInfoReply {
    /// The open comms by id.
    #[serde(default, deserialize_with = "null_default")]
    pub comms: BTreeMap<String, CommInfo>,
}

/// One open comm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommInfo {
    /// What it speaks to.
    pub target_name: String,
}

fn object() -> Value {
    Value::Object(Map::new())
}
