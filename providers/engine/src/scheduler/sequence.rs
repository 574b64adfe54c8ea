//! One generation inside the scheduler: its tokens, what has been computed of them, and events on their way out.

use std::collections::VecDeque;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use crate::decoder::{Decoder, KvCache, Row, SequenceId};
use crate::error::Error;
use crate::event::{Event, FinishReason, Prefill, Usage};
use crate::prepare::{Job, Wanted};
use crate::tokenizer::{Detokenizer, Tokenizer};

pub(super) struct Sequence {
    job: Job,
    /// Its place in the KV cache, until it has ended.
    id: Option<SequenceId>,
    prompt_tokens: usize,
    /// Tokens of the prompt whose keys and values were known when it began.
    cached: usize,
    /// Tokens whose keys and values are in the cache.
    computed: usize,
    /// Tokens that are in the pass under way.
    planned: usize,
    /// Tokens of its answer that were thinking.
    thinking: usize,
    /// Somebody reads its keys and values for as long as the other half is there; until then its pages stay.
    taken: Option<oneshot::Receiver<()>>,
    /// The sum of its hidden states, where an embedding is wanted.
    pool: Option<Vec<f64>>,
    detokenizer: Detokenizer,
    outbox: Outbox,
    finished: bool,
}

/// Events the reader's channel has not taken yet.
#[derive(Default)]
struct Outbox(VecDeque<Result<Event, Error>>);

impl Extend<Event> for Outbox {
    fn extend<Events: IntoIterator<Item = Event>>(&mut self, events: Events) {
        self.0.extend(events.into_iter().map(Ok));
    }
}

/// A sum of vectors, divided by its length: the direction of their mean.
fn direction(sum: &[f64]) -> Vec<f32> {
    let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    sum.iter().map(|value| if length > 0.0 { (value / length) as f32 } else { 0.0 }).collect()
}

/// Ends a job that was cancelled before it began.
pub(super) fn refuse_cancelled(job: &Job) {
    let usage = Usage { truncated_tokens: job.recipe.truncated as u32, ..Usage::default() };
    // The channel is new and empty; a reader that is gone does not want them.
    let _ = job.events.try_send(Ok(Event::Usage(usage)));
    let _ = job.events.try_send(Ok(Event::Done(FinishReason::Cancelled)));
}

