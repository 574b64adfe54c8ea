//! What every request goes through, whatever it asks: busy, its handler, the reply, idle. A handler's return value is the reply.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use perilune_protocol::{
    ChannelSender, ErrorReply, ExecutionState, Header, Message, Publication, Reply, Request, Status,
};
use serde_json::{Map, Value};

use crate::kernel::Context;
use crate::remote;

/// A request's sender: who asked, in which message, and the way back.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) identities: Vec<Bytes>,
    pub(crate) header: Arc<Header>,
    pub(crate) way_back: ChannelSender,
    /// Another kernel, which borrows models.
    pub(crate) is_kernel: bool,
}

/// What came, or goes, with a content.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    pub(crate) metadata: Map<String, Value>,
    pub(crate) buffers: Vec<Bytes>,
}

impl Asker {
    /// A received request, who sent it, and what came with it.
    pub(crate) fn of(message: Message<Request>, way_back: &ChannelSender) -> (Asker, Request, Attached) {
        let header = Arc::new(message.header);
        let is_kernel = remote::is_from_kernel(&message.metadata);
        let asker = Asker { identities: message.identities, header, way_back: way_back.clone(), is_kernel };
        (asker, message.content, Attached { metadata: message.metadata, buffers: message.buffers })
    }
}

/// Runs a handler between busy and idle and sends what it returns.
pub(crate) async fn answer(context: &Context, asker: &Asker, handler: impl Future<Output = Option<Reply>>) {
    publish_state(context, asker, ExecutionState::Busy);
    let reply = match AssertUnwindSafe(handler).catch_unwind().await {
        Ok(reply) => reply,
        Err(_) => {
            tracing::error!(request = %asker.header.msg_type, "a handler panicked");
            Some(Reply::error(
                &asker.header.msg_type,
                internal("the kernel failed on this request; it is a bug of Perilune"),
            ))
        }
    };
    if let Some(reply) = reply {
        send(context, asker, reply).await;
    }
    publish_state(context, asker, ExecutionState::Idle);
}

fn publish_state(context: &Context, asker: &Asker, execution_state: ExecutionState) {
    context.iopub.publish(Some(&asker.header), Publication::Status(Status { execution_state }));
}

async fn send(context: &Context, asker: &Asker, reply: Reply) {
    let encode = |reply| {
        let message = Message::child(&context.session, &asker.header, reply).with_identities(asker.identities.clone());
        context.codec.encode(&message)
    };
    // Whoever asked waits for a reply, so one that cannot be sent becomes one that says so.
    let frames = encode(reply).or_else(|error| {
        encode(Reply::error(&asker.header.msg_type, refusal("TooLarge", &error.to_string(), "too_large")))
    });
    match frames {
        Ok(frames) => {
            if asker.way_back.send(frames).await.is_err() {
                tracing::debug!(request = %asker.header.msg_type, "nobody is there for the reply any more");
            }
        }
        Err(error) => tracing::error!(%error, "a reply could not be encoded"),
    }
}

/// An error of the kernel's own making.
pub(crate) fn internal(message: &str) -> ErrorReply {
    refusal("KernelError", message, "internal")
}

/// An error that is no script's.
pub(crate) fn refusal(ename: &str, message: &str, kind: &str) -> ErrorReply {
    ErrorReply {
        ename: ename.to_owned(),
        evalue: message.to_owned(),
        traceback: vec![format!("{ename}: {message}")],
        kind: Some(kind.to_owned()),
        ..ErrorReply::default()
    }
}
