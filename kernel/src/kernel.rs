//! A kernel's life: opened from its configuration, put behind a transport, served until somebody ends it.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use perilune_bridge::{Inquirer, WorkspaceOptions};
use perilune_protocol::{ClientEnds, Codec, ConnectReply, ConnectionFile, KernelEnds, in_process, zmq};
use perilune_providers::{BudgetConfig, Config, ConfigSources, Directories, Ledger, ModelList, Places, Registry};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::Error;
use crate::borrowers::{self, Borrowers};
use crate::history::History;
use crate::iopub::Iopub;
use crate::remote::{Links, RemoteKernel};
use crate::running::Running;
use crate::shell::Lane;
use crate::shells::Shells;
use crate::stdin::Stdin;
use crate::usage::Meter;
use crate::{execute, iopub, magics, notebook, shell};

/// How long an ending kernel waits for the requests under way to notice, and then for its last publications to leave.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// A kernel that is ready to be served. It has loaded no model yet.
pub struct Kernel {
    /// Its own session id, which every message it sends carries.
    session: String,
    registry: Arc<Registry>,
    /// What its runs may spend.
    budget: BudgetConfig,
    ledger: Arc<Ledger>,
    /// Its connections to other kernels.
    links: Links,
    warnings: Vec<String>,
    model: Option<ModelList>,
    seed: Option<u64>,
}

/// How a kernel came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// A client sent `shutdown_request`.
    Requested {
        /// The client means to start it again.
        restart: bool,
    },
    /// Whoever serves it stopped it, or the transport went away.
    Stopped,
}

/// What every part of a serving kernel shares.
pub(crate) struct Context {
    pub(crate) codec: Arc<Codec>,
    /// The kernel's own session id, which every message it sends carries.
    pub(crate) session: String,
    pub(crate) iopub: Arc<Iopub>,
    pub(crate) stdin: Stdin,
    pub(crate) running: Running,
    pub(crate) shells: Arc<Shells>,
    pub(crate) registry: Arc<Registry>,
    /// What other kernels may ask: the registry without kernels, which they can ask themselves.
    pub(crate) own_models: Arc<Registry>,
    /// Asks the notebook's workspace what an editor wants to know.
    pub(crate) editor: Inquirer,
    pub(crate) history: Arc<History>,
    pub(crate) remembered: magics::Remembered,
    /// What a run may spend that says nothing else.
    pub(crate) budget: BudgetConfig,
    pub(crate) meter: Meter,
    pub(crate) borrowers: Borrowers,
    /// The ports of the sockets; none of a kernel in its client's process.
    pub(crate) ports: Option<ConnectReply>,
    /// Requests that run beside the notebook's cells.
    pub(crate) tasks: TaskTracker,
    /// Places for requests that may take long, and for those that do not.
    pub(crate) places: Arc<Places>,
    pub(crate) quick_places: Arc<Places>,
    /// Ends the kernel, and with it everything under way.
    pub(crate) stop: CancellationToken,
    pub(crate) shutdown: OnceLock<Shutdown>,
}

impl Kernel {
    /// Reads the configuration and opens the registry.
    pub fn open() -> Result<Kernel, Error> {
        let config = Config::load(&ConfigSources::from_process()).map_err(perilune_providers::Error::from)?;
        let warnings = config.warnings.iter().map(ToString::to_string).collect();
        let session = Uuid::new_v4().to_string();
        let links = Links::new(&session);
        let registry = Registry::with_kernels(&config, &|name, common, options| {
            Arc::new(RemoteKernel::new(name, common, options, &links))
        })?;
        let ledger = Arc::new(Ledger::new(Directories::from_environment().ledger(), &config.budget));
        let registry = Arc::new(registry.with_ledger(ledger.clone()));
        Ok(Kernel { session, registry, budget: config.budget, ledger, links, warnings, model: None, seed: None })
    }

    /// What the configuration holds that was not obeyed, for the user to see.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Gives the notebook a default model, as a specifier or several with commas, and a seed that makes it repeatable.
    pub fn with_generation(self, model: Option<&str>, seed: Option<u64>) -> Result<Kernel, Error> {
        let model = model.map(str::parse::<ModelList>).transpose().map_err(perilune_providers::Error::from)?;
        Ok(Kernel { model, seed, ..self })
    }

    /// Serves an in-process client from a task of the current runtime. The kernel ends when the client's ends drop.
    pub fn embed(self) -> Embedded {
        let key = Uuid::new_v4().to_string();
        let (kernel_ends, ends) = in_process();
        let serving = self.serve(kernel_ends, Codec::new(&key), None, CancellationToken::new(), Running::default());
        Embedded { ends, codec: Codec::new(&key), task: tokio::spawn(serving) }
    }

    /// Opens the sockets that a connection file names; a port of 0 becomes a free one.
    ///
    /// An address beyond loopback needs CURVE keys and a signing key. Only a file that a Jupyter launcher handed over
    /// (`launched`) is obeyed without them, and warned about.
    pub async fn bind(self, connection: &ConnectionFile, launched: bool) -> Result<Bound, Error> {
        if !connection.is_loopback() && (connection.curve.is_none() || connection.key.is_empty()) {
            let exposed = Error::Exposed { address: connection.ip.clone() };
            if !launched {
                return Err(exposed);
            }
            tracing::warn!("obeying the launcher's connection file although {exposed}");
        }
        let (ends, connection) = zmq::bind(connection).await?;
        Ok(Bound { kernel: self, ends, connection, interrupter: Interrupter(Running::default()) })
    }

