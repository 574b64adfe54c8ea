//! One conversation with a kernel, whether it is in this process or not: a request goes out, what it causes comes in, until both
//! its reply and its `idle` are there.

use std::fs;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::time::Duration;

use anyhow::{Context, Error, anyhow};
use perilune_kernel::{Kernel, Shutdown};
use perilune_protocol::{
    ChannelSender, ClientEnds, Codec, ConnectionFile, Content, DecodeError, ExecutionState, Frames, Header, Heartbeat,
    InputReply, InputRequest, InterruptExtension, InterruptRequest, KernelInfoReply, Message, Publication, Reply,
    Request, StdinMessage, zmq,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::failure::{Failure, tell};
use crate::input;
use crate::interrupts::Interrupts;

/// How long the sockets of a kernel may take to open, and then how long it may take to answer its first question.
const GREETING_PATIENCE: Duration = Duration::from_secs(5);
/// How often the first question is repeated until it is seen on iopub too, where a subscription takes effect a little late.
const GREETING_INTERVAL: Duration = Duration::from_millis(200);
/// How often a kernel that works for us is asked for a sign of life, and how long that sign may take. Together they bound the time
/// until a dead kernel is noticed.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);
const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(3);
/// How often an interrupt is repeated: the first can come to the kernel before the request that it means, by another socket.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(100);
/// How long a request may take to end after it was interrupted.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(5);
/// How long an embedded kernel, or what was sent last, may take to go.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The `kind` of an error that came because the kernel was stopped.
const KERNEL_STOPPED: &str = "kernel_stopped";

/// A conversation with one kernel.
pub struct Session {
    ends: ClientEnds,
    codec: Codec,
    /// The `session` of the headers of this conversation.
    id: String,
    /// What errors call the kernel.
    kernel: String,
    embedded: Option<JoinHandle<Result<Shutdown, perilune_kernel::Error>>>,
    interrupts: Interrupts,
}

/// The socket that a request goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// In turn with others.
    Shell,
    /// Past those that wait.
    Control,
}

/// What a request's publications are handed to, one by one; an error interrupts the request.
pub type Publications<'a> = &'a mut (dyn FnMut(Publication) -> Result<(), Failure> + Send);

impl Session {
    /// Opens a conversation with the kernel that the connection file describes, or without one with a kernel in this process.
    pub async fn open(connection_file: Option<&Path>, interrupts: &Interrupts) -> Result<Session, Failure> {
        match connection_file {
            Some(path) => Ok(Session::connect(path, interrupts).await?.0),
            None => Session::embed(interrupts),
        }
    }

    /// Opens a conversation with a kernel elsewhere, and returns what it says about itself.
    pub async fn connect(path: &Path, interrupts: &Interrupts) -> Result<(Session, KernelInfoReply), Failure> {
        let mut interrupted = interrupts.clone();
        tokio::select! {
            session = Session::reach(path, interrupts) => session,
            () = interrupted.wait() => Err(Failure::Interrupted),
        }
    }

    async fn reach(path: &Path, interrupts: &Interrupts) -> Result<(Session, KernelInfoReply), Failure> {
        let file = connection_file(path)?;
        let kernel = format!("the kernel of `{}`", path.display());
        let ends = zmq::connect(&file, GREETING_PATIENCE).await;
        let ends = ends.with_context(|| format!("cannot reach {kernel}")).map_err(Failure::Connection)?;
        let codec = Codec::new(&file.key);
        let mut session = Session { ends, codec, id: new_id(), kernel, embedded: None, interrupts: interrupts.clone() };
        let info = session.greet(&file).await.map_err(Failure::Connection)?;
        debug!("connected");
        Ok((session, info))
    }

    fn embed(interrupts: &Interrupts) -> Result<Session, Failure> {
        let kernel = open_kernel().map_err(Failure::Usage)?;
        let embedded = kernel.embed();
        Ok(Session {
            ends: embedded.ends,
            codec: embedded.codec,
            id: new_id(),
            kernel: "the kernel in this process".to_owned(),
            embedded: Some(embedded.task),
            interrupts: interrupts.clone(),
        })
    }

