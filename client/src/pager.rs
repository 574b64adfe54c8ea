//! Long text for a person: in a pager where it does not fit the terminal, else as it is.

use std::env;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::failure::Failure;
use crate::output::{print, terminal_size};

/// Shows a text, and returns when it was read.
pub async fn show(text: &str) -> Result<(), Failure> {
    let text = format!("{}\n", text.trim_end_matches('\n'));
    let fits = terminal_size().is_none_or(|size| text.lines().count() < size.height);
    if fits || !page(&text).await { print(&text) } else { Ok(()) }
}

/// Whether a pager showed it.
async fn page(text: &str) -> bool {
    let pager = env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let mut command = Command::new("sh");
    // -R: colours as they are; -F: no waiting where it fits after all; -X: it stays on the screen.
    command.arg("-c").arg(pager.as_deref().unwrap_or("less -RFX")).stdin(Stdio::piped());
    let Ok(mut pager) = command.spawn() else { return false };
    if let Some(mut stdin) = pager.stdin.take() {
        // A pager that is left early takes no more.
        let _ = stdin.write_all(text.as_bytes()).await;
    }
    pager.wait().await.is_ok_and(|status| status.success())
}
