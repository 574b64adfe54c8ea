//! What a frontend asks while somebody types, and beside that: `is_complete`, `complete`, `inspect`, `connect`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::lenient::null_default;

/// Asks whether code could run as it stands, or wants another line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsCompleteRequest {
    /// The source so far.
    pub code: String,
}

/// The answer to `is_complete_request`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsCompleteReply {
    /// The verdict.
    pub status: Completeness,
    /// With `incomplete`: what the next line should start with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indent: Option<String>,
}

/// Whether code is ready to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Completeness {
    /// It can run.
    Complete,
    /// It wants another line.
    Incomplete,
    /// It can never run, whatever follows.
    Invalid,
    /// The kernel cannot tell.
    #[serde(other)]
    Unknown,
}

/// Asks for completions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteRequest {
    /// The source.
    pub code: String,
    /// The cursor, counted in Unicode characters (not bytes, not UTF-16 units). Without it: the end of the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_pos: Option<usize>,
}

impl CompleteRequest {
    /// The cursor as a byte offset into the code; one beyond the end is the end.
    pub fn cursor_bytes(&self) -> usize {
        cursor_bytes(&self.code, self.cursor_pos)
    }
}

fn cursor_bytes(code: &str, position: Option<usize>) -> usize {
    let Some(position) = position else { return code.len() };
    code.char_indices().nth(position).map_or(code.len(), |(offset, _)| offset)
}

/// The answer to `complete_request`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompleteReply {
    /// What could stand between start and end.
    #[serde(default, deserialize_with = "null_default")]
    pub matches: Vec<String>,
    /// Where the text to replace begins, in Unicode characters.
    #[serde(default, deserialize_with = "null_default")]
    pub cursor_start: usize,
    /// Where it ends, in Unicode characters.
    #[serde(default, deserialize_with = "null_default")]
    pub cursor_end: usize,
    /// Frontends read e.g. `_jupyter_types_experimental` here.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: Map<String, Value>,
}

/// Asks what the name at the cursor is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectRequest {
    /// The source.
    pub code: String,
    /// The cursor, as in [`CompleteRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_pos: Option<usize>,
    /// 0: what it is; 1: all there is to know, such as its source.
    #[serde(default, deserialize_with = "null_default")]
    pub detail_level: u8,
}

impl InspectRequest {
    /// The cursor as a byte offset into the code; one beyond the end is the end.
    pub fn cursor_bytes(&self) -> usize {
        cursor_bytes(&self.code, self.cursor_pos)
    }
}

/// The answer to `inspect_request`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InspectReply {
    /// Whether anything is known.
    #[serde(default, deserialize_with = "null_default")]
    pub found: bool,
    /// What is known, by MIME type; empty when nothing is.
    #[serde(default, deserialize_with = "null_default")]
    pub data: Map<String, Value>,
    /// About the data, by MIME type.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: Map<String, Value>,
}

/// The answer to `connect_request`, which is empty: the ports of the kernel's sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectReply {
    /// Requests in turn.
    pub shell_port: u16,
    /// What the kernel publishes.
    pub iopub_port: u16,
    /// Questions to the user.
    pub stdin_port: u16,
    /// Requests past those that wait.
    pub control_port: u16,
    /// The heartbeat.
    pub hb_port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_counts_characters_and_stays_inside_the_code() {
        let at = |cursor_pos| CompleteRequest { code: "é🌙x".into(), cursor_pos }.cursor_bytes();
        assert_eq!([at(Some(0)), at(Some(1)), at(Some(2)), at(Some(3)), at(Some(99)), at(None)], [0, 2, 6, 7, 7, 7]);
    }
}
