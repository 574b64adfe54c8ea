//! A pull that the server does, told as the store's own pulls are.

use std::collections::HashMap;
use std::time::Instant;

use futures::stream::{self, StreamExt};
use tokio_util::sync::CancellationToken;

use super::{OllamaClient, ProgressStream};
use crate::error::{Error, ErrorKind};
use crate::pull::{Gauge, PullError, PullEvent, PullStage, PullStream, Pulled};
use crate::specifier::ModelSpecifier;

/// So much of a digest, `sha256:` included, tells one layer from the others; Ollama's own words have as many digits.
const DIGEST_SHOWN: usize = 19;

/// How far it is.
struct Pulling {
    client: OllamaClient,
    steps: ProgressStream,
    cancel: CancellationToken,
    model: String,
    /// What its name meant before, once that was asked.
    before: Option<Option<String>>,
    specifier: ModelSpecifier,
    /// The layer that comes now.
    layer: Option<(String, Gauge)>,
    /// Bytes of every layer.
    layers: HashMap<String, u64>,
    over: bool,
}

/// The steps of a pull of `model` as events.
pub(super) fn pull(
    client: &OllamaClient,
    steps: ProgressStream,
    model: &str,
    specifier: ModelSpecifier,
    cancel: CancellationToken,
) -> PullStream {
    let pulling = Pulling {
        client: client.clone(),
        steps,
        cancel,
        model: model.to_owned(),
        before: None,
        specifier,
        layer: None,
        layers: HashMap::new(),
        over: false,
    };
    stream::unfold(pulling, |mut pulling| async move { Some((pulling.next().await?, pulling)) }).boxed()
}

impl Pulling {
    /// The next of its events; an error and the last one end it.
    async fn next(&mut self) -> Option<Result<PullEvent, Error>> {
        if self.over {
            return None;
        }
        let cancel = self.cancel.clone();
        let told = tokio::select! {
            told = self.told() => told,
            () = cancel.cancelled() => Err(PullError::Cancelled.into()),
        };
        self.over = !matches!(told, Ok(PullEvent::Progress(_)));
        Some(told)
    }

    /// Ollama's words for a name that its registry does not know speak of a file.
    fn explained(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::ModelNotFound {
            return error;
        }
        let problem =
            format!("its registry has no model `{}`; known ones are on https://ollama.com/library", self.model);
        self.client.error(ErrorKind::ModelNotFound, problem)
    }

    async fn told(&mut self) -> Result<PullEvent, Error> {
        if self.before.is_none() {
            self.before = Some(self.client.digest(&self.model).await?);
        }
        while let Some(progress) = self.steps.next().await.transpose().map_err(|error| self.explained(error))? {
            let (Some(digest), Some(total)) = (progress.digest, progress.total) else { continue };
            self.layers.insert(digest.clone(), total);
            if self.layer.as_ref().is_none_or(|(layer, _)| *layer != digest) {
                let shown: String = digest.chars().take(DIGEST_SHOWN).collect();
                self.layer = Some((digest, Gauge::new(PullStage::Downloading, &shown, Some(total))));
            }
            let gauge = self.layer.as_mut().map(|(_, gauge)| gauge);
            let completed = progress.completed.unwrap_or_default();
            if let Some(told) = gauge.and_then(|gauge| gauge.at(Instant::now(), completed)) {
                return Ok(PullEvent::Progress(told));
            }
        }
        let now = self.client.digest(&self.model).await?;
        Ok(PullEvent::Done(Box::new(Pulled {
            name: self.model.clone(),
            specifier: Some(self.specifier.clone()),
            size_bytes: self.layers.values().sum(),
            stored: None,
            was_there: now.is_some() && self.before.as_ref() == Some(&now),
        })))
    }
}
