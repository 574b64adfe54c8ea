//! Generations to time: what is asked, and when the first piece and the end of the answer came.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Event, Generation, Usage};
use crate::request::{GenerateOptions, Prompt, Request, Sampling};

/// Tokens each of several streams generates.
const STREAM_TOKENS: u32 = 32;

/// When a generation's first token and its end came.
pub(super) struct Run {
    pub(super) first: Duration,
    pub(super) whole: Duration,
    pub(super) usage: Usage,
}

impl Run {
    /// Asks and reads the answer to its end.
    pub(super) fn of(engine: &Engine, request: Request) -> Result<Run, Error> {
        let began = Instant::now();
        Run::finish(engine.generate(request), began)
    }

    fn finish(mut generation: Generation, began: Instant) -> Result<Run, Error> {
        let (mut first, mut usage) = (None, Usage::default());
        while let Some(event) = generation.blocking_next() {
            match event? {
                Event::Usage(used) => usage = used,
                Event::Text(_) | Event::Thinking(_) | Event::Logprobs(_) | Event::ToolCall(_) => {
                    first.get_or_insert_with(|| began.elapsed());
                }
                _ => {}
            }
        }
        let whole = began.elapsed();
        Ok(Run { first: first.unwrap_or(whole), whole, usage })
    }
}

/// Generated tokens/s of `count` sequences together, while all of them generate.
pub(super) fn together(engine: &Engine, count: usize, prompt_tokens: usize) -> Result<f64, Error> {
    let requests: Vec<Request> = (0..count)
        .map(|stream| request(engine, "", prompt_tokens, stream + 1000, STREAM_TOKENS))
        .collect::<Result<_, Error>>()?;
    let runs: Vec<Result<Run, Error>> = std::thread::scope(|scope| {
        let readers: Vec<_> =
            requests.into_iter().map(|request| scope.spawn(move || Run::of(engine, request))).collect();
        readers.into_iter().map(|reader| reader.join().unwrap_or(Err(Error::Stopped))).collect()
    });
    let runs: Vec<Run> = runs.into_iter().collect::<Result<_, Error>>()?;
    let per_second = |run: &Run| f64::from(run.usage.completion_tokens - 1) / (run.whole - run.first).as_secs_f64();
    Ok(runs.iter().map(per_second).sum())
}

/// Asks for exactly `generated` tokens after a prompt of about `tokens`, a different one for each `variant`.
pub(super) fn request(
    engine: &Engine,
    session: &str,
    tokens: usize,
    variant: usize,
    generated: u32,
) -> Result<Request, Error> {
    let options = GenerateOptions {
        sampling: Sampling { seed: Some(variant as u64), ..Sampling::default() },
        max_tokens: Some(generated),
        ignore_end: true,
        ..GenerateOptions::default()
    };
    let prompt = Prompt::Raw(prompt(engine, tokens, variant)?);
    Ok(Request { session: session.to_owned(), prompt, options, cancel: CancellationToken::new() })
}

/// A text of at most `tokens` tokens, and nearly as many.
fn prompt(engine: &Engine, tokens: usize, variant: usize) -> Result<String, Error> {
    const WORDS: [&str; 8] = ["moon", "tide", "orbit", "night", "stone", "light", "river", "glass"];
    let context_size = engine.info().context_size;
    if tokens + STREAM_TOKENS as usize > context_size {
        return Err(Error::ContextOverflow { prompt_tokens: tokens, context_size });
    }
    let mut text = format!("{variant}");
    for place in 0.. {
        let longer = format!("{text} {}", WORDS[(place * place + variant * 3 + place) % WORDS.len()]);
        if engine.tokenize(&longer).len() > tokens {
            break;
        }
        text = longer;
    }
    Ok(text)
}
