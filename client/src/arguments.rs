//! The command line: what can be asked of `perilune`. Nothing that is not built is listed here.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};
use perilune_kernel::bench::synthetic_models;

/// Runs Lua scripts against language models, in this process or on a kernel.
#[derive(Debug, Parser)]
#[command(
    name = "perilune",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 ok, 1 script error (or the code a script gave to os.exit), 2 usage, 3 connection, 130 interrupted.\n\
                  PERILUNE_HOME moves every file Perilune keeps; PERILUNE_LOG filters what -v logs."
)]
pub struct Arguments {
    /// Options that every command knows.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command knows.
#[derive(Debug, Args)]
pub struct Global {
    /// Use the kernel that this connection file describes, instead of one in this process
    #[arg(long, global = true, value_name = "FILE")]
    pub connect: Option<PathBuf>,
    /// Reach that kernel through ssh, as `[user@]host[:port]`; its FILE is one here, or else one over there
    #[arg(long, global = true, value_name = "HOST", requires = "connect")]
    pub ssh: Option<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Log to stderr what happens; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: text as it comes, tables.
    Text,
    /// For programs: one JSON object at the end.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a Lua script
    Run(Run),
    /// Run a line of Lua and print its value
    Exec(Exec),
    /// Type Lua at a prompt, in the kernel of a notebook or in one of its own
    Repl(Repl),
    /// Talk with a model at a prompt, or have it answer what is piped in
    Chat(Chat),
    /// Ask about models, or load and unload them in the resident kernel
    #[command(subcommand)]
    Model(Model),
    /// Tell which providers are configured, and whether they answer
    #[command(subcommand)]
    Provider(Provider),
    /// Tell the configuration and where it comes from
    #[command(subcommand)]
    Config(Config),
    /// Look for what stands in the way of running models here, and say what would help
    Doctor,
    /// Start, stop or install a kernel
    #[command(subcommand)]
    Kernel(Kernel),
    /// Print the manual of what Lua code is given, or one entry of it
    Manual {
        /// What to look up, e.g. `LocalLLM.generate` or `agent:execute`
        name: Option<String>,
    },
    /// Write type stubs for lua-language-server
    ///
    /// With them an editor knows what scripts are given: name the directory in its setting `Lua.workspace.library`.
    Stubs {
        /// The directory, which is made if need be
        #[arg(value_name = "DIR", default_value = "perilune-stubs")]
        folder: PathBuf,
    },
    /// Say what requests to models took: tokens, time and money
    Usage(Usage),
    /// Measure how fast a model runs on this machine
    Bench(Bench),
    /// Print the completion script of a shell
    ///
    /// For bash: perilune completions bash > ~/.local/share/bash-completion/completions/perilune
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the manual page
    Man {
        /// Write it, and a page for every command, into this directory
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

/// The shells whose completion is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

/// Run a Lua script.
#[derive(Debug, Args)]
#[command(override_usage = "perilune run [OPTIONS] FILE [ARGS]...")]
pub struct Run {
    /// The script, and what it finds in `arg` and `...`
    #[arg(value_name = "FILE [ARGS]", required = true, trailing_var_arg = true)]
    script: Vec<String>,
    /// Model and seed.
    #[command(flatten)]
    pub generation: Generation,
    /// What it may spend.
    #[command(flatten)]
    pub budget: Budget,
}

impl Run {
    /// The script's file.
    pub fn file(&self) -> &Path {
        Path::new(self.script.first().map_or("", String::as_str))
    }

    /// What follows it: the script's own arguments.
    pub fn arguments(&self) -> &[String] {
        self.script.get(1..).unwrap_or_default()
    }
}

/// Run a line of Lua.
#[derive(Debug, Args)]
pub struct Exec {
    /// Lua code: an expression or statements
    #[arg(allow_hyphen_values = true)]
    pub code: String,
    /// Model and seed.
    #[command(flatten)]
    pub generation: Generation,
    /// What it may spend.
    #[command(flatten)]
    pub budget: Budget,
}

/// Type Lua at a prompt.
#[derive(Debug, Args)]
pub struct Repl {
    /// Model and seed.
    #[command(flatten)]
    pub generation: Generation,
}

/// Talk with a model.
#[derive(Debug, Args)]
pub struct Chat {
    /// A model specifier, e.g. `local/moonlet@candle`, or several with commas, of which the first that can answers;
    /// without it, the kernel's default model
    pub model: Option<String>,
    /// What the model is told about its part before the conversation
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// The seed of every random choice, so that a conversation can be repeated
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// What decides the answers of models that a script does not decide itself.
#[derive(Debug, Args)]
pub struct Generation {
    /// The model to use where the script names none, e.g. `local/moonlet@candle`; of several, the first that can answer
    #[arg(long, value_name = "SPECIFIER", value_delimiter = ',')]
    model: Vec<String>,
    /// The seed of every random choice, so that a run can be repeated
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// What a run may spend.
#[derive(Debug, Args)]
pub struct Budget {
    /// The most tokens its requests to models may take, prompts and answers together; then they fail
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget_tokens: Option<u64>,
    /// The most US dollars they may cost, as far as prices are known
    #[arg(long, value_name = "USD", value_parser = dollars)]
    pub budget_usd: Option<f64>,
}

fn dollars(text: &str) -> Result<f64, String> {
    let usd = text.parse().ok().filter(|usd: &f64| usd.is_finite() && *usd > 0.0);
    usd.ok_or_else(|| "expected a number of US dollars above 0, such as `0.5`".to_owned())
}

/// `perilune usage`
#[derive(Debug, Args)]
pub struct Usage {
    /// What makes a row
    #[arg(long, value_enum, default_value_t = By::Model)]
    pub by: By,
    /// From when on: `7d`, `24h`, `30m`, `today` or a date like 2026-01-31; otherwise all that is known
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
}

/// What makes a row of `perilune usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// A model
    Model,
    /// A day
    Day,
    /// A session: a run, a notebook or another client
    Session,
    /// A provider instance
    Instance,
    /// Each request by itself, the newest first and at most 1000
    Request,
}

impl By {
    /// The word that messages have.
    pub fn as_str(self) -> &'static str {
        match self {
            By::Model => "model",
            By::Day => "day",
            By::Session => "session",
            By::Instance => "instance",
            By::Request => "request",
        }
    }
}

impl Generation {
    /// The models with commas between them, as messages have them.
    pub fn models(&self) -> Option<String> {
        Some(self.model.join(",")).filter(|models| !models.is_empty())
    }
}

/// `perilune model ...`
#[derive(Debug, Subcommand)]
pub enum Model {
    /// List the models that the configured backends can serve; with `--verbose`, their facts and where they lie
    List {
        /// Only this backend
        #[arg(long, value_name = "NAME")]
        backend: Option<String>,
    },
    /// Tell the facts of one model, which need not be loaded
    Info {
        /// A model specifier, e.g. `local/moonlet@candle`
        model: String,
    },
    /// List the models that can be pulled by a short name, and whether this machine has the memory for them
    Available {
        /// Only those that answer well for their size
        #[arg(long)]
        recommended: bool,
        /// The backend that is to run them
        #[arg(long, value_name = "NAME")]
        backend: Option<String>,
    },
    /// Tell what model files take on disk, and how much room there is
    Storage {
        /// Only this backend
        #[arg(long, value_name = "NAME")]
        backend: Option<String>,
    },
    /// Delete a model that was pulled, or what interrupted pulls left; files of other programs are never touched
    ///
    /// An Ollama deletes one of its own if it is named, as in `luna@ollama`. A model that the kernel has in memory is refused. Another kernel that has it in memory keeps it until it is unloaded there.
    Remove {
        /// A model specifier, e.g. `local/tinyllama@candle`
        #[arg(required_unless_present = "unfinished")]
        model: Option<String>,
        /// Delete the downloads that are not whole, which `model storage` names; those that are under way stay
        #[arg(long, conflicts_with = "model")]
        unfinished: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Give a model that was pulled another name; both mean one file
    Copy {
        /// A model specifier, e.g. `local/tinyllama@candle`
        model: String,
        /// The other name
        name: String,
    },
    /// Make a model of a GGUF file, on a backend that keeps models of its own: an Ollama
    Create {
        /// What it shall be called, e.g. `mine@ollama`
        model: String,
        /// The file
        file: PathBuf,
        /// A file that says how conversations are written, in Go's template language; Ollama does not read the one in FILE
        #[arg(long, value_name = "FILE")]
        template: Option<PathBuf>,
        /// What the model is told before a conversation that has no system message
        #[arg(long, value_name = "TEXT")]
        system: Option<String>,
        /// An option that holds unless a request has another, by Ollama's name, its value as JSON, e.g. `temperature=0.5`
        #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = parameter)]
        parameters: Vec<(String, serde_json::Value)>,
    },
    /// Show how Ollama is installed on this platform, and install it once that is confirmed
    InstallOllama {
        /// Do it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Say which backends work
    Status {
        /// Only this backend
        backend: Option<String>,
    },
    /// Load a model into the resident kernel, or by `MODEL@ollama` into that server, or say how long one stays that is loaded
    Load {
        /// A model specifier, e.g. `local/moonlet@candle`
        model: String,
        /// Keep it however long nobody uses it and whatever needs its place; `--pin=false` takes that back
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
        pin: Option<bool>,
        /// Let it go after so many seconds without a request
        #[arg(long, value_name = "SECONDS")]
        keep_alive: Option<u64>,
    },
    /// Remove a model from the memory of the resident kernel, or by `MODEL@ollama` of that server
    Unload {
        /// A model specifier, e.g. `local/moonlet@candle`
        model: String,
    },
    /// List the models that the resident kernel and servers such as Ollama have in memory
    Ps,
    /// Bring a model file into the store, or have an Ollama get a model: whole and checked, or not at all
    ///
    /// What is interrupted goes on where it ended when the same is pulled again. Files of the Hugging Face Hub come as
    /// `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` say.
    Pull {
        /// A known name, e.g. `tinyllama:Q4_K_M`; `hf:OWNER/REPOSITORY:QUANTIZATION`; an `https://` address or the path of a GGUF file;
        /// `NAME@ollama` for what that server gets from the registry of its own (`http://HOST/NAME@ollama` from one without encryption)
        spec: String,
        /// How its weights shall be written, e.g. `Q8_0`, where several files differ in that
        #[arg(long, value_name = "QUANTIZATION")]
        quantization: Option<String>,
        /// Store it under this name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Fetch it although it is there, and replace another model of its name
        #[arg(long)]
        force: bool,
    },
}

/// `perilune provider ...`
#[derive(Debug, Subcommand)]
pub enum Provider {
    /// List the configured providers; nothing is contacted
    List,
    /// Reach a provider, or all, and ask which models it has; costs no tokens
    Test {
        /// Only this provider
        name: Option<String>,
    },
}

/// `perilune config ...`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print every setting that holds and the layer that it comes from; secrets are not shown
    Show,
    /// Print where your configuration file is, or would be
    Path,
    /// Say whether the configuration holds together
    Check {
        /// Check this file alone, as if it were yours
        file: Option<PathBuf>,
    },
    /// Print a JSON schema of configuration files, for editors
    Schema,
}

/// `temperature=0.5`, or a text without quotation marks.
fn parameter(text: &str) -> Result<(String, serde_json::Value), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as `temperature=0.5`")?;
    Ok((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

/// `perilune bench`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("subject").required(true))]
pub struct Bench {
    /// A GGUF file, or a model that this process can load, e.g. `moonlet`
    #[arg(group = "subject")]
    pub model: Option<String>,
    /// Random weights in the shape of a well-known model, e.g. `tinyllama-q4_k_m`; the file is written once and kept
    #[arg(long, group = "subject", value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(synthetic_models()))]
    pub synthetic: Option<String>,
    /// Threads that compute; otherwise the processors this process may use
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Rounds that are counted; figures are their medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
}

/// `perilune kernel ...`
#[derive(Debug, Subcommand)]
pub enum Kernel {
    /// Start a kernel that others can use, by default on this machine only
    ///
    /// With `--ip` other machines can reach it, encrypted and with a second connection file that is made for them. Where a
    /// connection file that exists lets other machines reach the kernel, that file must hold a key and CURVE keys; only a Jupyter
    /// launcher is obeyed without them.
    Start(Start),
    /// Say whether a kernel answers
    Status {
        /// Its connection file; without it, the resident kernel's
        #[arg(long, value_name = "FILE")]
        connection_file: Option<PathBuf>,
    },
    /// Stop a kernel
    Stop {
        /// Its connection file; without it, the resident kernel's
        #[arg(long, value_name = "FILE")]
        connection_file: Option<PathBuf>,
    },
    /// Make Jupyter list this kernel
    Install(Install),
    /// Remove this kernel from Jupyter's list
    Uninstall(Uninstall),
    /// List where Jupyter finds this kernel, and what it starts
    List,
}

/// Start a kernel that others can use.
#[derive(Debug, Default, Args)]
pub struct Start {
    /// Where to write the connection file, or one with ports and key to use
    #[arg(long, value_name = "FILE")]
    pub connection_file: Option<PathBuf>,
    /// Start it in the background and return once it answers
    #[arg(long)]
    pub detach: bool,
    /// How `--detach` starts the kernel that stays.
    #[arg(long, hide = true, conflicts_with = "detach")]
    pub detached: bool,
    /// How other machines reach it.
    #[command(flatten)]
    pub exposure: Exposure,
}

/// How other machines reach a kernel.
#[derive(Clone, Debug, Default, Args)]
pub struct Exposure {
    /// Listen on this address of the machine, or on all with 0.0.0.0 or ::, instead of on 127.0.0.1
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<IpAddr>,
    /// The name or address by which other machines reach it, where that is another one
    #[arg(long, value_name = "HOST", requires = "ip")]
    pub advertise: Option<String>,
    /// Where to write the other machines' connection file; by default beside the kernel's own
    #[arg(long, value_name = "FILE", requires = "ip")]
    pub client_file: Option<PathBuf>,
    /// Put the kernel's own secret into that file too: Jupyter's clients (jupyter_client 8.10) cannot do without
    #[arg(long, requires = "ip")]
    pub for_jupyter: bool,
}

/// Make Jupyter list this kernel.
#[derive(Debug, Args)]
pub struct Install {
    /// Where, and by what name.
    #[command(flatten)]
    pub place: Place,
    /// What frontends show, instead of `Lua (Perilune)`
    #[arg(long, value_name = "TEXT")]
    pub display_name: Option<String>,
}

/// Remove this kernel from Jupyter's list.
#[derive(Debug, Args)]
pub struct Uninstall {
    /// Where, and by what name.
    #[command(flatten)]
    pub place: Place,
}

/// A kernelspec of ours, in one of the places where Jupyter looks for kernels.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("place").required(true)))]
pub struct Place {
    /// For this user
    #[arg(long, group = "place")]
    pub user: bool,
    /// For the environment below this directory, e.g. a virtual environment
    #[arg(long, value_name = "DIR", group = "place")]
    pub prefix: Option<PathBuf>,
    /// For the Python environment that is active, or in which `jupyter` runs
    #[arg(long, group = "place")]
    pub sys_prefix: bool,
    /// The kernelspec's name
    #[arg(long, default_value = perilune_kernel::kernelspec::NAME)]
    pub name: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once(&"perilune").chain(line))
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_follows_the_script_belongs_to_the_script() {
        let arguments = parse(&["run", "--seed", "7", "a.lua", "--model", "x", "-v"]).unwrap();
        let Command::Run(run) = arguments.command else { panic!("not a run") };
        assert_eq!(run.generation.seed, Some(7));
        assert_eq!(run.generation.models(), None);
        assert_eq!(run.file(), "a.lua");
        assert_eq!(run.arguments(), ["--model", "x", "-v"]);
        assert_eq!(arguments.global.verbose, 0);
    }

    #[test]
    fn models_are_given_with_commas_or_one_by_one() {
        for line in [["run", "--model", "a,b", "x.lua"].as_slice(), &["run", "--model", "a", "--model=b", "x.lua"]] {
            let Command::Run(run) = parse(line).unwrap().command else { panic!("not a run") };
            assert_eq!(run.generation.models().as_deref(), Some("a,b"));
        }
    }

    #[test]
    fn a_kernelspec_goes_to_one_place() {
        assert!(parse(&["kernel", "install"]).is_err());
        assert!(parse(&["kernel", "install", "--user", "--prefix", "/x"]).is_err());
        assert!(parse(&["kernel", "install", "--user", "--sys-prefix"]).is_err());
        assert!(parse(&["kernel", "install", "--prefix", "/x"]).is_ok());
    }
}
