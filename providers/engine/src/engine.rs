//! The handle callers hold: loads a model, starts its threads, sends requests to them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::chat::{ChatMessage, Tool};
use crate::decoder::{CacheType, Decoder, PageShape};
use crate::description::Description;
use crate::error::Error;
use crate::event::{Event, Generation, Usage};
use crate::facts;
use crate::gguf::{Gguf, ModelBytes, TensorType};
use crate::info::ModelInfo;
use crate::kernels::{self, InstructionSet};
use crate::places::Places;
use crate::prepare::{Adoption, PromptMaker, Submission, Wanted, Work};
use crate::proportions;
use crate::request::{GenerateOptions, Prompt, Request};
use crate::scheduler::{Limits, Scheduler, rows_per_pass};
use crate::state::{self, Owner, StateInfo};
use crate::template::ChatTemplate;
use crate::threads::{self, Threads};
use crate::tokenizer::Tokenizer;

const TEMPLATE_KEY: &str = "tokenizer.chat_template";
/// Requests that may wait for their turn, a part of them of one session; more are refused with [`Error::Overloaded`].
const MOST_WAITING: usize = 256;
/// Events a reader may be behind before its sequence pauses.
const EVENTS_AHEAD: usize = 256;
const MOST_THREADS: usize = 1024;
const MOST_CONCURRENT: usize = 4096;
/// The most memory the KV cache keeps when nobody said, in bytes.
const DEFAULT_CACHE_BYTES: u64 = 1 << 30;

/// Where a model's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A GGUF file, which is memory-mapped while it is loaded: shortening it in that time kills the process. Afterwards only
    /// rows of the embedding are read from it, and generations fail when they are gone.
    File(PathBuf),
    /// A GGUF file compiled into the binary, such as [`crate::moonlet`]; it must lie at a multiple of 4 bytes.
    Bundled(&'static [u8]),
}

/// How a model is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Tokens one sequence may hold; default: what the model was trained on.
    pub context_size: Option<usize>,
    /// Threads that compute; default: the processors this process may use. Matrices of types without kernels of
    /// ours are multiplied by candle, which has its own threads, one per physical core, whatever is said here.
    pub cpu_threads: Option<usize>,
    /// Sequences that run at once; the others wait.
    pub max_concurrent: usize,
    /// Bytes of keys and values, those in use counted in, that stay in memory for requests which begin as others of their
    /// session did; default: as many as a full context needs, at most 1 GiB.
    pub cache_bytes: Option<u64>,
    /// In which form keys and values are kept.
    pub cache_type: CacheType,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions {
            context_size: None,
            cpu_threads: None,
            max_concurrent: 8,
            cache_bytes: None,
            cache_type: CacheType::default(),
        }
    }
}

/// A loaded model. Clones share it. Once the last is dropped, generations under way are still finished for whoever
/// reads them, and then its threads end and its memory is freed.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

/// A text as a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// Its direction, of length 1.
    pub vector: Vec<f32>,
    /// Tokens of the text.
    pub tokens: u32,
}

struct Shared {
    info: ModelInfo,
    prompts: Arc<PromptMaker>,
    submissions: SyncSender<Submission>,
    work: SyncSender<Work>,
    places: Arc<Places>,
    steps: Arc<AtomicU64>,
    weight_bytes: u64,
    /// Who writes and reads states here.
    owner: Owner,
}

impl Engine {
    /// Loads a model; blocks for as long as that takes. Fails with [`Error::Open`], [`Error::InvalidFile`],
    /// [`Error::UnsupportedModel`], [`Error::Template`] or [`Error::InvalidOption`].
    pub fn load(source: &Source, options: &EngineOptions) -> Result<Engine, Error> {
        Engine::from_gguf(&open(source)?, options)
    }

    /// What [`Engine::info`] would tell of a model, from its file's header alone: weights are neither read nor checked, and nor is
    /// the vocabulary. Fails as [`Engine::load`] does.
    pub fn inspect(source: &Source, options: &EngineOptions) -> Result<ModelInfo, Error> {
        let gguf = open(source)?;
        let description = Description::from_gguf(&gguf)?;
        proportions::check(&gguf, &description)?;
        let context_size = check_options(options, &description)?;
        let template = gguf.long_text(TEMPLATE_KEY, ChatTemplate::MOST_SOURCE)?;
        let template = template.map(|source| ChatTemplate::new(source, "", "")).transpose()?;
        info(&gguf, &description, options, context_size, template.as_ref())
    }

