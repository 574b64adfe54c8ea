//! A pull that the server does, told as the store's own pulls are.

use std::collections::HashMap;
use std::time::Instant;

use futures::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;

use super::ProgressStream;
use crate::error::Error;
use crate::pull::{Gauge, PullError, PullEvent, PullStage, PullStream, Pulled};
use crate::specifier::ModelSpecifier;

/// How far it is.
struct Pulling {
    steps: ProgressStream,
    cancel: CancellationToken,
    model: String,
    specifier: ModelSpecifier,
    /// The layer that comes now.
    layer: Option<(String, Gauge)>,
    /// Bytes of every layer.
    layers: HashMap<String, u64>,
    /// Whether anything had to come.
    came: bool,
    over: bool,
}

/// The steps of a pull of `model` as events.
pub(super) fn pull(
    steps: ProgressStream,
    model: &str,
    specifier: ModelSpecifier,
    cancel: CancellationToken,
) -> PullStream {
    let pulling = Pulling {
        steps,
        cancel,
        model: model.to_owned(),
        specifier,
        layer: None,
        layers: HashMap::new(),
        came: false,
        over: false,
    };
    stream::unfold(pulling, |mut pulling| async move { Some((pulling.next().await?, pulling)) }).boxed()
}

impl Pulling {
    async fn next(&mut self) -> Option<Result<PullEvent, Error>> {
        if self.over {
            return None;
        }
        loop {
            let step = tokio::select! {
                step = self.steps.next() => step,
                () = self.cancel.cancelled() => Some(Err(PullError::Cancelled.into())),
            };
            let progress = match step {
                Some(Ok(progress)) => progress,
                Some(Err(error)) => {
                    self.over = true;
                    return Some(Err(error));
                }
                None => {
                    self.over = true;
                    return Some(Ok(PullEvent::Done(Box::new(self.pulled()))));
                }
            };
            let (Some(digest), Some(total)) = (progress.digest, progress.total) else { continue };
            let completed = progress.completed.unwrap_or_default();
            self.came |= completed < total;
            self.layers.insert(digest.clone(), total);
            if self.layer.as_ref().is_none_or(|(layer, _)| *layer != digest) {
                self.layer = Some((digest.clone(), Gauge::new(PullStage::Downloading, &digest, Some(total))));
            }
            let gauge = self.layer.as_mut().map(|(_, gauge)| gauge);
            if let Some(told) = gauge.and_then(|gauge| gauge.at(Instant::now(), completed)) {
                return Some(Ok(PullEvent::Progress(told)));
            }
        }
    }

    fn pulled(&self) -> Pulled {
        Pulled {
            name: self.model.clone(),
            specifier: Some(self.specifier.clone()),
            size_bytes: self.layers.values().sum(),
            stored: None,
            was_there: !self.came,
        }
    }
}
