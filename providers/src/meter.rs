//! One attempt to have a model answer, on its way: its events are timed and counted against the budgets that apply, and what it
//! took is written down at its end, however that comes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use futures::stream::{self, Stream, StreamExt};
use perilune_engine::{Cost, Event, Usage};

use crate::budget::{Account, Amount};
use crate::error::Error;
use crate::ledger::{Entry, Ledger};
use crate::prices::Price;
use crate::provider::{EventStream, ProviderType};
use crate::registry::Resolved;
use crate::tally::Tally;

/// What comes in a shorter time than this says nothing of how fast it came: it lay in one buffer.
const SHORTEST: Duration = Duration::from_millis(10);

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
        let mut attempt = Attempt {
            model: model.specifier.to_string(),
            instance: model.provider.name().to_owned(),
            provider_type: model.provider.provider_type(),
            meter: self,
            price,
            at: SystemTime::now(),
            started: Instant::now(),
            first_token: None,
            last_token: None,
            pieces: 0,
            shows_thinking: false,
            usage: None,
            outcome: "cancelled",
            told: VecDeque::new(),
            events,
        };
        // What is borrowed of another kernel comes with its cost, if that is known there.
        if price.is_none() && attempt.provider_type != ProviderType::Kernel {
            attempt.warn_of_cost();
        }
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
    /// When the first and the last piece of the answer came.
    first_token: Option<Duration>,
    last_token: Option<Duration>,
    /// Pieces of the answer, about as many as tokens.
    pieces: u32,
    /// Whether thinking is among them; some servers count it and keep it to themselves.
    shows_thinking: bool,
    /// What it took, once that is told.
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
            Some(Ok(piece @ (Event::Text(_) | Event::Thinking(_) | Event::ToolCall(_)))) => {
                self.shows_thinking |= matches!(piece, Event::Thinking(_));
                if let Err(error) = self.piece() {
                    self.outcome = error.kind().as_str();
                    // Dropping what comes ends it over there.
                    self.events = stream::empty().boxed();
                    return Poll::Ready(Some(Err(error)));
                }
            }
            // Another kernel says so of what it was not told; it is said at the end.
            Some(Ok(Event::Usage(usage))) if usage.untold => return self.poll_next(context),
            Some(Ok(Event::Usage(usage))) if self.usage.is_none() => {
                let usage = self.measured(*usage);
                self.settle(Some(usage));
                if usage.cost.is_none() {
                    self.warn_of_cost();
                }
                let warnings: Vec<_> = self.meter.accounts(self.provider_type).filter_map(Account::warning).collect();
                self.told.extend(warnings.into_iter().map(Event::Budget).chain([Event::Usage(usage)]));
                return Poll::Ready(self.told.pop_front().map(Ok));
            }
            Some(Ok(Event::Done(reason))) => {
                self.outcome = reason.as_str();
                if self.usage.is_none() {
                    let counted = Usage { completion_tokens: self.pieces, untold: true, ..Usage::default() };
                    self.told.push_back(Event::Done(*reason));
                    return Poll::Ready(Some(Ok(Event::Usage(self.measured(counted)))));
                }
            }
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
        self.last_token = Some(elapsed);
        if self.usage.is_some() {
            return Ok(());
        }
        self.pieces = self.pieces.saturating_add(1);
        let piece = self.pieces(1);
        self.meter.accounts(self.provider_type).try_for_each(|account| account.add(piece))
    }

    /// Says, once for each model, that money is limited which cannot be counted.
    fn warn_of_cost(&mut self) {
        let accounts = self.meter.accounts(self.provider_type);
        self.told.extend(accounts.filter_map(|account| account.uncounted(&self.model)).map(Event::Budget));
    }

    /// What it took, with its time and its price.
    fn measured(&self, usage: Usage) -> Usage {
        let price = self.price.filter(|_| !usage.untold);
        Usage {
            first_token_ms: self.first_token.map(milliseconds),
            tokens_per_second: self.tokens_per_second(&usage),
            cost: price.map(|price| Cost { usd: price.of(&usage) }).or(usage.cost),
            ..usage
        }
    }

    /// Tokens a second after the first piece, whose share of the tokens is left out; `None` where it cannot be told.
    fn tokens_per_second(&self, usage: &Usage) -> Option<f64> {
        let generating = self.last_token?.saturating_sub(self.first_token?);
        if self.pieces < 2 || generating < SHORTEST {
            return None;
        }
        let unseen = if self.shows_thinking { 0 } else { usage.thinking_tokens };
        let tokens = f64::from(usage.completion_tokens.saturating_sub(unseen));
        let pieces = f64::from(self.pieces);
        Some(tokens * (pieces - 1.0) / pieces / generating.as_secs_f64()).filter(|speed| *speed > 0.0)
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
                usd: usage.cost.map_or(0.0, |cost| cost.usd),
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
        let counted = self.usage.unwrap_or(Usage { completion_tokens: self.pieces, ..Usage::default() });
        let tokens_per_second = self.tokens_per_second(&counted);
        let usd = match &self.usage {
            Some(usage) => usage.cost.map(|cost| cost.usd),
            None => self.price.map(|_| self.pieces(self.pieces).usd),
        };
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
                tokens_per_second,
                duration,
                usd,
                outcome: self.outcome,
                lent: self.meter.lent,
            });
        }
    }
}

/// As answers and the ledger have it.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
