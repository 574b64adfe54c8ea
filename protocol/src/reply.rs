//! What a kernel answers on shell or control. A reply of any type can be an error instead; the `status` that tells them apart is
//! written and read here only.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Content;
use crate::comm::CommInfoReply;
use crate::execute::ExecuteReply;
use crate::history::HistoryReply;
use crate::inquiry::{CompleteReply, ConnectReply, InspectReply, IsCompleteReply};
use crate::kernel_info::KernelInfoReply;
use crate::lenient::null_default;
use crate::lifecycle::ShutdownReply;
use crate::model::{ModelReply, RouteDecision};
use crate::subshell::{CreateSubshellReply, ListSubshellReply};
use crate::usage::UsageReply;

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `kernel_info_reply`
    KernelInfo(Box<KernelInfoReply>),
    /// `execute_reply`
    Execute(ExecuteReply),
    /// `is_complete_reply`
    IsComplete(IsCompleteReply),
    /// `complete_reply`
    Complete(CompleteReply),
    /// `inspect_reply`
    Inspect(InspectReply),
    /// `history_reply`
    History(HistoryReply),
    /// `connect_reply`
    Connect(ConnectReply),
    /// `usage_reply`
    Usage(Box<UsageReply>),
    /// `comm_info_reply`
    CommInfo(CommInfoReply),
    /// `create_subshell_reply`
    CreateSubshell(CreateSubshellReply),
    /// `delete_subshell_reply`
    DeleteSubshell,
    /// `list_subshell_reply`
    ListSubshell(ListSubshellReply),
    /// `interrupt_reply`
    Interrupt,
    /// `shutdown_reply`
    Shutdown(ShutdownReply),
    /// `model_reply`
    Model(ModelReply),
    /// A reply of the given type that says why there is no other.
    Error {
        /// The reply's type, e.g. `execute_reply`.
        msg_type: String,
        /// What went wrong.
        error: ErrorReply,
    },
    /// A type that is not known here.
    Unknown {
        /// The header's type.
        msg_type: String,
        /// The content as it came.
        content: Value,
    },
}

/// Why a request failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// Name of the error.
    #[serde(default, deserialize_with = "null_default")]
    pub ename: String,
    /// Its message.
    #[serde(default, deserialize_with = "null_default")]
    pub evalue: String,
    /// Lines to print.
    #[serde(default, deserialize_with = "null_default")]
    pub traceback: Vec<String>,
    /// Machine-readable, e.g. `model_not_found`; Perilune's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What more is known of a request to a model that failed; Perilune's own.
    #[serde(flatten)]
    pub details: Box<ErrorDetails>,
    /// In an `execute_reply`: the number of the execution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_count: Option<u32>,
    /// In an `execute_reply`: what the code gave to `os.exit`, when that is the error; Perilune's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

/// What programs may want of a model's error beside its `kind`; what is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetails {
    /// Seconds after which it is worth asking again, of `rate_limited` and `overloaded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<f64>,
    /// Tokens of the prompt, of `context_overflow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens of context, prompt and answer together, of `context_overflow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_size: Option<u64>,
    /// The names near the one asked for, of `model_not_found` and `provider_not_found`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub nearest: Vec<String>,
    /// What was decided about the request: which models were asked or not, and why each failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub route: Vec<RouteDecision>,
}

impl Reply {
    /// The error reply to a request of type `request_type`: `inspect_request` is answered by `inspect_reply`.
    pub fn error(request_type: &str, error: ErrorReply) -> Reply {
        let stem = request_type.strip_suffix("_request").unwrap_or(request_type);
        Reply::Error { msg_type: format!("{stem}_reply"), error }
    }
}