impl Sequence {
    pub(super) fn new(job: Job, cache: &mut KvCache) -> Sequence {
        let tokens = &job.recipe.tokens;
        // The last one is always computed: its logits are wanted.
        let pool = matches!(job.wanted, Some(Wanted::Embedding(_))).then(Vec::new);
        // An embedding needs every token's hidden state, and what is known are keys and values.
        let known = if pool.is_some() { &[][..] } else { &tokens[..tokens.len() - 1] };
        let (id, cached) = cache.open(&job.session, known);
        Sequence {
            prompt_tokens: tokens.len(),
            cached,
            id: Some(id),
            computed: cached,
            planned: 0,
            thinking: 0,
            taken: None,
            pool,
            detokenizer: Detokenizer::default(),
            outbox: Outbox::default(),
            finished: false,
            job,
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.taken.is_none() && (self.job.cancel.is_cancelled() || self.job.events.is_closed())
    }

    pub(super) fn session(&self) -> &str {
        &self.job.session
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether it may be part of the next pass: it goes on, and its reader keeps up.
    pub(super) fn is_ready(&self) -> bool {
        !self.finished && self.taken.is_none() && self.outbox.0.is_empty()
    }

    /// Whether it has ended and everything was read, or nobody reads.
    pub(super) fn is_over(&self) -> bool {
        self.finished && (self.outbox.0.is_empty() || self.job.events.is_closed())
    }

    /// Tokens that wait to be computed.
    pub(super) fn pending(&self) -> usize {
        if self.is_ready() { self.job.recipe.tokens.len() - self.computed } else { 0 }
    }

    /// Puts its next `share` tokens into a pass.
    pub(super) fn plan(&mut self, share: usize, rows: &mut Vec<Row>) {
        self.planned = 0;
        let Some(sequence) = self.id else {
            return;
        };
        self.planned = share;
        let last = self.job.recipe.tokens.len() - 1;
        let positions = self.computed..self.computed + share;
        rows.extend(positions.map(|position| Row {
            token: self.job.recipe.tokens[position],
            sequence,
            position,
            wants_logits: position == last && self.pool.is_none(),
        }));
    }

    pub(super) fn planned(&self) -> usize {
        self.planned
    }

    /// Adds the hidden states of its rows in the last pass, which begin at `row`, if they are wanted.
    pub(super) fn pool(&mut self, decoder: &mut Decoder, row: usize) {
        if let Some(sum) = &mut self.pool {
            decoder.add_hidden(row..row + self.planned, sum);
        }
    }

    /// Notes that the planned tokens have been computed; true when the next token can be chosen.
    pub(super) fn computed_planned(&mut self, cache: &mut KvCache) -> bool {
        self.computed += self.planned;
        if self.computed == self.prompt_tokens
            && self.pool.is_none()
            && let Some(id) = self.id
        {
            // Others that begin alike need not wait for its end. Pages that still grow would have to be copied.
            let whole = KvCache::whole_pages(self.computed);
            cache.keep(&self.job.session, id, &self.job.recipe.tokens[..whole]);
        }
        if self.computed < self.job.recipe.tokens.len() {
            self.tell_prefill();
            return false;
        }
        match (self.job.wanted.take(), self.id) {
            (Some(Wanted::State(computed)), Some(id)) => {
                let (taken, end) = oneshot::channel();
                self.taken = Some(end);
                // Who asked may be gone; then both halves are, too.
                let _ = computed.send((cache.snapshot(id, &self.job.recipe.tokens), taken));
                true
            }
            (Some(Wanted::Embedding(embedding)), _) => {
                // Who asked may be gone.
                let _ = embedding.send(direction(self.pool.as_deref().unwrap_or_default()));
                self.finish(FinishReason::Length);
                false
            }
            _ => true,
        }
    }

    /// Ends a sequence whose keys and values were taken, once that is done.
    pub(super) fn end_if_taken(&mut self) {
        if let Some(taken) = &mut self.taken
            && taken.try_recv() != Err(oneshot::error::TryRecvError::Empty)
        {
            self.taken = None;
            self.finish(FinishReason::Length);
        }
    }

    /// Says how far the prompt is, if the reader keeps up: it shall not hold up the answer.
    fn tell_prefill(&self) {
        if self.job.events.capacity() == self.job.events.max_capacity() {
            let prefill = Prefill { computed_tokens: self.computed as u32, prompt_tokens: self.prompt_tokens as u32 };
            let _ = self.job.events.try_send(Ok(Event::Prefill(prefill)));
        }
    }

    /// Chooses the next token and says what it adds to the answer.
    pub(super) fn advance(&mut self, logits: &[f32], tokenizer: &Tokenizer, context_size: usize) {
        if self.taken.is_some() {
            return;
        }
        let Some(token) = self.job.recipe.sampler.sample(logits, &self.job.recipe.tokens) else {
            return self
                .fail(Error::Compute { problem: "no logit is a number (is the model file damaged?)".to_owned() });
        };
        self.job.recipe.tokens.push(token);
        if tokenizer.ends_generation(token) && !self.job.recipe.ignore_end {
            return self.finish(FinishReason::Stop);
        }
        if let Some(logprobs) = &mut self.job.recipe.logprobs {
            self.outbox.extend([Event::Logprobs(logprobs.of(logits, token, tokenizer))]);
        }
        let text = self.detokenizer.push(self.job.recipe.answer.piece(token, tokenizer));
        self.thinking += usize::from(self.job.recipe.answer.is_thinking());
        if self.job.recipe.answer.push(&text, &mut self.outbox) {
            return self.finish(FinishReason::Stop);
        }
        if self.generated() >= self.job.recipe.max_tokens || self.job.recipe.tokens.len() >= context_size {
            return self.finish(FinishReason::Length);
        }
        self.deliver();
    }

    fn generated(&self) -> usize {
        self.job.recipe.tokens.len() - self.prompt_tokens
    }

    /// Ends it, once: lets go of held text, then usage and reason.
    pub(super) fn finish(&mut self, reason: FinishReason) {
        if self.finished {
            return;
        }
        self.finished = true;
        let rest = self.detokenizer.finish();
        self.job.recipe.answer.push(&rest, &mut self.outbox);
        self.job.recipe.answer.finish(&mut self.outbox);
        let reason = match reason {
            FinishReason::Stop if self.job.recipe.answer.called_tools() => FinishReason::ToolCalls,
            reason => reason,
        };
        let usage = Usage {
            prompt_tokens: self.prompt_tokens as u32,
            completion_tokens: self.generated() as u32,
            cached_tokens: self.cached as u32,
            truncated_tokens: self.job.recipe.truncated as u32,
            thinking_tokens: self.thinking as u32,
            ..Usage::default()
        };
        self.outbox.extend([Event::Usage(usage), Event::Done(reason)]);
        self.deliver();
    }

    /// Ends it with an error.
    pub(super) fn fail(&mut self, error: Error) {
        self.finished = true;
        self.outbox.0.push_back(Err(error));
        self.deliver();
    }

    /// Gives its place in the cache back once it has ended; what it computed stays known to its session.
    pub(super) fn release(&mut self, cache: &mut KvCache) {
        if self.finished
            && let Some(id) = self.id.take()
        {
            if self.pool.is_none() {
                cache.keep(&self.job.session, id, &self.job.recipe.tokens[..self.computed]);
            }
            cache.close(id);
        }
    }

    /// Hands events over, as many as the reader's channel takes.
    pub(super) fn deliver(&mut self) {
        while let Some(event) = self.outbox.0.pop_front() {
            match self.job.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.outbox.0.push_front(event);
                    return;
                }
                Err(TrySendError::Closed(_)) => self.outbox.0.clear(),
            }
        }
    }
}
