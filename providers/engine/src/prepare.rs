//! Turns requests into jobs the scheduler can run: template, tokens, checked options. Runs on a thread of its own, so
//! that a long prompt delays nobody's tokens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Format, Opening, StopTexts};
use crate::chat::{ChatMessage, Tool};
use crate::decoder::Snapshot;
use crate::error::Error;
use crate::event::Event;
use crate::places::Place;
use crate::request::{Biased, GenerateOptions, LogitBias, Prompt};
use crate::sampler::{Logprobs, Sampler};
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;

/// Where a generation's events go.
pub(crate) type Events = mpsc::Sender<Result<Event, Error>>;

/// A request on its way to the scheduler.
pub(crate) struct Submission {
    pub(crate) session: String,
    pub(crate) prompt: Prompt,
    pub(crate) options: GenerateOptions,
    pub(crate) cancel: CancellationToken,
    pub(crate) events: Events,
    pub(crate) wanted: Option<Wanted>,
    pub(crate) place: Place,
}

/// What the scheduler is asked to do.
pub(crate) enum Work {
    /// To answer a prompt, or to compute it.
    Run(Box<Job>, Place),
    /// To let a session know what was computed elsewhere.
    Adopt(Adoption),
}

/// Something computed elsewhere, and who is told once it is known.
pub(crate) struct Adoption {
    pub(crate) session: String,
    pub(crate) snapshot: Snapshot,
    pub(crate) done: oneshot::Sender<()>,
    /// Its place among what the engine accepts.
    pub(crate) _place: Place,
}

/// What somebody wants of a prompt instead of an answer to it.
pub(crate) enum Wanted {
    /// Its keys and values.
    State(Computed),
    /// The mean of its hidden states, of length 1.
    Embedding(oneshot::Sender<Vec<f32>>),
}

/// Who waits for what was computed of a prompt. The job ends once the second half is dropped.
pub(crate) type Computed = oneshot::Sender<(Snapshot, oneshot::Sender<()>)>;

/// A request the scheduler can run.
pub(crate) struct Job {
    pub(crate) session: String,
    pub(crate) recipe: Recipe,
    pub(crate) cancel: CancellationToken,
    pub(crate) events: Events,
    pub(crate) wanted: Option<Wanted>,
}

/// What is to be generated.
pub(crate) struct Recipe {
    pub(crate) tokens: Vec<u32>,
    pub(crate) truncated: usize,
    pub(crate) max_tokens: usize,
    pub(crate) ignore_end: bool,
    pub(crate) sampler: Sampler,
    pub(crate) logprobs: Option<Logprobs>,
    pub(crate) answer: Answer,
}

/// What prompts are made with.
pub(crate) struct PromptMaker {
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: Option<ChatTemplate>,
    pub(crate) context_size: usize,
}

impl PromptMaker {
    /// Prepares submissions until nobody can send any more.
    pub(crate) fn run(&self, submissions: &Receiver<Submission>, work: &SyncSender<Work>) {
        while let Ok(submission) = submissions.recv() {
            if submission.cancel.is_cancelled() && submission.events.is_closed() {
                continue;
            }
            let Submission { session, prompt, options, cancel, events, wanted, place } = submission;
            // The regular expressions of a tokenizer panic when a text makes them try too long.
            let prepared = catch_unwind(AssertUnwindSafe(|| self.prepare(prompt, options)));
            let prepared = prepared.unwrap_or_else(|_| {
                Err(Error::Compute {
                    problem: "the prompt cannot be cut into tokens; shorten its longest run of like characters"
                        .to_owned(),
                })
            });
            match prepared {
                // The channel holds as much work as there are places, and the scheduler outlives this thread.
                Ok(recipe) => {
                    let _ = work.try_send(Work::Run(Box::new(Job { session, recipe, cancel, events, wanted }), place));
                }
                // The channel is new and empty; a receiver that is gone does not want the error.
                Err(error) => {
                    let _ = events.try_send(Err(error));
                }
            }
        }
    }

