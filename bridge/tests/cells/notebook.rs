//! A notebook's kernel as the tests see it: a workspace, and a client that records what it is shown
//! and answers from a list.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use perilune_bridge::{
    Cell, CellIo, ChosenModel, ExpressionResult, Failure, InputError, Interrupted, Outcome, Output, Rich, Workspace,
    WorkspaceOptions,
};
use perilune_providers::{Config, Ledger, Registry};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long any cell of a test may take.
const LIMIT: Duration = Duration::from_secs(60);

pub struct Notebook {
    pub workspace: Workspace,
    pub client: Arc<Client>,
    pub keep_locals: bool,
    cells: usize,
}

/// Records output; answers input requests from `lines`, then with the end of the input.
pub struct Client {
    lines: Mutex<VecDeque<Option<String>>>,
    output: watch::Sender<Vec<Output>>,
    pub allow_input: bool,
}

pub struct Ran {
    pub outcome: Outcome,
    pub stdout: String,
    pub stderr: String,
    /// Everything else the cell showed, in order.
    pub shown: Vec<Output>,
}

pub fn options() -> WorkspaceOptions {
    let config = Config::from_toml("", "none").expect("the empty configuration");
    let ledger = Ledger::new(None, &config.budget);
    WorkspaceOptions {
        registry: Arc::new(Registry::new(&config).expect("the default registry").with_ledger(Arc::new(ledger))),
        model: ChosenModel::default(),
        session: "test".to_owned(),
        tally: Arc::default(),
        seed: Some(7),
        arguments: Vec::new(),
        script: None,
        modules: BTreeMap::new(),
        module_directory: None,
    }
}

impl Notebook {
    pub fn start() -> Notebook {
        Notebook::with(options())
    }

    pub fn with(options: WorkspaceOptions) -> Notebook {
        Notebook::of(Workspace::start(options).expect("a workspace"))
    }

    pub fn of(workspace: Workspace) -> Notebook {
        Notebook {
            workspace,
            client: Arc::new(Client {
                lines: Mutex::default(),
                output: watch::Sender::new(Vec::new()),
                allow_input: true,
            }),
            keep_locals: true,
            cells: 0,
        }
    }

    pub fn without_input(mut self) -> Notebook {
        Arc::get_mut(&mut self.client).expect("no cell runs").allow_input = false;
        self
    }

    /// What the next input requests are answered with.
    pub fn answers(&self, lines: &[&str]) -> &Notebook {
        let lines = lines.iter().map(|line| Some((*line).to_owned()));
        self.client.lines.lock().expect("the lines").extend(lines);
        self
    }

    pub async fn run(&mut self, code: &str) -> Ran {
        let cancel = CancellationToken::new();
        let cell = self.cell(code);
        self.run_cell(cell, cancel).await
    }

    /// Runs a cell and interrupts it once it has shown `shown`; also how long the stop took.
    pub async fn interrupt_after(&mut self, code: &str, shown: &str) -> (Ran, Duration) {
        let cancel = CancellationToken::new();
        let cell = self.cell(code);
        let interrupt = async {
            self.client.shown(shown).await;
            cancel.cancel();
            Instant::now()
        };
        let run = self.run_cell(cell, cancel.clone());
        let (ran, interrupted) = tokio::join!(async { (run.await, Instant::now()) }, interrupt);
        (ran.0, ran.1.duration_since(interrupted))
    }

    pub async fn run_cell(&self, cell: Cell, cancel: CancellationToken) -> Ran {
        self.client.output.send_modify(Vec::clear);
        self.run_on(cell, cancel).await
    }

    /// Runs a cell without forgetting what was shown before.
    pub async fn run_on(&self, cell: Cell, cancel: CancellationToken) -> Ran {
        let io: Arc<dyn CellIo> = self.client.clone();
        let run = self.workspace.execute(cell, io, cancel);
        self.client.ran(tokio::time::timeout(LIMIT, run).await.expect("the cell ends"))
    }

    pub fn cell(&mut self, code: &str) -> Cell {
        self.cells += 1;
        Cell {
            code: code.to_owned(),
            chunk_name: format!("=cell {}", self.cells),
            keep_locals: self.keep_locals,
            user_expressions: BTreeMap::new(),
        }
    }
}

