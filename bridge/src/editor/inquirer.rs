//! What an editor asks a workspace while somebody types. The interpreter thread answers between
//! cells, and from the running cell's hook; a long call of a C function makes it late, so that
//! every question has a limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::cell::Rich;
use crate::editor::completion::Completions;
use crate::editor::inspection::Detail;
use crate::editor::model_names::ModelNames;
use crate::lexer::lex;
use crate::workspace::{Complete, Inspect, Request};

/// How long an answer may take: somebody is typing.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// Asks one workspace.
#[derive(Clone)]
pub struct Inquirer {
    requests: Option<mpsc::WeakSender<Request>>,
    models: Arc<ModelNames>,
}

/// The interpreter does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// A cell is within a C function, which nothing interrupts.
    #[error("the running cell is within a long call of a library function; ask again when it is done")]
    Late,
    /// The workspace has ended.
    #[error("the interpreter of this workspace has ended")]
    Gone,
}

impl Inquirer {
    pub(crate) fn new(requests: Option<mpsc::WeakSender<Request>>, models: Arc<ModelNames>) -> Inquirer {
        Inquirer { requests, models }
    }

    /// What could stand at the byte offset `cursor` of `code`. Never runs user code.
    pub async fn complete(&self, code: String, cursor: usize) -> Result<Completions, Unanswered> {
        let models = match in_string(&code, cursor) {
            true => self.models.known().await,
            false => Vec::new(),
        };
        self.ask(|reply| Request::Complete(Complete { code, cursor, models, reply })).await
    }

    /// What is at the byte offset `cursor` of `code`: documentation, a function's signature and
    /// source, a value. `None` if nothing is known. Never runs user code.
    pub async fn inspect(&self, code: String, cursor: usize, detail: Detail) -> Result<Option<Rich>, Unanswered> {
        self.ask(|reply| Request::Inspect(Inspect { code, cursor, detail, reply })).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Unanswered> {
        let requests = self.requests.as_ref().and_then(mpsc::WeakSender::upgrade).ok_or(Unanswered::Gone)?;
        let (reply, answer) = oneshot::channel();
        let asked = async {
            requests.send(request(reply)).await.map_err(|_| Unanswered::Gone)?;
            // It must not keep the thread alive while it waits.
            drop(requests);
            answer.await.map_err(|_| Unanswered::Gone)
        };
        timeout(ANSWER_LIMIT, asked).await.unwrap_or(Err(Unanswered::Late))
    }
}

/// Whether the cursor is within a string, or within the first line of a magic: there a model may be named.
fn in_string(code: &str, cursor: usize) -> bool {
    let Some(before) = code.get(..cursor.min(code.len())) else { return false };
    before.starts_with('%') || lex(before).open.is_some_and(|open| !before[open..].starts_with("--"))
}
