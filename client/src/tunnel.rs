//! `--ssh`: a tunnel to a kernel's five ports, made by the `ssh` command, so that its configuration, keys and questions are the user's own.
//!
//! As Jupyter does it, `ssh -f` goes to the background once it is let in: from then on the terminal's Ctrl-C is ours alone. It is told to
//! end when the command has ended; were this process killed, it would end by itself once nothing uses the tunnel.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Output, Stdio};

use anyhow::{Context, Error, anyhow};
use perilune_protocol::ConnectionFile;
use tokio::process::Command;
use tracing::warn;
use uuid::Uuid;

use crate::exposure;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::session::connection_file;

/// Seconds that the far end may take to be reached, and between signs of life of which three may be missed.
const OPTIONS: [&str; 6] = [
    "-oConnectTimeout=5",
    "-oServerAliveInterval=1",
    "-oServerAliveCountMax=3",
    "-oControlMaster=yes",
    "-oControlPersist=no",
    "-a",
];

/// What runs over there: it holds the tunnel open until the first connection goes through it, and for no longer than is of use.
const HOLD: &str = "sleep 60";

/// Bytes of ssh's log that are shown.
const SHOWN_BYTES: usize = 500;

/// A tunnel that is open.
pub struct Tunnel {
    server: Server,
    /// Holds the control socket, ssh's log, and the connection file of the near end.
    folder: PathBuf,
    connection_file: PathBuf,
}

/// Where to: `[user@]host[:port]`.
#[derive(Debug, PartialEq, Eq)]
struct Server {
    destination: String,
    port: Option<u16>,
}

impl Tunnel {
    /// Opens a tunnel to the kernel that `file` describes: a file on this machine, or if there is none one over there.
    pub async fn open(server: &str, file: &Path, interrupts: &Interrupts) -> Result<Tunnel, Failure> {
        let server = Server::parse(server).map_err(Failure::Usage)?;
        let folder = std::env::temp_dir().join(format!("perilune-{:.8}", Uuid::new_v4().simple()));
        let created = DirBuilder::new().mode(0o700).create(&folder);
        created.with_context(|| format!("cannot create `{}`", folder.display())).map_err(Failure::Refused)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let connection_file = folder.join(format!("{name}@{}", server.destination));
        let tunnel = Tunnel { server, folder, connection_file };
        let mut interrupted = interrupts.clone();
        let opened = tokio::select! {
            opened = tunnel.establish(file) => opened,
            () = interrupted.wait() => Err(Failure::Interrupted),
        };
        match opened {
            Ok(()) => Ok(tunnel),
            Err(failure) => {
                tunnel.end().await;
                Err(failure)
            }
        }
    }

    /// Describes the kernel as it is reached through the tunnel.
    pub fn connection_file(&self) -> &Path {
        &self.connection_file
    }

    /// Ends the tunnel; a connection that failed is told with what ssh said of it.
    pub async fn close(self, ended: Result<ExitCode, Failure>) -> Result<ExitCode, Failure> {
        let said = self.said();
        self.end().await;
        match ended {
            Err(Failure::Connection(error)) if !said.is_empty() => {
                Err(Failure::Connection(anyhow!("{error:#}; ssh says: {said}")))
            }
            ended => ended,
        }
    }

    async fn establish(&self, file: &Path) -> Result<(), Failure> {
        let mut master = self.ssh();
        master.args(OPTIONS).arg("-f").arg("-E").arg(self.log());
        let opened = self.run(master, &[HOLD]).await?;
        if !opened.status.success() {
            let said = self.said();
            return Err(Failure::Connection(anyhow!("ssh cannot reach `{}`: {said}", self.server.destination)));
        }
        let there = if file.exists() { connection_file(file)? } else { self.fetch(file).await? };
        let there = exposure::local(&there);
        let here = with_free_ports(&there).map_err(|error| Failure::Refused(error.into()))?;
        let mut forward = self.ssh();
        forward.args(["-O", "forward"]);
        for (near, far) in ports(&here).into_iter().zip(ports(&there)) {
            let host = there.host();
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            forward.arg("-L").arg(format!("127.0.0.1:{near}:{host}:{far}"));
        }
        let forwarded = self.run(forward, &[]).await?;
        if !forwarded.status.success() {
            return Err(Failure::Connection(anyhow!(
                "ssh cannot forward the kernel's ports: {}",
                words(&forwarded.stderr)
            )));
        }
        here.write(&self.connection_file).map_err(|error| Failure::Refused(error.into()))
    }

