//! Comms: hands a frontend's messages to their handlers, lists what is open and closes it at the end. What Lua sends
//! goes out by [`RequestIo`](crate::execute::RequestIo), as everything does that a cell shows.

use std::sync::Arc;
use std::time::Duration;

use perilune_bridge::{CommEvent, CommMessage, Outcome, Workspace};
use perilune_protocol::{CommInfo, CommInfoReply, CommInfoRequest, Header, Publication, Reply};
use tokio::time::timeout;

use crate::convert;
use crate::dispatch::{Asker, Attached};
use crate::execute::{RequestIo, error_output};
use crate::kernel::Context;
use crate::running::Guard;

/// How long an ending kernel waits for its interpreter to say what is open.
const CLOSING_WAIT: Duration = Duration::from_millis(500);

/// Has the handler see a message; what goes wrong in it is shown as a cell's error is, since a comm's message has no reply.
pub(crate) async fn deliver(
    context: &Arc<Context>,
    asker: &Asker,
    workspace: &Workspace,
    message: CommMessage,
    running: &Guard,
) {
    running.begin();
    let io = Arc::new(RequestIo::new(context, asker, running));
    if let Outcome::Error(failure) = workspace.deliver(message, io, running.token.clone()).await {
        context.iopub.publish(Some(&asker.header), Publication::Error(error_output(&failure)));
    }
}

/// Answers `comm_info_request`.
pub(crate) async fn info(workspace: &Workspace, request: CommInfoRequest) -> Reply {
    let wanted = |target: &str| request.target_name.as_deref().is_none_or(|name| name == target);
    let open = workspace.comms().await.into_iter().filter(|(_, target)| wanted(target));
    let comms = open.map(|(id, target_name)| (id, CommInfo { target_name })).collect();
    Reply::CommInfo(CommInfoReply { comms })
}

/// Tells frontends that what a workspace has open ends with it.
pub(crate) async fn close(context: &Context, parent: Option<&Arc<Header>>, workspace: &Workspace) {
    let Ok(open) = timeout(CLOSING_WAIT, workspace.comms()).await else {
        return tracing::warn!("the interpreter is busy; its comms end without a word");
    };
    for id in open.into_keys() {
        let message = CommMessage {
            id,
            event: CommEvent::Close,
            data: serde_json::json!({}),
            metadata: Default::default(),
            buffers: Vec::new(),
        };
        let (publication, Attached { .. }) = convert::comm_publication(message);
        context.iopub.publish(parent, publication);
    }
}
