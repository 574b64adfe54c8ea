//! The first words with a kernel elsewhere: it answers, it is one of ours, and what it publishes arrives.

use std::time::Duration;

use anyhow::{Context, Error, anyhow};
use perilune_protocol::{ConnectionFile, KernelInfoReply, Message, Publication, Reply, Request};
use tokio::time::{Instant, interval, sleep_until};
use tracing::{debug, warn};

use super::{Session, address};

/// How long a kernel may take to answer its first question.
const GREETING_PATIENCE: Duration = Duration::from_secs(4);
/// How often the first question is repeated until it is seen on iopub too, where a subscription takes effect a little late.
const GREETING_INTERVAL: Duration = Duration::from_millis(200);

impl Session {
    /// Waits until the kernel answers, and until what it publishes arrives.
    pub(super) async fn greet(&mut self, file: &ConnectionFile) -> Result<KernelInfoReply, Error> {
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