impl Content for Reply {
    fn msg_type(&self) -> &str {
        match self {
            Reply::KernelInfo(_) => "kernel_info_reply",
            Reply::Execute(_) => "execute_reply",
            Reply::IsComplete(_) => "is_complete_reply",
            Reply::Complete(_) => "complete_reply",
            Reply::Inspect(_) => "inspect_reply",
            Reply::History(_) => "history_reply",
            Reply::Connect(_) => "connect_reply",
            Reply::Usage(_) => "usage_reply",
            Reply::CommInfo(_) => "comm_info_reply",
            Reply::CreateSubshell(_) => "create_subshell_reply",
            Reply::DeleteSubshell => "delete_subshell_reply",
            Reply::ListSubshell(_) => "list_subshell_reply",
            Reply::Interrupt => "interrupt_reply",
            Reply::Shutdown(_) => "shutdown_reply",
            Reply::Model(_) => "model_reply",
            Reply::Error { msg_type, .. } | Reply::Unknown { msg_type, .. } => msg_type,
        }
    }

    fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Reply::KernelInfo(content) => ok(content),
            Reply::Execute(content) => ok(content),
            Reply::IsComplete(content) => serde_json::to_vec(content),
            Reply::Complete(content) => ok(content),
            Reply::Inspect(content) => ok(content),
            Reply::History(content) => ok(content),
            Reply::Connect(content) => ok(content),
            Reply::Usage(content) => ok(content),
            Reply::CommInfo(content) => ok(content),
            Reply::CreateSubshell(content) => ok(content),
            Reply::ListSubshell(content) => ok(content),
            Reply::Interrupt | Reply::DeleteSubshell => Ok(br#"{"status":"ok"}"#.to_vec()),
            Reply::Shutdown(content) => ok(content),
            Reply::Model(content) => ok(content),
            Reply::Error { error, .. } => with_status("error", error),
            Reply::Unknown { content, .. } => serde_json::to_vec(content),
        }
    }

    fn from_json(msg_type: &str, content: &[u8]) -> Result<Reply, serde_json::Error> {
        if matches!(status(content)?.as_deref(), Some("error" | "aborted" | "abort")) {
            return Ok(Reply::Error { msg_type: msg_type.to_owned(), error: serde_json::from_slice(content)? });
        }
        Ok(match msg_type {
            "kernel_info_reply" => Reply::KernelInfo(Box::new(serde_json::from_slice(content)?)),
            "execute_reply" => Reply::Execute(serde_json::from_slice(content)?),
            "is_complete_reply" => Reply::IsComplete(serde_json::from_slice(content)?),
            "complete_reply" => Reply::Complete(serde_json::from_slice(content)?),
            "inspect_reply" => Reply::Inspect(serde_json::from_slice(content)?),
            "history_reply" => Reply::History(serde_json::from_slice(content)?),
            "connect_reply" => Reply::Connect(serde_json::from_slice(content)?),
            "usage_reply" => Reply::Usage(serde_json::from_slice(content)?),
            "comm_info_reply" => Reply::CommInfo(serde_json::from_slice(content)?),
            "create_subshell_reply" => Reply::CreateSubshell(serde_json::from_slice(content)?),
            "delete_subshell_reply" => Reply::DeleteSubshell,
            "list_subshell_reply" => Reply::ListSubshell(serde_json::from_slice(content)?),
            "interrupt_reply" => Reply::Interrupt,
            "shutdown_reply" => Reply::Shutdown(serde_json::from_slice(content)?),
            "model_reply" => Reply::Model(serde_json::from_slice(content)?),
            _ => Reply::Unknown { msg_type: msg_type.to_owned(), content: serde_json::from_slice(content)? },
        })
    }
}

fn ok<T: Serialize>(content: &T) -> Result<Vec<u8>, serde_json::Error> {
    with_status("ok", content)
}

fn with_status<T: Serialize>(status: &'static str, content: &T) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct WithStatus<'a, T> {
        status: &'static str,
        #[serde(flatten)]
        content: &'a T,
    }
    serde_json::to_vec(&WithStatus { status, content })
}

fn status(content: &[u8]) -> Result<Option<String>, serde_json::Error> {
    #[derive(Deserialize)]
    struct OnlyStatus {
        #[serde(default)]
        status: Value,
    }
    let OnlyStatus { status } = serde_json::from_slice(content)?;
    Ok(match status {
        Value::String(status) => Some(status),
        _ => None,
    })
}