    pub(crate) fn from_gguf(gguf: &Gguf, options: &EngineOptions) -> Result<Engine, Error> {
        let description = Description::from_gguf(gguf)?;
        proportions::check(gguf, &description)?;
        let context_size = check_options(options, &description)?;
        let decoder = Decoder::new(gguf, description, Threads::new(threads::available(options.cpu_threads)))?;
        let tokenizer = Arc::new(Tokenizer::from_gguf(gguf)?);
        let template = match gguf.long_text(TEMPLATE_KEY, ChatTemplate::MOST_SOURCE)? {
            Some(source) => Some(ChatTemplate::new(source, tokenizer.bos_text(), tokenizer.eos_text())?),
            None => None,
        };
        let info = info(gguf, decoder.description(), options, context_size, template.as_ref())?;
        tracing::info!(model = info.name, parameters = info.parameters, context_size, "model loaded");

        let shape = PageShape::of(decoder.description(), options.cache_type);
        let limits = Limits {
            max_concurrent: options.max_concurrent,
            context_size,
            rows_per_pass: rows_per_pass(info.parameters, Decoder::row_bytes(decoder.description())),
            cache_bytes: cache_bytes(options, shape, context_size),
            shape,
        };
        let owner = Owner {
            fingerprint: gguf.fingerprint(),
            name: info.name.clone(),
            shape,
            vocabulary: info.vocabulary,
            context_size,
            cache_bytes: limits.cache_bytes,
        };
        let steps = Arc::new(AtomicU64::new(0));
        let weight_bytes = gguf.matrices().map(|matrix| matrix.bytes).sum();
        let scheduler = Scheduler::new(decoder, Arc::clone(&tokenizer), Arc::clone(&steps), limits);
        let prompts = Arc::new(PromptMaker { tokenizer, template, context_size });
        let (submissions, submitted) = sync_channel(MOST_WAITING);
        let (work, scheduled) = sync_channel(MOST_WAITING);
        start("engine", move || {
            scheduler.run(&scheduled);
            give_memory_back();
        })?;
        let maker = Arc::clone(&prompts);
        let prepared = work.clone();
        start("engine-prompts", move || maker.run(&submitted, &prepared))?;
        let places = Places::new(MOST_WAITING);
        let shared = Shared { info, prompts, submissions, work, places, steps, weight_bytes, owner };
        Ok(Engine { shared: Arc::new(shared) })
    }

    /// Facts about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.shared.info
    }

    /// Starts a generation; returns at once. What is wrong with the request comes as the stream's only item.
    pub fn generate(&self, request: Request) -> Generation {
        self.submit(request, None)
    }

    /// Computes what its session does not know yet of a prompt, and writes the keys and values of all of it to a file;
    /// blocks for as long as that takes. Only its owner may read the file, and it is replaced whole or not at all. Fails as
    /// a generation does, or with [`Error::WriteState`] or [`Error::Cancelled`].
    pub fn save_state(
        &self,
        session: &str,
        prompt: Prompt,
        path: &Path,
        cancel: CancellationToken,
    ) -> Result<StateInfo, Error> {
        let (computed, snapshot) = oneshot::channel();
        let request = Request { session: session.to_owned(), prompt, options: GenerateOptions::default(), cancel };
        let mut job = self.submit(request, Some(Wanted::State(computed)));
        if let Ok((snapshot, taken)) = snapshot.blocking_recv() {
            let written = state::write(path, &self.shared.owner, &snapshot);
            // In this order: the pages are the engine's again once it is told.
            drop(snapshot);
            drop(taken);
            return written.map_err(|error| Error::WriteState { path: path.to_owned(), source: Arc::new(error) });
        }
        while let Some(event) = job.blocking_next() {
            event?;
        }
        Err(Error::Cancelled)
    }

    /// Lets a session know what [`Engine::save_state`] wrote with the same model, in whatever process; blocks until it does. Fails
    /// with [`Error::RestoreState`], and knows nothing then. What comes after is as if it had been computed here, to the
    /// bit; like that it goes by last use when others need the room.
    pub fn restore_state(&self, session: &str, path: &Path) -> Result<StateInfo, Error> {
        let failed = |problem| Error::RestoreState { path: path.to_owned(), problem };
        if session.is_empty() {
            return Err(failed("a request without a session knows nothing; name one".to_owned()));
        }
        let place = self.shared.places.take(session)?;
        let (snapshot, info) = state::read(path, &self.shared.owner).map_err(failed)?;
        let (done, adopted) = oneshot::channel();
        let adoption = Adoption { session: session.to_owned(), snapshot, done, _place: place };
        let sent = self.shared.work.try_send(Work::Adopt(adoption)).ok();
        sent.and_then(|()| adopted.blocking_recv().ok()).ok_or(Error::Stopped)?;
        Ok(info)
    }

    /// A text as a vector: the mean over its tokens of the hidden states after the final norm, divided by its length, as llama.cpp's
    /// mean pooling has it; `[hidden]`. Its tokens are computed afresh and not kept. Fails as a generation does.
    pub async fn embed(&self, session: &str, text: &str) -> Result<Embedding, Error> {
        let (pooled, vector) = oneshot::channel();
        let request = Request {
            session: session.to_owned(),
            prompt: Prompt::Raw(text.to_owned()),
            options: GenerateOptions::default(),
            cancel: CancellationToken::new(),
        };
        let mut job = self.submit(request, Some(Wanted::Embedding(pooled)));
        let mut usage = Usage::default();
        while let Some(event) = job.next().await {
            if let Event::Usage(told) = event? {
                usage = told;
            }
        }
        let vector = vector.await.map_err(|_| Error::Stopped)?;
        Ok(Embedding { vector, tokens: usage.prompt_tokens })
    }

    /// `wanted`: by who wants something else than an answer.
    fn submit(&self, request: Request, wanted: Option<Wanted>) -> Generation {
        let Request { session, prompt, options, cancel } = request;
        let cancel = cancel.child_token();
        let (events, receiver) = mpsc::channel(EVENTS_AHEAD);
        let generation = Generation::new(receiver, cancel.clone().drop_guard());
        let refused = match self.shared.places.take(&session) {
            Ok(place) => {
                let events = events.clone();
                let submission = Submission { session, prompt, options, cancel, events, wanted, place };
                self.shared.submissions.try_send(submission).err().map(|_| Error::Stopped)
            }
            Err(refused) => Some(refused.into()),
        };
        if let Some(error) = refused {
            // The channel is new and empty, and its receiver is right here.
            let _ = events.try_send(Err(error));
        }
        generation
    }

    /// Forward passes run so far; stops rising once nothing is generating.
    pub fn steps(&self) -> u64 {
        self.shared.steps.load(Ordering::Relaxed)
    }

    /// Bytes of weights that one token reads: every matrix but the embedding, which is read by the row.
    pub(crate) fn weight_bytes(&self) -> u64 {
        self.shared.weight_bytes
    }

    /// The tokens of a raw text, as [`crate::Prompt::Raw`] would be read.
    pub fn tokenize(&self, text: &str) -> Vec<u32> {
        self.shared.prompts.tokenizer.prompt(text)
    }

    /// The text the model would see for a conversation; fails with [`Error::NoChatTemplate`] or [`Error::Template`].
    pub fn render(&self, messages: &[ChatMessage], tools: &[Tool]) -> Result<String, Error> {
        self.shared.prompts.render(messages, tools)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").field("info", &self.shared.info).finish_non_exhaustive()
    }
}

