//! What an Ollama can be asked, a function for each. Its refusals are told with the models it has, or the context, where that helps.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use futures::TryFutureExt;
use futures::stream::{self, BoxStream, StreamExt};
use reqwest::header::HeaderMap;
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::wire::{Embedded, Failed, Habits, Progress, Runner, Running, Shown, Tag, Tags, Version};
use super::{full_name, pull};
use crate::config::OllamaConfig;
use crate::error::{Error, ErrorDetails, ErrorKind};
use crate::http::{self, ClientOptions, Lines, Server};
use crate::nearest::nearest;
use crate::pull::{PullRequest, PullStream, sha256_of};
use crate::specifier::ModelSpecifier;

/// Lists of models and what is shown of one are far less.
const MOST_FACTS: usize = 64 * 1024 * 1024;
/// Embeddings of many texts.
const MOST_VECTORS: usize = 1024 * 1024 * 1024;
/// What a server says of a failure.
const MOST_WORDS: usize = 64 * 1024;
/// Bytes of a file that are read at once.
const FILE_CHUNK: usize = 1024 * 1024;

/// A server. Clones share its connections.
#[derive(Clone)]
pub struct OllamaClient {
    server: Server,
    /// The variable that holds a key, where one is needed.
    key: Option<String>,
}

/// A model to be made of a GGUF file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Creation {
    /// Its name there.
    pub name: String,
    /// The file, on this machine.
    pub file: PathBuf,
    /// How conversations are written, in Go's template language: Ollama does not read the one in the file. Without it the text of a
    /// conversation goes to the model as it is.
    pub template: Option<String>,
    /// What the model is told before a conversation that has no system message.
    pub system: Option<String>,
    /// Options that hold unless a request has others, such as `stop` or `temperature`, by Ollama's names.
    pub parameters: Map<String, Value>,
}

/// The events of a pull or a creation; the last one that does not fail is `success`. Dropping it takes the request back.
pub type ProgressStream = BoxStream<'static, Result<Progress, Error>>;

