//! One request and what it causes: publications are handed over as they come, input is asked for, Ctrl-C interrupts it, and a kernel
//! that gives no sign of life ends it.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::{Error, anyhow};
use perilune_protocol::{
    ChannelSender, ClientEnds, Codec, Content, DecodeError, ExecutionState, Frames, Header, Heartbeat, InputReply,
    InputRequest, InterruptExtension, InterruptRequest, Message, Publication, Reply, Request, StdinMessage,
};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::Publications;
use crate::failure::{Failure, tell};
use crate::input;
use crate::interrupts::Interrupts;

/// How often a kernel that works for us is asked for a sign of life, and how long that sign may take. Together they bound the time
/// until a dead kernel is noticed.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);
const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(3);
/// How often an interrupt is repeated: the first can come to the kernel before the request that it means, by another socket.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(100);
/// How long a request may take to end after it was interrupted.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(5);

/// How often the kernel is asked whether a request is still under way, after the connection broke.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// How long its reply may take once the kernel said that it has ended: it comes by another socket.
const LATE_PATIENCE: Duration = Duration::from_secs(1);

/// The `kind` of an error that came because the kernel was stopped.
const KERNEL_STOPPED: &str = "kernel_stopped";
/// The `kind` of the answer that no such request is under way.
const NOT_RUNNING: &str = "not_running";

/// One request and what came of it so far.
pub(super) struct Exchange<'a> {
    codec: &'a Codec,
    session: &'a str,
    kernel: &'a str,
    request: &'a Header,
    publications: Publications<'a>,
    reply: Option<Reply>,
    idle: bool,
    /// What made us interrupt the request, unless it was the user.
    failure: Option<Failure>,
    /// Set once the request was interrupted.
    stopping: Option<Stopping>,
    /// Set once the connection broke and came back.
    broken: Option<Broken>,
}

/// An interrupted request's time.
#[derive(Clone, Copy)]
struct Stopping {
    /// When to interrupt it again.
    again: Instant,
    /// When to give up.
    deadline: Instant,
}

/// What is done about messages that a broken connection may have swallowed: the kernel is asked whether the request is still under way.
struct Broken {
    /// The question, by its message id.
    question: String,
    /// When to ask again: the end may come before this client's new subscription.
    again: Instant,
    /// When to believe that nothing more comes, since the kernel said that the request has ended.
    deadline: Option<Instant>,
}

type Reading = Pin<Box<dyn Future<Output = io::Result<InputReply>> + Send>>;

