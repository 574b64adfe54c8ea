//! Receives requests on shell and on control and sends each where it belongs: the notebook's own in order to the queue of the
//! shell that they name, the rest (interrupt, shutdown, an editor's questions, runs with a workspace of their own, model
//! requests) at once beside it, so that a busy cell delays none of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perilune_protocol::{
    Channel, CreateSubshellReply, DecodeError, ErrorOutput, ErrorReply, InterruptExtension, ListSubshellReply,
    Publication, Reply, Request, ShutdownReply,
};
use perilune_providers::{NoPlace, Places};

use crate::dispatch::{self, Asker, Attached, refusal};
use crate::kernel::{Context, Shutdown};
use crate::models::Weight;
use crate::running::Guard;
use crate::{comms, editing, models, notebook, script};

/// Runs and generations that may be under way at once, and as many quick requests beside them, a part of them of one session;
/// one more is refused.
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
pub(crate) async fn receive(context: Arc<Context>, mut channel: Channel, lane: Lane) {
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
                let (asker, request, attached) = Asker::of(message, &channel.sender);
                route(&context, asker, request, attached, lane).await;
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

async fn route(context: &Arc<Context>, asker: Asker, request: Request, attached: Attached, lane: Lane) {
    if lane == Lane::Shell
        && let Err(error) = context.shells.check(&asker, &request)
    {
        return refuse(context, &asker, error).await;
    }
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
                notebook::inquiry(&context, &asker, request, notebook::MAIN).await
            };
            beside(context, asker, &context.quick_places, handler).await;
        }
        Request::CreateSubshell => {
            let made = context.shells.create(context);
            let reply = made.map(|subshell_id| Reply::CreateSubshell(CreateSubshellReply { subshell_id }));
            settle(context, &asker, reply).await;
        }
        Request::DeleteSubshell(subshell) => {
            let deleted = context.shells.delete(&subshell.subshell_id);
            settle(context, &asker, deleted.map(|()| Reply::DeleteSubshell)).await;
        }
        Request::ListSubshell => {
            let subshell_id = context.shells.list();
            settle(context, &asker, Ok(Reply::ListSubshell(ListSubshellReply { subshell_id }))).await;
        }
        Request::CommInfo(request) if lane == Lane::Control => {
            let handler = |context: Arc<Context>, _, _| async move {
                Some(comms::info(&context.shells.workspace()?, request).await)
            };
            beside(context, asker, &context.quick_places, handler).await;
        }
        request if lane == Lane::Control => {
            dispatch::answer(context, &asker, notebook::inquiry(context, &asker, request, notebook::MAIN)).await;
        }
        request => {
            if let Err(refused) = context.shells.queue(context, asker, request, attached) {
                let (asker, error) = *refused;
                refuse(context, &asker, error).await;
            }
        }
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
async fn beside<F, H>(context: &Arc<Context>, asker: Asker, places: &Arc<Places>, handler: F)
where
    F: FnOnce(Arc<Context>, Asker, Guard) -> H + Send + 'static,
    H: Future<Output = Option<Reply>> + Send,
{
    let place = match places.take(&asker.header.session) {
        Ok(place) => place,
        Err(NoPlace { taken, own }) => {
            let problem = format!(
                "{taken} requests are under way, {own} of them of this session; ask again when some have ended"
            );
            return refuse(context, &asker, refusal("Overloaded", &problem, "overloaded")).await;
        }
    };
    let life = context.borrowers.life(&asker, &context.stop);
    let guard = context.running.enter(&asker.header.msg_id, false, &life);
    guard.begin();
    let context = context.clone();
    let tasks = context.tasks.clone();
    tasks.spawn(async move {
        dispatch::answer(&context, &asker, handler(context.clone(), asker.clone(), guard)).await;
        drop(place);
    });
}

async fn settle(context: &Context, asker: &Asker, reply: Result<Reply, ErrorReply>) {
    let reply = reply.unwrap_or_else(|error| Reply::error(&asker.header.msg_type, error));
    dispatch::answer(context, asker, async { Some(reply) }).await;
}

/// Answers with an error; it is published where there is no reply, as for a comm's messages.
async fn refuse(context: &Context, asker: &Asker, error: ErrorReply) {
    let answer = async {
        if asker.header.msg_type.ends_with("_request") {
            return Some(Reply::error(&asker.header.msg_type, error));
        }
        let ErrorReply { ename, evalue, traceback, .. } = error;
        context.iopub.publish(Some(&asker.header), Publication::Error(ErrorOutput { ename, evalue, traceback }));
        None
    };
    dispatch::answer(context, asker, answer).await;
}
