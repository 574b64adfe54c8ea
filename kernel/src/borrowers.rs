//! The kernels that borrow this one's models: what they asked for ends when they are gone, however they went.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use perilune_protocol::Departures;
use tokio_util::sync::CancellationToken;

use crate::dispatch::Asker;
use crate::kernel::Context;

/// Kernels beyond this many are not watched: what they ask for goes on to its end.
const WATCHED: usize = 1024;

/// Those that asked for something, by the identity of their connection.
#[derive(Default)]
pub(crate) struct Borrowers(Mutex<HashMap<Bytes, CancellationToken>>);

impl Borrowers {
    /// Ends when whoever asks is gone, if that is a kernel, and with this kernel, whose token is `stop`.
    pub(crate) fn life(&self, asker: &Asker, stop: &CancellationToken) -> CancellationToken {
        let Some(identity) = asker.identities.first().filter(|_| asker.is_kernel) else { return stop.clone() };
        self.with(|borrowers| match borrowers.get(identity) {
            Some(life) => life.clone(),
            None if borrowers.len() >= WATCHED => stop.clone(),
            None => borrowers.entry(identity.clone()).or_insert(stop.child_token()).clone(),
        })
    }

    fn with<R>(&self, change: impl FnOnce(&mut HashMap<Bytes, CancellationToken>) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends what kernels asked for that are gone, until this one stops.
pub(crate) async fn watch(context: Arc<Context>, mut departures: Departures) {
    loop {
        let gone = tokio::select! {
            gone = departures.recv() => gone,
            () = context.stop.cancelled() => return,
        };
        let Some(identity) = gone else { return };
        if let Some(life) = context.borrowers.with(|borrowers| borrowers.remove(&identity)) {
            tracing::info!("a kernel that borrowed models is gone");
            life.cancel();
        }
    }
}
