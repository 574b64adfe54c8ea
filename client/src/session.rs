//! One conversation with a kernel, whether it is in this process or not: a request goes out, what it causes comes in, until both
//! its reply and its `idle` are there.

mod exchange;
mod greeting;
mod rest;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, anyhow};
use perilune_kernel::{Kernel, Shutdown};
use perilune_protocol::{
    ClientEnds, Codec, ConnectionFile, KernelInfoReply, Message, Publication, Reply, Request, zmq,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, warn};
use uuid::Uuid;

use self::exchange::Exchange;
use crate::failure::{Failure, tell};
use crate::interrupts::Interrupts;

/// How long the sockets of a kernel may take to open.
const CONNECT_PATIENCE: Duration = Duration::from_secs(4);
/// How long an embedded kernel, or what was sent last, may take to go.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

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
            None => Ok(Session::embed(open_kernel().map_err(Failure::Usage)?, interrupts)),
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
        let ends = zmq::connect(&file, CONNECT_PATIENCE).await;
        let ends = ends.with_context(|| format!("cannot reach {kernel}")).map_err(Failure::Connection)?;
        let codec = Codec::new(&file.key);
        let mut session = Session { ends, codec, id: new_id(), kernel, embedded: None, interrupts: interrupts.clone() };
        let info = session.greet(&file).await.map_err(Failure::Connection)?;
        debug!("connected");
        Ok((session, info))
    }

    /// Opens a conversation with a kernel in this process.
    pub fn embed(kernel: Kernel, interrupts: &Interrupts) -> Session {
        let embedded = kernel.embed();
        Session {
            ends: embedded.ends,
            codec: embedded.codec,
            id: new_id(),
            kernel: "the kernel in this process".to_owned(),
            embedded: Some(embedded.task),
            interrupts: interrupts.clone(),
        }
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
        let mut exchange = Exchange::new(&self.codec, &self.id, &self.kernel, &message.header, publications);
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
        let ClientEnds { shell, control, stdin, iopub, heartbeat, reconnections, closer } = self.ends;
        if timeout(CLOSE_PATIENCE, closer.close()).await.is_err() {
            warn!("the sockets did not close in time");
        }
        drop((shell, control, stdin, iopub, heartbeat, reconnections));
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
            interrupts: Interrupts::listen(1).unwrap(),
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
