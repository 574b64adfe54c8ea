//! Generations to time: what is asked, and when the first piece and the end of the answer came.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Event, Generation, Usage};
use crate::request::{GenerateOptions, Prompt, Request, Sampling};

/// Tokens of each of several streams that are timed.
const STREAM_TOKENS: u64 = 32;

/// Tokens that each of them may generate: the first ones begin while the prompts of others are still computed.
const ROOM_TOKENS: u32 = 160;

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

/// Generated tokens/s of `count` sequences together, from when the last of them has its first token until each has [`STREAM_TOKENS`]
/// more, or one ends for want of room.
pub(super) fn together(engine: &Engine, count: usize, prompt_tokens: usize) -> Result<f64, Error> {
    let room = engine.info().context_size.saturating_sub(prompt_tokens).min(ROOM_TOKENS as usize) as u32;
    let requests: Vec<Request> = (0..count)
        .map(|stream| request(engine, "", prompt_tokens, stream + 1000, room))
        .collect::<Result<_, Error>>()?;
    let cancels: Vec<CancellationToken> = requests.iter().map(|request| request.cancel.clone()).collect();
    let (told, news) = channel();
    std::thread::scope(|scope| {
        for request in requests {
            let told = told.clone();
            scope.spawn(move || read(engine.generate(request), &told));
        }
        let rate = rate(engine, count, &news);
        cancels.iter().for_each(CancellationToken::cancel);
        rate
    })
}

/// What a reader of a stream tells.
enum News {
    First,
    Piece,
    Ended,
    Failed(Error),
}

fn read(mut generation: Generation, told: &Sender<News>) {
    let mut first = true;
    // Nobody listens any more once the rate is known.
    let tell = |news| drop(told.send(news));
    while let Some(event) = generation.blocking_next() {
        match event {
            Ok(Event::Text(_) | Event::Thinking(_)) if first => {
                first = false;
                tell(News::First);
            }
            Ok(Event::Text(_) | Event::Thinking(_)) => tell(News::Piece),
            Ok(_) => {}
            Err(error) => tell(News::Failed(error)),
        }
    }
    tell(News::Ended);
}

/// Every pass of the model gives every sequence a token, while all of them generate.
fn rate(engine: &Engine, count: usize, news: &Receiver<News>) -> Result<f64, Error> {
    let mut waited_for = count;
    let mut began = None;
    loop {
        let ended = match news.recv().map_err(|_| Error::Stopped)? {
            News::Failed(error) => return Err(error),
            News::First => {
                waited_for -= 1;
                if waited_for == 0 {
                    began = Some((Instant::now(), engine.steps()));
                }
                continue;
            }
            News::Piece => false,
            News::Ended => true,
        };
        let steps = began.map_or(0, |(_, first)| engine.steps() - first);
        match began {
            Some((began, _)) if steps >= STREAM_TOKENS || (ended && steps > 0) => {
                return Ok((steps * count as u64) as f64 / began.elapsed().as_secs_f64());
            }
            _ if ended => return Err(Error::Stopped),
            _ => {}
        }
    }
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
