//! Requests for files: redirects are followed here, each address checked before it is asked, and a token goes to the endpoint alone.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, LOCATION, RANGE};
use reqwest::{Client, Response, StatusCode, Url};

use super::address::{Allowed, shown};
use super::error::PullError;
use crate::error::ErrorKind;
use crate::http::retry_after;
use crate::nearest::quoted;

/// As many redirects as browsers follow at least.
const MOST_REDIRECTS: usize = 10;
/// More of a server's words than an error needs.
const MOST_WORDS: usize = 16 * 1024;

/// The clients for downloads.
#[derive(Clone)]
pub(super) struct Fetcher {
    /// Asks servers themselves.
    pub(super) direct: Client,
    /// Asks the user's proxies, if there are any, for what is not to be asked directly.
    pub(super) by_proxy: Option<Client>,
    pub(super) allowed: Arc<Allowed>,
    /// For the endpoint.
    pub(super) token: Option<String>,
    /// The longest time without a byte, which the client keeps; for errors.
    pub(super) stall: Duration,
}

/// What a request brought, after redirects.
pub(super) struct Answer {
    pub(super) response: Response,
    /// The head of the first answer, where the Hub says what it links to.
    pub(super) first: HeaderMap,
}

/// Why a request failed, and whether another may do better.
pub(super) struct Failure {
    pub(super) error: PullError,
    pub(super) passes: bool,
    /// When the server wants to be asked again.
    pub(super) after: Option<Duration>,
}

impl Failure {
    pub(super) fn lasting(error: PullError) -> Failure {
        Failure { error, passes: false, after: None }
    }

    fn passing(error: PullError) -> Failure {
        Failure { error, passes: true, after: None }
    }
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) start: u64,
    pub(super) total: u64,
}

impl Fetcher {
    /// Asks for a file, or with `range` for its bytes from the first up to the second, and refuses what is a page.
    pub(super) async fn get(&self, url: &Url, range: Option<(u64, u64)>) -> Result<Answer, Failure> {
        let mut at = url.clone();
        let mut first = None;
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send(&at, range).await?;
            let head = first.get_or_insert_with(|| response.headers().clone());
            let status = response.status();
            if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
                at = at
                    .join(to)
                    .map_err(|_| self.server(&at, ErrorKind::Network, "it redirects to nowhere".to_owned()))?;
                continue;
            }
            if !status.is_success() {
                return Err(self.refusal(&at, response).await);
            }
            let first = std::mem::take(head);
            return Ok(Answer { response, first });
        }
        Err(self.server(url, ErrorKind::Network, format!("more than {MOST_REDIRECTS} redirects")))
    }

    async fn send(&self, url: &Url, range: Option<(u64, u64)>) -> Result<Response, Failure> {
        self.allowed.check(url).await.map_err(Failure::lasting)?;
        // Compressed on the way, ranges would be of something else.
        let client = self.by_proxy.as_ref().filter(|_| self.allowed.proxies.serve(url)).unwrap_or(&self.direct);
        let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some((start, end)) = range {
            request = request.header(RANGE, format!("bytes={start}-{}", end.saturating_sub(1)));
        }
        if let Some(token) = &self.token
            && self.allowed.is_endpoint(url)
        {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.send().await.map_err(|error| self.transport(url, &error))
    }

    /// What it means that bytes did not come.
    pub(super) fn transport(&self, url: &Url, error: &reqwest::Error) -> Failure {
        let (kind, problem) = if error.is_timeout() && !error.is_connect() {
            (ErrorKind::Timeout, format!("sent nothing for {} s", self.stall.as_secs_f64()))
        } else if error.is_connect() {
            (ErrorKind::Network, format!("cannot be reached: {}", crate::http::causes(error)))
        } else {
            (ErrorKind::Network, format!("broke the connection off: {}", crate::http::causes(error)))
        };
        Failure::passing(PullError::Server { place: shown(url), kind, problem })
    }

    fn server(&self, url: &Url, kind: ErrorKind, problem: String) -> Failure {
        Failure::lasting(PullError::Server { place: shown(url), kind, problem })
    }

    async fn refusal(&self, url: &Url, response: Response) -> Failure {
        let status = response.status();
        let after = retry_after(response.headers());
        let (kind, passes) = match status.as_u16() {
            401 | 403 | 407 => (ErrorKind::Authentication, false),
            404 | 410 => (ErrorKind::ModelNotFound, false),
            408 | 502 | 504 => (ErrorKind::Network, true),
            429 => (ErrorKind::RateLimited, true),
            500 | 503 => (ErrorKind::Overloaded, true),
            _ => (ErrorKind::Network, false),
        };
        let hub_says = response.headers().get("x-error-message").and_then(|value| value.to_str().ok());
        let mut problem = format!("answered with status {}", status.as_u16());
        if let Some(words) = hub_says {
            problem.push_str(&format!(": {}", quoted(words)));
        }
        if kind == ErrorKind::Authentication && self.allowed.is_endpoint(url) {
            problem.push_str(match self.token {
                Some(_) => "; the token is not accepted, or its owner has not accepted the model's terms on its page",
                None => {
                    "; no such model, or one that wants a token: set `HF_TOKEN`, or log in with Hugging Face's own tool"
                }
            });
        }
        Failure { error: PullError::Server { place: shown(url), kind, problem }, passes, after }
    }

    /// A small answer read whole, as JSON.
    pub(super) async fn json<T: serde::de::DeserializeOwned>(&self, url: &Url, most: usize) -> Result<T, Failure> {
        let mut response = self.get(url, None).await?.response;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport(url, &error))? {
            if body.len() + chunk.len() > most {
                return Err(self.server(url, ErrorKind::Network, format!("answered with more than {most} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|error| {
            let begins =
                String::from_utf8_lossy(&body[..body.len().min(MOST_WORDS)]).chars().take(40).collect::<String>();
            let problem = format!("answered with something else than was asked for ({error}): `{}`", quoted(&begins));
            self.server(url, ErrorKind::Network, problem)
        })
    }
}

impl Answer {
    /// Which part of the file this is; `None`: the whole.
    pub(super) fn range(&self) -> Option<ContentRange> {
        if self.response.status() != StatusCode::PARTIAL_CONTENT {
            return None;
        }
        content_range(self.response.headers().get(CONTENT_RANGE)?.to_str().ok()?)
    }

    /// Whether it says to be a page for people, which is what login forms and error pages are.
    pub(super) fn is_page(&self) -> bool {
        let kind = self.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
    }

    /// What changes when the file does, if the server says so.
    pub(super) fn tag(&self) -> Option<String> {
        self.header(ETAG.as_str()).filter(|tag| !tag.starts_with("W/"))
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        Some(self.response.headers().get(name)?.to_str().ok()?.to_owned())
    }
}

/// `bytes 0-3/1000`
fn content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.strip_prefix("bytes")?.trim().split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some(ContentRange { start: start.trim().parse().ok()?, total: total.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_where_it_starts_and_how_much_there_is() {
        assert_eq!(content_range("bytes 5-9/1000"), Some(ContentRange { start: 5, total: 1000 }));
        for text in ["bytes 5-9/*", "5-9/10", "bytes */10", "bytes a-b/c", ""] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
