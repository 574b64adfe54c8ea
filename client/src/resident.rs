//! `perilune kernel status` and `stop`: what a running kernel says about itself, and its end.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, anyhow};
use perilune_protocol::{
    ConnectionFile, KernelInfoReply, LoadedModel, ModelReply, ModelRequest, PeerCounts, Reply, Request,
    ShutdownRequest, WhichBackend,
};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::arguments::Format;
use crate::failure::{Failure, tell};
use crate::interrupts::Interrupts;
use crate::model::resident_file;
use crate::output::{print, print_json};
use crate::serve::advice;
use crate::session::{Session, Via, address, connection_file};

/// How long a kernel may take to end after it agreed to; it gives what it computes a few seconds to notice.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// How long a kernel that is there may take to greet.
const WORD_PATIENCE: Duration = Duration::from_millis(500);
/// How often an ending kernel is looked after.
const END_INTERVAL: Duration = Duration::from_millis(20);

/// Says whether a kernel answers, and what it has in memory and who listens to it.
pub async fn status(file: Option<PathBuf>, format: Format, interrupts: &Interrupts) -> Result<(), Failure> {
    let path = existing(file)?;
    let (mut session, info) = Session::connect(&path, interrupts).await?;
    let asked = ask(&mut session).await;
    session.close().await;
    let (loaded, peers) = asked?;
    let connection = connection_file(&path)?;
    match format {
        Format::Json => print_json(&json!({
            "connection_file": path.display().to_string(),
            "address": address(&connection),
            "implementation": info.implementation,
            "version": info.implementation_version,
            "protocol_version": info.protocol_version,
            "loaded": loaded,
            "peers": peers,
        })),
        Format::Text => {
            let names: Vec<&str> = loaded.iter().map(|model| model.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            print(&format!(
                "a kernel answers\naddress          {}\nconnection file  {}\nversion          {} {}\nin memory        {names}\n\
                 subscribers      {}\n",
                address(&connection),
                path.display(),
                info.implementation,
                info.implementation_version,
                listeners(peers),
            ))
        }
    }
}

/// The models in a kernel's memory, those that it borrows too, and who listens to it.
async fn ask(session: &mut Session) -> Result<(Vec<LoadedModel>, PeerCounts), Failure> {
    let request = Request::Model(ModelRequest::Status(WhichBackend::default()));
    let loaded = match session.request(Via::Control, request, &mut |_| Ok(())).await? {
        Reply::Model(ModelReply::Status(status)) => status.backends.into_iter().flat_map(|backend| backend.loaded),
        other => return Err(refused(other)),
    };
    match session.request(Via::Control, Request::Usage, &mut |_| Ok(())).await? {
        Reply::Usage(usage) => Ok((loaded.collect(), usage.perilune.peers)),
        other => Err(refused(other)),
    }
}

fn refused(reply: Reply) -> Failure {
    match reply {
        Reply::Error { error, .. } => Failure::Refused(anyhow!("{}", error.evalue)),
        other => crate::run::unexpected(&other),
    }
}

/// Whoever asks listens too.
fn listeners(peers: PeerCounts) -> String {
    let mut text = format!("{} with this command", peers.connected);
    if peers.cut_off > 0 {
        text += &format!("; {} cut off because they did not read", peers.cut_off);
    }
    if peers.turned_away > 0 {
        text += &format!("; {} turned away without the right keys or greeting", peers.turned_away);
    }
    text
}

/// Asks a kernel to end and waits until it is gone.
pub async fn stop(file: Option<PathBuf>, format: Format, interrupts: &Interrupts) -> Result<(), Failure> {
    let path = existing(file)?;
    let connection = connection_file(&path)?;
    let file = File::open(&path).with_context(|| format!("cannot read `{}`", path.display()));
    let file = file.map_err(Failure::Connection)?;
    let (mut session, _) = Session::connect(&path, interrupts).await?;
    let request = Request::Shutdown(ShutdownRequest { restart: false });
    match session.request(Via::Control, request, &mut |_| Ok(())).await {
        // Gone before the last word arrived is gone too; which of the two it is shows below.
        Ok(Reply::Shutdown(_)) | Err(Failure::Connection(_)) => {}
        Ok(other) => return Err(refused(other)),
        Err(failure) => return Err(failure),
    }
    session.close().await;
    if timeout(END_PATIENCE, gone(&file, &connection)).await.is_err() {
        let seconds = END_PATIENCE.as_secs();
        return Err(Failure::Connection(anyhow!(
            "the kernel of `{}` agreed to end, but is still there after {seconds} s",
            path.display()
        )));
    }
    match format {
        Format::Json => print_json(&json!({ "connection_file": path.display().to_string(), "state": "stopped" })),
        Format::Text => print(&format!("the kernel of `{}` has stopped\n", path.display())),
    }
}

/// Tells where a kernel that was just started is reached. The path alone, for `$(perilune kernel start --detach)`.
pub fn announce(
    path: &Path,
    client_file: Option<&Path>,
    info: &KernelInfoReply,
    format: Format,
) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(&json!({
            "connection_file": path.display().to_string(),
            "address": address(&connection_file(path)?),
            "client_file": client_file.map(|file| file.display().to_string()),
            "version": info.implementation_version,
        })),
        Format::Text => {
            if let Some(file) = client_file {
                tell(&advice(file));
            }
            print(&format!("{}\n", path.display()))
        }
    }
}

/// The connection file that was named, or the resident kernel's.
fn existing(file: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(file) = file {
        return Ok(file);
    }
    let path = resident_file()?;
    if path.exists() {
        return Ok(path);
    }
    Err(Failure::Connection(no_resident(&path)))
}

fn no_resident(path: &Path) -> Error {
    anyhow!(
        "no resident kernel runs: there is no `{}`; start one with `perilune kernel start --detach`",
        path.display()
    )
}

/// Waits until nobody listens where the kernel did and, if it wrote its connection file itself, until it has removed that.
async fn gone(file: &File, connection: &ConnectionFile) {
    while listens(connection).await || matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        sleep(END_INTERVAL).await;
    }
}

/// Whether somebody speaks there: a tunnel accepts connections to a kernel that is gone, and ends them without a word.
async fn listens(connection: &ConnectionFile) -> bool {
    let Ok(mut stream) = TcpStream::connect((connection.host(), connection.shell_port)).await else { return false };
    match timeout(WORD_PATIENCE, stream.read_u8()).await {
        Ok(word) => word.is_ok(),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn jupyters_words_for_an_address_are_understood() {
        for (address, ip) in [("127.0.0.1", "*"), ("127.0.0.1", "localhost"), ("::1", "[::1]")] {
            // A machine may lack IPv6.
            let Ok(listener) = TcpListener::bind((address, 0)).await else { continue };
            let shell_port = listener.local_addr().unwrap().port();
            let connection = ConnectionFile { ip: ip.to_owned(), shell_port, ..ConnectionFile::local() };
            assert!(listens(&connection).await, "{ip}");
        }
    }
}
