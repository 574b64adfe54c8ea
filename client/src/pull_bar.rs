//! How far a pull is, on stderr: a line that is rewritten on a terminal, and elsewhere a line now and then.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use perilune_protocol::PullProgress;

use crate::failure::tell;
use crate::output;
use crate::table::size;

/// Between two lines where none can be rewritten.
const INTERVAL: Duration = Duration::from_secs(10);
/// Characters of the bar.
const WIDTH: usize = 24;

/// What was shown of a pull.
pub struct PullBar {
    rewrites: bool,
    shown: Option<Shown>,
}

struct Shown {
    at: Instant,
    /// Stage and file.
    what: (String, String),
}

impl PullBar {
    /// Nothing is shown yet.
    pub fn new() -> PullBar {
        PullBar { rewrites: io::stderr().is_terminal() && !output::is_dumb(), shown: None }
    }

    /// Shows a state, if it is time for it.
    pub fn show(&mut self, progress: &PullProgress) {
        let what = (progress.stage.clone(), progress.file.clone());
        let continues = self.shown.as_ref().is_some_and(|shown| shown.what == what);
        if self.rewrites {
            // What is told is told often enough, and no more.
            let _ = write!(io::stderr(), "\r\x1b[K{}", line(progress, true));
            let _ = io::stderr().flush();
        } else if continues && self.shown.as_ref().is_some_and(|shown| shown.at.elapsed() < INTERVAL) {
            return;
        } else {
            tell(&line(progress, false));
        }
        self.shown = Some(Shown { at: Instant::now(), what });
    }

    /// Takes the line away, so that the result stands in its place.
    pub fn end(&mut self) {
        if self.rewrites && self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
            let _ = io::stderr().flush();
        }
    }
}

/// `downloading m.gguf ████░░░░ 12.0 MiB of 24.0 MiB · 50 % · 6.0 MiB/s · 0:02 left`
fn line(progress: &PullProgress, bar: bool) -> String {
    let name = progress.file.rsplit('/').next().unwrap_or_default();
    let mut line = format!("{} {name} ", progress.stage);
    let share =
        progress.total_bytes.filter(|total| *total > 0).map(|total| progress.completed_bytes as f64 / total as f64);
    if let (true, Some(share)) = (bar, share) {
        let full = ((share * WIDTH as f64) as usize).min(WIDTH);
        line.push_str(&format!("{}{} ", "█".repeat(full), "░".repeat(WIDTH - full)));
    }
    line.push_str(&size(progress.completed_bytes));
    if let (Some(total), Some(share)) = (progress.total_bytes, share) {
        line.push_str(&format!(" of {} · {:.0} %", size(total), share * 100.0));
    }
    if let Some(rate) = progress.bytes_per_second {
        line.push_str(&format!(" · {}/s", size(rate as u64)));
    }
    if let Some(left) = progress.seconds_left {
        line.push_str(&format!(" · {} left", duration(left)));
    }
    line
}

/// `0:09`, `1:02:03`
fn duration(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 359_999.0).ceil() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        let mut progress = PullProgress {
            stage: "downloading".into(),
            file: "folder/m.gguf".into(),
            completed_bytes: 1 << 20,
            total_bytes: Some(4 << 20),
            bytes_per_second: Some(1_048_576.0),
            seconds_left: Some(3.0),
        };
        assert_eq!(line(&progress, false), "downloading m.gguf 1.0 MiB of 4.0 MiB · 25 % · 1.0 MiB/s · 0:03 left");
        assert!(line(&progress, true).contains(" ██████░░░░░░░░░░░░░░░░░░ "));
        progress = PullProgress { total_bytes: None, bytes_per_second: None, seconds_left: None, ..progress };
        assert_eq!(line(&progress, true), "downloading m.gguf 1.0 MiB");
        assert_eq!((duration(61.2), duration(3723.0)), ("1:02".to_owned(), "1:02:03".to_owned()));
    }
}
