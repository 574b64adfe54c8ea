//! The one line by which a slow model call shows how far it is. It appears once the call has taken
//! [`PATIENCE`], is replaced at most every [`INTERVAL`], and stays as a summary. A call whose answer
//! goes to the script piece by piece has none unless it appeared before the first piece, so that it
//! never comes between what the script prints of the pieces.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use perilune_providers::{Event, PullProgress, Usage};
use uuid::Uuid;

use crate::cell::{CellIo, MimeBundle, Output, Rich};
use crate::display::html::escape;
use crate::host::Host;

/// Calls that end sooner show nothing.
const PATIENCE: Duration = Duration::from_millis(200);
/// The least time between two states of the line.
const INTERVAL: Duration = Duration::from_millis(100);
/// Fewer tokens say nothing about speed.
const MEASURABLE: u32 = 8;

/// A call that may show itself.
pub(crate) struct Live {
    /// Nothing where lines are switched off.
    io: Option<Arc<dyn CellIo>>,
    model: String,
    phase: Phase,
    started: Instant,
    /// When the first piece of the answer came.
    answering: Option<Instant>,
    /// Pieces of the answer; about as many as tokens.
    pieces: u32,
    line: Line,
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Loading,
    Waiting,
    /// How soon its turn comes.
    Queued(u32),
    /// Tokens of the prompt that are computed, and all of them.
    Reading(u32, u32),
    Answering,
    /// A model file comes: what is said of it, and how much of it is there.
    Pulling(String, Option<f64>),
}

enum Line {
    /// Nothing is shown yet.
    Hidden,
    /// Nothing is shown, and nothing will be.
    Never,
    Shown {
        id: String,
        at: Instant,
    },
}

impl Live {
    /// A call of the running cell that starts now.
    pub(crate) fn new(host: &Host) -> Live {
        Live {
            io: host.live.get().then(|| host.io()).flatten(),
            model: String::new(),
            phase: Phase::Waiting,
            started: Instant::now(),
            answering: None,
            pieces: 0,
            line: Line::Hidden,
        }
    }