    /// The connection file of that name on the other machine.
    async fn fetch(&self, file: &Path) -> Result<ConnectionFile, Failure> {
        let fetched = self.run(self.ssh(), &[&format!("cat -- {}", quoted(&file.to_string_lossy()))]).await?;
        if !fetched.status.success() {
            let (file, host) = (file.display(), &self.server.destination);
            return Err(Failure::Connection(anyhow!(
                "there is no connection file `{file}` here, nor on `{host}`: {}",
                words(&fetched.stderr)
            )));
        }
        let copy = self.folder.join("fetched.json");
        // The folder is this user's alone.
        fs::write(&copy, &fetched.stdout).map_err(|error| Failure::Refused(error.into()))?;
        let there = ConnectionFile::read(&copy)
            .with_context(|| format!("`{}` on `{}`", file.display(), self.server.destination));
        there.map_err(Failure::Connection)
    }

    fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-S").arg(self.folder.join("c")).stdin(Stdio::null());
        if let Some(port) = self.server.port {
            command.arg("-p").arg(port.to_string());
        }
        command
    }

    async fn run(&self, mut command: Command, there: &[&str]) -> Result<Output, Failure> {
        command.arg("--").arg(&self.server.destination).args(there).kill_on_drop(true);
        // What goes to the background must not hold on to a pipe that is read to its end.
        let output = if there == [HOLD] {
            let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().await;
            status.map(|status| Output { status, stdout: Vec::new(), stderr: Vec::new() })
        } else {
            command.output().await
        };
        output.context("cannot start `ssh`, OpenSSH's client").map_err(Failure::Usage)
    }

    async fn end(&self) {
        let mut exit = self.ssh();
        exit.args(["-O", "exit"]);
        // It fails where there is nothing to end.
        let _ = self.run(exit, &[]).await;
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            warn!(%error, folder = %self.folder.display(), "the tunnel's folder could not be removed");
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn said(&self) -> String {
        words(&fs::read(self.log()).unwrap_or_default())
    }
}

impl Server {
    fn parse(text: &str) -> Result<Server, Error> {
        let invalid = || anyhow!("`{text}` is no `[user@]host[:port]`, e.g. `me@gpu-box` or `me@gpu-box:2222`");
        let (destination, port) = match text.rsplit_once(':') {
            // More than one colon is an address of IPv6, whose port stands behind a bracket.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| invalid())?))
            }
            _ => (text, None),
        };
        let destination = destination.replace(['[', ']'], "");
        let host = destination.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || destination.starts_with(['-', '@']) || destination.contains(['/', ' ']) {
            return Err(invalid());
        }
        Ok(Server { destination, port })
    }
}

fn ports(file: &ConnectionFile) -> [u16; 5] {
    [file.shell_port, file.iopub_port, file.stdin_port, file.control_port, file.hb_port]
}

/// The same kernel, on free ports of this machine.
fn with_free_ports(there: &ConnectionFile) -> io::Result<ConnectionFile> {
    let mut listeners = Vec::new();
    let mut port = || {
        // Held until all five are chosen, so that they differ.
        listeners.push(TcpListener::bind(("127.0.0.1", 0))?);
        listeners[listeners.len() - 1].local_addr().map(|address| address.port())
    };
    Ok(ConnectionFile {
        ip: "127.0.0.1".to_owned(),
        shell_port: port()?,
        iopub_port: port()?,
        stdin_port: port()?,
        control_port: port()?,
        hb_port: port()?,
        ..there.clone()
    })
}

/// For the shell over there; a home directory is its own.
fn quoted(path: &str) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    match path.strip_prefix("~/") {
        Some(rest) => format!("~/{}", quote(rest)),
        None => quote(path),
    }
}

/// What ssh said last, on one line.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(SHOWN_BYTES)..]);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_host_and_may_have_a_user_and_a_port() {
        for (text, destination, port) in [
            ("gpu-box", "gpu-box", None),
            ("me@gpu-box:2222", "me@gpu-box", Some(2222)),
            ("me@[2001:db8::1]:22", "me@2001:db8::1", Some(22)),
            ("2001:db8::1", "2001:db8::1", None),
        ] {
            assert_eq!(Server::parse(text).unwrap(), Server { destination: destination.to_owned(), port }, "{text}");
        }
        for text in ["", "me@", "me@host:many", "-oProxyCommand=x", "@host", "a b"] {
            let told = Server::parse(text).unwrap_err().to_string();
            assert!(told.starts_with(&format!("`{text}` is no `[user@]host[:port]`")), "{told}");
        }
    }

    #[test]
    fn a_path_is_one_word_for_the_shell_over_there() {
        assert_eq!(quoted("/run/a b.json"), "'/run/a b.json'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("~/kernel.json"), "~/'kernel.json'");
    }
}