fn text_of(all: &[Output], stdout: bool) -> String {
    all.iter()
        .filter_map(|output| match output {
            Output::Stdout(text) if stdout => Some(text.as_str()),
            Output::Stderr(text) if !stdout => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

impl Ran {
    /// The result in all its representations.
    #[track_caller]
    pub fn rich(&self) -> &Rich {
        match &self.outcome {
            Outcome::Ok { result: Some(value), .. } => value,
            other => panic!("expected a result, got {other:?}"),
        }
    }

    /// What was displayed: value, id, whether it replaces.
    #[track_caller]
    pub fn displays(&self) -> Vec<(&Rich, &str, bool)> {
        assert!(matches!(self.outcome, Outcome::Ok { .. }), "{:?}", self.outcome);
        let displayed = self.shown.iter().filter_map(|output| match output {
            Output::Display { value, display_id, update, .. } => {
                Some((value, display_id.as_deref().expect("a name"), *update))
            }
            _ => None,
        });
        displayed.collect()
    }

    #[track_caller]
    pub fn expect_result(&self, expected: &str) -> &Ran {
        match &self.outcome {
            Outcome::Ok { result, .. } => assert_eq!(result.as_ref().and_then(Rich::text), Some(expected)),
            other => panic!("expected `{expected}`, got {other:?}"),
        }
        self
    }

    #[track_caller]
    pub fn result(&self) -> &str {
        match &self.outcome {
            Outcome::Ok { result: Some(value), .. } => value.text().expect("a text form"),
            other => panic!("expected a result, got {other:?}"),
        }
    }

    #[track_caller]
    pub fn expect_nothing(&self) -> &Ran {
        match &self.outcome {
            Outcome::Ok { result: None, .. } => self,
            other => panic!("expected no result, got {other:?}"),
        }
    }

    #[track_caller]
    pub fn expect_stdout(&self, expected: &str) -> &Ran {
        assert_eq!(self.stdout, expected, "{:?}", self.outcome);
        self
    }

    #[track_caller]
    pub fn failure(&self) -> &Failure {
        match &self.outcome {
            Outcome::Error(failure) => failure,
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    #[track_caller]
    pub fn expect_error(&self, message: &str) -> &Ran {
        assert_eq!(self.failure().message, message);
        self
    }

    #[track_caller]
    pub fn expect_interrupted(&self) -> &Ran {
        assert_eq!(self.failure().name, "Interrupted", "{:?}", self.failure());
        self
    }

    #[track_caller]
    pub fn expect_expression(&self, name: &str) -> &ExpressionResult {
        match &self.outcome {
            Outcome::Ok { expressions, .. } => &expressions[name],
            other => panic!("expected expressions, got {other:?}"),
        }
    }
}

impl Client {
    /// What the running or last cell gave the pager.
    pub fn pages(&self) -> Vec<Rich> {
        let pages = |output: &Output| match output {
            Output::Page(page) => Some(page.clone()),
            _ => None,
        };
        self.output.borrow().iter().filter_map(pages).collect()
    }

    /// The last cell's output, a letter each: `t` for text, `d` for a display, `u` for an update of one.
    pub fn order(&self) -> String {
        let letter = |output: &Output| match output {
            Output::Stdout(_) | Output::Stderr(_) => 't',
            Output::Display { update: false, .. } => 'd',
            Output::Display { update: true, .. } => 'u',
            _ => '?',
        };
        self.output.borrow().iter().map(letter).collect()
    }

    /// What came of a cell that ended like this, with all that was shown.
    pub fn ran(&self, outcome: Outcome) -> Ran {
        let all = self.output.borrow();
        let is_hidden = |output: &&Output| matches!(output, Output::Stdout(_) | Output::Stderr(_) | Output::Route(_));
        let shown = all.iter().filter(|output| !is_hidden(output)).cloned().collect();
        Ran { outcome, stdout: text_of(&all, true), stderr: text_of(&all, false), shown }
    }

    /// Waits until a cell has printed `text`.
    pub async fn shown(&self, text: &str) {
        let mut output = self.output.subscribe();
        output.wait_for(|all| text_of(all, true).contains(text)).await.expect("the client lives");
    }
}

impl CellIo for Client {
    fn write(&self, output: Output) -> Result<(), Interrupted> {
        self.output.send_modify(|all| all.push(output));
        Ok(())
    }

    fn read_line(&self, _: String, _: bool) -> BoxFuture<'static, Result<Option<String>, InputError>> {
        let line = match self.allow_input {
            true => Ok(self.lines.lock().expect("the lines").pop_front().flatten()),
            false => Err(InputError::NotAllowed),
        };
        Box::pin(async move {
            tokio::task::yield_now().await;
            line
        })
    }
}
