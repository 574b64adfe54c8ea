//! The engine thread: advances all sequences together, one forward pass after another. Sequences join and leave at any
//! pass; prompts are computed in chunks beside the tokens of others; a reader that does not keep up pauses only its own
//! sequence. With nothing to do it sleeps.

mod queue;
mod sequence;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use crate::decoder::{Decoder, KvCache, PageShape, Row};
use crate::error::Error;
use crate::event::FinishReason;
use crate::prepare::{Adoption, Work};
use crate::tokenizer::Tokenizer;
use queue::Queue;
use sequence::Sequence;

/// How often a thread whose readers are all behind looks whether one has caught up, or a request was cancelled.
const READERS_POLL: Duration = Duration::from_millis(5);
/// Sequences that wait for their readers give their turn to others, up to this many times `max_concurrent` in memory.
const RESIDENTS_PER_TURN: usize = 4;
/// Rows of a pass: this many weights times rows take two ordinary cores about half a second, so that others' tokens and
/// cancellation do not wait long. It depends on the model alone.
const WEIGHTS_PER_PASS: u64 = 150_000_000_000;
/// Bytes of a pass's activations: more than any known model needs.
const ACTIVATION_BYTES: u64 = 64 << 20;
const ROWS_PER_PASS: std::ops::RangeInclusive<u64> = 32..=256;

/// What a scheduler is made of.
pub(crate) struct Scheduler {
    decoder: Decoder,
    cache: KvCache,
    tokenizer: Arc<Tokenizer>,
    steps: Arc<AtomicU64>,
    limits: Limits,
    waiting: Queue,
    sequences: Vec<Sequence>,
}

/// Bounds of the work a scheduler takes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Sequences that run at once.
    pub(crate) max_concurrent: usize,
    /// Tokens one sequence may hold.
    pub(crate) context_size: usize,
    /// Rows of one forward pass, as far as prompts fill it.
    pub(crate) rows_per_pass: usize,
    /// Bytes of keys and values that stay in memory for requests that begin as others did.
    pub(crate) cache_bytes: u64,
    /// What these are made of.
    pub(crate) shape: PageShape,
}

/// Rows of one pass for a model with so many weights, whose activations take so many bytes for each row.
pub(crate) fn rows_per_pass(parameters: u64, row_bytes: u64) -> usize {
    let rows = (WEIGHTS_PER_PASS / parameters.max(1)).clamp(*ROWS_PER_PASS.start(), *ROWS_PER_PASS.end());
    // Whole tiles of the kernels.
    let rows = rows / 32 * 32;
    rows.min(ACTIVATION_BYTES / row_bytes.max(1)).max(1) as usize
}

impl Scheduler {
    pub(crate) fn new(decoder: Decoder, tokenizer: Arc<Tokenizer>, steps: Arc<AtomicU64>, limits: Limits) -> Scheduler {
        let cache = KvCache::new(limits.shape, limits.cache_bytes);
        Scheduler { decoder, cache, tokenizer, steps, limits, waiting: Queue::default(), sequences: Vec::new() }
    }

    /// Works until nobody can send any more and all is done.
    pub(crate) fn run(mut self, work: &Receiver<Work>) {
        loop {
            if self.sequences.is_empty() && self.waiting.is_empty() {
                match work.recv() {
                    Ok(work) => self.take(work),
                    Err(_) => return,
                }
            }
            self.take_in(work);
            self.drop_cancelled();
            self.admit();
            if !self.step() && !self.sequences.is_empty() {
                std::thread::park_timeout(READERS_POLL);
            }
        }
    }

