//! The stdin channel: a running cell asks the client that sent it for a line and waits for that client's answer.
//!
//! An `input_reply` may say in its parent header which question, or which request, it answers. One that does not, such as
//! jupyter_client's, answers the oldest question that is open towards its sender.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use perilune_bridge::InputError;
use perilune_protocol::{
    Channel, ChannelReceiver, ChannelSender, Codec, Header, InputReply, InputRequest, Message, NotSent, StdinMessage,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Asker;
use crate::kernel::Context;

/// How long a client that sent a cell may take to connect its stdin; on a busy machine it is not always the first.
const CONNECTING_PATIENCE: Duration = Duration::from_secs(10);

/// The asking half.
#[derive(Clone)]
pub(crate) struct Stdin {
    sender: ChannelSender,
    codec: Arc<Codec>,
    session: String,
    questions: Questions,
}

/// The half that receives answers.
pub(crate) struct Replies {
    receiver: ChannelReceiver,
    questions: Questions,
}

/// The open questions of each client, oldest first.
#[derive(Clone, Default)]
struct Questions(Arc<Mutex<HashMap<Vec<Bytes>, VecDeque<Question>>>>);

struct Question {
    /// The `input_request`, and the request whose cell asks.
    msg_id: String,
    request: String,
    answer: oneshot::Sender<InputReply>,
}

impl Stdin {
    pub(crate) fn new(channel: Channel, codec: Arc<Codec>, session: String) -> (Stdin, Replies) {
        let questions = Questions::default();
        let replies = Replies { receiver: channel.receiver, questions: questions.clone() };
        (Stdin { sender: channel.sender, codec, session, questions }, replies)
    }

    /// Asks the client that sent a request for a line; `None` is the end of its input.
    pub(crate) async fn ask(
        &self,
        context: &Context,
        asker: &Asker,
        request: InputRequest,
        cancel: &CancellationToken,
    ) -> Result<Option<String>, InputError> {
        // What the cell printed before comes before the question.
        context.iopub.flush().await;
        let message = Message::child(&self.session, &asker.header, StdinMessage::InputRequest(request))
            .with_identities(asker.identities.clone());
        let (open, answer) = self.questions.open(asker, &message.header.msg_id);
        let frames = self.codec.encode(&message).map_err(|error| InputError::Failed(error.to_string()))?;
        let asked = async {
            self.sender.send_when_there(frames, CONNECTING_PATIENCE).await.map_err(unasked)?;
            answer.await.map_err(|_| InputError::Failed("the kernel is ending".to_owned()))
        };
        let reply = tokio::select! {
            reply = asked => reply?,
            () = cancel.cancelled() => return Err(InputError::Interrupted),
        };
        drop(open);
        Ok(if reply.eof { None } else { Some(reply.value) })
    }
}

fn unasked(error: NotSent) -> InputError {
    InputError::Failed(match error {
        NotSent::Closed(_) => "the kernel is ending".to_owned(),
        NotSent::Absent => format!(
            "the client allows input, but has not connected to the stdin channel within {} s",
            CONNECTING_PATIENCE.as_secs()
        ),
    })
}

impl Replies {
    /// Hands answers to questions until the kernel stops.
    pub(crate) async fn run(mut self, context: Arc<Context>) {
        loop {
            let frames = tokio::select! {
                frames = self.receiver.recv() => frames,
                () = context.stop.cancelled() => return,
            };
            let Some(frames) = frames else { return };
            match context.codec.decode::<StdinMessage>(frames) {
                Ok(Message { identities, parent_header, content: StdinMessage::InputReply(reply), .. }) => {
                    if !self.questions.answer(&identities, parent_header.as_ref(), reply) {
                        tracing::debug!("an input_reply came that nobody had asked for");
                    }
                }
                Ok(message) => tracing::debug!(msg_type = %message.header.msg_type, "not a message for stdin"),
                Err(error) => tracing::warn!(%error, "a message on stdin was dropped"),
            }
        }
    }
}

impl Questions {
    fn open(&self, asker: &Asker, msg_id: &str) -> (OpenQuestion, oneshot::Receiver<InputReply>) {
        let (answer, receiver) = oneshot::channel();
        let (client, msg_id) = (asker.identities.clone(), msg_id.to_owned());
        let question = Question { msg_id: msg_id.clone(), request: asker.header.msg_id.clone(), answer };
        self.table(|table| table.entry(client.clone()).or_default().push_back(question));
        (OpenQuestion { questions: self.clone(), client, msg_id }, receiver)
    }

    /// False when no such question is open towards that client.
    fn answer(&self, client: &[Bytes], parent: Option<&Header>, reply: InputReply) -> bool {
        let question = self.table(|table| {
            let open = table.get_mut(client)?;
            let answered = match parent {
                None => 0,
                Some(Header { msg_id, .. }) => {
                    open.iter().position(|question| question.msg_id == *msg_id || question.request == *msg_id)?
                }
            };
            open.remove(answered)
        });
        question.is_some_and(|question| question.answer.send(reply).is_ok())
    }

    fn table<R>(&self, change: impl FnOnce(&mut HashMap<Vec<Bytes>, VecDeque<Question>>) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Closes its question when dropped, answered or not.
struct OpenQuestion {
    questions: Questions,
    client: Vec<Bytes>,
    msg_id: String,
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        self.questions.table(|table| {
            if let Some(open) = table.get_mut(&self.client) {
                open.retain(|question| question.msg_id != self.msg_id);
                if open.is_empty() {
                    table.remove(&self.client);
                }
            }
        });
    }
}