    async fn serve(
        self,
        ends: KernelEnds,
        codec: Codec,
        ports: Option<ConnectReply>,
        stop: CancellationToken,
        running: Running,
    ) -> Result<Shutdown, Error> {
        let remembered = magics::Remembered::new(self.model.clone(), &self.budget);
        let workspace = execute::start_workspace(self.notebook_options(&remembered)).await?;
        let codec = Arc::new(codec);
        let session = self.session;
        let history = History::new(Directories::from_environment().history());
        let iopub = Iopub::new(codec.clone(), session.clone(), ends.iopub.sender);
        let (stdin, stdin_replies) = Stdin::new(ends.stdin, codec.clone(), session.clone());
        let (jobs, queued) = mpsc::channel(notebook::QUEUE);
        let editor = workspace.inquirer();
        let main = notebook::Shell { workspace, deleted: None, number: notebook::MAIN, executions: AtomicU32::new(0) };
        let context = Arc::new(Context {
            codec,
            session,
            iopub: iopub.clone(),
            stdin,
            running,
            shells: Shells::new(jobs, &main),
            own_models: Arc::new(self.registry.without_kernels()),
            registry: self.registry,
            editor,
            history: history.clone(),
            remembered,
            budget: self.budget,
            meter: Meter::default(),
            borrowers: Borrowers::default(),
            ports,
            tasks: TaskTracker::new(),
            places: Places::new(shell::CONCURRENT_REQUESTS),
            quick_places: Places::new(shell::CONCURRENT_REQUESTS),
            stop,
            shutdown: OnceLock::new(),
        });

        let publishing = tokio::spawn({
            let iopub = iopub.clone();
            async move { iopub.run().await }
        });

        let helpers = TaskTracker::new();
        helpers.spawn(iopub::welcome(context.clone(), ends.iopub.subscriptions));
        helpers.spawn(stdin_replies.run(context.clone()));
        helpers.spawn(borrowers::watch(context.clone(), ends.departures));
        helpers.spawn(notebook::run(context.clone(), queued, main));
        helpers.spawn(shell::receive(context.clone(), ends.control, Lane::Control));
        helpers.spawn(shell::receive(context.clone(), ends.shell, Lane::Shell));
        helpers.close();

        context.stop.cancelled().await;
        context.tasks.close();
        let ended = async {
            helpers.wait().await;
            context.tasks.wait().await;
        };
        if timeout(SHUTDOWN_GRACE, ended).await.is_err() {
            tracing::warn!("some requests did not end in time; they are abandoned");
        }
        self.links.close(SHUTDOWN_GRACE).await;
        let ledger = self.ledger;
        let writing = tokio::task::spawn_blocking(move || {
            history.close();
            ledger.close();
        });
        iopub.close();
        if timeout(SHUTDOWN_GRACE, publishing).await.is_err() {
            tracing::warn!("the last publications did not leave in time");
        }
        let _ = writing.await;
        ends.closer.close().await;
        Ok(context.shutdown.get().copied().unwrap_or(Shutdown::Stopped))
    }

    fn notebook_options(&self, remembered: &magics::Remembered) -> WorkspaceOptions {
        WorkspaceOptions {
            registry: self.registry.clone(),
            model: remembered.model.clone(),
            session: self.session.clone(),
            tally: remembered.tally.clone(),
            seed: self.seed,
            arguments: Vec::new(),
            script: None,
            modules: Default::default(),
            module_directory: None,
        }
    }
}

/// A kernel that serves one client in this process.
pub struct Embedded {
    /// The client's ends of the channels.
    pub ends: ClientEnds,
    /// Signs and checks the client's messages.
    pub codec: Codec,
    /// Ends when the kernel does.
    pub task: JoinHandle<Result<Shutdown, Error>>,
}

/// A kernel whose sockets are open.
pub struct Bound {
    kernel: Kernel,
    ends: KernelEnds,
    connection: ConnectionFile,
    interrupter: Interrupter,
}

impl Bound {
    /// How to reach it, with the real ports.
    pub fn connection(&self) -> &ConnectionFile {
        &self.connection
    }

    /// A handle that interrupts the notebook's cell from outside the protocol, for a signal handler.
    pub fn interrupter(&self) -> Interrupter {
        self.interrupter.clone()
    }

    /// Serves until a client sends `shutdown_request` or `stop` is cancelled; everything it started has ended then.
    pub async fn serve(self, stop: CancellationToken) -> Result<Shutdown, Error> {
        let codec = Codec::new(&self.connection.key);
        let ConnectionFile { shell_port, iopub_port, stdin_port, control_port, hb_port, .. } = self.connection;
        let ports = ConnectReply { shell_port, iopub_port, stdin_port, control_port, hb_port };
        self.kernel.serve(self.ends, codec, Some(ports), stop, self.interrupter.0).await
    }
}

/// Interrupts the notebook's cell.
#[derive(Clone)]
pub struct Interrupter(Running);

impl Interrupter {
    /// Interrupts the cell that runs now; without one nothing happens.
    pub fn interrupt(&self) {
        self.0.interrupt_notebook();
    }
}
