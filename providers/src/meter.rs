//! One attempt to have a model answer, on its way: its events are timed and counted against the budgets that apply, and what it
//! took is written down at its end, however that comes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use futures::stream::{self, Stream, StreamExt};
use perilune_engine::{Event, Usage};

use crate::budget::{Account, Amount};
use crate::error::Error;
use crate::ledger::{Entry, Ledger};
use crate::prices::Price;
use crate::provider::{EventStream, ProviderType};
use crate::registry::Resolved;
use crate::tally::Tally;

/// Where it is written down what attempts of one request take.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    pub(crate) session: String,
    /// Of whoever asks.
    pub(crate) tally: Option<Arc<Tally>>,
    /// Of the user.
    pub(crate) ledger: Option<Arc<Ledger>>,
    /// Whether another kernel asks.
    pub(crate) lent: bool,
}

impl Meter {
    /// Fails if a budget leaves nothing to ask `model` with.
    pub(crate) async fn check(&self, model: &Resolved) -> Result<(), Error> {
        if let Some(ledger) = &self.ledger {
            ledger.refresh_day().await;
        }
        self.accounts(model.provider.provider_type()).try_for_each(Account::check)
    }

    /// Passes the events of an attempt on.
    pub(crate) fn watch(self, model: &Resolved, price: Option<Price>, events: EventStream) -> EventStream {
        let attempt = Attempt {
            model: model.specifier.to_string(),
            instance: model.provider.name().to_owned(),
            provider_type: model.provider.provider_type(),
            meter: self,
            price,
            at: SystemTime::now(),
            started: Instant::now(),
            first_token: None,
            pieces: 0,
            usage: None,
            outcome: "cancelled",
            told: VecDeque::new(),
            events,
        };
        attempt.boxed()
    }

    /// The budgets that apply to an instance: what is borrowed of another kernel counts there by the day.
    fn accounts(&self, provider_type: ProviderType) -> impl Iterator<Item = &Account> {
        let run = self.tally.as_ref().map(|tally| &tally.run);
        let day = self.ledger.as_ref().map(|ledger| &ledger.day);
        run.into_iter().chain(day.filter(|_| provider_type != ProviderType::Kernel))
    }
}

/// An attempt under way; its end is when it is dropped.
struct Attempt {
    meter: Meter,
    model: String,
    instance: String,
    provider_type: ProviderType,
    price: Option<Price>,
    at: SystemTime,
    started: Instant,
    first_token: Option<Duration>,
    /// Pieces of the answer, about as many as tokens.
    pieces: u32,
    usage: Option<Usage>,
    outcome: &'static str,
    told: VecDeque<Event>,
    events: EventStream,
}

impl Stream for Attempt {
    type Item = <EventStream as Stream>::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(event) = self.told.pop_front() {
            return Poll::Ready(Some(Ok(event)));
        }
        let event = ready!(self.events.poll_next_unpin(context));
        match &event {
            Some(Ok(Event::Text(_) | Event::Thinking(_) | Event::ToolCall(_))) => {
                if let Err(error) = self.piece() {
                    self.outcome = error.kind().as_str();
                    // Dropping what comes ends it over there.
                    self.events = stream::empty().boxed();
                    return Poll::Ready(Some(Err(error)));
                }
            }
            Some(Ok(Event::Usage(usage))) if self.usage.is_none() => {
                self.settle(Some(*usage));
                let warnings: Vec<_> = self.meter.accounts(self.provider_type).filter_map(Account::warning).collect();
                if !warnings.is_empty() {
                    self.told.extend(warnings.into_iter().map(Event::Budget).chain([Event::Usage(*usage)]));
                    return Poll::Ready(self.told.pop_front().map(Ok));
                }
            }
            Some(Ok(Event::Done(reason))) => self.outcome = reason.as_str(),
            Some(Err(error)) => self.outcome = error.kind().as_str(),
            _ => {}
        }
        Poll::Ready(event)
    }
}

impl Attempt {
    /// Counts a piece of the answer.
    fn piece(&mut self) -> Result<(), Error> {
        let elapsed = self.started.elapsed();
        self.first_token.get_or_insert(elapsed);
        if self.usage.is_some() {
            return Ok(());
        }
        self.pieces = self.pieces.saturating_add(1);
        let piece = self.pieces(1);
        self.meter.accounts(self.provider_type).try_for_each(|account| account.add(piece))
    }

    /// So many tokens of the answer.
    fn pieces(&self, pieces: u32) -> Amount {
        let usd = self.price.map_or(0.0, |price| price.of_piece());
        Amount { tokens: pieces.into(), usd: usd * f64::from(pieces) }
    }

    /// Puts what it took in the place of its pieces; where that is not told, they are all that is known.
    fn settle(&mut self, usage: Option<Usage>) {
        let pieces = self.pieces(self.pieces);
        let took = match usage {
            Some(usage) => Amount {
                tokens: u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens),
                usd: self.price.map_or(0.0, |price| price.of(&usage)),
            },
            None => pieces,
        };
        self.usage = usage;
        self.meter.accounts(self.provider_type).for_each(|account| account.settle(pieces, took));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.usage.is_none() {
            self.settle(None);
        }
        let duration = self.started.elapsed();
        let usd = self.price.map(|price| match &self.usage {
            Some(usage) => price.of(usage),
            None => self.pieces(self.pieces).usd,
        });
        if let Some(tally) = &self.meter.tally {
            tally.add(&self.model, self.usage, usd, duration);
        }
        if let Some(ledger) = &self.meter.ledger {
            ledger.keep(Entry {
                at: self.at,
                session: self.meter.session.clone(),
                model: std::mem::take(&mut self.model),
                instance: std::mem::take(&mut self.instance),
                provider_type: self.provider_type,
                usage: self.usage,
                pieces: self.pieces,
                first_token: self.first_token,
                duration,
                usd,
                outcome: self.outcome,
                lent: self.meter.lent,
            });
        }
    }
}