    /// The model is known.
    pub(crate) fn model(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    /// Waits for `work`, and shows the line while that takes long.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if self.io.is_none() {
            return work.await;
        }
        loop {
            let due = match &self.line {
                Line::Never => return work.await,
                Line::Hidden => self.started + PATIENCE,
                Line::Shown { at, .. } => *at + INTERVAL,
            };
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = tokio::time::sleep_until(due.into()) => self.show(self.state(), true),
            }
        }
    }

    /// Takes note of an event.
    pub(crate) fn heard(&mut self, event: &Event) {
        match event {
            Event::Loading => self.phase = Phase::Loading,
            Event::Queued { position } => self.phase = Phase::Queued(*position),
            Event::Prefill(prefill) => {
                self.phase = Phase::Reading(prefill.computed_tokens, prefill.prompt_tokens);
            }
            Event::Text(_) | Event::Thinking(_) | Event::ToolCall(_) => {
                self.answering.get_or_insert_with(Instant::now);
                self.phase = Phase::Answering;
                self.pieces = self.pieces.saturating_add(1);
            }
            Event::Dropped(_)
            | Event::Route(_)
            | Event::Budget(_)
            | Event::Logprobs(_)
            | Event::Usage(_)
            | Event::Done(_) => {}
        }
        if let Line::Shown { at, .. } = &self.line
            && at.elapsed() >= INTERVAL
        {
            self.show(self.state(), true);
        }
    }

    /// Takes note of how far a pull is.
    pub(crate) fn pulling(&mut self, progress: &PullProgress) {
        let mib = |bytes: f64| format!("{:.1} MiB", bytes / 1_048_576.0);
        let mut words = format!("{} {}", progress.stage.as_str(), mib(progress.completed_bytes as f64));
        let total = progress.total_bytes.filter(|total| *total > 0);
        let share = total.map(|total| progress.completed_bytes as f64 / total as f64);
        if let (Some(total), Some(share)) = (total, share) {
            words.push_str(&format!(" of {}, {:.0} %", mib(total as f64), share * 100.0));
        }
        if let Some(rate) = progress.bytes_per_second {
            words.push_str(&format!(", {}/s", mib(rate)));
        }
        if let Some(left) = progress.seconds_left {
            words.push_str(&format!(", {left:.0} s left"));
        }
        self.phase = Phase::Pulling(words, share);
    }

    /// The model is in the store.
    pub(crate) fn pulled(&mut self) {
        self.close(&[self.model.clone(), format!("pulled in {}", self.elapsed())]);
    }

    /// The script gets a piece of the answer.
    pub(crate) fn delivers(&mut self) {
        if matches!(self.line, Line::Hidden) {
            self.line = Line::Never;
        }
    }

    /// The answer is whole.
    pub(crate) fn answered(&mut self, usage: Usage) {
        let mut parts = vec![self.model.clone(), counted(usage.completion_tokens)];
        parts.extend(usage.tokens_per_second.filter(|_| usage.completion_tokens >= MEASURABLE).map(speed));
        parts.push(self.elapsed());
        self.close(&parts);
    }

    /// The model is in memory.
    pub(crate) fn loaded(&mut self) {
        self.close(&[self.model.clone(), format!("loaded in {}", self.elapsed())]);
    }

    /// The call ended, and there is nothing to say of its result.
    pub(crate) fn ended(&mut self) {
        self.close(&[self.model.clone(), self.elapsed()]);
    }

    /// The call failed.
    pub(crate) fn failed(&mut self) {
        self.close(&[self.model.clone(), "failed".to_owned(), self.elapsed()]);
    }

    fn close(&mut self, parts: &[String]) {
        if matches!(self.line, Line::Shown { .. }) {
            let text = joined(parts);
            self.show(Rich { data: bundle(&text, &escape(&text)), metadata: MimeBundle::new() }, false);
        }
        self.line = Line::Never;
    }

    /// What the call does now.
    fn state(&self) -> Rich {
        let mut parts = vec![self.model.clone()];
        let mut bar = String::new();
        match &self.phase {
            Phase::Loading => parts.push("loading".to_owned()),
            Phase::Waiting => parts.push("waiting".to_owned()),
            Phase::Queued(position) => parts.push(format!("waiting for its turn: number {position}")),
            Phase::Reading(computed, all) => {
                parts.push(format!("reading the prompt: {computed} of {all} tokens"));
                bar = format!(r#" <progress value="{computed}" max="{all}"></progress>"#);
            }
            Phase::Answering => {
                parts.push(counted(self.pieces));
                let seconds = self.answering.map_or(0.0, |since| since.elapsed().as_secs_f64());
                if self.pieces >= MEASURABLE && seconds > 0.0 {
                    parts.push(speed(f64::from(self.pieces - 1) / seconds));
                }
            }
            Phase::Pulling(words, share) => {
                parts.push(words.clone());
                let value = share.map(|share| format!(r#" value="{share:.4}""#)).unwrap_or_default();
                bar = format!(r#" <progress{value} max="1"></progress>"#);
            }
        }
        parts.push(self.elapsed());
        let text = format!("{} …", joined(&parts));
        Rich { data: bundle(&text, &(escape(&text) + &bar)), metadata: MimeBundle::new() }
    }

    fn elapsed(&self) -> String {
        format!("{:.1} s", self.started.elapsed().as_secs_f64())
    }

    fn show(&mut self, value: Rich, live: bool) {
        let Some(io) = &self.io else { return };
        let (id, update) = match &self.line {
            Line::Shown { id, .. } => (id.clone(), true),
            Line::Hidden | Line::Never => (Uuid::new_v4().to_string(), false),
        };
        let output = Output::Display { value, display_id: Some(id.clone()), update, live };
        // A cell that is to stop learns of it where it waits; here nothing can be done about it.
        let _ = io.write(output);
        self.line = Line::Shown { id, at: Instant::now() };
    }
}

/// A call that is dropped was interrupted, or its answer was not wanted to the end.
impl Drop for Live {
    fn drop(&mut self) {
        self.close(&[self.model.clone(), "stopped".to_owned(), counted(self.pieces), self.elapsed()]);
    }
}

fn bundle(text: &str, html: &str) -> MimeBundle {
    let html = format!(r#"<div style="color: var(--jp-ui-font-color2, GrayText); font-size: 90%">{html}</div>"#);
    MimeBundle::from_iter([("text/html".to_owned(), html.into()), ("text/plain".to_owned(), text.into())])
}

fn joined(parts: &[String]) -> String {
    parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" · ")
}

fn counted(tokens: u32) -> String {
    match tokens {
        0 => String::new(),
        1 => "1 token".to_owned(),
        _ => format!("{tokens} tokens"),
    }
}

fn speed(tokens_per_second: f64) -> String {
    match tokens_per_second {
        0.0..10.0 => format!("{tokens_per_second:.1} tokens/s"),
        _ => format!("{tokens_per_second:.0} tokens/s"),
    }
}
