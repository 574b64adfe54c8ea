//! `perilune kernel start`: a kernel in the foreground, its connection file, and the signals that end it.

use std::env;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, anyhow};
use perilune_kernel::Bound;
use perilune_protocol::ConnectionFile;
use rustix::io::Errno;
use rustix::process::{Pid, setsid, test_kill_process};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::arguments::{Exposure, Format, Start};
use crate::exposure;
use crate::failure::{Failure, tell};
use crate::model::resident_file;
use crate::output::{print, print_json};
use crate::session::{address, open_kernel};

/// How often a kernel looks whether the launcher that started it is still there.
const LAUNCHER_INTERVAL: Duration = Duration::from_secs(1);

/// Starts a kernel and serves until it is told to end. `detached`: leaves the terminal that it was started from.
pub async fn start(start: Start, format: Format) -> Result<(), Failure> {
    if start.detached {
        setsid().context("cannot leave the terminal").map_err(Failure::Refused)?;
    }
    let mut place = Place::find(start.connection_file, &start.exposure)?;
    let launcher = place.launcher();
    let signals = Signals::listen().context("cannot listen for signals").map_err(Failure::Refused)?;
    let kernel = open_kernel().map_err(Failure::Usage)?;
    let bound = kernel.bind(&place.connection, launcher.is_some()).await;
    let bound = bound
        .with_context(|| format!("cannot start a kernel for `{}`", place.path.display()))
        .map_err(Failure::Connection)?;
    let elsewhere = exposure::elsewhere(&start.exposure, &place.path, bound.connection())?;
    if *bound.connection() != place.connection || place.ours {
        place.write(bound.connection(), elsewhere).map_err(Failure::Connection)?;
    }
    let served = serve(bound, &place, launcher, signals, format).await;
    place.clear();
    served
}

async fn serve(
    bound: Bound,
    place: &Place,
    launcher: Option<Launcher>,
    signals: Signals,
    format: Format,
) -> Result<(), Failure> {
    if launcher.is_none() {
        announce(place, bound.connection(), format)?;
    }
    let interrupter = launcher.is_some().then(|| bound.interrupter());
    let stop = CancellationToken::new();
    let ending = tokio::spawn({
        let stop = stop.clone();
        async move {
            let Signals { mut interrupt, mut terminate } = signals;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => match &interrupter {
                        // A launcher's Ctrl-C means the cell, not the kernel.
                        Some(interrupter) => interrupter.interrupt(),
                        None => break,
                    },
                    _ = terminate.recv() => break,
                    () = gone(launcher.as_ref()) => {
                        info!("the launcher is gone");
                        break;
                    }
                }
            }
            stop.cancel();
        }
    });
    let shutdown = bound.serve(stop).await;
    ending.abort();
    info!(?shutdown, "the kernel has ended");
    shutdown.map(drop).context("the kernel failed").map_err(Failure::Refused)
}

/// The path alone goes to stdout, for `$(perilune kernel start --detach)`.
fn announce(place: &Place, connection: &ConnectionFile, format: Format) -> Result<(), Failure> {
    let path = place.path.display();
    match format {
        Format::Json => print_json(&json!({
            "connection_file": path.to_string(),
            "address": address(connection),
            "client_file": place.client_file.as_ref().map(|file| file.display().to_string()),
        })),
        Format::Text => {
            print(&format!("{path}\n"))?;
            // Only advice: whoever started this may not listen on stderr.
            let _ = writeln!(
                io::stderr(),
                "a kernel listens on {}; `perilune --connect {path} run FILE` uses it",
                address(connection)
            );
            if let Some(file) = &place.client_file {
                tell(&advice(file));
            }
            Ok(())
        }
    }
}

/// What to do with the connection file for other machines.
pub fn advice(file: &Path) -> String {
    let (path, name) = (file.display(), file.file_name().unwrap_or_default().to_string_lossy());
    format!(
        "for another machine: copy {path} there in a safe way, e.g. with scp, because whoever has it may use this kernel; then \
         `perilune --connect {name} run FILE`"
    )
}

/// Where a kernel's connection file lies, and what it says.
struct Place {
    path: PathBuf,
    connection: ConnectionFile,
    /// We write the file and remove it, rather than a launcher.
    ours: bool,
    /// The file for other machines, once it is written.
    client_file: Option<PathBuf>,
    /// Held by the one resident kernel while it lives; the operating system lets go of it, however the kernel ends.
    lock: Option<File>,
    /// The connection file we wrote, locked, so that `kernel stop` can wait for our last act: removing it.
    written: Option<File>,
}

