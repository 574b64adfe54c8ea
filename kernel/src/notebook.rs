//! The notebook: one workspace that lasts as long as the kernel, and the tasks that run the requests of its shells, those of
//! each in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use perilune_bridge::Workspace;
use perilune_protocol::{HelpLink, KernelInfoReply, LanguageInfo, Reply, Request, SUBSHELLS};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{self, Asker, Attached, refusal};
use crate::execute::{self, Numbering};
use crate::kernel::Context;
use crate::running::Guard;
use crate::shells::CommTurn;
use crate::{comms, convert};

/// Requests that may wait for the running cell; one more is refused.
pub(crate) const QUEUE: usize = 1024;

/// Optional features (JEP 92). JEP 65 gives its welcome no name; this is the one that Ark uses and Positron looks for.
const SUPPORTED_FEATURES: [&str; 2] = ["iopub_welcome", SUBSHELLS];

/// A request that waits for its turn.
pub(crate) struct Job {
    pub(crate) asker: Asker,
    pub(crate) request: Request,
    pub(crate) attached: Attached,
    pub(crate) guard: Guard,
    /// Its place among the messages of its comm, until it is answered.
    pub(crate) turn: Option<CommTurn>,
}

/// The number of the shell that there always is.
pub(crate) const MAIN: u32 = 0;

/// Where jobs run.
pub(crate) struct Shell {
    pub(crate) workspace: Workspace,
    /// Cancelled when the subshell is deleted, which the main shell never is.
    pub(crate) deleted: Option<CancellationToken>,
    /// [`MAIN`], or a number of its own: each subshell has its own execution count and history (JEP 91).
    pub(crate) number: u32,
    /// Its executions so far.
    pub(crate) executions: AtomicU32,
}

/// Answers a shell's requests one after the other, until the kernel stops or nobody can send any more.
pub(crate) async fn run(context: Arc<Context>, queued: mpsc::Receiver<Job>, shell: Shell) {
    let is_main = shell.deleted.is_none();
    let notebook = Notebook { context: context.clone(), shell };
    let mut queue = Queue { queued, behind: VecDeque::new() };
    loop {
        let job = tokio::select! {
            job = queue.next() => job,
            () = context.stop.cancelled() => None,
        };
        let Some((job, behind_failure)) = job else { break };
        notebook.answer(job, behind_failure, &mut queue).await;
    }
    if is_main && let Some(workspace) = context.shells.close() {
        comms::close(&context, None, &workspace).await;
    }
    // Joining the interpreter's thread may take as long as the C function it is in.
    context.tasks.spawn_blocking(move || drop(notebook.shell));
}

/// The jobs that wait.
struct Queue {
    queued: mpsc::Receiver<Job>,
    /// Those that were queued when a cell failed, before the rest, and whether they were sent behind a failure that their client
    /// could not know of.
    behind: VecDeque<(Job, bool)>,
}

impl Queue {
    /// The next job; none once nobody can send any more. Nothing is lost when its future is dropped.
    async fn next(&mut self) -> Option<(Job, bool)> {
        match self.behind.pop_front() {
            Some(job) => Some(job),
            None => Some((self.queued.recv().await?, false)),
        }
    }

    /// A cell of this session failed. Those of other sessions are nothing to it: two people may use a notebook's kernel.
    fn fail(&mut self, session: &str) {
        while self.behind.len() < QUEUE
            && let Ok(job) = self.queued.try_recv()
        {
            self.behind.push_back((job, false));
        }
        for (job, behind_failure) in &mut self.behind {
            *behind_failure |= job.asker.header.session == session;
        }
    }
}

struct Notebook {
    context: Arc<Context>,
    shell: Shell,
}

impl Notebook {
    async fn answer(&self, job: Job, behind_failure: bool, queue: &mut Queue) {
        let Job { asker, request, attached, guard, turn } = job;
        let stops = matches!(&request, Request::Execute(execute) if execute.stop_on_error && !execute.silent);
        let handled = async {
            if behind_failure && matches!(request, Request::Execute(_)) {
                return Some(self.aborted(&asker, "an earlier cell failed; run this one again"));
            }
            let reply = self.handle(&asker, request, attached, &guard).await;
            if stops && matches!(reply, Some(Reply::Error { .. })) {
                queue.fail(&asker.header.session);
            }
            reply
        };
        dispatch::answer(&self.context, &asker, handled).await;
        drop(turn);
    }

    async fn handle(&self, asker: &Asker, request: Request, attached: Attached, guard: &Guard) -> Option<Reply> {
        let workspace = &self.shell.workspace;
        match request {
            Request::Execute(_) if self.is_deleted() => Some(self.aborted(asker, "the subshell was deleted")),
            Request::Execute(execute) => {
                let kept = execute.store_history && !execute.silent;
                let count = self.shell.executions.fetch_add(u32::from(kept), Ordering::Relaxed) + u32::from(kept);
                if self.asks_to_leave(&execute.code).await {
                    return Some(execute::leave(count));
                }
                let numbering = Numbering { shell: self.shell.number, count, notebook: true, kept };
                Some(execute::execute(&self.context, asker, workspace, execute, numbering, guard).await)
            }
            Request::CommInfo(request) => Some(comms::info(workspace, request).await),
            Request::CommOpen(_) | Request::CommMessage(_) | Request::CommClose(_) => {
                let message = convert::comm_message(request, attached)?;
                comms::deliver(&self.context, asker, workspace, message, guard).await;
                None
            }
            request => inquiry(&self.context, asker, request, self.shell.number).await,
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

    fn is_deleted(&self) -> bool {
        self.shell.deleted.as_ref().is_some_and(CancellationToken::is_cancelled)
    }

    fn aborted(&self, asker: &Asker, problem: &str) -> Reply {
        let mut error = refusal("Aborted", problem, "aborted");
        error.execution_count = Some(self.shell.executions.load(Ordering::Relaxed));
        Reply::error(&asker.header.msg_type, error)
    }
}

/// Answers what needs no workspace; so it also answers these requests on control while a cell runs. `shell` is the one whose history
/// is meant by this kernel's.
pub(crate) async fn inquiry(context: &Context, asker: &Asker, request: Request, shell: u32) -> Option<Reply> {
    match request {
        Request::KernelInfo => Some(Reply::KernelInfo(Box::new(kernel_info()))),
        Request::History(request) => Some(match context.history.find(shell, request).await {
            Ok(reply) => Reply::History(reply),
            Err(problem) => Reply::error(&asker.header.msg_type, refusal("HistoryError", &problem, "unavailable")),
        }),
        Request::Usage => {
            Some(Reply::Usage(Box::new(context.meter.read(&context.own_models, context.iopub.peers()).await)))
        }
        Request::Connect => Some(match context.ports {
            Some(ports) => Reply::Connect(ports),
            None => {
                let problem = "this kernel runs in its client's process and has no ports";
                Reply::error(&asker.header.msg_type, refusal("NoPorts", problem, "unsupported"))
            }
        }),
        // A message without a reply is nothing to this kernel; a request must not wait for ever.
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
