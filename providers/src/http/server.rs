//! A server as a provider instance knows it: where it is, how it is asked, and what its failures mean.

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};

use super::client::{ClientOptions, client};
use crate::error::{Error, ErrorKind};
use crate::nearest::quoted;

/// What a server says of its load for longer than this is not believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A server of one instance. Clones share its connections; none is made before the first request.
#[derive(Clone)]
pub(crate) struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    instance: String,
    base: Url,
    options: ClientOptions,
    client: OnceLock<Result<Client, String>>,
}

impl Server {
    /// The server at `base`: scheme, host, port and path, to which the paths of requests are appended.
    pub(crate) fn new(instance: &str, base: Url, options: ClientOptions) -> Server {
        let options = ClientOptions { plain: base.scheme() == "http", ..options };
        Server { shared: Arc::new(Shared { instance: instance.to_owned(), base, options, client: OnceLock::new() }) }
    }

    /// The instance's name.
    pub(crate) fn instance(&self) -> &str {
        &self.shared.instance
    }

    /// Its address without user, password and query, as errors name it.
    pub(crate) fn address(&self) -> String {
        let Shared { base, .. } = &*self.shared;
        let port = base.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!(
            "{}://{}{port}{}",
            base.scheme(),
            base.host_str().unwrap_or_default(),
            base.path().trim_end_matches('/')
        )
    }

    /// A request to a path below the base, such as `chat/completions`.
    pub(crate) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let Shared { base, options, client: made, .. } = &*self.shared;
        let client = made.get_or_init(|| client(options)).as_ref();
        let client = client.map_err(|problem| self.error(ErrorKind::InvalidConfig, problem.clone()))?;
        let mut url = base.clone();
        url.set_path(&format!("{}/{}", base.path().trim_end_matches('/'), path.trim_start_matches('/')));
        Ok(client.request(method, url))
    }

    /// Sends a request and waits for the head of its answer, which may say anything but a redirect.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|error| self.transport(&error))?;
        if response.status().is_redirection() {
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            let problem = format!(
                "{} answered with a redirect to `{}`; write that address as `base_url` if it is the right one",
                self.address(),
                quoted(to.split('?').next().unwrap_or_default())
            );
            return Err(self.error(ErrorKind::InvalidConfig, problem));
        }
        Ok(response)
    }

    /// An error of this instance.
    pub(crate) fn error(&self, kind: ErrorKind, problem: impl Into<String>) -> Error {
        Error::Elsewhere { instance: self.shared.instance.clone(), kind, problem: problem.into() }
    }

    /// What it means that bytes did not come or go.
    pub(crate) fn transport(&self, error: &reqwest::Error) -> Error {
        let address = self.address();
        if error.is_connect() {
            let why = if error.is_timeout() { "no connection within 10 s".to_owned() } else { causes(error) };
            return self.error(ErrorKind::Network, format!("cannot reach {address}: {why}"));
        }
        if error.is_timeout() {
            let limit = self.shared.options.idle_limit.unwrap_or_default().as_secs_f64();
            return self.error(ErrorKind::Timeout, format!("{address} sent nothing for {limit} s"));
        }
        if error.is_builder() {
            return self.error(ErrorKind::InvalidRequest, format!("no request can be made of this: {}", causes(error)));
        }
        self.error(ErrorKind::Network, format!("{address} broke the connection off: {}", causes(error)))
    }

    /// What a status other than success means where the dialect knows no better; `problem` holds the server's own words.
    pub(crate) fn refusal(&self, status: StatusCode, headers: &HeaderMap, problem: &str) -> Error {
        let kind = kind_of(status);
        let code = status.as_u16();
        let words = if problem.is_empty() { status.canonical_reason().unwrap_or("no reason") } else { problem };
        let problem = format!("{} refused with status {code}: {words}", self.address());
        match kind {
            ErrorKind::RateLimited | ErrorKind::Overloaded => {
                Error::Busy { instance: self.shared.instance.clone(), kind, problem, retry_after: retry_after(headers) }
            }
            kind => self.error(kind, problem),
        }
    }

    /// The error that an answer is no JSON, which a page for people is not: something else listens there, or stands in between.
    pub(crate) fn not_json(&self, headers: &HeaderMap, problem: &str) -> Error {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no content type");
        let problem = format!(
            "{} answered with something else than JSON (`{}`): {problem}; is `base_url` right?",
            self.address(),
            quoted(content_type)
        );
        self.error(ErrorKind::Network, problem)
    }
}

/// The kind of error that a status is by itself.
fn kind_of(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 | 403 | 407 => ErrorKind::Authentication,
        402 => ErrorKind::Budget,
        404 => ErrorKind::ModelNotFound,
        408 | 504 | 522 | 524 => ErrorKind::Timeout,
        429 => ErrorKind::RateLimited,
        503 | 529 => ErrorKind::Overloaded,
        502 | 520 | 521 | 523 => ErrorKind::Network,
        400..=499 => ErrorKind::InvalidRequest,
        _ => ErrorKind::Internal,
    }
}

/// When a server that has too much to do wants to be asked again: `Retry-After` in seconds or as a date, or OpenAI's `retry-after-ms`.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |text: &str| text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let milliseconds = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok());
    let exact = milliseconds.and_then(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0).ok());
    let after = exact.or_else(|| {
        let after = text(RETRY_AFTER.as_str())?;
        seconds(after).or_else(|| {
            let date = httpdate::parse_http_date(after).ok()?;
            let left = date.duration_since(SystemTime::now()).unwrap_or_default();
            // A date is exact to a second, and one too early comes too early.
            Some(Duration::from_secs(left.as_secs_f64().ceil() as u64))
        })
    })?;
    Some(after.min(LONGEST_RETRY_AFTER))
}

/// The innermost cause of an error: those around it say that something failed, and may hold addresses with passwords.
pub(crate) fn causes(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn std::error::Error> = error.source();
    while let Some(inner) = cause.and_then(|cause| cause.source()) {
        cause = Some(inner);
    }
    cause.map_or_else(|| "no reason is known".to_owned(), |cause| quoted(&cause.to_string()))
}
