//! The notebook's shells: the main one and its subshells (JEP 91), each with a queue and a task of its own over the same
//! workspace. A request says in its header which one it is for.
//!
//! The messages of one comm are handled in the order in which they came, also when they come by different shells:
//! JupyterLab sends the first ones to the main shell, until it has the subshell that the rest go to, and deletes that
//! subshell while the last one is on its way.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};

use perilune_bridge::Workspace;
use perilune_protocol::{ErrorReply, Request};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::dispatch::{Asker, Attached, refusal};
use crate::kernel::Context;
use crate::notebook::{self, Job};

/// Subshells that there may be at once.
const MOST: usize = 64;
/// Deleted subshells that still take comms' messages.
const LINGERING: usize = 16;

/// Every shell, by the id that requests name it by.
pub(crate) struct Shells {
    state: Mutex<State>,
}

struct State {
    main: mpsc::Sender<Job>,
    /// `None` once the kernel is ending.
    workspace: Option<Workspace>,
    subshells: BTreeMap<String, Subshell>,
    /// Those deleted last, the latest first: comms' messages may be on their way to them.
    deleted: VecDeque<(String, Subshell)>,
    /// The comms that have messages under way.
    comms: HashMap<String, Course>,
    /// Subshells that were ever created.
    created: u32,
}

struct Subshell {
    jobs: mpsc::Sender<Job>,
    /// Ends its cells.
    deleted: CancellationToken,
}

/// Where the messages of a comm go as long as some are under way.
struct Course {
    shell: Option<String>,
    under_way: usize,
}

/// A comm's message under way.
pub(crate) struct CommTurn {
    shells: Arc<Shells>,
    comm: String,
}

impl Shells {
    pub(crate) fn new(main: mpsc::Sender<Job>, shell: &notebook::Shell) -> Arc<Shells> {
        let state = State {
            main,
            workspace: Some(shell.workspace.clone()),
            subshells: BTreeMap::new(),
            deleted: VecDeque::new(),
            comms: HashMap::new(),
            created: 0,
        };
        Arc::new(Shells { state: Mutex::new(state) })
    }

    /// Starts a subshell; its id.
    pub(crate) fn create(&self, context: &Arc<Context>) -> Result<String, ErrorReply> {
        self.with(|state| {
            if state.subshells.len() >= MOST {
                let problem = format!("there are {MOST} subshells; delete some of them");
                return Err(refusal("Overloaded", &problem, "overloaded"));
            }
            let Some(workspace) = &state.workspace else {
                return Err(refusal("KernelStopped", "the kernel is ending", "kernel_stopped"));
            };
            let id = Uuid::new_v4().to_string();
            let (jobs, queued) = mpsc::channel(notebook::QUEUE);
            let deleted = context.stop.child_token();
            state.created += 1;
            let shell = notebook::Shell {
                workspace: workspace.subshell(),
                deleted: Some(deleted.clone()),
                number: state.created,
                executions: AtomicU32::new(0),
            };
            context.tasks.spawn(notebook::run(context.clone(), queued, shell));
            state.subshells.insert(id.clone(), Subshell { jobs, deleted });
            Ok(id)
        })
    }

    /// Ends a subshell: its cell is interrupted, the cells behind it are refused; what else it was asked is still answered.
    pub(crate) fn delete(&self, id: &str) -> Result<(), ErrorReply> {
        self.with(|state| {
            let Some((id, subshell)) = state.subshells.remove_entry(id) else { return Err(unknown(id)) };
            subshell.deleted.cancel();
            state.deleted.push_front((id, subshell));
            state.deleted.truncate(LINGERING);
            Ok(())
        })
    }

    /// The ids of the subshells.
    pub(crate) fn list(&self) -> Vec<String> {
        self.with(|state| state.subshells.keys().cloned().collect())
    }

    /// The main shell's workspace, until the kernel is ending.
    pub(crate) fn workspace(&self) -> Option<Workspace> {
        self.with(|state| state.workspace.clone())
    }

    /// Lets go of the workspace.
    pub(crate) fn close(&self) -> Option<Workspace> {
        self.with(|state| {
            state.subshells.clear();
            state.deleted.clear();
            state.workspace.take()
        })
    }