    fn prepare(&self, prompt: Prompt, options: GenerateOptions) -> Result<Recipe, Error> {
        only_elsewhere("schema", options.schema.is_some())?;
        only_elsewhere("extra_body", options.extra_body.is_some())?;
        only_elsewhere("think", options.think.is_some())?;
        let sampler = Sampler::new(&options.sampling, self.bias(&options.logit_bias)?)?;
        let logprobs = options.logprobs.map(Logprobs::new).transpose()?;
        let stop = StopTexts::new(options.stop)?;
        if options.max_tokens == Some(0) {
            return Err(Error::InvalidOption {
                name: "max_tokens",
                value: "0".to_owned(),
                expected: "1 or more".to_owned(),
            });
        }
        let max_tokens = options.max_tokens.map_or(usize::MAX, |most| most as usize);
        let (text, opening, format, tools) = match prompt {
            Prompt::Raw(text) => (text, Opening::Open, Format::default(), Vec::new()),
            Prompt::Chat { messages, tools } => {
                only_elsewhere("images", messages.iter().any(|message| !message.images.is_empty()))?;
                let template = self.template.as_ref().ok_or(Error::NoChatTemplate)?;
                let text = template.render(&messages, &tools)?;
                let opening = template.opening(&text);
                (text, opening, template.format(), tools.into_iter().map(|tool| tool.name).collect())
            }
        };
        let (tokens, truncated) = self.fit(&text, options.truncate, max_tokens)?;
        let ignore_end = options.ignore_end;
        let answer = Answer::new(stop, opening, format, tools);
        Ok(Recipe { tokens, truncated, max_tokens, ignore_end, sampler, logprobs, answer })
    }

    /// Biases by token; a text's is that of each of its tokens.
    fn bias(&self, biases: &[LogitBias]) -> Result<Vec<(u32, f32)>, Error> {
        let mut by_token = Vec::new();
        for LogitBias { token, bias } in biases {
            match token {
                Biased::Id(id) if *id as usize >= self.tokenizer.size() => {
                    return Err(Error::InvalidOption {
                        name: "logit_bias",
                        value: id.to_string(),
                        expected: format!("a token below {}, or a text", self.tokenizer.size()),
                    });
                }
                Biased::Id(id) => by_token.push((*id, *bias)),
                Biased::Text(text) => {
                    let mut tokens = self.tokenizer.tokens(text);
                    tokens.sort_unstable();
                    tokens.dedup();
                    by_token.extend(tokens.into_iter().map(|token| (token, *bias)));
                }
            }
        }
        Ok(by_token)
    }

    /// The text the model sees for a conversation.
    pub(crate) fn render(&self, messages: &[ChatMessage], tools: &[Tool]) -> Result<String, Error> {
        self.template.as_ref().ok_or(Error::NoChatTemplate)?.render(messages, tools)
    }

    /// The prompt's tokens, and how many were cut to make them fit.
    fn fit(&self, text: &str, truncate: bool, max_tokens: usize) -> Result<(Vec<u32>, usize), Error> {
        let mut tokens = self.tokenizer.prompt(text);
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if tokens.len() < self.context_size {
            return Ok((tokens, 0));
        }
        if !truncate {
            return Err(Error::ContextOverflow { prompt_tokens: tokens.len(), context_size: self.context_size });
        }
        // Room for the answer: what it may take, at most half of the context, a quarter when nobody said.
        let asked = if max_tokens == usize::MAX { self.context_size / 4 } else { max_tokens };
        let room = asked.clamp(1, (self.context_size / 2).max(1));
        let excess = tokens.len() - (self.context_size - room).max(1);
        let start = usize::from(self.tokenizer.begins_sequence(tokens[0]) && self.context_size - room > 1);
        tokens.drain(start..start + excess);
        Ok((tokens, excess))
    }
}

/// Refuses an option that this engine has no way to honour.
fn only_elsewhere(name: &'static str, is_set: bool) -> Result<(), Error> {
    if !is_set {
        return Ok(());
    }
    let expected =
        "nothing: models that run in this process cannot honour it; backends of the types `openai` and `ollama` can";
    Err(Error::InvalidOption { name, value: "set".to_owned(), expected: expected.to_owned() })
}