    fn take_in(&mut self, work: &Receiver<Work>) {
        loop {
            match work.try_recv() {
                Ok(work) => self.take(work),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, work: Work) {
        match work {
            Work::Run(job, place) => self.waiting.push((*job, place)),
            Work::Adopt(Adoption { session, snapshot, done, _place }) => {
                self.cache.adopt(&session, snapshot);
                // Who asked may be gone.
                let _ = done.send(());
            }
        }
    }

    /// Ends what was cancelled or has lost its reader, and forgets what has ended and been read.
    fn drop_cancelled(&mut self) {
        self.waiting.drop_cancelled();
        for sequence in &mut self.sequences {
            if sequence.is_cancelled() {
                sequence.finish(FinishReason::Cancelled);
            }
            sequence.end_if_taken();
            sequence.deliver();
            sequence.release(&mut self.cache);
        }
        self.sequences.retain(|sequence| !sequence.is_over());
    }

    fn admit(&mut self) {
        let most_resident = self.limits.max_concurrent.saturating_mul(RESIDENTS_PER_TURN);
        let mut running = self.sequences.iter().filter(|sequence| sequence.is_ready()).count();
        while running < self.limits.max_concurrent && self.sequences.len() < most_resident {
            let Some(job) = self.waiting.next(&sessions(&self.sequences)) else {
                return;
            };
            self.sequences.push(Sequence::new(job, &mut self.cache));
            running += 1;
        }
        self.waiting.tell(&sessions(&self.sequences));
    }

    /// One forward pass over everything that is ready; false when nothing is.
    fn step(&mut self) -> bool {
        let rows = self.plan();
        if rows.is_empty() {
            return false;
        }
        let vocabulary = self.decoder.description().vocabulary;
        let passed = self.decoder.forward(&rows, &mut self.cache).map(|_| ());
        self.steps.fetch_add(1, Ordering::Relaxed);
        match passed {
            Ok(()) => {
                let mut row = 0;
                for sequence in self.sequences.iter_mut().filter(|sequence| sequence.planned() > 0) {
                    sequence.pool(&mut self.decoder, row);
                    row += sequence.planned();
                }
                let mut logits = self.decoder.logits().chunks_exact(vocabulary);
                for sequence in self.sequences.iter_mut().filter(|sequence| sequence.planned() > 0) {
                    if sequence.computed_planned(&mut self.cache)
                        && let Some(logits) = logits.next()
                    {
                        sequence.advance(logits, &self.tokenizer, self.limits.context_size);
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "a forward pass failed");
                self.fail(&error);
            }
        }
        true
    }

    /// The rows of the next pass, in the order of the sequences: one for each that generates, and what is left shared
    /// among the prompts.
    fn plan(&mut self) -> Vec<Row> {
        let pending: Vec<(&str, usize)> =
            self.sequences.iter().map(|sequence| (sequence.session(), sequence.pending())).collect();
        let most = self.limits.rows_per_pass;
        // A rest that is small beside a pass goes along: a pass of its own would read all weights for it.
        let all = pending.iter().map(|(_, pending)| pending).sum();
        let shares = shares(&pending, if all <= most + most / 4 { all } else { most });
        let mut rows = Vec::new();
        for (sequence, share) in self.sequences.iter_mut().zip(shares) {
            sequence.plan(share, &mut rows);
        }
        rows
    }

    /// A pass failed: everyone in it is told.
    fn fail(&mut self, error: &Error) {
        for sequence in self.sequences.iter_mut().filter(|sequence| sequence.planned() > 0) {
            sequence.fail(error.clone());
        }
    }
}

/// The session of every sequence that goes on.
fn sessions(sequences: &[Sequence]) -> Vec<&str> {
    sequences.iter().filter(|sequence| !sequence.is_finished()).map(Sequence::session).collect()
}

/// How many of each sequence's pending rows go into the next pass, given its session too. One row each is always granted;
/// the rest of `most` is shared evenly among sessions, and each session's part among its sequences.
fn shares(pending: &[(&str, usize)], most: usize) -> Vec<usize> {
    let mut shares: Vec<usize> = pending.iter().map(|(_, pending)| (*pending).min(1)).collect();
    let left = most.saturating_sub(shares.iter().sum());
    let mut sessions: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, (session, _)) in pending.iter().enumerate() {
        match sessions.iter_mut().find(|(known, _)| known == session) {
            Some((_, sequences)) => sequences.push(index),
            None => sessions.push((session, vec![index])),
        }
    }
    let wants = |sequences: &Vec<usize>| sequences.iter().map(|index| pending[*index].1 - shares[*index]).collect();
    let wanted: Vec<Vec<usize>> = sessions.iter().map(|(_, sequences)| wants(sequences)).collect();
    let granted = divide(&wanted.iter().map(|wanted| wanted.iter().sum()).collect::<Vec<usize>>(), left);
    for (((_, sequences), wanted), granted) in sessions.iter().zip(wanted).zip(granted) {
        for (index, more) in sequences.iter().zip(divide(&wanted, granted)) {
            shares[*index] += more;
        }
    }
    shares
}

/// Divides `most` evenly among those who want some; what one leaves over goes to the others.
fn divide(wanted: &[usize], most: usize) -> Vec<usize> {
    let mut parts = vec![0; wanted.len()];
    let mut left = most;
    loop {
        let hungry = parts.iter().zip(wanted).filter(|(part, wanted)| part < wanted).count();
        if hungry == 0 || left == 0 {
            return parts;
        }
        let each = left.div_ceil(hungry);
        for (part, wanted) in parts.iter_mut().zip(wanted) {
            let more = (wanted - *part).min(each).min(left);
            *part += more;
            left -= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_shared_fairly() {
        let alike = |pending: &[usize], most| {
            shares(&pending.iter().map(|pending| ("a", *pending)).collect::<Vec<(&str, usize)>>(), most)
        };
        assert!(alike(&[], 8).is_empty());
        assert_eq!(alike(&[1, 1, 0], 8), [1, 1, 0]);
        assert_eq!(alike(&[1, 100], 8), [1, 7]);
        assert_eq!(alike(&[100, 100], 8), [4, 4]);
        assert_eq!(alike(&[2, 100, 100], 9), [2, 4, 3]);
        assert_eq!(alike(&[1; 10], 4), [1; 10]);
        assert_eq!(alike(&[3, 1000], 256), [3, 253]);
        // Three of one session get as much as one of another.
        assert_eq!(shares(&[("a", 50), ("a", 50), ("b", 50), ("a", 50)], 28), [5, 5, 13, 5]);
        assert_eq!(shares(&[("a", 50), ("b", 3), ("a", 50)], 23), [10, 3, 10]);
    }

    #[test]
    fn larger_models_take_fewer_rows_a_pass() {
        assert_eq!(rows_per_pass(5_000_000, 10_000), 256);
        assert_eq!(rows_per_pass(1_000_000_000, 100_000), 128);
        assert_eq!(rows_per_pass(8_000_000_000, 200_000), 32);
        assert_eq!(rows_per_pass(8_000_000, 16_000_000), 4);
    }
}