    /// An error for a request that names a subshell which is not there. Comms' messages find their way.
    pub(crate) fn check(&self, asker: &Asker, request: &Request) -> Result<(), ErrorReply> {
        match &asker.header.subshell_id {
            Some(id) if comm_of(request).is_none() && !self.with(|state| state.subshells.contains_key(id)) => {
                Err(unknown(id))
            }
            _ => Ok(()),
        }
    }

    /// Queues a request for the shell that it names; a refusal comes with whom to tell.
    pub(crate) fn queue(
        self: &Arc<Shells>,
        context: &Context,
        asker: Asker,
        request: Request,
        attached: Attached,
    ) -> Result<(), Box<(Asker, ErrorReply)>> {
        self.with(|state| {
            let comm = comm_of(&request).map(str::to_owned);
            let shell = match &comm {
                Some(comm) => state.shell_of(comm, asker.header.subshell_id.as_ref()),
                None => asker.header.subshell_id.clone(),
            };
            let (jobs, ends) = match &shell {
                None => (&state.main, &context.stop),
                Some(id) => match (state.subshells.get(id), &comm) {
                    (Some(subshell), None) => (&subshell.jobs, &subshell.deleted),
                    (None, None) => return Err(Box::new((asker, unknown(id)))),
                    // A comm's handler outlives its subshell, which is deleted right behind the last message.
                    (_, Some(_)) => (state.comm_jobs(id).unwrap_or(&state.main), &context.stop),
                },
            };
            // An interrupt that names no request means the main shell's cell.
            let is_cell = shell.is_none() && matches!(request, Request::Execute(_));
            let guard = context.running.enter(&asker.header.msg_id, is_cell, ends);
            let place = match jobs.try_reserve() {
                Ok(place) => place,
                Err(mpsc::error::TrySendError::Full(())) => {
                    let problem = format!("{} requests wait for the running cell; ask again later", notebook::QUEUE);
                    return Err(Box::new((asker, refusal("Overloaded", &problem, "overloaded"))));
                }
                // The kernel is ending.
                Err(mpsc::error::TrySendError::Closed(())) => return Ok(()),
            };
            let turn = comm.clone().map(|comm| CommTurn { shells: Arc::clone(self), comm });
            place.send(Job { asker, request, attached, guard, turn });
            if let Some(comm) = comm {
                state.comms.entry(comm).or_insert(Course { shell, under_way: 0 }).under_way += 1;
            }
            Ok(())
        })
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// Where a comm's message goes: behind those of the same comm, else where it was sent; to the main shell if that is long
    /// gone, because nobody would hear of the message's loss.
    fn shell_of(&self, comm: &str, named: Option<&String>) -> Option<String> {
        let course = self.comms.get(comm).map(|course| course.shell.as_ref());
        course.unwrap_or(named).filter(|id| self.comm_jobs(id).is_some()).cloned()
    }

    /// The queue for comms' messages of a subshell, which may be deleted.
    fn comm_jobs(&self, id: &str) -> Option<&mpsc::Sender<Job>> {
        let deleted = || self.deleted.iter().find(|(deleted, _)| deleted == id).map(|(_, subshell)| subshell);
        self.subshells.get(id).or_else(deleted).map(|subshell| &subshell.jobs)
    }
}

impl Drop for CommTurn {
    fn drop(&mut self) {
        self.shells.with(|state| {
            if let Some(course) = state.comms.get_mut(&self.comm) {
                course.under_way -= 1;
                if course.under_way == 0 {
                    state.comms.remove(&self.comm);
                }
            }
        });
    }
}

fn comm_of(request: &Request) -> Option<&str> {
    match request {
        Request::CommOpen(open) => Some(&open.comm_id),
        Request::CommMessage(message) | Request::CommClose(message) => Some(&message.comm_id),
        _ => None,
    }
}

fn unknown(id: &str) -> ErrorReply {
    let problem = format!("no subshell `{id}`; create_subshell_request on control makes one");
    refusal("UnknownSubshell", &problem, "unknown_subshell")
}
