//! Receives requests on shell and on control and sends each where it belongs: the notebook's own in order to its queue, the
//! rest (interrupt, shutdown, runs with a workspace of their own, model requests) at once beside it, so that a busy cell
//! delays none of them.

use std::sync::Arc;

use perilune_protocol::{Channel, ChannelSender, DecodeError, Frames, Reply, Request, ShutdownReply};
use tokio::sync::mpsc;

use crate::dispatch::{self, Asked, Asker, refusal};
use crate::kernel::{Context, Shutdown};
use crate::{models, notebook, script};

/// Runs and model requests that may be under way at once; one more is refused.
const CONCURRENT_REQUESTS: usize = 256;

/// Which of the two channels requests come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Shell,
    Control,
}

/// Receives until the kernel stops; stops the kernel when the transport ends.
pub(crate) async fn receive(context: Arc<Context>, mut channel: Channel, lane: Lane, jobs: mpsc::Sender<Asked>) {
    loop {
        let frames = tokio::select! {
            frames = channel.receiver.recv() => frames,
            () = context.stop.cancelled() => return,
        };
        let Some(frames) = frames else {
            context.stop.cancel();
            return;
        };
        let Some(asked) = decode(&context, frames, &channel.sender).await else { continue };
        route(&context, asked, lane, &jobs).await;
    }
}

async fn decode(context: &Arc<Context>, frames: Frames, way_back: &ChannelSender) -> Option<Asked> {
    match context.codec.decode::<Request>(frames) {
        Ok(message) => Some(Asked::new(message, way_back.clone())),
        Err(DecodeError::InvalidContent { identities, header, source }) => {
            let msg_type = header.msg_type.clone();
            let asker = Asker { identities, header: Arc::new(*header), way_back: way_back.clone() };
            let problem = format!("invalid content of `{msg_type}`: {source}");
            let error = Reply::error(&msg_type, refusal("InvalidRequest", &problem, "invalid_request"));
            dispatch::answer(context, &asker, async { Some(error) }).await;
            None
        }
        Err(error) => {
            tracing::warn!(%error, dropped = ?context.codec.dropped(), "a message was dropped");
            None
        }
    }
}

async fn route(context: &Arc<Context>, asked: Asked, lane: Lane, jobs: &mpsc::Sender<Asked>) {
    let Asked { asker, request } = asked;
    match request {
        Request::Interrupt(interrupt) => {
            dispatch::answer(context, &asker, async {
                match interrupt.perilune {
                    Some(target) => {
                        context.running.cancel(&target.request);
                    }
                    None => context.running.interrupt_notebook(),
                }
                Some(Reply::Interrupt)
            })
            .await;
        }
        Request::Shutdown(shutdown) => {
            let restart = shutdown.restart;
            let reply = Reply::Shutdown(ShutdownReply { restart });
            dispatch::answer(context, &asker, async { Some(reply) }).await;
            let _ = context.shutdown.set(Shutdown::Requested { restart });
            context.stop.cancel();
        }
        Request::Model(request) => {
            beside(context, asker, |context, asker| async move { models::handle(&context, &asker, request).await })
                .await;
        }
        Request::Execute(request) if request.perilune.as_ref().is_some_and(|run| run.fresh_workspace) => {
            beside(context, asker, |context, asker| async move { script::run(&context, &asker, request).await }).await;
        }
        request if lane == Lane::Control => {
            dispatch::answer(context, &asker, async { notebook::inquiry(&asker, request) }).await;
        }
        request => queue(context, Asked { asker, request }, jobs).await,
    }
}

/// Answers a request in a task of its own.
async fn beside<F, H>(context: &Arc<Context>, asker: Asker, handler: F)
where
    F: FnOnce(Arc<Context>, Asker) -> H + Send + 'static,
    H: Future<Output = Option<Reply>> + Send,
{
    if context.tasks.len() >= CONCURRENT_REQUESTS {
        let problem = format!("{CONCURRENT_REQUESTS} requests are under way; ask again when some have ended");
        return refuse(context, &asker, &problem).await;
    }
    let context = context.clone();
    let tasks = context.tasks.clone();
    tasks.spawn(async move {
        let handler = handler(context.clone(), asker.clone());
        dispatch::answer(&context, &asker, handler).await;
    });
}

async fn queue(context: &Arc<Context>, asked: Asked, jobs: &mpsc::Sender<Asked>) {
    match jobs.try_send(asked) {
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
        Err(mpsc::error::TrySendError::Full(asked)) => {
            let problem = format!("{} requests wait for the running cell; ask again later", notebook::QUEUE);
            refuse(context, &asked.asker, &problem).await;
        }
    }
}

async fn refuse(context: &Context, asker: &Asker, problem: &str) {
    let error = Reply::error(&asker.header.msg_type, refusal("Overloaded", problem, "overloaded"));
    dispatch::answer(context, asker, async { Some(error) }).await;
}
