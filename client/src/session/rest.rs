//! Between two requests: what the kernel publishes is taken off its hands, and its end is noticed.

use std::pin::pin;

use anyhow::anyhow;

use super::Session;
use super::exchange::silence;
use crate::failure::Failure;

impl Session {
    /// Hears the kernel while nothing is asked of it, and returns once it is gone. It may be dropped and called again at any time.
    ///
    /// A subscriber that does not read is in the kernel's way, and is dropped in the end.
    pub async fn rest(&mut self) -> Failure {
        let how = {
            let mut silence = pin!(silence(&mut self.ends.heartbeat));
            loop {
                tokio::select! {
                    frames = self.ends.iopub.recv() => if frames.is_none() { break "has ended" },
                    () = &mut silence => break "has died: it gives no sign of life any more",
                }
            }
        };
        let error = anyhow!("{} {how}", self.kernel);
        Failure::Connection(self.why_gone(error).await)
    }
}
