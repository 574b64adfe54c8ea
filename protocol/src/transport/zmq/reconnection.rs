//! Tells when a client's connection broke and is back: what was published in between is lost, and so may be what was on its way.

use std::time::Duration;

use omq_tokio::options::ReconnectPolicy;
use omq_tokio::{MonitorEvent, MonitorRecvError, MonitorStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// How long a client waits before it connects again: twice as long each time.
pub(super) const POLICY: ReconnectPolicy =
    ReconnectPolicy::Exponential { min: Duration::from_millis(20), max: Duration::from_secs(1) };

/// The reconnections of all channels.
#[derive(Debug)]
pub(in crate::transport) struct Reconnections {
    count: watch::Receiver<u64>,
    _watching: Vec<AbortOnDropHandle<()>>,
}

impl Reconnections {
    /// Watches sockets that are connected.
    pub(super) fn of(sockets: impl IntoIterator<Item = MonitorStream>) -> Reconnections {
        let (sender, count) = watch::channel(0);
        let watching =
            sockets.into_iter().map(|events| AbortOnDropHandle::new(tokio::spawn(watch(events, sender.clone()))));
        Reconnections { _watching: watching.collect(), count }
    }

    pub(in crate::transport) async fn recv(&mut self) {
        if self.count.changed().await.is_err() {
            // The sockets are closed, so none will come back.
            std::future::pending::<()>().await;
        }
    }
}

async fn watch(mut events: MonitorStream, count: watch::Sender<u64>) {
    let mut broken = false;
    loop {
        match events.recv().await {
            Ok(MonitorEvent::Disconnected { .. }) => broken = true,
            Ok(MonitorEvent::HandshakeSucceeded { .. }) if broken => {
                broken = false;
                count.send_modify(|count| *count += 1);
            }
            Ok(_) => {}
            Err(MonitorRecvError::Closed) => return,
            // One of those that were missed may have been it.
            Err(_) => count.send_modify(|count| *count += 1),
        }
    }
}