impl<'a> Exchange<'a> {
    pub(super) fn new(
        codec: &'a Codec,
        session: &'a str,
        kernel: &'a str,
        request: &'a Header,
        publications: Publications<'a>,
    ) -> Exchange<'a> {
        Exchange {
            codec,
            session,
            kernel,
            request,
            publications,
            reply: None,
            idle: false,
            failure: None,
            stopping: None,
            broken: None,
        }
    }

    /// Hands over what the request publishes until both its reply and its `idle` are there.
    pub(super) async fn run(&mut self, ends: &mut ClientEnds, mut interrupts: Interrupts) -> Result<Reply, Failure> {
        let ClientEnds { shell, control, stdin, iopub, heartbeat, reconnections, .. } = ends;
        let heard = Cell::new(Instant::now());
        let mut silence = pin!(silence(heartbeat, &heard));
        let mut reading: Option<Reading> = None;
        loop {
            if self.idle
                && let Some(reply) = self.reply.take()
            {
                return self.failure.take().map_or_else(|| self.judge(reply), Err);
            }
            // In this order, so that a line is asked for after what was printed before, and a flood of output cannot hide Ctrl-C.
            tokio::select! {
                biased;
                () = interrupts.wait(), if self.stopping.is_none() => {
                    reading = None;
                    self.interrupt(&control.sender).await?;
                }
                frames = iopub.recv() => {
                    heard.set(Instant::now());
                    if let Err(failure) = self.publication(frames)? && self.stopping.is_none() {
                        self.failure = Some(failure);
                        self.interrupt(&control.sender).await?;
                    }
                }
                frames = shell.receiver.recv() => {
                    heard.set(Instant::now());
                    self.reply(frames)?;
                }
                frames = control.receiver.recv() => {
                    heard.set(Instant::now());
                    self.reply(frames)?;
                }
                frames = stdin.receiver.recv() => {
                    if let Some(request) = self.input_request(frames)? && self.stopping.is_none() {
                        reading = Some(Box::pin(input::read(request)));
                    }
                }
                line = poll(&mut reading) => {
                    reading = None;
                    match line {
                        Ok(line) => self.send(&stdin.sender, &self.child(StdinMessage::InputReply(line))).await?,
                        Err(error) => {
                            self.failure = Some(Failure::Refused(Error::from(error).context("cannot read the standard input")));
                            self.interrupt(&control.sender).await?;
                        }
                    }
                }
                () = &mut silence => return Err(self.lost("has died: it gives no sign of life any more")),
                () = reconnections.recv() => {
                    if self.broken.is_none() {
                        tell(&format!("warning: the connection to {} broke and is back; what came in between is lost", self.kernel));
                    }
                    self.ask(&control.sender).await?;
                }
                () = until(self.broken.as_ref().map(|broken| broken.again)) => self.ask(&control.sender).await?,
                () = until(self.broken.as_ref().and_then(|broken| broken.deadline)) => {
                    // Without the reply there is nothing to go on with; without `idle` there is.
                    self.idle = true;
                    if self.reply.is_none() {
                        return Err(self.lost("has ended the request while the connection was broken, and its answer is lost"));
                    }
                }
                () = until(self.stopping.map(|stopping| stopping.again)) => self.interrupt(&control.sender).await?,
                () = until(self.stopping.map(|stopping| stopping.deadline)) => {
                    tell(&format!("warning: {} did not stop in {} s and may still be busy", self.kernel, INTERRUPT_PATIENCE.as_secs()));
                    return Err(self.failure.take().unwrap_or(Failure::Interrupted));
                }
            }
        }
    }

    /// A request that ended because its kernel did was not answered.
    fn judge(&self, reply: Reply) -> Result<Reply, Failure> {
        match reply {
            Reply::Error { error, .. } if self.stopping.is_none() && error.kind.as_deref() == Some(KERNEL_STOPPED) => {
                Err(self.lost("was stopped"))
            }
            reply => Ok(reply),
        }
    }

    async fn interrupt(&mut self, control: &ChannelSender) -> Result<(), Failure> {
        let now = Instant::now();
        let deadline = self.stopping.map_or(now + INTERRUPT_PATIENCE, |stopping| stopping.deadline);
        self.stopping = Some(Stopping { again: now + INTERRUPT_INTERVAL, deadline });
        self.send(control, &self.interrupt_request(false)).await
    }

    /// Asks whether the request is still under way.
    async fn ask(&mut self, control: &ChannelSender) -> Result<(), Failure> {
        let question = self.interrupt_request(true);
        let deadline = self.broken.take().and_then(|broken| broken.deadline);
        self.broken =
            Some(Broken { question: question.header.msg_id.clone(), again: Instant::now() + ASK_INTERVAL, deadline });
        self.send(control, &question).await
    }

    fn interrupt_request(&self, only_ask: bool) -> Message<Request> {
        let extension = InterruptExtension { request: self.request.msg_id.clone(), only_ask };
        Message::new(self.session, Request::Interrupt(InterruptRequest { perilune: Some(extension) }))
    }

    pub(super) async fn send<C: Content>(&self, sender: &ChannelSender, message: &Message<C>) -> Result<(), Failure> {
        let frames = self.codec.encode(message).map_err(|error| Failure::Usage(error.into()))?;
        sender.send(frames).await.map_err(|_| self.lost("has ended"))
    }

    fn child<C: Content>(&self, content: C) -> Message<C> {
        Message::child(self.session, self.request, content)
    }

    /// Hands a publication of this request over. The inner error is the output's.
    fn publication(&mut self, frames: Option<Frames>) -> Result<Result<(), Failure>, Failure> {
        let message = match self.codec.decode::<Publication>(self.open(frames)?) {
            Ok(message) => message,
            Err(error) => {
                warn!(%error, "a publication was dropped");
                return Ok(Ok(()));
            }
        };
        if !self.is_parent(&message) {
            return Ok(Ok(()));
        }
        if let Publication::Status(status) = &message.content {
            self.idle |= status.execution_state == ExecutionState::Idle;
            return Ok(Ok(()));
        }
        Ok((self.publications)(message.content))
    }

    fn reply(&mut self, frames: Option<Frames>) -> Result<(), Failure> {
        match self.codec.decode::<Reply>(self.open(frames)?) {
            Ok(message) if self.is_parent(&message) => self.reply = Some(message.content),
            Ok(Message { content: Reply::Error { error, .. }, parent_header: Some(parent), .. })
                if error.kind.as_deref() == Some(NOT_RUNNING) =>
            {
                if let Some(broken) = self.broken.as_mut().filter(|broken| broken.question == parent.msg_id) {
                    broken.deadline.get_or_insert(Instant::now() + LATE_PATIENCE);
                }
            }
            Ok(message) => debug!(msg_type = %message.header.msg_type, "a reply to another request"),
            // Whatever comes here is for this client, so without it the request would never be done.
            Err(error @ DecodeError::InvalidContent { .. }) => {
                // Without its source, which quotes what came.
                return Err(Failure::Connection(anyhow!("{} answers nonsense: {error}", self.kernel)));
            }
            Err(error) => warn!(%error, "a reply was dropped"),
        }
        Ok(())
    }

    fn input_request(&mut self, frames: Option<Frames>) -> Result<Option<InputRequest>, Failure> {
        match self.codec.decode::<StdinMessage>(self.open(frames)?) {
            Ok(message) if self.is_parent(&message) => match message.content {
                StdinMessage::InputRequest(request) => Ok(Some(request)),
                _ => Ok(None),
            },
            Ok(_) => Ok(None),
            Err(error) => {
                warn!(%error, "a message on stdin was dropped");
                Ok(None)
            }
        }
    }

    fn open(&self, frames: Option<Frames>) -> Result<Frames, Failure> {
        frames.ok_or_else(|| self.lost("has ended"))
    }

    fn is_parent<C>(&self, message: &Message<C>) -> bool {
        message.parent_header.as_ref().is_some_and(|parent| parent.msg_id == self.request.msg_id)
    }

    fn lost(&self, how: &str) -> Failure {
        Failure::Connection(anyhow!("{} {how}", self.kernel))
    }
}

/// Ends when the kernel gives no sign of life any more: no answer to a beat, and nothing else that was `heard` either. After a break the
/// system sends again what was lost, on each connection in its own time, so that any of them may be the first to tell.
pub(super) async fn silence(heartbeat: &mut Heartbeat, heard: &Cell<Instant>) {
    loop {
        sleep(HEARTBEAT_INTERVAL).await;
        let asked = Instant::now();
        loop {
            let end = asked.max(heard.get()) + HEARTBEAT_PATIENCE;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if heartbeat.probe(left).await {
                break;
            }
            sleep(HEARTBEAT_INTERVAL.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }
}

async fn poll(reading: &mut Option<Reading>) -> io::Result<InputReply> {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
