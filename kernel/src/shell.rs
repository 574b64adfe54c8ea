//! Receives requests on shell and on control and sends each where it belongs: the notebook's own in order to its queue, the
//! rest (interrupt, shutdown, an editor's questions, runs with a workspace of their own, model requests) at once beside it, so that a busy cell
//! delays none of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perilune_protocol::{Channel, DecodeError, ErrorReply, InterruptExtension, Reply, Request, ShutdownReply};
use tokio::sync::{Semaphore, mpsc};

use crate::dispatch::{self, Asker, refusal};
use crate::kernel::{Context, Shutdown};
use crate::models::Weight;
use crate::notebook::Job;
use crate::running::Guard;
use crate::{editing, models, notebook, script};

/// Runs and generations that may be under way at once, and as many quick requests beside them; one more is refused.
pub(crate) const CONCURRENT_REQUESTS: usize = 256;

/// Which of the two channels requests come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Shell,
    Control,
}

/// Characters of a content's problem that its answer repeats.
const QUOTED_CHARACTERS: usize = 300;

/// How often dropped messages are told of: whoever sends them need not be anybody we know.
const DROPPED_INTERVAL: Duration = Duration::from_secs(1);

/// Receives until the kernel stops; stops the kernel when the transport ends.
pub(crate) async fn receive(context: Arc<Context>, mut channel: Channel, lane: Lane, jobs: mpsc::Sender<Job>) {
    let mut told: Option<Instant> = None;
    loop {
        if lane == Lane::Shell {
            context.iopub.has_room().await;
        }
        let frames = tokio::select! {
            frames = channel.receiver.recv() => frames,
            () = context.stop.cancelled() => return,
        };
        let Some(frames) = frames else {
            context.stop.cancel();
            return;
        };
        match context.codec.decode::<Request>(frames) {
            Ok(message) => {
                let (asker, request) = Asker::of(message, &channel.sender);
                route(&context, asker, request, lane, &jobs).await;
            }
            Err(DecodeError::InvalidContent { identities, header, source }) => {
                let asker =
                    Asker { identities, header: Arc::new(*header), way_back: channel.sender.clone(), is_kernel: false };
                // What serde says may quote what came, whole.
                let said: String = source.to_string().chars().take(QUOTED_CHARACTERS).collect();
                let problem = format!("invalid content of `{}`: {said}", asker.header.msg_type);
                refuse(&context, &asker, refusal("InvalidRequest", &problem, "invalid_request")).await;
            }
            Err(error) if told.is_none_or(|told| told.elapsed() >= DROPPED_INTERVAL) => {
                told = Some(Instant::now());
                tracing::warn!(%error, so_far = ?context.codec.dropped(), "a message was dropped");
            }
            Err(_) => {}
        }
    }
}

async fn route(context: &Arc<Context>, asker: Asker, request: Request, lane: Lane, jobs: &mpsc::Sender<Job>) {
    match request {
        Request::Interrupt(interrupt) => {
            let reply = match interrupt.perilune {
                Some(target) if !reaches(context, &target) => {
                    let problem = format!("no request `{}` is under way", target.request);
                    Reply::error(&asker.header.msg_type, refusal("NotRunning", &problem, "not_running"))
                }
                Some(_) => Reply::Interrupt,
                None => {
                    context.running.interrupt_notebook();
                    Reply::Interrupt
                }
            };
            dispatch::answer(context, &asker, async { Some(reply) }).await;
        }
        Request::Shutdown(shutdown) => {
            let restart = shutdown.restart;
            let reply = Reply::Shutdown(ShutdownReply { restart });
            dispatch::answer(context, &asker, async { Some(reply) }).await;
            let _ = context.shutdown.set(Shutdown::Requested { restart });
            context.stop.cancel();
        }
        Request::Model(request) => {
            let places = match models::weight(&request) {
                Weight::Long => &context.places,
                Weight::Quick => &context.quick_places,
                Weight::None => {
                    let guard = context.running.enter(&asker.header.msg_id, false, &context.stop);
                    dispatch::answer(context, &asker, models::handle(context, &asker, &guard, request)).await;
                    return;
                }
            };
            let handler =
                |context, asker, guard| async move { models::handle(&context, &asker, &guard, request).await };
            beside(context, asker, places, handler).await;
        }
        Request::Execute(request) if request.perilune.as_ref().is_some_and(|run| run.fresh_workspace) => {
            let handler = |context, asker, guard| async move { script::run(&context, &asker, &guard, request).await };
            beside(context, asker, &context.places, handler).await;
        }
        request if editing::is_editing(&request) => {
            let handler =
                |context: Arc<Context>, asker, _| async move { editing::handle(&context, &asker, request).await };
            beside(context, asker, &context.quick_places, handler).await;
        }
        // They may wait: for a second reading, for a disk.
        request @ (Request::Usage | Request::History(_)) if lane == Lane::Control => {
            let handler = |context: Arc<Context>, asker, _guard| async move {
                notebook::inquiry(&context, &asker, request).await
            };
            beside(context, asker, &context.quick_places, handler).await;
        }
        request if lane == Lane::Control => {
            dispatch::answer(context, &asker, notebook::inquiry(context, &asker, request)).await;
        }
        request => queue(context, asker, request, jobs).await,
    }
}

/// Whether there is such a request; unless it was only asked after, it is cancelled.
fn reaches(context: &Context, target: &InterruptExtension) -> bool {
    match target.only_ask {
        true => context.running.has(&target.request),
        false => context.running.cancel(&target.request),
    }
}

/// Answers a request in a task of its own, if there is a place for it.
async fn beside<F, H>(context: &Arc<Context>, asker: Asker, places: &Arc<Semaphore>, handler: F)
where
    F: FnOnce(Arc<Context>, Asker, Guard) -> H + Send + 'static,
    H: Future<Output = Option<Reply>> + Send,
{
    let Ok(place) = places.clone().try_acquire_owned() else {
        let problem = format!("{CONCURRENT_REQUESTS} requests are under way; ask again when some have ended");
        return refuse(context, &asker, refusal("Overloaded", &problem, "overloaded")).await;
    };
    let guard = context.running.enter(&asker.header.msg_id, false, &context.stop);
    guard.begin();
    let context = context.clone();
    let tasks = context.tasks.clone();
    tasks.spawn(async move {
        dispatch::answer(&context, &asker, handler(context.clone(), asker.clone(), guard)).await;
        drop(place);
    });
}

async fn queue(context: &Arc<Context>, asker: Asker, request: Request, jobs: &mpsc::Sender<Job>) {
    let is_cell = matches!(request, Request::Execute(_));
    let guard = context.running.enter(&asker.header.msg_id, is_cell, &context.stop);
    match jobs.try_send(Job { asker, request, guard }) {
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
        Err(mpsc::error::TrySendError::Full(job)) => {
            let problem = format!("{} requests wait for the running cell; ask again later", notebook::QUEUE);
            refuse(context, &job.asker, refusal("Overloaded", &problem, "overloaded")).await;
        }
    }
}

async fn refuse(context: &Context, asker: &Asker, error: ErrorReply) {
    // Whoever sent no request waits for no reply.
    let reply = asker.header.msg_type.ends_with("_request").then(|| Reply::error(&asker.header.msg_type, error));
    dispatch::answer(context, asker, async { reply }).await;
}
