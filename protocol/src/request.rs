//! What a client asks on shell or control.

use serde_json::Value;

use crate::Content;
use crate::comm::{CommData, CommInfoRequest, CommOpen};
use crate::execute::ExecuteRequest;
use crate::history::HistoryRequest;
use crate::inquiry::{CompleteRequest, InspectRequest, IsCompleteRequest};
use crate::lenient;
use crate::lifecycle::{InterruptRequest, ShutdownRequest};
use crate::model::ModelRequest;
use crate::subshell::DeleteSubshellRequest;

/// A request; both shell and control carry any of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// `kernel_info_request`
    KernelInfo,
    /// `execute_request`
    Execute(ExecuteRequest),
    /// `is_complete_request`
    IsComplete(IsCompleteRequest),
    /// `complete_request`
    Complete(CompleteRequest),
    /// `inspect_request`
    Inspect(InspectRequest),
    /// `history_request`
    History(HistoryRequest),
    /// `comm_info_request`
    CommInfo(CommInfoRequest),
    /// `connect_request`
    Connect,
    /// `usage_request`
    Usage,
    /// `comm_open`, which has no reply
    CommOpen(CommOpen),
    /// `comm_msg`, which has no reply
    CommMessage(CommData),
    /// `comm_close`, which has no reply
    CommClose(CommData),
    /// `create_subshell_request`
    CreateSubshell,
    /// `delete_subshell_request`
    DeleteSubshell(DeleteSubshellRequest),
    /// `list_subshell_request`
    ListSubshell,
    /// `interrupt_request`
    Interrupt(InterruptRequest),
    /// `shutdown_request`
    Shutdown(ShutdownRequest),
    /// `model_request`
    Model(ModelRequest),
    /// A type that is not known here.
    Unknown {
        /// The header's type.
        msg_type: String,
        /// The content as it came.
        content: Value,
    },
}

impl Content for Request {
    fn msg_type(&self) -> &str {
        match self {
            Request::KernelInfo => "kernel_info_request",
            Request::Execute(_) => "execute_request",
            Request::IsComplete(_) => "is_complete_request",
            Request::Complete(_) => "complete_request",
            Request::Inspect(_) => "inspect_request",
            Request::History(_) => "history_request",
            Request::Connect => "connect_request",
            Request::Usage => "usage_request",
            Request::CommInfo(_) => "comm_info_request",
            Request::CommOpen(_) => "comm_open",
            Request::CommMessage(_) => "comm_msg",
            Request::CommClose(_) => "comm_close",
            Request::CreateSubshell => "create_subshell_request",
            Request::DeleteSubshell(_) => "delete_subshell_request",
            Request::ListSubshell => "list_subshell_request",
            Request::Interrupt(_) => "interrupt_request",
            Request::Shutdown(_) => "shutdown_request",
            Request::Model(_) => "model_request",
            Request::Unknown { msg_type, .. } => msg_type,
        }
    }

    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Request::KernelInfo
            | Request::Connect
            | Request::Usage
            | Request::CreateSubshell
            | Request::ListSubshell => Ok(b"{}".to_vec()),
            Request::Execute(content) => serde_json::to_vec(content),
            Request::IsComplete(content) => serde_json::to_vec(content),
            Request::Complete(content) => serde_json::to_vec(content),
            Request::Inspect(content) => serde_json::to_vec(content),
            Request::History(content) => serde_json::to_vec(content),
            Request::CommInfo(content) => serde_json::to_vec(content),
            Request::CommOpen(content) => serde_json::to_vec(content),
            Request::CommMessage(content) | Request::CommClose(content) => serde_json::to_vec(content),
            Request::DeleteSubshell(content) => serde_json::to_vec(content),
            Request::Interrupt(content) => serde_json::to_vec(content),
            Request::Shutdown(content) => serde_json::to_vec(content),
            Request::Model(content) => serde_json::to_vec(content),
            Request::Unknown { content, .. } => serde_json::to_vec(content),
        }
    }

    fn from_json(msg_type: &str, content: &[u8]) -> Result<Request, serde_json::Error> {
        let is_empty = matches!(
            msg_type,
            "kernel_info_request"
                | "connect_request"
                | "usage_request"
                | "create_subshell_request"
                | "list_subshell_request"
        );
        // What is empty may be written as null.
        if !is_empty || content != b"null" {
            lenient::object(content)?;
        }
        if is_empty {
            serde_json::from_slice::<serde::de::IgnoredAny>(content)?;
        }
        Ok(match msg_type {
            "kernel_info_request" => Request::KernelInfo,
            "execute_request" => Request::Execute(serde_json::from_slice(content)?),
            "is_complete_request" => Request::IsComplete(serde_json::from_slice(content)?),
            "complete_request" => Request::Complete(serde_json::from_slice(content)?),
            "inspect_request" => Request::Inspect(serde_json::from_slice(content)?),
            "history_request" => Request::History(serde_json::from_slice(content)?),
            "connect_request" => Request::Connect,
            "usage_request" => Request::Usage,
            "comm_info_request" => Request::CommInfo(serde_json::from_slice(content)?),
            "comm_open" => Request::CommOpen(serde_json::from_slice(content)?),
            "comm_msg" => Request::CommMessage(serde_json::from_slice(content)?),
            "comm_close" => Request::CommClose(serde_json::from_slice(content)?),
            "create_subshell_request" => Request::CreateSubshell,
            "delete_subshell_request" => Request::DeleteSubshell(serde_json::from_slice(content)?),
            "list_subshell_request" => Request::ListSubshell,
            "interrupt_request" => Request::Interrupt(serde_json::from_slice(content)?),
            "shutdown_request" => Request::Shutdown(serde_json::from_slice(content)?),
            "model_request" => Request::Model(serde_json::from_slice(content)?),
            _ => Request::Unknown { msg_type: msg_type.to_owned(), content: serde_json::from_slice(content)? },
        })
    }
}