impl OllamaClient {
    pub(super) fn new(instance: &str, options: &OllamaConfig) -> OllamaClient {
        let base = Url::parse(&options.base_url).expect("the configuration was checked");
        let http_options =
            ClientOptions { ca_file: options.ca_file.clone(), idle_limit: Some(options.idle_limit), plain: false };
        let server = Server::new(instance, base, http_options);
        OllamaClient { server, key: options.api_key_env.clone() }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// The server's version.
    pub async fn version(&self) -> Result<String, Error> {
        let version: Version = self.ask(Method::GET, "/api/version", None, MOST_WORDS).await?;
        Ok(version.version)
    }

    /// What is stored.
    pub(super) async fn stored(&self) -> Result<Vec<Tag>, Error> {
        let tags: Tags = self.ask(Method::GET, "/api/tags", None, MOST_FACTS).await?;
        Ok(tags.models.unwrap_or_default())
    }

    /// What a name means there; `None` where it means nothing.
    pub(super) async fn digest(&self, model: &str) -> Result<Option<String>, Error> {
        let name = full_name(model);
        Ok(self.stored().await?.into_iter().find(|tag| tag.name == name).map(|tag| tag.digest))
    }

    /// What is in memory.
    pub(super) async fn running(&self) -> Result<Vec<Runner>, Error> {
        let running: Running = self.ask(Method::GET, "/api/ps", None, MOST_FACTS).await?;
        Ok(running.models.unwrap_or_default())
    }

    pub(super) async fn show(&self, model: &str) -> Result<Shown, Error> {
        self.ask_about(model, "/api/show", json!({ "model": model })).await
    }

    /// Brings a model into memory, or says how long one stays that is there.
    pub(super) async fn load(&self, model: &str, habits: Habits) -> Result<(), Error> {
        let mut body = habits.body(model);
        if habits.keep_alive == Some(0) {
            // With a request for nothing that would mean to unload it.
            body.remove("keep_alive");
        }
        body.insert("stream".to_owned(), false.into());
        let loaded = self.ask_about::<Map<String, Value>>(model, "/api/generate", body.clone().into()).await;
        let Err(error) = loaded else { return Ok(()) };
        if error.kind() != ErrorKind::InvalidRequest {
            return Err(error);
        }
        // A model that only makes embeddings does not generate.
        body.insert("input".to_owned(), "".into());
        let loaded = self.ask_about::<Embedded>(model, "/api/embed", body.into()).await;
        loaded.map(drop).map_err(|_| error)
    }

    /// Has a model leave memory once no request uses it.
    pub(super) async fn unload(&self, model: &str) -> Result<(), Error> {
        let body = json!({ "model": model, "keep_alive": 0, "stream": false });
        self.ask_about::<Map<String, Value>>(model, "/api/generate", body).await.map(drop)
    }

    pub(super) async fn embed(&self, model: &str, texts: &[String], habits: Habits) -> Result<Embedded, Error> {
        let mut body = habits.body(model);
        body.insert("input".to_owned(), texts.into());
        body.insert("truncate".to_owned(), false.into());
        let asked = self.ask(Method::POST, "/api/embed", Some(body.into()), MOST_VECTORS).await;
        self.with_more(model, asked).await
    }

    /// Starts a generation: its lines.
    pub(super) async fn generate(&self, path: &str, body: &Value) -> Result<Lines, Error> {
        Ok(Lines::new(self.server.clone(), self.call(Method::POST, path, Some(body)).await?))
    }

    /// Gets a model from the registry that its name says, Ollama's own without one. `insecure` allows a registry without encryption.
    pub fn pull(&self, model: &str, insecure: bool) -> ProgressStream {
        self.progress("/api/pull", json!({ "model": model, "insecure": insecure, "stream": true }))
    }

    /// As [`OllamaClient::pull`], told as pulls into the store are. A quantization is part of a name there, and names are given by `copy`.
    pub(crate) fn pull_as_told(
        &self,
        model: &str,
        insecure: bool,
        request: &PullRequest,
        specifier: ModelSpecifier,
        cancel: CancellationToken,
    ) -> Result<PullStream, Error> {
        let problem = if request.quantization.is_some() {
            "Ollama's registry has the quantization in the name, as in `llama3.2:1b-instruct-q8_0`; leave `quantization` out"
        } else if request.name.is_some() {
            "an Ollama stores a model under the name of its registry; leave `name` out and copy the model to the name"
        } else if request.force {
            "an Ollama gets what it lacks, and knows its files by their digests; leave `force` out"
        } else {
            return Ok(pull::pull(self, self.pull(model, insecure), model, specifier, cancel));
        };
        Err(self.error(ErrorKind::InvalidRequest, problem.to_owned()))
    }

    /// Gives a model a second name.
    pub async fn copy(&self, from: &str, to: &str) -> Result<(), Error> {
        let body = json!({ "source": from, "destination": to });
        let copied = self.call(Method::POST, "/api/copy", Some(&body)).await;
        self.with_more(from, copied.map(drop)).await
    }

    /// Removes a name, and what no other name needs.
    pub async fn delete(&self, model: &str) -> Result<(), Error> {
        let deleted = self.call(Method::DELETE, "/api/delete", Some(&json!({ "model": model }))).await;
        self.with_more(model, deleted.map(drop)).await
    }

    /// Makes a model of a file, which is sent unless the server has it already.
    pub fn create(&self, new: Creation) -> ProgressStream {
        let client = self.clone();
        let sent = async move {
            let digest = client.send_file(&new.file).await?;
            let mut body = json!({ "model": new.name, "files": { "model.gguf": digest }, "stream": true });
            for (key, text) in [("template", new.template), ("system", new.system)] {
                if let Some(text) = text {
                    body[key] = text.into();
                }
            }
            if !new.parameters.is_empty() {
                body["parameters"] = new.parameters.into();
            }
            Ok(client.progress("/api/create", body))
        };
        sent.try_flatten_stream().boxed()
    }

    /// Has the server hold a file's bytes; by this name, `sha256:...`, they are called there.
    async fn send_file(&self, path: &Path) -> Result<String, Error> {
        let digest = self.beside(path, |file| {
            let digest = sha256_of(file, &mut |_| true)?;
            digest.ok_or_else(|| std::io::Error::other("it was left before its end"))
        });
        let digest = format!("sha256:{}", digest.await?);
        let place = format!("/api/blobs/{digest}");
        let head = self.server.send(self.request(Method::HEAD, &place)?).await?;
        if head.status() == StatusCode::NOT_FOUND {
            let file = self.beside(path, |file| file.try_clone()).await?;
            let request = self.request(Method::POST, &place)?.body(Body::wrap_stream(chunks(file)));
            self.accepted(self.server.send(request).await?).await?;
        } else {
            self.accepted(head).await?;
        }
        Ok(digest)
    }

    /// Does what reads a file beside the runtime's own threads.
    async fn beside<T: Send + 'static>(
        &self,
        path: &Path,
        read: impl FnOnce(&mut File) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let path = path.to_owned();
        let named = path.clone();
        let task = tokio::task::spawn_blocking(move || read(&mut File::open(path)?));
        let read = task.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        read.map_err(|error| {
            self.server.error(ErrorKind::InvalidRequest, format!("cannot read `{}`: {error}", named.display()))
        })
    }