pub(crate) fn open(source: &Source) -> Result<Gguf, Error> {
    let bytes = match source {
        Source::File(path) => ModelBytes::map(path)?,
        Source::Bundled(bytes) => ModelBytes::bundled(bytes),
    };
    Gguf::parse(Arc::new(bytes))
}

/// Bytes of keys and values that stay in memory.
fn cache_bytes(options: &EngineOptions, shape: PageShape, context_size: usize) -> u64 {
    options.cache_bytes.unwrap_or_else(|| shape.bytes(context_size).min(DEFAULT_CACHE_BYTES))
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    match thread::Builder::new().name(name.to_owned()).spawn(run) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Compute { problem: format!("the thread `{name}` cannot start: {error}") }),
    }
}

/// Hands the system what a model's end has freed: the allocator would keep what lay scattered among other memory, some 100 MB after
/// ten loads.
fn give_memory_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Checks the options against the model and returns the context size to use.
fn check_options(options: &EngineOptions, description: &Description) -> Result<usize, Error> {
    let check = |name: &'static str, value: usize, least: usize, most: usize| {
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        Err(Error::InvalidOption { name, value: value.to_string(), expected: format!("{least} to {most}") })
    };
    check("max_concurrent", options.max_concurrent, 1, MOST_CONCURRENT)?;
    if let Some(threads) = options.cpu_threads {
        check("cpu_threads", threads, 1, MOST_THREADS)?;
    }
    match options.context_size {
        Some(size) => check("context_size", size, 2, description.context_length.max(2)),
        None => Ok(description.context_length),
    }
}

/// What runs the matrices, and which tensor types have no kernels of ours.
fn executor(gguf: &Gguf) -> String {
    let set = InstructionSet::current();
    let mut others: Vec<&str> = gguf
        .matrices()
        .map(|matrix| matrix.kind)
        .filter(|kind| !kernels::has_kernel(kind.ggml(), set))
        .map(TensorType::name)
        .collect();
    others.sort_unstable();
    others.dedup();
    match others.as_slice() {
        [] => format!("cpu ({})", set.name()),
        others => format!("cpu ({}; by candle: {})", set.name(), others.join(", ")),
    }
}

fn info(
    gguf: &Gguf,
    description: &Description,
    options: &EngineOptions,
    context_size: usize,
    template: Option<&ChatTemplate>,
) -> Result<ModelInfo, Error> {
    let shape = PageShape::of(description, options.cache_type);
    let weight_bytes: u64 = gguf.tensors().map(|tensor| tensor.bytes).sum();
    let (parameters, quantization) = facts::weights(gguf);
    Ok(ModelInfo {
        name: gguf.text("general.name")?.unwrap_or_default(),
        architecture: description.architecture.clone(),
        parameters,
        layers: description.layers,
        hidden: description.hidden,
        heads: description.heads,
        kv_heads: description.kv_heads,
        context_length: description.context_length,
        context_size,
        vocabulary: description.vocabulary,
        quantization,
        file_bytes: gguf.bytes().as_slice().len() as u64,
        memory_bytes: weight_bytes + cache_bytes(options, shape, context_size),
        kv_cache_type: shape.cache_type.as_str().to_owned(),
        kv_bytes_per_token: shape.bytes_per_position() as u64,
        executor: executor(gguf),
        has_chat_template: template.is_some(),
        supports_tools: template.is_some_and(ChatTemplate::knows_tools),
    })
}
