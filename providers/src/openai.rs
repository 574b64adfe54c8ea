//! The `openai` provider: any server that speaks OpenAI's dialect of HTTP, near or far.
//!
//! `body` writes a request, `chunk` is what comes back as it stands on the wire, `answer` makes events of it, `refusal` says what a
//! server's error means. The client, proxies, certificates and lines are the module `http`'s.

mod answer;
mod body;
mod chunk;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt, stream};
use perilune_engine::{Event, FinishReason, Prompt, WrittenAnswer};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::{OpenAiConfig, Preset, ProviderConfig};
use crate::deadline::{Limit, limited, within};
use crate::error::{Error, ErrorKind};
use crate::http::{self, ClientOptions, Server};
use crate::nearest::nearest;
use crate::provider::{
    EmbedRequest, Embeddings, EventStream, GenerateRequest, Health, HealthStatus, LocalProvider, Location, ModelEntry,
    Provider, ProviderType,
};
use answer::Answer;
use chunk::{EmbeddingList, ModelList};

/// More than a list of all models there are, and than the embeddings of a large batch.
const LARGEST_BODY: usize = 256 * 1024 * 1024;
/// More than an error has to say.
const LARGEST_REFUSAL: usize = 1024 * 1024;

/// One server, or one account with it. Clones share its connections.
#[derive(Clone)]
pub(crate) struct OpenAiProvider {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    timeout: Option<Duration>,
    server: Result<Server, Error>,
    preset: Preset,
    key: Key,
    /// Whose price list applies: the preset's, if it is where the preset says.
    vendor: Option<&'static str>,
}

/// Where the key is.
struct Key {
    written: Option<String>,
    variable: Option<String>,
}

impl OpenAiProvider {
    /// The instance called `name`. Nothing is read or contacted before the first request.
    pub(crate) fn new(name: &str, common: &ProviderConfig, options: &OpenAiConfig) -> OpenAiProvider {
        let client =
            ClientOptions { ca_file: options.ca_file.clone(), idle_limit: Some(options.idle_limit), plain: false };
        let base = options.base_url.as_deref().and_then(|base| Url::parse(base).ok());
        let no_address = || Error::Elsewhere {
            instance: name.to_owned(),
            kind: ErrorKind::InvalidConfig,
            problem:
                "nobody who may says where it is; write `base_url` or `preset` into its table of your own config.toml"
                    .to_owned(),
        };
        let key = Key {
            written: options.api_key.as_ref().map(|key| key.reveal().to_owned()),
            variable: options.api_key_env.clone(),
        };
        let server = base.map(|base| Server::new(name, base, client)).ok_or_else(no_address);
        let preset = options.preset;
        let is_theirs = preset.base_url.is_some() && options.base_url.as_deref() == preset.base_url;
        let vendor = is_theirs.then_some(preset.name);
        let shared = Shared { name: name.to_owned(), timeout: common.timeout, server, preset, key, vendor };
        OpenAiProvider { shared: Arc::new(shared) }
    }

    fn server(&self) -> Result<&Server, Error> {
        self.shared.server.as_ref().map_err(Clone::clone)
    }

