//! What travels between a Jupyter client and a kernel: typed messages, their signing and framing, the connection file, and the
//! transports that carry the frames.
//!
//! In reading order: [`header`], [`message`] (a message and the trait of its content), the message families ([`kernel_info`],
//! [`execute`], [`inquiry`], [`history`], [`usage`], [`comm`], [`subshell`], [`lifecycle`], [`output`], [`chat`], [`model`]), the enums that collect them per channel ([`request`],
//! [`reply`], [`publication`], [`stdin`]), [`codec`], [`connection_file`], and [`transport`] with its two implementations.
//!
//! A kernel takes a [`KernelEnds`] from [`zmq::bind`] or [`in_process`], a client a [`ClientEnds`] from [`zmq::connect`] or the same
//! [`in_process`]; each has a [`Codec`] of its own. [`Closer::close`] is how an end goes without losing what it just sent.
//!
//! It knows nothing of Lua, models or providers; it does not dispatch, and it has no opinion on what a message makes somebody do.
//!
//! The types are our own rather than those of `jupyter-protocol` 2.0.3, which drops `subshell_id` and the CURVE keys, fixes the header's
//! version, and rejects valid requests that leave optional fields out. Everything is parsed leniently (a missing or null optional, an
//! unknown field or an unknown type is normal) and written strictly (every field that the specification asks for is present).

pub mod chat;
pub mod codec;
pub mod comm;
pub mod connection_file;
pub mod execute;
pub mod header;
pub mod history;
pub mod inquiry;
pub mod kernel_info;
pub mod ledger;
mod lenient;
pub mod lifecycle;
pub mod message;
pub mod model;
pub mod output;
pub mod publication;
pub mod reply;
pub mod request;
pub mod stdin;
pub mod subshell;
pub mod transport;
pub mod usage;

pub use chat::{
    Biased, ChatMessage, Cost, Effort, FinishReason, GenerateOptions, LogitBias, Role, Think, TokenLogprob,
    TokenLogprobs, Tool, ToolCall, Usage,
};
pub use codec::{Codec, DecodeError, Dropped, EncodeError};
pub use comm::{CommData, CommInfo, CommInfoReply, CommInfoRequest, CommOpen};
pub use connection_file::{ConnectionFile, ConnectionFileError, CurveKeys};
pub use execute::{ExecuteExtension, ExecuteReply, ExecuteReplyExtension, ExecuteRequest, ExpressionResult};
pub use header::Header;
pub use history::{HistoryAccess, HistoryEntry, HistoryReply, HistoryRequest};
pub use inquiry::{
    CompleteReply, CompleteRequest, Completeness, ConnectReply, InspectReply, InspectRequest, IsCompleteReply,
    IsCompleteRequest,
};
pub use kernel_info::{HelpLink, KernelInfoReply, LanguageInfo};
pub use ledger::{BudgetState, CountedRequest, LedgerReply, LedgerRequest, LedgerRow};
pub use lifecycle::{InterruptExtension, InterruptRequest, ShutdownReply, ShutdownRequest};
pub use message::{Content, Frames, Message};
pub use model::{
    AvailableModel, AvailableReply, AvailableRequest, BackendError, BackendHealth, BackendStatus, CancelReply,
    CancelRequest, CopyRequest, CreateRequest, DroppedModel, EmbedReply, GenerateReply, ListReply, ListedModel,
    LoadRequest, LoadedModel, ModelChatRequest, ModelCompleteRequest, ModelEmbedRequest, ModelEvent, ModelInfoReply,
    ModelReply, ModelRequest, NamedModel, PullProgress, PullRequest, PulledModel, RemoveRequest,
    RemoveUnfinishedRequest, RemovedModel, RouteAction, RouteDecision, StatusReply, StoragePlace, StorageReply,
    UnfinishedDownload, UnfinishedReply, WhichBackend,
};
pub use output::{
    ClearOutput, DisplayData, ErrorOutput, ExecuteInput, ExecuteResult, ExecutionState, IopubWelcome, MimeBundle,
    Status, Stream, StreamName,
};
pub use publication::Publication;
pub use reply::{ErrorDetails, ErrorReply, Reply};
pub use request::Request;
pub use stdin::{InputReply, InputRequest, StdinMessage};
pub use subshell::{CreateSubshellReply, DeleteSubshellRequest, ListSubshellReply, SUBSHELLS};
pub use transport::in_process::in_process;
pub use transport::zmq;
pub use transport::{
    Channel, ChannelReceiver, ChannelSender, ClientEnds, Closed, Closer, Departures, Heartbeat, KernelEnds, NotSent,
    PeerCounts, PublishSender, Publisher, Reconnections, Subscription, Subscriptions, TransportError,
};
pub use usage::{UsageExtension, UsageReply};

/// The version of the Jupyter messaging protocol that our headers state.
pub const PROTOCOL_VERSION: &str = "5.5";