    /// Waits until the kernel answers, and until what it publishes arrives.
    async fn greet(&mut self, file: &ConnectionFile) -> Result<KernelInfoReply, Error> {
        let deadline = Instant::now() + GREETING_PATIENCE;
        let mut again = interval(GREETING_INTERVAL);
        let (mut info, mut hears) = (None, false);
        loop {
            if let Some(info) = info.take_if(|_| hears) {
                return perilune_only(&self.kernel, info);
            }
            tokio::select! {
                _ = again.tick() => {
                    let frames = self.codec.encode(&Message::new(&self.id, Request::KernelInfo))?;
                    self.ends.control.sender.send(frames).await.with_context(|| gone(&self.kernel))?;
                }
                frames = self.ends.control.receiver.recv() => {
                    let frames = frames.with_context(|| gone(&self.kernel))?;
                    match self.codec.decode(frames) {
                        Ok(Message { content: Reply::KernelInfo(reply), .. }) => info = Some(*reply),
                        Ok(message) => debug!(msg_type = %message.header.msg_type, "not an answer to the first question"),
                        Err(error) => warn!(%error, "a message was dropped"),
                    }
                }
                frames = self.ends.iopub.recv() => {
                    let frames = frames.with_context(|| gone(&self.kernel))?;
                    match self.codec.decode::<Publication>(frames) {
                        Ok(message) => hears |= message.parent_header.is_some_and(|parent| parent.session == self.id)
                            || matches!(message.content, Publication::IopubWelcome(_)),
                        Err(error) => warn!(%error, "a publication was dropped"),
                    }
                }
                () = sleep_until(deadline) => return Err(self.silence(file, info.is_some())),
            }
        }
    }

    fn silence(&self, file: &ConnectionFile, answered: bool) -> Error {
        let seconds = GREETING_PATIENCE.as_secs();
        let kernel = &self.kernel;
        if answered {
            return anyhow!("{kernel} answers, but nothing it publishes arrives from iopub port {}", file.iopub_port);
        }
        let dropped = self.codec.dropped();
        if dropped.wrong_signature + dropped.unsigned > 0 {
            return anyhow!(
                "{kernel} signs with another key than the file's; the file is older than the kernel on its ports"
            );
        }
        anyhow!(
            "{kernel} does not answer: something listens on {}, but {seconds} s brought no reply; is the file's key another one?",
            address(file)
        )
    }

    /// Whether the user wants to stop.
    pub fn interrupted(&self) -> bool {
        self.interrupts.came()
    }

    /// Sends a request and hands over what it publishes, until it is done.
    ///
    /// Ctrl-C interrupts the request, which then ends with an error reply of its own; [`Session::interrupted`] tells.
    pub async fn request(
        &mut self,
        via: Via,
        content: Request,
        publications: Publications<'_>,
    ) -> Result<Reply, Failure> {
        let message = Message::new(&self.id, content);
        let mut exchange = Exchange {
            codec: &self.codec,
            session: &self.id,
            kernel: &self.kernel,
            request: &message.header,
            publications,
            reply: None,
            idle: false,
            failure: None,
            stopping: None,
        };
        let sender = if via == Via::Shell { &self.ends.shell.sender } else { &self.ends.control.sender };
        let result = match exchange.send(sender, &message).await {
            Ok(()) => exchange.run(&mut self.ends, self.interrupts.clone()).await,
            Err(failure) => Err(failure),
        };
        match result {
            Err(Failure::Connection(error)) => Err(Failure::Connection(self.why_gone(error).await)),
            result => result,
        }
    }

    /// Names the reason when it was the kernel in this process that ended.
    async fn why_gone(&mut self, error: Error) -> Error {
        let Some(task) = self.embedded.take() else { return error };
        match timeout(CLOSE_PATIENCE, task).await {
            Ok(Ok(Err(reason))) => Error::from(reason).context(error),
            _ => error,
        }
    }

    /// Ends the conversation, and with it a kernel in this process.
    pub async fn close(self) {
        let ClientEnds { shell, control, stdin, iopub, heartbeat, closer } = self.ends;
        if timeout(CLOSE_PATIENCE, closer.close()).await.is_err() {
            warn!("the sockets did not close in time");
        }
        drop((shell, control, stdin, iopub, heartbeat));
        if let Some(task) = self.embedded
            && timeout(CLOSE_PATIENCE, task).await.is_err()
        {
            warn!("the kernel in this process did not end in time");
        }
    }
}

