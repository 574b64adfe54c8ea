//! What generations took, by model: counted where their events pass by, and kept as long as its owner.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use perilune_engine::{Event, Usage};
use serde::{Deserialize, Serialize};

use crate::provider::EventStream;

/// Counts what the generations of one owner took, such as a notebook's.
#[derive(Debug, Default)]
pub struct Ledger {
    models: Mutex<BTreeMap<String, Spent>>,
}

/// What the generations of one model took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Generations that ended, however they did.
    pub requests: u64,
    /// Those among them that ended before they told their tokens, which are not in the sums.
    pub untold: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of the prompts that were known from an earlier request.
    pub cached_tokens: u64,
    /// Tokens they generated.
    pub completion_tokens: u64,
    /// From request to end, loading included.
    pub duration: Duration,
}

impl Ledger {
    /// Passes the events of a generation of `model` (its canonical specifier) on, and counts them.
    pub fn watch(self: &Arc<Ledger>, model: String, events: EventStream) -> EventStream {
        Watched { ledger: Arc::clone(self), model, started: Instant::now(), usage: None, events }.boxed()
    }

    /// What every model took, by specifier.
    pub fn spent(&self) -> BTreeMap<String, Spent> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, model: &str, usage: Option<Usage>, duration: Duration) {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = models.entry(model.to_owned()).or_default();
        spent.requests += 1;
        spent.untold += u64::from(usage.is_none());
        spent.duration += duration;
        if let Some(usage) = usage {
            spent.prompt_tokens += u64::from(usage.prompt_tokens);
            spent.cached_tokens += u64::from(usage.cached_tokens);
            spent.completion_tokens += u64::from(usage.completion_tokens);
        }
    }
}

/// A generation's events on their way; its end is when it is dropped.
struct Watched {
    ledger: Arc<Ledger>,
    model: String,
    started: Instant,
    usage: Option<Usage>,
    events: EventStream,
}

impl Stream for Watched {
    type Item = <EventStream as Stream>::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = self.events.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(Event::Usage(usage)))) = &event {
            self.usage = Some(*usage);
        }
        event
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.ledger.add(&self.model, self.usage, self.started.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn usage(prompt_tokens: u32, completion_tokens: u32) -> Event {
        Event::Usage(Usage { prompt_tokens, completion_tokens, ..Usage::default() })
    }

    #[tokio::test]
    async fn what_is_told_is_summed_and_what_is_not_is_counted() {
        let ledger = Arc::new(Ledger::default());
        for events in [vec![Event::Text("a".into()), usage(3, 2)], vec![usage(5, 1)], vec![Event::Text("a".into())]] {
            let mut watched = ledger.watch("local/m@i".to_owned(), stream::iter(events).map(Ok).boxed());
            while watched.next().await.is_some() {}
        }
        let spent = ledger.spent()["local/m@i"];
        assert_eq!((spent.requests, spent.untold, spent.prompt_tokens, spent.completion_tokens), (3, 1, 8, 3));
    }
}
