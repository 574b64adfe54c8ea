//! How fast a model runs here: prefill, decode, many streams, times to the first token. Everything goes through the
//! engine's own door, with sampling and streaming, as a user's generation does.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Event, Generation, Usage};
use crate::request::{GenerateOptions, Prompt, Request, Sampling};

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Prompt lengths, in tokens.
    pub prefill: Vec<usize>,
    /// Tokens generated after a prompt of 128.
    pub decode: u32,
    /// Numbers of sequences that run at once.
    pub streams: Vec<usize>,
    /// Rounds; every figure is the median of as many.
    pub rounds: usize,
}

/// Medians over the rounds, with the least and the most.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// Prompt tokens/s, by the prompt's length in tokens.
    pub prefill: Vec<(usize, Measured)>,
    /// Generated tokens/s of one sequence.
    pub decode: Measured,
    /// Generated tokens/s of all sequences together, by their number.
    pub streams: Vec<(usize, Measured)>,
}

/// One figure of several rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

/// Tokens of the prompt that decoding follows.
const DECODE_AFTER: usize = 128;
/// Tokens each of several streams generates.
const STREAM_TOKENS: u32 = 32;

impl Bench {
    /// Measures a loaded model, which nobody else should be using meanwhile; takes some of everything first, uncounted.
    pub fn run(engine: &Engine, options: &BenchOptions) -> Result<Bench, Error> {
        let mut prefill = vec![Vec::new(); options.prefill.len()];
        let mut decode = Vec::new();
        let mut streams = vec![Vec::new(); options.streams.len()];
        for round in 0..=options.rounds {
            let keep = |figures: &mut Vec<f64>, figure: f64| {
                if round > 0 {
                    figures.push(figure);
                }
            };
            for (tokens, figures) in options.prefill.iter().zip(&mut prefill) {
                let run = Run::finish(start(engine, *tokens, round, 1)?)?;
                keep(figures, f64::from(run.usage.prompt_tokens) / run.first.as_secs_f64());
            }
            let run = Run::finish(start(engine, DECODE_AFTER, round, options.decode)?)?;
            keep(&mut decode, f64::from(run.usage.completion_tokens - 1) / (run.whole - run.first).as_secs_f64());
            for (count, figures) in options.streams.iter().zip(&mut streams) {
                keep(figures, together(engine, *count)?);
            }
        }
        let zip = |names: &[usize], figures: Vec<Vec<f64>>| {
            names.iter().copied().zip(figures.into_iter().map(measured)).collect()
        };
        Ok(Bench {
            prefill: zip(&options.prefill, prefill),
            decode: measured(decode),
            streams: zip(&options.streams, streams),
        })
    }
}

fn measured(mut figures: Vec<f64>) -> Measured {
    figures.sort_by(f64::total_cmp);
    let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
    Measured { median: at(figures.len() / 2), least: at(0), most: at(figures.len().saturating_sub(1)) }
}

/// Generated tokens/s of `count` sequences from the moment all have their first token to the end of the first that ends.
fn together(engine: &Engine, count: usize) -> Result<f64, Error> {
    let began = Instant::now();
    let runs: Vec<_> = (0..count)
        .map(|stream| {
            let generation = start(engine, DECODE_AFTER, stream + 1000, STREAM_TOKENS)?;
            Ok(std::thread::spawn(move || Run::finish_since(generation, began)))
        })
        .collect::<Result<_, Error>>()?;
    let runs: Vec<Run> =
        runs.into_iter().map(|run| run.join().unwrap_or(Err(Error::Stopped))).collect::<Result<_, Error>>()?;
    let from = runs.iter().map(|run| run.first).max().unwrap_or_default();
    let until = runs.iter().map(|run| run.whole).min().unwrap_or_default();
    let tokens: f64 = runs
        .iter()
        .map(|run| {
            let span = (run.whole - run.first).as_secs_f64();
            f64::from(run.usage.completion_tokens - 1) * until.saturating_sub(from).as_secs_f64() / span
        })
        .sum();
    Ok(tokens / until.saturating_sub(from).as_secs_f64())
}

/// When a generation's first token and its end came.
struct Run {
    first: Duration,
    whole: Duration,
    usage: Usage,
}

impl Run {
    fn finish((generation, began): (Generation, Instant)) -> Result<Run, Error> {
        Run::finish_since((generation, began), began)
    }

    fn finish_since((mut generation, _): (Generation, Instant), began: Instant) -> Result<Run, Error> {
        let (mut first, mut usage) = (None, Usage::default());
        while let Some(event) = generation.blocking_next() {
            match event? {
                Event::Usage(used) => usage = used,
                Event::Done(_) => {}
                _ => {
                    first.get_or_insert_with(|| began.elapsed());
                }
            }
        }
        let whole = began.elapsed();
        Ok(Run { first: first.unwrap_or(whole), whole, usage })
    }
}

/// Starts a generation of exactly `generated` tokens after a prompt of about `tokens`, a different one for each `variant`.
fn start(engine: &Engine, tokens: usize, variant: usize, generated: u32) -> Result<(Generation, Instant), Error> {
    let prompt = prompt(engine, tokens, variant);
    let options = GenerateOptions {
        sampling: Sampling { seed: Some(variant as u64), ..Sampling::default() },
        max_tokens: Some(generated),
        ignore_end: true,
        ..GenerateOptions::default()
    };
    let request = Request { prompt: Prompt::Raw(prompt), options, cancel: CancellationToken::new() };
    let began = Instant::now();
    Ok((engine.generate(request), began))
}

/// A text of at most `tokens` tokens, and nearly as many.
fn prompt(engine: &Engine, tokens: usize, variant: usize) -> String {
    const WORDS: [&str; 8] = ["moon", "tide", "orbit", "night", "stone", "light", "river", "glass"];
    let mut text = format!("{variant}");
    let mut word = variant;
    loop {
        let longer = format!("{text} {}", WORDS[word % WORDS.len()]);
        if engine.tokenize(&longer).len() > tokens {
            return text;
        }
        text = longer;
        word = word * 5 + 3;
        word %= 10_007;
    }
}