/// Reads the connection file of a kernel that is to be reached.
pub fn connection_file(path: &Path) -> Result<ConnectionFile, Failure> {
    // Opening a pipe would wait for whoever writes to it, and a device need not end.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Failure::Connection(anyhow!("the connection file `{}` is not a regular file", path.display())));
    }
    ConnectionFile::read(path).map_err(|error| Failure::Connection(error.into()))
}

/// Opens a kernel with the user's configuration, and shows the configuration's warnings.
pub fn open_kernel() -> Result<Kernel, Error> {
    let kernel = Kernel::open()?;
    for warning in kernel.warnings() {
        tell(&format!("warning: {warning}"));
    }
    Ok(kernel)
}

/// One request and what came of it so far.
struct Exchange<'a> {
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
}

/// An interrupted request's time.
#[derive(Clone, Copy)]
struct Stopping {
    /// When to interrupt it again.
    again: Instant,
    /// When to give up.
    deadline: Instant,
}

type Reading = Pin<Box<dyn Future<Output = io::Result<InputReply>> + Send>>;

impl Exchange<'_> {
    async fn run(&mut self, ends: &mut ClientEnds, mut interrupts: Interrupts) -> Result<Reply, Failure> {
        let ClientEnds { shell, control, stdin, iopub, heartbeat, .. } = ends;
        let mut silence = pin!(silence(heartbeat));
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
                    if let Err(failure) = self.publication(frames)? && self.stopping.is_none() {
                        self.failure = Some(failure);
                        self.interrupt(&control.sender).await?;
                    }
                }
                frames = shell.receiver.recv() => self.reply(frames)?,
                frames = control.receiver.recv() => self.reply(frames)?,
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
        let extension = InterruptExtension { request: self.request.msg_id.clone() };
        let request = Request::Interrupt(InterruptRequest { perilune: Some(extension) });
        self.send(control, &Message::new(self.session, request)).await
    }

    async fn send<C: Content>(&self, sender: &ChannelSender, message: &Message<C>) -> Result<(), Failure> {
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

/// Ends when the kernel gives no sign of life any more.
async fn silence(heartbeat: &mut Heartbeat) {
    loop {
        sleep(HEARTBEAT_INTERVAL).await;
        if !heartbeat.probe(HEARTBEAT_PATIENCE).await {
            return;
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

fn perilune_only(kernel: &str, info: KernelInfoReply) -> Result<KernelInfoReply, Error> {
    if info.implementation == "perilune" {
        return Ok(info);
    }
    Err(anyhow!("{kernel} is no Perilune kernel; start one with `perilune kernel start`"))
}

fn gone(kernel: &str) -> String {
    format!("{kernel} has ended")
}

/// Where a kernel's shell listens.
pub fn address(file: &ConnectionFile) -> String {
    format!("{}:{}", file.ip, file.shell_port)
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests {
    use perilune_protocol::{ExecuteRequest, in_process};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_makes_no_sense_is_not_quoted() {
        let (mut kernel, ends) = in_process();
        let mut session = Session {
            ends,
            codec: Codec::new("key"),
            id: new_id(),
            kernel: "the kernel of `a.json`".to_owned(),
            embedded: None,
            interrupts: Interrupts::listen().unwrap(),
        };
        let answering = async {
            let codec = Codec::new("key");
            let request: Message<Request> = codec.decode(kernel.shell.receiver.recv().await.unwrap()).unwrap();
            let content = json!({ "status": "ok", "execution_count": "a word of the prompt" });
            let reply = Reply::Unknown { msg_type: "execute_reply".to_owned(), content };
            let reply = Message { identities: request.identities, ..Message::child("kernel", &request.header, reply) };
            kernel.shell.sender.send(codec.encode(&reply).unwrap()).await.unwrap();
        };
        let request = Request::Execute(ExecuteRequest::new("1"));
        let mut ignore = |_| Ok(());
        let (result, ()) = tokio::join!(session.request(Via::Shell, request, &mut ignore), answering);
        let Err(Failure::Connection(error)) = result else { panic!("{result:?}") };
        let told = format!("{error:#}");
        assert!(
            told.starts_with("the kernel of `a.json` answers nonsense: invalid content of `execute_reply`"),
            "{told}"
        );
        assert!(!told.contains("prompt"), "{told}");
    }
}
