//! Answers what a frontend asks while somebody types. These requests are no cells: they are answered beside the
//! running one, by its interpreter where that is needed, and on whichever channel they come.

use perilune_bridge::{Detail, Unanswered};
use perilune_protocol::{IsCompleteReply, Reply, Request};

use crate::convert;
use crate::dispatch::{Asker, refusal};
use crate::kernel::Context;
use crate::magics;

/// Whether [`handle`] answers a request.
pub(crate) fn is_editing(request: &Request) -> bool {
    matches!(request, Request::IsComplete(_) | Request::Complete(_) | Request::Inspect(_))
}

pub(crate) async fn handle(context: &Context, asker: &Asker, request: Request) -> Option<Reply> {
    let answered = match request {
        Request::IsComplete(request) => {
            let (status, indent) = convert::completeness(magics::completeness(&request.code));
            Ok(Reply::IsComplete(IsCompleteReply { status, indent }))
        }
        Request::Complete(request) => {
            let (code, cursor) = (&request.code, request.cursor_bytes());
            let completions = match magics::complete(&context.registry, code, cursor).await {
                Some(completions) => Ok(completions),
                None => context.editor.complete(code.clone(), cursor).await,
            };
            completions.map(|completions| Reply::Complete(convert::complete_reply(&request.code, completions)))
        }
        Request::Inspect(request) => {
            let detail = if request.detail_level == 0 { Detail::Brief } else { Detail::Full };
            let cursor = request.cursor_bytes();
            let known = context.editor.inspect(request.code, cursor, detail).await;
            known.map(|known| Reply::Inspect(convert::inspect_reply(known)))
        }
        _ => return None,
    };
    Some(answered.unwrap_or_else(|problem| {
        let kind = if problem == Unanswered::Late { "timeout" } else { "internal" };
        Reply::error(&asker.header.msg_type, refusal("Unanswered", &problem.to_string(), kind))
    }))
}
