//! Ctrl-C: the first one asks the kernel to stop; one too many ends this process at once.

use std::io;
use std::process;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::tell;
use crate::input;

/// Whether the user wants to stop.
#[derive(Clone, Debug)]
pub struct Interrupts {
    sender: watch::Sender<Signals>,
    receiver: watch::Receiver<Signals>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Signals {
    /// How many since they were last forgiven.
    count: u32,
    /// One of them was SIGTERM, which is not forgiven.
    terminated: bool,
}

impl Interrupts {
    /// Takes SIGINT and SIGTERM over, for the rest of the process. SIGHUP keeps its meaning, so that `nohup` keeps its own.
    ///
    /// `bearable`: how many may come, unforgiven, before the next ends the process.
    pub fn listen(bearable: u32) -> io::Result<Interrupts> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        let mut signals = Vec::new();
        for kind in kinds {
            signals.push((kind, signal(kind)?));
        }
        let (sender, receiver) = watch::channel(Signals::default());
        for (kind, mut signal) in signals {
            let sender = sender.clone();
            tokio::spawn(async move {
                while signal.recv().await.is_some() {
                    sender.send_modify(|signals| {
                        signals.count += 1;
                        signals.terminated |= kind == SignalKind::terminate();
                    });
                    let count = sender.borrow().count;
                    if count > bearable {
                        input::show_typing();
                        process::exit(130);
                    }
                    if count > 1 {
                        tell("not stopped yet; Ctrl-C once more leaves at once");
                    }
                }
            });
        }
        Ok(Interrupts { sender, receiver })
    }

    /// Whether there was one.
    pub fn came(&self) -> bool {
        self.receiver.borrow().count > 0
    }

    /// Waits for one, if there was none yet.
    pub async fn wait(&mut self) {
        self.wait_until(|signals| signals.count > 0).await;
    }

    /// Waits until somebody else wants the process to end.
    pub async fn terminated(&mut self) {
        self.wait_until(|signals| signals.terminated).await;
    }

    /// Forgets those that came, because what they meant has ended.
    pub fn forgive(&self) {
        self.sender.send_modify(|signals| {
            if !signals.terminated {
                signals.count = 0;
            }
        });
    }

    async fn wait_until(&mut self, condition: impl FnMut(&Signals) -> bool) {
        if self.receiver.wait_for(condition).await.is_err() {
            // The listening tasks ended with the runtime, so nobody will interrupt.
            std::future::pending::<()>().await;
        }
    }
}