    fn progress(&self, path: &'static str, body: Value) -> ProgressStream {
        let client = self.clone();
        let started = async move {
            let lines = client.generate(path, &body).await?;
            Ok(stream::try_unfold((client, lines, false), |(client, mut lines, succeeded)| async move {
                match client.next::<Progress>(&mut lines).await? {
                    Some(progress) => {
                        let succeeded = progress.status == "success";
                        Ok(Some((progress, (client, lines, succeeded))))
                    }
                    None if succeeded => Ok(None),
                    None => Err(client.cut_short("success")),
                }
            }))
        };
        started.try_flatten_stream().boxed()
    }

    /// The next object of a reply that comes in lines; an error that stands among them is one.
    pub(super) async fn next<T: DeserializeOwned>(&self, lines: &mut Lines) -> Result<Option<T>, Error> {
        while let Some(line) = lines.next().await? {
            if line.is_empty() {
                continue;
            }
            if let Ok(Failed { error }) = serde_json::from_slice(&line) {
                let kind = meaning(&error).unwrap_or(ErrorKind::Internal);
                return Err(self.server.error(kind, error));
            }
            return serde_json::from_slice(&line).map(Some).map_err(|error| match error.is_eof() {
                true => self.cut_short("the end of a line"),
                false => self.server.not_json(lines.response().headers(), "a line is not what was expected"),
            });
        }
        Ok(None)
    }

    /// The error that a reply ended before it said `end`.
    pub(super) fn cut_short(&self, end: &str) -> Error {
        let problem = format!(
            "{} ended its reply before it said `{end}`; Ollama does so when its model says one thing over and over, and when it is stopped",
            self.server.address()
        );
        self.server.error(ErrorKind::Network, problem)
    }

    pub(super) fn error(&self, kind: ErrorKind, problem: String) -> Error {
        self.server.error(kind, problem)
    }

    async fn ask_about<T: DeserializeOwned>(&self, model: &str, path: &str, body: Value) -> Result<T, Error> {
        let answer = self.ask(Method::POST, path, Some(body), MOST_FACTS).await;
        self.with_more(model, answer).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        most: usize,
    ) -> Result<T, Error> {
        let mut response = self.call(method, path, body.as_ref()).await?;
        http::json(&self.server, &mut response, most).await
    }

    /// The reply to a request, if it is not a refusal.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, Error> {
        let mut request = self.request(method, path)?;
        if let Some(body) = body {
            request = request.json(body);
        }
        self.accepted(self.server.send(request).await?).await
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, Error> {
        let request = self.server.request(method, path)?;
        let Some(variable) = &self.key else { return Ok(request) };
        match std::env::var(variable) {
            Ok(key) if !key.is_empty() => Ok(request.bearer_auth(key)),
            _ => {
                let problem = format!(
                    "the variable `{variable}`, its `api_key_env`, holds no key; set it, or leave `api_key_env` out"
                );
                Err(self.server.error(ErrorKind::Authentication, problem))
            }
        }
    }

