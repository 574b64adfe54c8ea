//! Another kernel while it is connected: how it is found by its connection file, and how it is greeted.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use perilune_protocol::{
    ClientEnds, Codec, ConnectionFile, ConnectionFileError, Message, Publication, Reply, Request, TransportError, zmq,
};
use perilune_providers::{Error, ErrorKind, KernelAddress};
use tokio::task::spawn_blocking;
use tokio::time::{interval, timeout};
use uuid::Uuid;

use crate::{iopub, resident};

/// How long the sockets may take to open, and how long that and the greeting may take together.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
const GREETING_PATIENCE: Duration = Duration::from_secs(3);
/// How often the greeting is repeated until it is answered.
const GREETING_INTERVAL: Duration = Duration::from_millis(200);

/// The topic by which a kernel says that a subscription is live (JEP 65).
const WELCOME: &str = "iopub_welcome";

/// A kernel that answered.
pub(super) struct Peer {
    pub(super) ends: ClientEnds,
    pub(super) codec: Codec,
    /// The `session` of the headers that we send.
    pub(super) session: String,
    /// The `session` of the headers that it sends, by which one that was started anew is told from it.
    pub(super) kernel: String,
    /// What its connection file said.
    pub(super) file: ConnectionFile,
}

/// Whose connection file it is, for errors.
#[derive(Clone)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) address: Option<KernelAddress>,
}

impl Instance {
    pub(super) fn error(&self, kind: ErrorKind, problem: impl Into<String>) -> Error {
        Error::Elsewhere { instance: self.name.clone(), kind, problem: problem.into() }
    }

    /// Reads the connection file, which may be another one every time.
    pub(super) async fn connection_file(&self) -> Result<ConnectionFile, Error> {
        let instance = self.clone();
        let read = spawn_blocking(move || instance.read());
        read.await.unwrap_or_else(|error| Err(self.error(ErrorKind::Internal, error.to_string())))
    }

    fn read(&self) -> Result<ConnectionFile, Error> {
        let (path, advice) = match &self.address {
            Some(KernelAddress::File(path)) => {
                (path.clone(), "`connection_file` is the file that `perilune kernel start` writes there")
            }
            Some(KernelAddress::Resident) => {
                let path =
                    resident::connection_file().map_err(|e| self.error(ErrorKind::InvalidConfig, e.to_string()))?;
                (path, "no resident kernel runs; start one with `perilune kernel start --detach`")
            }
            None => return Err(self.error(ErrorKind::InvalidConfig, NO_FILE)),
        };
        // Opening a pipe would wait for whoever writes to it, and a device need not end.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            let problem = format!("the connection file `{}` is not a regular file; {advice}", path.display());
            return Err(self.error(ErrorKind::InvalidConfig, problem));
        }
        ConnectionFile::read(&path).map_err(|error| match error {
            ConnectionFileError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                self.error(ErrorKind::Network, format!("there is no connection file `{}`; {advice}", path.display()))
            }
            error => self.error(ErrorKind::InvalidConfig, format!("{error}; {advice}")),
        })
    }

    /// Connects to the kernel that the file describes, and waits until it answers and its events arrive.
    pub(super) async fn connect(&self, file: ConnectionFile) -> Result<Peer, Error> {
        let address = address(&file);
        match timeout(GREETING_PATIENCE, self.greet(file)).await {
            Ok(peer) => peer,
            Err(_) => Err(self.error(
                ErrorKind::Timeout,
                format!(
                    "the kernel at {address} did not answer within {} s; is the connection file older than it?",
                    GREETING_PATIENCE.as_secs()
                ),
            )),
        }
    }

    async fn greet(&self, file: ConnectionFile) -> Result<Peer, Error> {
        let session = Uuid::new_v4().to_string();
        let events = iopub::model_events_of(&session);
        // In this order, for the second subscription's welcome comes by the first.
        let topics = [Bytes::from_static(WELCOME.as_bytes()), events.clone()];
        let unreachable = |error: TransportError| self.error(ErrorKind::Network, error.to_string());
        let mut ends = zmq::connect_to(&file, &topics, CONNECT_PATIENCE).await.map_err(unreachable)?;
        let codec = Codec::new(&file.key);
        let closed = || self.error(ErrorKind::Network, format!("the kernel at {} has ended", address(&file)));
        let (mut kernel, mut hears) = (None, false);
        let mut again = interval(GREETING_INTERVAL);
        loop {
            if let Some(kernel) = kernel.take_if(|_| hears) {
                return Ok(Peer { ends, codec, session, kernel, file });
            }
            tokio::select! {
                _ = again.tick() => {
                    let hello = codec.encode(&Message::new(&session, Request::KernelInfo));
                    let hello = hello.map_err(|error| self.error(ErrorKind::Internal, error.to_string()))?;
                    ends.control.sender.send(hello).await.map_err(|_| closed())?;
                }
                frames = ends.control.receiver.recv() => {
                    let Ok(message) = codec.decode::<Reply>(frames.ok_or_else(closed)?) else { continue };
                    if let Reply::KernelInfo(info) = message.content {
                        if info.implementation != "perilune" {
                            let problem = format!("at {} is no Perilune kernel, but `{}`", address(&file), info.implementation);
                            return Err(self.error(ErrorKind::InvalidConfig, problem));
                        }
                        kernel = Some(message.header.session);
                    }
                }
                frames = ends.iopub.recv() => {
                    let Ok(message) = codec.decode::<Publication>(frames.ok_or_else(closed)?) else { continue };
                    if let Publication::IopubWelcome(welcome) = message.content {
                        hears |= welcome.subscription.as_bytes() == events;
                    }
                }
            }
        }
    }
}

const NO_FILE: &str = "no `connection_file` is set: name the other kernel's in your own configuration, or `resident` for \
                       your resident kernel; a project's counts only in folders that you trust";

/// Where a kernel's shell listens.
pub(super) fn address(file: &ConnectionFile) -> String {
    format!("{}:{}", file.ip, file.shell_port)
}