impl Place {
    fn find(file: Option<PathBuf>, exposure: &Exposure) -> Result<Place, Failure> {
        let path = match file {
            None => resident_file()?,
            Some(file) => std::path::absolute(&file)
                .with_context(|| format!("cannot find `{}`", file.display()))
                .map_err(Failure::Usage)?,
        };
        // A launcher need not tell its kernel where home is.
        let is_resident = resident_file().is_ok_and(|resident| resident == path);
        if !is_resident && path.exists() {
            if exposure.ip.is_some() {
                let path = path.display();
                return Err(Failure::Usage(anyhow!(
                    "`{path}` exists and says itself where to listen; `--ip` needs a file that is new"
                )));
            }
            let connection = ConnectionFile::read(&path).map_err(|error| Failure::Connection(error.into()))?;
            return Ok(Place { path, connection, ours: false, client_file: None, lock: None, written: None });
        }
        create_folder(&path).map_err(Failure::Usage)?;
        let lock = if is_resident { Some(lock(&path)?) } else { None };
        let connection = exposure::connection(exposure);
        Ok(Place { path, connection, ours: true, client_file: None, lock, written: None })
    }

    fn launcher(&self) -> Option<Launcher> {
        if self.ours { None } else { Launcher::of_this_process() }
    }

    fn write(&mut self, bound: &ConnectionFile, elsewhere: Option<(PathBuf, ConnectionFile)>) -> Result<(), Error> {
        if !self.ours {
            return Ok(bound.write(&self.path)?);
        }
        if let Some((path, connection)) = elsewhere {
            connection.write(&path)?;
            self.client_file = Some(path);
        }
        exposure::local(bound).write(&self.path)?;
        let written = File::open(&self.path)?;
        written.lock()?;
        self.written = Some(written);
        Ok(())
    }

    /// Removes what we wrote.
    fn clear(self) {
        let written = self.ours.then_some(self.path);
        for path in self.client_file.into_iter().chain(written) {
            if let Err(error) = fs::remove_file(&path) {
                warn!(%error, path = %path.display(), "the connection file could not be removed");
            }
        }
        drop((self.lock, self.written));
    }
}

/// Creates the folder that a connection file goes to, for this user alone.
pub fn create_folder(file: &Path) -> Result<(), Error> {
    let Some(folder) = file.parent() else { return Ok(()) };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot create `{}`", folder.display()))
}

/// The file whose lock says that a resident kernel lives.
fn lock_path(connection_file: &Path) -> PathBuf {
    connection_file.with_extension("lock")
}

fn lock(connection_file: &Path) -> Result<File, Failure> {
    let path = lock_path(connection_file);
    let cannot =
        |error: io::Error| Failure::Usage(Error::from(error).context(format!("cannot lock `{}`", path.display())));
    let lock = File::create(&path).map_err(cannot)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::Error(error)) => Err(cannot(error)),
        Err(TryLockError::WouldBlock) => Err(Failure::Connection(anyhow!(
            "a resident kernel runs already, with the connection file `{}`; `perilune kernel stop` stops it, and `--connection-file` \
             starts another one",
            connection_file.display()
        ))),
    }
}

/// The Jupyter program that started this kernel.
struct Launcher {
    pid: u32,
    /// It is the parent of this process, rather than of a program in between.
    is_parent: bool,
}

impl Launcher {
    fn of_this_process() -> Option<Launcher> {
        let pid = env::var("JPY_PARENT_PID").ok()?.parse().ok()?;
        Some(Launcher { pid, is_parent: parent_id() == pid })
    }

    fn lives(&self) -> bool {
        if self.is_parent {
            return parent_id() == self.pid;
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // A launcher of another user may not be signalled, but is there.
        pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
    }
}

async fn gone(launcher: Option<&Launcher>) {
    let Some(launcher) = launcher else { return std::future::pending().await };
    let mut ticks = interval(LAUNCHER_INTERVAL);
    while launcher.lives() {
        ticks.tick().await;
    }
}

/// What ends a kernel in the foreground. SIGHUP keeps its meaning, so that `nohup` keeps its own.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_launcher_lives_until_its_process_is_gone() {
        let lives = |pid| Launcher { pid, is_parent: false }.lives();
        // Whose it is depends on who runs this; it belongs to root, as a launcher of another user might.
        assert!(lives(1));
        let mut ended = Command::new("true").spawn().unwrap();
        assert!(lives(ended.id()));
        ended.wait().unwrap();
        assert!(!lives(ended.id()));
    }
}
