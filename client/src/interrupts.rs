//! Ctrl-C: the first one asks the kernel to stop, the second one ends this process at once.

use std::io;
use std::process;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::input;

/// Whether the user wants to stop.
#[derive(Clone, Debug)]
pub struct Interrupts(watch::Receiver<bool>);

impl Interrupts {
    /// Takes SIGINT and SIGTERM over, for the rest of the process. SIGHUP keeps its meaning, so that `nohup` keeps its own.
    pub fn listen() -> io::Result<Interrupts> {
        let mut signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        for signal in &mut signals {
            if let Err(error) = signal {
                return Err(io::Error::new(error.kind(), error.to_string()));
            }
        }
        let (sender, receiver) = watch::channel(false);
        for mut signal in signals.into_iter().flatten() {
            let sender = sender.clone();
            tokio::spawn(async move {
                while signal.recv().await.is_some() {
                    if sender.send_replace(true) {
                        input::show_typing();
                        process::exit(130);
                    }
                }
            });
        }
        Ok(Interrupts(receiver))
    }

    /// Whether there was one.
    pub fn came(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for one, if there was none yet.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|came| *came).await.is_err() {
            // The listening tasks ended with the runtime, so nobody will interrupt.
            std::future::pending::<()>().await;
        }
    }
}
