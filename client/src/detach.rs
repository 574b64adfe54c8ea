//! `perilune kernel start --detach`: starts this program again, out of the terminal's reach, and waits until that kernel answers.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Error, anyhow};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::arguments::{Exposure, Format, Start};
use crate::exposure::client_file;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::model::resident_file;
use crate::resident;
use crate::serve::create_folder;
use crate::session::Session;

/// How long the kernel may take until it listens.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// A log longer than this, in bytes, is begun anew by the next start.
const LOG_LIMIT: u64 = 1 << 20;

/// Starts a kernel that outlives this process.
pub async fn start(start: Start, format: Format, interrupts: &Interrupts) -> Result<(), Failure> {
    let path = match &start.connection_file {
        Some(file) => std::path::absolute(file)
            .with_context(|| format!("cannot find `{}`", file.display()))
            .map_err(Failure::Usage)?,
        None => resident_file()?,
    };
    create_folder(&path).map_err(Failure::Usage)?;
    let mut log = Log::open(path.with_extension("log")).map_err(Failure::Usage)?;
    let mut child = spawn(&start, &log).map_err(Failure::Refused)?;
    let mut interrupted = interrupts.clone();
    let listens = tokio::select! {
        listens = listens(&mut child) => listens,
        () = interrupted.wait() => false,
    };
    if interrupts.came() {
        stop(&mut child).await;
        return Err(Failure::Interrupted);
    }
    if !listens {
        return Err(failed(child, &mut log).await);
    }
    match Session::connect(&path, interrupts).await {
        Ok((session, info)) => {
            session.close().await;
            let client_file =
                start.exposure.ip.filter(|ip| !ip.is_loopback()).map(|_| client_file(&start.exposure, &path));
            resident::announce(&path, client_file.as_deref(), &info, format)
        }
        Err(failure) => {
            stop(&mut child).await;
            Err(failure)
        }
    }
}

fn spawn(start: &Start, log: &Log) -> Result<Child, Error> {
    let executable = env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(&executable);
    command.args(["kernel", "start", "--detached"]);
    if let Some(file) = &start.connection_file {
        command.arg("--connection-file").arg(file);
    }
    let Exposure { ip, advertise, client_file, for_jupyter } = &start.exposure;
    if let Some(ip) = ip {
        command.arg("--ip").arg(ip.to_string());
    }
    if let Some(host) = advertise {
        command.arg("--advertise").arg(host);
    }
    if let Some(file) = client_file {
        command.arg("--client-file").arg(file);
    }
    if *for_jupyter {
        command.arg("--for-jupyter");
    }
    let errors = log.file.try_clone().context("cannot share the log")?;
    // A launcher above us is not the launcher of a kernel that is to stay.
    command.env_remove("JPY_PARENT_PID").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    command.spawn().with_context(|| format!("cannot start `{}`", executable.display()))
}

/// The kernel names its connection file once it listens; if it cannot, its output ends.
async fn listens(child: &mut Child) -> bool {
    let Some(stdout) = child.stdout.take() else { return false };
    let mut line = String::new();
    let read = timeout(START_PATIENCE, BufReader::new(stdout).read_line(&mut line)).await;
    matches!(read, Ok(Ok(bytes)) if bytes > 0)
}

/// Ends it, however far it came: a kernel that nobody was told of must not stay.
async fn stop(child: &mut Child) -> Option<i32> {
    // An error means that it has ended, which is what this is for.
    let _ = child.start_kill();
    child.wait().await.ok().and_then(|status| status.code())
}

async fn failed(mut child: Child, log: &mut Log) -> Failure {
    let status = stop(&mut child).await;
    let reason = match log.last_error() {
        Some(reason) => anyhow!(reason),
        None => anyhow!(
            "the kernel did not start within {} s; its log is `{}`",
            START_PATIENCE.as_secs(),
            log.path.display()
        ),
    };
    match status {
        Some(2) => Failure::Usage(reason),
        Some(1) => Failure::Refused(reason),
        _ => Failure::Connection(reason),
    }
}

/// What a detached kernel writes to stderr, beside its connection file.
struct Log {
    path: PathBuf,
    file: File,
    /// Where this start begins.
    begin: u64,
}

impl Log {
    fn open(path: PathBuf) -> Result<Log, Error> {
        let open = || {
            let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
            if file.metadata()?.len() > LOG_LIMIT {
                file.set_len(0)?;
            }
            let begin = file.metadata()?.len();
            Ok::<_, std::io::Error>((file, begin))
        };
        let (file, begin) = open().with_context(|| format!("cannot write the log `{}`", path.display()))?;
        Ok(Log { path, file, begin })
    }

    fn last_error(&mut self) -> Option<String> {
        let mut text = Vec::new();
        self.file.seek(SeekFrom::Start(self.begin)).ok()?;
        self.file.read_to_end(&mut text).ok()?;
        String::from_utf8_lossy(&text).lines().rev().find_map(|line| line.strip_prefix("error: ").map(str::to_owned))
    }
}