    async fn accepted(&self, mut response: Response) -> Result<Response, Error> {
        if response.status().is_success() {
            return Ok(response);
        }
        let words = http::text(&self.server, &mut response, MOST_WORDS).await.unwrap_or_default();
        let (status, headers) = (response.status(), response.headers());
        Err(match serde_json::from_str::<Failed>(&words) {
            Ok(Failed { error }) => self.refusal(status, headers, &error),
            Err(_) if status == StatusCode::NOT_FOUND => {
                self.server.not_json(headers, "it does not know what an Ollama knows")
            }
            Err(_) => self.server.refusal(status, headers, ""),
        })
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, words: &str) -> Error {
        match meaning(words) {
            Some(kind) if status != StatusCode::TOO_MANY_REQUESTS => self.server.error(kind, words),
            _ => self.server.refusal(status, headers, words),
        }
    }

    /// A failure with what only the server knows: the models it has, the context of the one in memory.
    pub(super) async fn with_more<T>(&self, model: &str, answer: Result<T, Error>) -> Result<T, Error> {
        let Err(error) = answer else { return answer };
        Err(match error.kind() {
            ErrorKind::ModelNotFound => {
                let stored = self.stored().await.unwrap_or_default();
                Error::ModelNotFound {
                    model: model.to_owned(),
                    instances: vec![self.server.instance().to_owned()],
                    near: near(model, &stored),
                    unreachable: Vec::new(),
                }
            }
            ErrorKind::ContextOverflow => {
                let name = full_name(model);
                let running = self.running().await.unwrap_or_default();
                let context = running.iter().find(|runner| runner.name == name).map(|runner| runner.context_length);
                let holds = context.map_or("tokens that the context holds".to_owned(), |tokens| {
                    format!("{tokens} tokens that the context holds, prompt and answer together")
                });
                let problem = format!(
                    "model `{model}`: the prompt has more than the {holds}; Ollama does not say how many; shorten it, raise \
                     `context_size` or ask for `truncate`"
                );
                let context_size = context.map(|tokens| tokens as u64);
                let details = ErrorDetails { context_size, ..ErrorDetails::default() };
                self.server.error(ErrorKind::ContextOverflow, problem).with(details)
            }
            _ => error,
        })
    }
}

/// The names near one. Who leaves the tag out means `latest`, which is then no part of the distance.
fn near(model: &str, stored: &[Tag]) -> Vec<String> {
    match model.contains(':') {
        true => nearest(model, stored.iter().map(|tag| tag.name.as_str())),
        false => nearest(model, stored.iter().map(|tag| tag.name.strip_suffix(":latest").unwrap_or(&tag.name))),
    }
}

/// What Ollama's words mean where its status says less: much of what is wrong with a request has the status 500, and what goes wrong in
/// the midst of an answer has none. The words are those of 0.17.4.
fn meaning(words: &str) -> Option<ErrorKind> {
    let says = |part: &str| words.contains(part);
    if says("exceeds the context length") || says("exceeds maximum context length") {
        Some(ErrorKind::ContextOverflow)
    } else if words.starts_with("model ") && says("not found") || says("manifest: file does not exist") {
        Some(ErrorKind::ModelNotFound)
    } else if says("does not support") || says("invalid format") || says("JSON schema") || says("must be of type") {
        Some(ErrorKind::InvalidRequest)
    } else if says("system memory") || says("out of memory") || says("server busy") {
        Some(ErrorKind::Overloaded)
    } else {
        None
    }
}

/// The bytes of a file as they are sent.
fn chunks(file: File) -> BoxStream<'static, std::io::Result<Vec<u8>>> {
    stream::try_unfold(file, |mut file| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; FILE_CHUNK];
            let length = file.read(&mut chunk)?;
            chunk.truncate(length);
            Ok((chunk, file))
        });
        let (chunk, file) = read.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))?;
        Ok((!chunk.is_empty()).then_some((chunk, file)))
    })
    .boxed()
}
