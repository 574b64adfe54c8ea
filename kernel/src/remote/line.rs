//! The task that owns an instance's connection: opens it when somebody asks, sends requests and takes them back, hands out what comes,
//! and notices within seconds when the other kernel is lost. While nothing is asked it sleeps.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use perilune_protocol::{
    CancelRequest, ConnectionFile, DecodeError, Frames, Message, ModelEvent, ModelRequest, Publication, Reply, Request,
};
use perilune_providers::{Error, ErrorKind};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::link::{Answer, Ask, Command};
use super::peer::{Instance, Peer, address};
use crate::convert::elsewhere;

/// How long after its last message a kernel that owes an answer is asked for a sign of life, and how long that may take. Together they
/// bound the time until a lost kernel is noticed.
const SILENCE: Duration = Duration::from_millis(500);
const SIGN_PATIENCE: Duration = Duration::from_secs(3);
/// A connection on which nothing came for this long is looked at before it is used again.
const FRESH: Duration = Duration::from_secs(1);
/// How long a message may take to leave.
const SEND_PATIENCE: Duration = Duration::from_secs(1);
/// After a failed attempt the next one waits, at first this long, then twice as long every time up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The task of one instance.
pub(super) struct Line {
    instance: Instance,
    /// What this kernel's own messages bear.
    myself: String,
    commands: mpsc::UnboundedReceiver<Command>,
    stop: CancellationToken,
    failed: Option<Failed>,
}

/// The last attempt, if it failed: who asks before `until` gets the same answer, unless the file is another one by then.
struct Failed {
    file: ConnectionFile,
    error: Error,
    until: Instant,
    pause: Duration,
}

impl Line {
    pub(super) fn new(
        instance: Instance,
        myself: String,
        commands: mpsc::UnboundedReceiver<Command>,
        stop: CancellationToken,
    ) -> Line {
        Line { instance, myself, commands, stop, failed: None }
    }

    /// Serves requests until this kernel ends.
    pub(super) async fn run(mut self) {
        let mut waiting = None;
        loop {
            let ask = match waiting.take() {
                Some(ask) => ask,
                None => match self.command().await {
                    None => return,
                    Some(Command::Forget(_)) => continue,
                    Some(Command::Ask(ask)) => ask,
                },
            };
            let connected = tokio::select! {
                connected = Self::connect(&self.instance, &mut self.failed) => connected,
                () = self.stop.cancelled() => return,
            };
            match connected {
                Ok(peer) => waiting = self.serve(peer, ask).await,
                Err(error) => self.refuse(ask, &error),
            }
        }
    }

    /// The next command; `None` once this kernel ends.
    async fn command(&mut self) -> Option<Command> {
        tokio::select! {
            biased;
            command = self.commands.recv() => command,
            () = self.stop.cancelled() => None,
        }
    }

    async fn connect(instance: &Instance, failed: &mut Option<Failed>) -> Result<Peer, Error> {
        let file = instance.connection_file().await?;
        let last = failed.as_ref().filter(|failed| failed.file == file);
        if let Some(last) = last.filter(|last| Instant::now() < last.until) {
            return Err(last.error.clone());
        }
        let pause = last.map_or(FIRST_PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
        let result = instance.connect(file.clone()).await;
        match &result {
            Ok(peer) => {
                tracing::info!(instance = instance.name, address = address(&peer.file), "connected to a kernel");
                *failed = None;
            }
            Err(error) => {
                tracing::warn!(%error, "another kernel cannot be reached");
                *failed = Some(Failed { file, error: error.clone(), until: Instant::now() + pause, pause });
            }
        }
        result
    }

    /// Refuses a request, and those that came while it was tried.
    fn refuse(&mut self, ask: Box<Ask>, error: &Error) {
        let _ = ask.reply.send(Err(error.clone()));
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Ask(ask) = command {
                let _ = ask.reply.send(Err(error.clone()));
            }
        }
    }

    /// Serves requests over one connection until it is lost or this kernel ends. Returns a request that wants another connection.
    async fn serve(&mut self, peer: Peer, first: Box<Ask>) -> Option<Box<Ask>> {
        let is_myself = peer.kernel == self.myself;
        let mut connection = Connection {
            instance: &self.instance,
            peer,
            is_myself,
            pending: BTreeMap::new(),
            numbers: BTreeMap::new(),
            heard: Instant::now(),
            sign_due: None,
        };
        let end = connection.run(&mut self.commands, &self.stop, first).await;
        connection.close(&end).await;
        match end {
            End::Stale(ask) => Some(ask),
            End::Lost(_) | End::Stopped => None,
        }
    }
}

