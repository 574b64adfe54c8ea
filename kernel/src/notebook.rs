//! The notebook: one workspace that lasts as long as the kernel, and the task that runs its requests in order.

use std::sync::Arc;

use perilune_bridge::Workspace;
use perilune_protocol::{CommInfoReply, HelpLink, KernelInfoReply, LanguageInfo, Reply, Request};
use serde_json::json;
use tokio::sync::mpsc;

use crate::dispatch::{self, Asker, refusal};
use crate::execute::{self, Numbering};
use crate::kernel::Context;
use crate::running::Guard;

/// Requests that may wait for the running cell; one more is refused.
pub(crate) const QUEUE: usize = 1024;

/// Optional features (JEP 92). JEP 65 gives its welcome no name; this is the one that Ark uses and Positron looks for.
const SUPPORTED_FEATURES: [&str; 1] = ["iopub_welcome"];

/// A request that waits for its turn.
pub(crate) struct Job {
    pub(crate) asker: Asker,
    pub(crate) request: Request,
    pub(crate) guard: Guard,
}

/// Answers the notebook's requests one after the other until the kernel stops.
pub(crate) async fn run(context: Arc<Context>, mut queued: mpsc::Receiver<Job>, workspace: Workspace) {
    let mut notebook = Notebook { context: context.clone(), workspace, execution_count: 0 };
    loop {
        let job = tokio::select! {
            job = queued.recv() => job,
            () = context.stop.cancelled() => None,
        };
        let Some(Job { asker, request, guard }) = job else { break };
        let stop_on_error = matches!(&request, Request::Execute(execute) if execute.stop_on_error && !execute.silent);
        let good = dispatch::answer(&context, &asker, notebook.handle(&asker, request, &guard)).await;
        if stop_on_error && !good {
            notebook.abort_queued(&mut queued).await;
        }
    }
    // Joining the interpreter's thread may take as long as the C function it is in.
    context.tasks.spawn_blocking(move || drop(notebook.workspace));
}

struct Notebook {
    context: Arc<Context>,
    workspace: Workspace,
    execution_count: u32,
}

impl Notebook {
    async fn handle(&mut self, asker: &Asker, request: Request, guard: &Guard) -> Option<Reply> {
        match request {
            Request::Execute(execute) => {
                let kept = execute.store_history && !execute.silent;
                if kept {
                    self.execution_count += 1;
                }
                if self.asks_to_leave(&execute.code).await {
                    return Some(execute::leave(self.execution_count));
                }
                let numbering = Numbering { count: self.execution_count, notebook: true, kept };
                Some(execute::execute(&self.context, asker, &self.workspace, execute, numbering, guard).await)
            }
            request => inquiry(&self.context, asker, request).await,
        }
    }

    /// Whether a cell is nothing but `exit` or `quit`, as one types them at a prompt, and the name is not the user's own.
    async fn asks_to_leave(&self, code: &str) -> bool {
        let word = code.trim();
        let word = word.strip_suffix("()").unwrap_or(word);
        ["exit", "quit"].contains(&word) && {
            let known = self.context.editor.complete(word.to_owned(), word.len()).await;
            known.is_ok_and(|known| known.matches.iter().all(|known| known.text != word))
        }
    }

    /// Refuses the cells that were sent before the failure of the one they follow was known.
    async fn abort_queued(&mut self, queued: &mut mpsc::Receiver<Job>) {
        for _ in 0..queued.len() {
            let Ok(Job { asker, request, guard }) = queued.try_recv() else { return };
            if let Request::Execute(_) = request {
                let mut error = refusal("Aborted", "an earlier cell failed; run this one again", "aborted");
                error.execution_count = Some(self.execution_count);
                let reply = Reply::error(&asker.header.msg_type, error);
                dispatch::answer(&self.context, &asker, async { Some(reply) }).await;
            } else {
                let context = self.context.clone();
                dispatch::answer(&context, &asker, self.handle(&asker, request, &guard)).await;
            }
        }
    }
}

/// Answers what needs no workspace; so it also answers these requests on control while a cell runs.
pub(crate) async fn inquiry(context: &Context, asker: &Asker, request: Request) -> Option<Reply> {
    match request {
        Request::KernelInfo => Some(Reply::KernelInfo(Box::new(kernel_info()))),
        Request::History(request) => Some(match context.history.find(request).await {
            Ok(reply) => Reply::History(reply),
            Err(problem) => Reply::error(&asker.header.msg_type, refusal("HistoryError", &problem, "unavailable")),
        }),
        Request::Usage => Some(Reply::Usage(Box::new(context.meter.read(&context.own_models).await))),
        Request::Connect => Some(match context.ports {
            Some(ports) => Reply::Connect(ports),
            None => {
                let problem = "this kernel runs in its client's process and has no ports";
                Reply::error(&asker.header.msg_type, refusal("NoPorts", problem, "unsupported"))
            }
        }),
        Request::CommInfo(_) => Some(Reply::CommInfo(CommInfoReply::default())),
        // Messages without a reply, such as `comm_open`, are nothing to this kernel; a request must not wait for ever.
        other => {
            let msg_type = perilune_protocol::Content::msg_type(&other);
            let problem = format!("this kernel does not answer `{msg_type}` here");
            asker
                .header
                .msg_type
                .ends_with("_request")
                .then(|| Reply::error(msg_type, refusal("Unsupported", &problem, "unsupported")))
        }
    }
}

fn kernel_info() -> KernelInfoReply {
    let version = env!("CARGO_PKG_VERSION");
    KernelInfoReply {
        protocol_version: perilune_protocol::PROTOCOL_VERSION.to_owned(),
        implementation: "perilune".to_owned(),
        implementation_version: version.to_owned(),
        language_info: LanguageInfo {
            name: "lua".to_owned(),
            version: "5.4".to_owned(),
            mimetype: "text/x-lua".to_owned(),
            file_extension: ".lua".to_owned(),
            pygments_lexer: Some("lua".to_owned()),
            codemirror_mode: Some(json!("lua")),
            nbconvert_exporter: None,
        },
        banner: format!("Perilune {version}: Lua 5.4 with language models (LocalLLM, Agent)"),
        debugger: false,
        supported_features: SUPPORTED_FEATURES.map(str::to_owned).to_vec(),
        help_links: help_links(),
    }
}

fn help_links() -> Vec<HelpLink> {
    let link = |text: &str, url: &str| HelpLink { text: text.to_owned(), url: url.to_owned() };
    vec![
        link("Lua 5.4 Reference Manual", "https://www.lua.org/manual/5.4/"),
        link("Programming in Lua", "https://www.lua.org/pil/"),
        link("Markdown", "https://commonmark.org/help/"),
    ]
}
