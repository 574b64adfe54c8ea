//! Counts the peers that were not let in, on every socket of a kernel: strangers without the right keys, and those that speak no ZeroMQ.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use omq_tokio::{MonitorEvent, MonitorRecvError, MonitorStream};

/// How the library's reason begins when a peer hung up by itself, as one does that only looks who is there.
const HUNG_UP: &str = "io error";

/// How many peers were turned away since the start.
#[derive(Clone, Debug, Default)]
pub(super) struct TurnedAway(Arc<AtomicU64>);

impl TurnedAway {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whoever tries again and again is told of ever more rarely.
    pub(super) fn add(&self, channel: &str, reason: &str) {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(channel, reason, count, "a peer was turned away");
        }
    }

    /// Counts what a socket turns away, until it is closed.
    pub(super) async fn watch(self, channel: &'static str, mut events: MonitorStream) {
        loop {
            match events.recv().await {
                Ok(MonitorEvent::HandshakeFailed { reason, .. }) if !reason.starts_with(HUNG_UP) => {
                    self.add(channel, &reason);
                }
                Ok(_) | Err(MonitorRecvError::Lagged(_)) => {}
                Err(_) => return,
            }
        }
    }
}