    /// A request with the instance's key.
    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let request = self.server()?.request(method, path)?;
        Ok(match self.key()? {
            Some(key) => request.bearer_auth(key),
            None => request,
        })
    }

    fn key(&self) -> Result<Option<String>, Error> {
        let Key { written, variable } = &self.shared.key;
        if let Some(key) = written {
            return Ok(Some(key.clone()));
        }
        let Some(variable) = variable else {
            return Ok(None);
        };
        match std::env::var(variable) {
            Ok(key) if !key.trim().is_empty() => Ok(Some(key.trim().to_owned())),
            _ => Err(Error::Elsewhere {
                instance: self.shared.name.clone(),
                kind: ErrorKind::Authentication,
                problem: format!(
                    "the variable `{variable}`, which holds its key, is not set; set it where the kernel starts"
                ),
            }),
        }
    }

    /// Sends a request about a model; an answer that is no success becomes an error.
    async fn send(&self, request: RequestBuilder, model: &str) -> Result<Response, Error> {
        let server = self.server()?;
        let response = server.send(request).await?;
        tracing::debug!(instance = self.shared.name, model, status = %response.status(), "a server answered");
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if response.status().is_success() && content_type.starts_with("text/html") {
            return Err(server.not_json(response.headers(), "it is a page for people"));
        }
        if response.status().is_success() {
            return Ok(response);
        }
        let error = self.refused(server, response, model).await;
        Err(self.with_names(error).await)
    }

    /// What an answer that is no success says.
    async fn refused(&self, server: &Server, mut response: Response, model: &str) -> Error {
        let body = http::text(server, &mut response, LARGEST_REFUSAL).await.unwrap_or_default();
        refusal::of_body(server, response.status(), response.headers(), &body, model, &self.secrets())
    }

    /// What errors must not repeat.
    fn secrets(&self) -> Vec<String> {
        self.key().ok().flatten().into_iter().collect()
    }

    /// Adds the names near the one that was not found.
    async fn with_names(&self, error: Error) -> Error {
        let Error::ModelNotFound { model, instances, unreachable, .. } = error else {
            return error;
        };
        let known = self.list().await.map(|list| list.names()).unwrap_or_default();
        let near = nearest(&model, known.iter().map(String::as_str));
        Error::ModelNotFound { model, instances, near, unreachable }
    }

    async fn list(&self) -> Result<ModelList, Error> {
        let server = self.server()?;
        let mut response = server.send(self.request(Method::GET, "models")?).await?;
        if !response.status().is_success() {
            return Err(self.refused(server, response, "").await);
        }
        http::json(server, &mut response, LARGEST_BODY).await
    }

    async fn start(&self, request: GenerateRequest) -> Result<Answer, Error> {
        let path = match request.prompt {
            Prompt::Chat { .. } => "chat/completions",
            Prompt::Raw(_) => "completions",
        };
        let model = request.model.clone();
        let written = match &request.prompt {
            Prompt::Chat { tools, .. } if !self.shared.preset.words.structured => {
                Some(WrittenAnswer::new(tools.iter().map(|tool| tool.name.clone()).collect()))
            }
            _ => None,
        };
        let body = body::of(request, &self.shared.preset, &self.shared.name)?;
        let response = self.send(self.request(Method::POST, path)?.json(&body), &model).await?;
        let again = match self.shared.preset.words.refusals {
            true => None,
            false => Some(self.whole(path, body)?),
        };
        Ok(Answer::new(self.server()?.clone(), response, model, self.secrets(), again, written))
    }

    /// The same request for a whole answer of one token: by its refusal a server tells why it did not begin a stream.
    fn whole(&self, path: &str, mut body: Map<String, Value>) -> Result<RequestBuilder, Error> {
        body.remove("stream_options");
        body.insert("stream".to_owned(), Value::Bool(false));
        body.insert(self.shared.preset.words.max_tokens.to_owned(), Value::from(1));
        Ok(self.request(Method::POST, path)?.json(&body))
    }

    async fn vectors(&self, request: EmbedRequest) -> Result<Embeddings, Error> {
        let EmbedRequest { model, texts, .. } = request;
        if self.shared.preset.words.many_texts || texts.len() < 2 {
            return self.vectors_of(&model, texts).await;
        }
        let mut all = Embeddings { vectors: Vec::new(), prompt_tokens: Some(0) };
        for text in texts {
            let one = self.vectors_of(&model, vec![text]).await?;
            all.vectors.extend(one.vectors);
            all.prompt_tokens = all.prompt_tokens.zip(one.prompt_tokens).map(|(sum, tokens)| sum + tokens);
        }
        Ok(all)
    }

    async fn vectors_of(&self, model: &str, texts: Vec<String>) -> Result<Embeddings, Error> {
        let server = self.server()?;
        let asked = texts.len();
        if asked == 0 {
            return Ok(Embeddings::default());
        }
        let body = json!({ "model": model, "input": texts, "encoding_format": "float" });
        let mut response = self.send(self.request(Method::POST, "embeddings")?.json(&body), model).await?;
        let mut list: EmbeddingList = http::json(server, &mut response, LARGEST_BODY).await?;
        let wrong = |problem: String| server.error(ErrorKind::Internal, format!("{} {problem}", server.address()));
        if list.data.len() != asked {
            return Err(wrong(format!("answered {asked} texts with {} embeddings", list.data.len())));
        }
        list.data.sort_by_key(|embedding| embedding.index);
        let vectors: Vec<Vec<f32>> = list.data.into_iter().map(|embedding| embedding.embedding.pooled()).collect();
        if vectors.iter().any(|vector| vector.is_empty() || vector.len() != vectors[0].len()) {
            return Err(wrong("answered with embeddings of different lengths".to_owned()));
        }
        Ok(Embeddings { vectors, prompt_tokens: list.usage.and_then(|usage| usage.prompt_tokens) })
    }
}

impl Provider for OpenAiProvider {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn provider_type(&self) -> ProviderType {
        ProviderType::OpenAi
    }

    fn vendor(&self) -> Option<&str> {
        self.shared.vendor
    }

    fn generate(&self, request: GenerateRequest, cancel: CancellationToken) -> EventStream {
        let limit = Limit::of(&request, self.name(), self.shared.timeout);
        let provider = self.clone();
        let start = async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => Ok(stream::iter([Ok(Event::Done(FinishReason::Cancelled))]).boxed()),
                answer = provider.start(request) => answer.map(|answer| answer.events(cancel.clone())),
            }
        };
        limited(start.try_flatten_stream().boxed(), limit)
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelEntry>, Error>> {
        async move {
            let address = self.server()?.address();
            let entry = |name| ModelEntry {
                name,
                size_bytes: 0,
                loaded: false,
                location: Location::Elsewhere(address.clone()),
                collection: None,
                facts: None,
                problem: None,
            };
            Ok(self.list().await?.names().into_iter().map(entry).collect())
        }
        .boxed()
    }

    fn health(&self) -> BoxFuture<'_, Health> {
        async move {
            match self.models().await {
                Ok(_) => {
                    let detail = self.server().map(Server::address).unwrap_or_default();
                    Health { status: HealthStatus::Ready, detail }
                }
                Err(error) => Health { status: HealthStatus::Unavailable, detail: error.to_string() },
            }
        }
        .boxed()
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, Error>> {
        async move {
            let limit = Limit::of_time(&request.model, request.timeout_seconds, self.name(), self.shared.timeout);
            within(limit, self.vectors(request)).await
        }
        .boxed()
    }

    fn local(&self) -> Option<&dyn LocalProvider> {
        None
    }
}
