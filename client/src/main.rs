//! The `perilune` command: reads the command line, opens a kernel or connects to one, and shows what it answers.
//!
//! In reading order: [`arguments`]; [`session`], the one way to speak to a kernel; [`run`] with [`source`] and [`modules`];
//! [`repl`] and [`chat`] with [`editor`] and [`pager`]; [`model`], [`provider`] and [`usage`]; [`config`] and [`doctor`]; [`serve`], [`exposure`],
//! [`detach`], [`resident`] and [`kernelspec`],
//! the commands about kernels; [`tunnel`] for `--ssh`; [`output`] with [`screen`], [`input`], [`interrupts`], [`table`], [`route`] and [`failure`] at
//! the terminal; [`mod@reference`] for shells and `man`, [`manual`] for Lua. It knows messages, not Lua, models or sockets.

mod arguments;
mod bench;
mod chat;
mod config;
mod detach;
mod doctor;
mod editor;
mod exposure;
mod failure;
mod input;
mod install_ollama;
mod interrupts;
mod kernelspec;
mod manual;
mod model;
mod modules;
mod output;
mod pager;
mod provider;
mod pull_bar;
mod reference;
mod repl;
mod resident;
mod route;
mod run;
mod screen;
mod serve;
mod session;
mod source;
mod table;
mod tunnel;
mod usage;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Parser;
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::arguments::{Arguments, Command, Global, Kernel};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::run::Program;
use crate::session::Session;
use crate::tunnel::Tunnel;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(arguments.global.verbose, &arguments.command);
    // One thread for all tasks: what a cell sends passes through several of them, and handing each to another thread costs more than
    // it gains (a sixth of a short cell's round trip on two cores). What computes has threads of its own.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = match runtime.context("cannot start threads") {
        Ok(runtime) => runtime,
        Err(error) => return Failure::Refused(error).report(),
    };
    let ended = runtime.block_on(tunnelled(arguments));
    // A line of input that nobody needs any more may still be waited for.
    runtime.shutdown_background();
    ended.unwrap_or_else(Failure::report)
}

/// What a kernel that stays has to say beside its replies is warnings; a command that ends says all it has to in its output.
fn log(verbose: u8, command: &Command) {
    let level = match verbose {
        0 if matches!(command, Command::Kernel(Kernel::Start(_))) => LevelFilter::WARN,
        0 => LevelFilter::ERROR,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let filter =
        EnvFilter::builder().with_env_var("PERILUNE_LOG").with_default_directive(level.into()).from_env_lossy();
    let layer = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    layer.with_ansi(io::stderr().is_terminal()).init();
}

/// Runs the command, with `--ssh` at the near end of a tunnel.
async fn tunnelled(mut arguments: Arguments) -> Result<ExitCode, Failure> {
    let (Some(server), Some(file)) = (&arguments.global.ssh, &arguments.global.connect) else {
        return command(arguments).await;
    };
    let tunnel = Tunnel::open(server, file, &listen()?).await?;
    arguments.global.connect = Some(tunnel.connection_file().to_owned());
    let ended = command(arguments).await;
    tunnel.close(ended).await
}

async fn command(Arguments { global, command }: Arguments) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(run) => program(Program::script(run)?, &global).await,
        Command::Exec(exec) => program(Program::line(exec), &global).await,
        Command::Repl(repl) => repl::run(repl, &global).await,
        Command::Chat(chat) => chat::run(chat, &global).await,
        Command::Model(command) => {
            model::run(command, &global, &listen()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Provider(command) => {
            let works = provider::run(command, &global, &listen()?).await?;
            Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Doctor => {
            let well = doctor::run(&global, &listen()?).await?;
            Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Config(command) => config::run(command, &global).map(|()| ExitCode::SUCCESS),
        Command::Kernel(command) => {
            kernel(command, global).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Manual { name } => manual::manual(name.as_deref(), global.output).map(|()| ExitCode::SUCCESS),
        Command::Stubs { folder } => manual::stubs(&folder, global.output).map(|()| ExitCode::SUCCESS),
        Command::Usage(arguments) => {
            usage::run(arguments, &global, &listen()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(arguments) => {
            if global.connect.is_some() {
                let what = "`bench` measures this machine in this process; `--connect` has nothing to do with it";
                return Err(Failure::Usage(anyhow!(what)));
            }
            bench::run(arguments, global.output).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Completions { shell } => reference::completions(shell).map(|()| ExitCode::SUCCESS),
        Command::Man { folder } => reference::man(folder.as_deref()).map(|()| ExitCode::SUCCESS),
    }
}

async fn program(program: Program, global: &Global) -> Result<ExitCode, Failure> {
    let mut session = Session::open(global.connect.as_deref(), &listen()?).await?;
    let ended = run::run(&mut session, program, global.output).await;
    session.close().await;
    ended
}

async fn kernel(command: Kernel, global: Global) -> Result<(), Failure> {
    let takes_connect = matches!(command, Kernel::Status { .. } | Kernel::Stop { .. });
    if global.connect.is_some() && !takes_connect {
        let what = "`--connect` names a kernel that runs already; this command takes none";
        return Err(Failure::Usage(anyhow!(what)));
    }
    match command {
        Kernel::Start(start) if start.detach => detach::start(start, global.output, &listen()?).await,
        Kernel::Start(start) => serve::start(start, global.output).await,
        Kernel::Status { connection_file } => {
            resident::status(connection_file.or(global.connect), global.output, &listen()?).await
        }
        Kernel::Stop { connection_file } => {
            resident::stop(connection_file.or(global.connect), global.output, &listen()?).await
        }
        Kernel::Install(install) => kernelspec::install(install, global.output).await,
        Kernel::Uninstall(uninstall) => kernelspec::uninstall(uninstall, global.output).await,
        Kernel::List => kernelspec::list(global.output).await,
    }
}

/// The first Ctrl-C asks politely, the second does not.
fn listen() -> Result<Interrupts, Failure> {
    Interrupts::listen(1).context("cannot listen for signals").map_err(Failure::Refused)
}