/// Why a connection is given up.
enum End {
    /// This kernel ends, or the instance does.
    Stopped,
    /// The other kernel is gone; what it owed is answered with this.
    Lost(Error),
    /// It was gone before this request, which nothing is wrong with.
    Stale(Box<Ask>),
}

/// One connection and what is under way on it.
struct Connection<'a> {
    instance: &'a Instance,
    peer: Peer,
    is_myself: bool,
    /// By message id.
    pending: BTreeMap<String, Pending>,
    /// The message ids, by the numbers that the handles know.
    numbers: BTreeMap<u64, String>,
    /// When the other kernel was last heard of.
    heard: Instant,
    /// Until when it has to give the sign of life that it was asked for.
    sign_due: Option<Instant>,
}

struct Pending {
    number: u64,
    /// None once events were left out.
    events: Option<mpsc::Sender<ModelEvent>>,
    reply: oneshot::Sender<Result<Answer, Error>>,
}

impl Connection<'_> {
    async fn run(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        stop: &CancellationToken,
        first: Box<Ask>,
    ) -> End {
        if let ControlFlow::Break(end) = self.send_ask(first).await {
            return end;
        }
        loop {
            let watch = self.sign_due.unwrap_or(self.heard + SILENCE);
            let step = tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Ask(ask)) => self.ask(ask).await,
                    Some(Command::Forget(number)) => self.forget(number).await,
                    None => ControlFlow::Break(End::Stopped),
                },
                () = stop.cancelled() => ControlFlow::Break(End::Stopped),
                frames = self.peer.ends.control.receiver.recv() => self.reply(frames),
                frames = self.peer.ends.iopub.recv() => self.event(frames),
                () = sleep_until(watch), if !self.pending.is_empty() => self.watch().await,
            };
            if let ControlFlow::Break(end) = step {
                return end;
            }
        }
    }

    async fn ask(&mut self, ask: Box<Ask>) -> ControlFlow<End> {
        // While something is under way, the kernel is watched anyway.
        if self.pending.is_empty() && self.heard.elapsed() > FRESH && !self.is_there().await {
            return ControlFlow::Break(End::Stale(ask));
        }
        self.send_ask(ask).await
    }

    /// Whether this is still the kernel that the connection file describes, and it answers.
    async fn is_there(&mut self) -> bool {
        if !self.instance.connection_file().await.is_ok_and(|file| file == self.peer.file) {
            return false;
        }
        if self.send(Request::KernelInfo).await.is_break() {
            return false;
        }
        let answered = async {
            while let Some(frames) = self.peer.ends.control.receiver.recv().await {
                // Anything will do that is not of a kernel that was started anew.
                if let Ok(message) = self.peer.codec.decode::<Reply>(frames) {
                    return message.header.session == self.peer.kernel;
                }
            }
            false
        };
        let there = timeout(FRESH, answered).await.unwrap_or(false);
        self.heard = Instant::now();
        there
    }

    async fn send_ask(&mut self, ask: Box<Ask>) -> ControlFlow<End> {
        let Ask { number, request, events, reply } = *ask;
        if reply.is_closed() {
            return ControlFlow::Continue(());
        }
        let mut message = Message::new(&self.peer.session, Request::Model(request));
        message.metadata = super::metadata();
        let id = message.header.msg_id.clone();
        let frames = match self.peer.codec.encode(&message) {
            Ok(frames) => frames,
            Err(error) => {
                let _ = reply.send(Err(self.instance.error(ErrorKind::InvalidRequest, error.to_string())));
                return ControlFlow::Continue(());
            }
        };
        if self.pending.is_empty() {
            self.heard = Instant::now();
            self.sign_due = None;
        }
        self.numbers.insert(number, id.clone());
        self.pending.insert(id, Pending { number, events: Some(events), reply });
        self.send_frames(frames).await
    }

    /// Takes a request back. It is the same socket that brought it, so it is there before this is.
    async fn forget(&mut self, number: u64) -> ControlFlow<End> {
        let Some(id) = self.numbers.remove(&number) else { return ControlFlow::Continue(()) };
        self.pending.remove(&id);
        self.send(Request::Model(ModelRequest::Cancel(CancelRequest { request: id }))).await
    }

    /// Asks a kernel that owes an answer and is silent for a sign of life, and gives it up if it gives none.
    async fn watch(&mut self) -> ControlFlow<End> {
        if self.sign_due.is_some() {
            return self.lost(&format!("gave no sign of life for {} s", SIGN_PATIENCE.as_secs()));
        }
        self.sign_due = Some(Instant::now() + SIGN_PATIENCE);
        self.send(Request::KernelInfo).await
    }

    async fn send(&self, request: Request) -> ControlFlow<End> {
        match self.peer.codec.encode(&Message::new(&self.peer.session, request)) {
            Ok(frames) => self.send_frames(frames).await,
            Err(error) => self.lost(&format!("could not be asked: {error}")),
        }
    }

    async fn send_frames(&self, frames: Frames) -> ControlFlow<End> {
        match timeout(SEND_PATIENCE, self.peer.ends.control.sender.send(frames)).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) => self.lost("has ended"),
            Err(_) => self.lost("takes no more messages"),
        }
    }

    fn reply(&mut self, frames: Option<Frames>) -> ControlFlow<End> {
        let Some(frames) = frames else { return self.lost("has ended") };
        let message = match self.peer.codec.decode::<Reply>(frames) {
            Ok(message) => message,
            // Without it the request that it answers would never be done; and its source quotes what came.
            Err(error @ DecodeError::InvalidContent { .. }) => return self.lost(&format!("answers nonsense: {error}")),
            Err(error) => {
                tracing::warn!(%error, "a reply of another kernel was dropped");
                return ControlFlow::Continue(());
            }
        };
        if message.header.session != self.peer.kernel {
            return self.lost("was started anew");
        }
        self.hear();
        let request = message.parent_header.map(|parent| parent.msg_id).unwrap_or_default();
        let Some(pending) = self.pending.remove(&request) else { return ControlFlow::Continue(()) };
        self.numbers.remove(&pending.number);
        let reply = match message.content {
            Reply::Model(reply) => Ok(Answer { reply, address: address(&self.peer.file), is_myself: self.is_myself }),
            Reply::Error { error, .. } => Err(elsewhere::error(&self.instance.name, error)),
            _ => Err(self.instance.error(ErrorKind::Internal, "it answered something else than was asked")),
        };
        let _ = pending.reply.send(reply);
        ControlFlow::Continue(())
    }

    fn event(&mut self, frames: Option<Frames>) -> ControlFlow<End> {
        let Some(frames) = frames else { return self.lost("has ended") };
        let message = match self.peer.codec.decode::<Publication>(frames) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, "an event of another kernel was dropped");
                return ControlFlow::Continue(());
            }
        };
        let Publication::ModelEvent(event) = message.content else { return ControlFlow::Continue(()) };
        self.hear();
        let request = message.parent_header.map(|parent| parent.msg_id).unwrap_or_default();
        if let Some(pending) = self.pending.get_mut(&request)
            && pending.events.as_ref().is_some_and(|events| events.try_send(event).is_err())
        {
            // What is read of the answer so far stays a beginning of it, which the reply completes.
            pending.events = None;
        }
        ControlFlow::Continue(())
    }

    fn hear(&mut self) {
        self.heard = Instant::now();
        self.sign_due = None;
    }

    fn lost(&self, how: &str) -> ControlFlow<End> {
        let problem = format!("the kernel at {} {how}; the request is lost, ask again", address(&self.peer.file));
        ControlFlow::Break(End::Lost(self.instance.error(ErrorKind::Network, problem)))
    }

    /// Tells whoever waits, and the other kernel if it is there.
    async fn close(mut self, end: &End) {
        if matches!(end, End::Stopped) {
            for request in std::mem::take(&mut self.numbers).into_values() {
                if self.send(Request::Model(ModelRequest::Cancel(CancelRequest { request }))).await.is_break() {
                    break;
                }
            }
        }
        if let End::Lost(error) = end {
            tracing::warn!(%error, "another kernel is lost");
            for (_, pending) in std::mem::take(&mut self.pending) {
                let _ = pending.reply.send(Err(error.clone()));
            }
        }
        let closing = self.peer.ends.closer.close();
        match end {
            End::Stopped => closing.await,
            // It lingers for whoever is not there, which the next request need not wait for.
            End::Lost(_) | End::Stale(_) => drop(tokio::spawn(closing)),
        }
    }
}
