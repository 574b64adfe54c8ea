//! Between two requests: what the kernel publishes is taken off its hands, and its end is noticed.

use std::cell::Cell;
use std::pin::pin;

use anyhow::anyhow;
use tokio::time::Instant;

use super::Session;
use super::exchange::silence;
use crate::failure::Failure;

impl Session {
    /// Hears the kernel while nothing is asked of it, and returns once it is gone. It may be dropped and called again at any time.
    ///
    /// A subscriber that does not read is in the kernel's way, and is dropped in the end.
    pub async fn rest(&mut self) -> Failure {
        let how = {
            let heard = Cell::new(Instant::now());
            let mut silence = pin!(silence(&mut self.ends.heartbeat, &heard));
            loop {
                tokio::select! {
                    frames = self.ends.iopub.recv() => {
                        if frames.is_none() {
                            break "has ended";
                        }
                        heard.set(Instant::now());
                    }
                    () = &mut silence => break "has died: it gives no sign of life any more",
                }
            }
        };
        let error = anyhow!("{} {how}", self.kernel);
        Failure::Connection(self.why_gone(error).await)
    }
}
