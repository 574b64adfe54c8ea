//! How far a pull is, told a few times a second and never waited for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;

/// How often it is told.
pub(super) const TOLD_EVERY: Duration = Duration::from_millis(200);
/// The time over which the rate is taken.
const WINDOW: Duration = Duration::from_secs(5);

/// How far a pull is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PullProgress {
    /// What is being done.
    pub stage: PullStage,
    /// The file that it is done to.
    pub file: String,
    /// Bytes that are done; what came in an earlier pull counts.
    pub completed_bytes: u64,
    /// Bytes of the file, where they are known.
    pub total_bytes: Option<u64>,
    /// Bytes that come in a second, as lately.
    pub bytes_per_second: Option<f64>,
    /// Seconds until the end of this, if it goes on so.
    pub seconds_left: Option<f64>,
}

/// What a pull does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PullStage {
    /// Another pull brings the same file.
    Waiting,
    /// Bytes come.
    Downloading,
    /// The digest of what came is computed.
    Verifying,
    /// A file is copied, or shards are made one file.
    Copying,
}

impl PullStage {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            PullStage::Waiting => "waiting",
            PullStage::Downloading => "downloading",
            PullStage::Verifying => "verifying",
            PullStage::Copying => "copying",
        }
    }
}

/// Whom it is told. What is not taken in time is left out: the next one says more.
#[derive(Clone)]
pub(super) struct Listener(pub(super) Sender<PullProgress>);

/// One stage of one file, told.
pub(super) struct Meter {
    listener: Listener,
    gauge: Gauge,
}

/// One stage of one file.
pub(crate) struct Gauge {
    stage: PullStage,
    file: String,
    total: Option<u64>,
    seen: VecDeque<(Instant, u64)>,
}

impl Meter {
    pub(super) fn new(listener: &Listener, stage: PullStage, file: &str, total: Option<u64>) -> Meter {
        Meter { listener: listener.clone(), gauge: Gauge::new(stage, file, total) }
    }

    /// Tells that so many bytes are done, unless it was told a moment ago.
    pub(super) fn tell(&mut self, completed: u64) {
        if let Some(progress) = self.gauge.at(Instant::now(), completed) {
            let _ = self.listener.0.try_send(progress);
        }
    }
}

impl Gauge {
    pub(crate) fn new(stage: PullStage, file: &str, total: Option<u64>) -> Gauge {
        Gauge { stage, file: file.to_owned(), total, seen: VecDeque::new() }
    }

    /// What there is to tell once so many bytes are done, unless it was told a moment ago.
    pub(crate) fn at(&mut self, now: Instant, completed: u64) -> Option<PullProgress> {
        let over = self.total == Some(completed);
        if self.seen.back().is_some_and(|(at, _)| !over && now.duration_since(*at) < TOLD_EVERY / 2) {
            return None;
        }
        self.seen.push_back((now, completed));
        while self.seen.len() > 2 && self.seen.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.seen.pop_front();
        }
        let rate = self.seen.front().and_then(|(at, bytes)| {
            let seconds = now.duration_since(*at).as_secs_f64();
            (seconds > 0.0).then(|| completed.saturating_sub(*bytes) as f64 / seconds)
        });
        let left = self.total.zip(rate.filter(|rate| *rate > 0.0));
        Some(PullProgress {
            stage: self.stage,
            file: self.file.clone(),
            completed_bytes: completed,
            total_bytes: self.total,
            bytes_per_second: rate,
            seconds_left: left.map(|(total, rate)| total.saturating_sub(completed) as f64 / rate),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_what_came_lately() {
        let mut gauge = Gauge::new(PullStage::Downloading, "m.gguf", Some(10_000));
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let first = gauge.at(start, 5_000).unwrap();
        assert_eq!((first.completed_bytes, first.bytes_per_second), (5_000, None));
        assert_eq!(gauge.at(start + TOLD_EVERY / 4, 5_001), None, "a moment later");
        let last = (1..=10).filter_map(|second| gauge.at(at(second), 5_000 + second * 100)).last().unwrap();
        assert_eq!((last.completed_bytes, last.bytes_per_second, last.seconds_left), (6_000, Some(100.0), Some(40.0)));
    }
}
