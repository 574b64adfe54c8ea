//! What a kernel publishes on iopub.

use serde_json::Value;

use crate::Content;
use crate::comm::{CommData, CommOpen};
use crate::model::ModelEvent;
use crate::output::{ClearOutput, DisplayData, ErrorOutput, ExecuteInput, ExecuteResult, IopubWelcome, Status, Stream};

/// A message to every subscriber.
#[derive(Clone, Debug, PartialEq)]
pub enum Publication {
    /// `status`
    Status(Status),
    /// `stream`
    Stream(Stream),
    /// `execute_input`
    ExecuteInput(ExecuteInput),
    /// `execute_result`
    ExecuteResult(ExecuteResult),
    /// `display_data`
    DisplayData(DisplayData),
    /// `update_display_data`
    UpdateDisplayData(DisplayData),
    /// `error`
    Error(ErrorOutput),
    /// `clear_output`
    ClearOutput(ClearOutput),
    /// `comm_open`
    CommOpen(CommOpen),
    /// `comm_msg`
    CommMessage(CommData),
    /// `comm_close`
    CommClose(CommData),
    /// `iopub_welcome`
    IopubWelcome(IopubWelcome),
    /// `model_event`
    ModelEvent(ModelEvent),
    /// A type that is not known here.
    Unknown {
        /// The header's type.
        msg_type: String,
        /// The content as it came.
        content: Value,
    },
}

impl Content for Publication {
    fn msg_type(&self) -> &str {
        match self {
            Publication::Status(_) => "status",
            Publication::Stream(_) => "stream",
            Publication::ExecuteInput(_) => "execute_input",
            Publication::ExecuteResult(_) => "execute_result",
            Publication::DisplayData(_) => "display_data",
            Publication::UpdateDisplayData(_) => "update_display_data",
            Publication::Error(_) => "error",
            Publication::ClearOutput(_) => "clear_output",
            Publication::CommOpen(_) => "comm_open",
            Publication::CommMessage(_) => "comm_msg",
            Publication::CommClose(_) => "comm_close",
            Publication::IopubWelcome(_) => "iopub_welcome",
            Publication::ModelEvent(_) => "model_event",
            Publication::Unknown { msg_type, .. } => msg_type,
        }
    }

    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Publication::Status(content) => serde_json::to_vec(content),
            Publication::Stream(content) => serde_json::to_vec(content),
            Publication::ExecuteInput(content) => serde_json::to_vec(content),
            Publication::ExecuteResult(content) => serde_json::to_vec(content),
            Publication::DisplayData(content) | Publication::UpdateDisplayData(content) => serde_json::to_vec(content),
            Publication::Error(content) => serde_json::to_vec(content),
            Publication::ClearOutput(content) => serde_json::to_vec(content),
            Publication::CommOpen(content) => serde_json::to_vec(content),
            Publication::CommMessage(content) | Publication::CommClose(content) => serde_json::to_vec(content),
            Publication::IopubWelcome(content) => serde_json::to_vec(content),
            Publication::ModelEvent(content) => serde_json::to_vec(content),
            Publication::Unknown { content, .. } => serde_json::to_vec(content),
        }
    }

    fn from_json(msg_type: &str, content: &[u8]) -> Result<Publication, serde_json::Error> {
        Ok(match msg_type {
            "status" => Publication::Status(serde_json::from_slice(content)?),
            "stream" => Publication::Stream(serde_json::from_slice(content)?),
            "execute_input" => Publication::ExecuteInput(serde_json::from_slice(content)?),
            "execute_result" => Publication::ExecuteResult(serde_json::from_slice(content)?),
            "display_data" => Publication::DisplayData(serde_json::from_slice(content)?),
            "update_display_data" => Publication::UpdateDisplayData(serde_json::from_slice(content)?),
            "error" => Publication::Error(serde_json::from_slice(content)?),
            "clear_output" => Publication::ClearOutput(serde_json::from_slice(content)?),
            "comm_open" => Publication::CommOpen(serde_json::from_slice(content)?),
            "comm_msg" => Publication::CommMessage(serde_json::from_slice(content)?),
            "comm_close" => Publication::CommClose(serde_json::from_slice(content)?),
            "iopub_welcome" => Publication::IopubWelcome(serde_json::from_slice(content)?),
            "model_event" => Publication::ModelEvent(serde_json::from_slice(content)?),
            _ => Publication::Unknown { msg_type: msg_type.to_owned(), content: serde_json::from_slice(content)? },
        })
    }
}
