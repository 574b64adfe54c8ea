//! Brings one file whole: in ranges over several connections where the server allows it, on from where an earlier pull ended, and
//! compared with the digest that its source gives.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use reqwest::Url;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::address::shown;
use super::error::PullError;
use super::fetch::{Answer, ContentRange, Failure, Fetcher};
use super::part::{Identity, Lock, Part, so_far};
use super::progress::{Listener, Meter, PullStage, TOLD_EVERY};
use crate::disk::disk_space;
use crate::error::ErrorKind;
use crate::store::{Sha256Digest, check_first_bytes};

const MIB: u64 = 1024 * 1024;
/// What one request asks for: so much that asking costs little, and so little that all connections end at about the same time.
const SEGMENT: std::ops::RangeInclusive<u64> = 4 * MIB..=64 * MIB;
/// What a loss of power may cost at most.
const UNSAVED_BYTES: u64 = 32 * MIB;
const UNSAVED_TIME: Duration = Duration::from_millis(500);
/// Pieces that wait to be written.
const QUEUE: usize = 64;
/// Failures in a row without a byte, before the first and after: a server that was there will be there again.
const FIRST_ATTEMPTS: u32 = 3;
const ATTEMPTS: u32 = 9;
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// How long a server's wish to be asked later is obeyed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// What stays free beside the file, for its state and the name.
const SPARE: u64 = MIB;

/// A file that is to come.
pub(super) struct Wanted {
    pub(super) url: Url,
    /// What people call it.
    pub(super) file: String,
    /// What its part is called: one for each content, as far as that is known.
    pub(super) key: String,
    pub(super) size: Option<u64>,
    pub(super) digest: Option<Sha256Digest>,
    /// The most bytes that are taken.
    pub(super) most: u64,
}

/// How files come, and who hears of it.
pub(super) struct Transfer<'a> {
    pub(super) fetcher: &'a Fetcher,
    /// Where parts lie.
    pub(super) folder: PathBuf,
    pub(super) connections: usize,
    pub(super) listener: &'a Listener,
    pub(super) cancel: &'a CancellationToken,
}

/// A whole file.
pub(super) struct Came {
    pub(super) part: Part,
    pub(super) digest: Sha256Digest,
}

impl Transfer<'_> {
    /// Brings the file, unless `there` says that another pull brought it while this one waited.
    pub(super) async fn bring(
        &self,
        wanted: &Wanted,
        there: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Came>, PullError> {
        let waiting = wait_for_lock(&self.folder, &wanted.key, self.listener, &wanted.file, wanted.size);
        let lock = unless_cancelled(self.cancel, waiting).await?;
        if there() {
            return Ok(None);
        }
        let source = unless_cancelled(self.cancel, self.ask(wanted)).await?;
        let mut part = Part::open(lock, &self.folder, &wanted.key, source.identity())?;
        let mut damaged_before = false;
        loop {
            part = self.fill(part, wanted, &source).await?;
            let digest = self.verify(&part, wanted).await?;
            let expected = match &source.digest {
                Some(expected) if *expected != digest => expected.clone(),
                _ => return Ok(Some(Came { part, digest })),
            };
            if damaged_before {
                part.discard();
                return Err(PullError::Damaged { place: shown(&wanted.url), expected, actual: digest });
            }
            tracing::warn!(place = %shown(&wanted.url), "what came is damaged; it is fetched once more");
            part.restart()?;
            damaged_before = true;
        }
    }

    /// Asks for the first bytes: whether it is a GGUF file, how large, and whether its bytes can be had in ranges.
    async fn ask(&self, wanted: &Wanted) -> Result<Source, PullError> {
        let mut patience = Patience::new(FIRST_ATTEMPTS);
        loop {
            match self.ask_once(wanted).await {
                Ok(source) => return Ok(source),
                Err(failure) => patience.wait(failure).await?,
            }
        }
    }

    async fn ask_once(&self, wanted: &Wanted) -> Result<Source, Failure> {
        let url = &wanted.url;
        let mut answer = self.fetcher.get(url, Some((0, 4))).await?;
        let refuse = |kind, problem: String| Failure::lasting(PullError::Server { place: shown(url), kind, problem });
        if answer.is_page() {
            let problem = "answered with a page for people (text/html), where a GGUF file should be; is it the address of the file itself?";
            return Err(refuse(ErrorKind::InvalidModelFile, problem.to_owned()));
        }
        let ranges = answer.range().filter(|range| range.start == 0);
        let size = match ranges {
            Some(ContentRange { total, .. }) => Some(total),
            None => answer.response.content_length(),
        };
        let mut first = Vec::new();
        while first.len() < 4 {
            match answer.response.chunk().await.map_err(|error| self.fetcher.transport(url, &error))? {
                Some(chunk) => first.extend_from_slice(&chunk),
                None => break,
            }
        }
        check_first_bytes(&first, &shown(url)).map_err(|error| Failure::lasting(error.into()))?;
        let linked = linked(&answer);
        if let (Some(listed), Some(size)) = (wanted.size.or(linked.size), size)
            && listed != size
        {
            let problem = format!("has {size} bytes, and its repository says {listed}; try again, it may be changing");
            return Err(refuse(ErrorKind::Network, problem));
        }
        if let (Some(listed), Some(now)) = (&wanted.digest, &linked.digest)
            && listed != now
        {
            let problem = "is another file now than its repository listed; try again".to_owned();
            return Err(refuse(ErrorKind::Network, problem));
        }
        if let Some(size) = size.filter(|size| *size > wanted.most) {
            return Err(Failure::lasting(PullError::TooLarge { place: shown(url), size, most: wanted.most }));
        }
        let digest = wanted.digest.clone().or(linked.digest);
        let tag = digest
            .as_ref()
            .map(ToString::to_string)
            .or_else(|| answer.tag())
            .or_else(|| answer.header("last-modified"));
        Ok(Source { place: shown(url), size, digest, tag, ranges: ranges.is_some() })
    }

    /// Brings what is missing of a part. Whatever comes is saved, also when this fails or is dropped.
    async fn fill(&self, mut part: Part, wanted: &Wanted, source: &Source) -> Result<Part, PullError> {
        // Without ranges everything comes again from the start.
        if !source.ranges {
            part.restart()?;
        }
        let gaps = part.gaps(source.size.unwrap_or(u64::MAX));
        if gaps.is_empty() {
            return Ok(part);
        }
        if let Some(size) = source.size {
            check_space(&self.folder, &wanted.file, size.saturating_sub(part.bytes()))?;
        }
        let connections = if source.ranges { self.connections.max(1) } else { 1 };
        let segments = Mutex::new(segments(&gaps, source, connections));
        let (sender, receiver) = mpsc::channel(QUEUE);
        let had = part.bytes();
        let came = Arc::new(AtomicU64::new(had));
        let counted = Arc::clone(&came);
        // The writer has the part, and ends when nobody sends any more: also when this future is dropped.
        let runtime = Handle::current();
        let path = part.path().to_owned();
        let writer = tokio::task::spawn_blocking(move || write(part, receiver, &counted, &runtime));
        let workers = (0..connections).map(|_| {
            let worker = Worker { transfer: self, wanted, source, segments: &segments, sender: sender.clone() };
            worker.run()
        });
        let mut meter = Meter::new(self.listener, PullStage::Downloading, &wanted.file, source.size);
        let telling = async {
            loop {
                meter.tell(came.load(Ordering::Relaxed));
                sleep(TOLD_EVERY).await;
            }
        };
        let result = tokio::select! {
            result = try_join_all(workers) => result.map(|_| ()),
            () = self.cancel.cancelled() => Err(PullError::Cancelled),
            () = telling => Ok(()),
        };
        drop(sender);
        let written = writer.await.map_err(|error| PullError::disk(&path, std::io::Error::other(error)))?;
        // Where the writer failed, nobody else could go on, and its reason is the first.
        let part = written?;
        result?;
        meter.tell(came.load(Ordering::Relaxed));
        Ok(part)
    }

    async fn verify(&self, part: &Part, wanted: &Wanted) -> Result<Sha256Digest, PullError> {
        let mut meter = Meter::new(self.listener, PullStage::Verifying, &wanted.file, Some(part.bytes()));
        let cancel = self.cancel.clone();
        let path = part.path().to_owned();
        let reading = tokio::task::spawn_blocking(move || {
            super::part::digest_of(&path, &mut |bytes| {
                meter.tell(bytes);
                !cancel.is_cancelled()
            })
        });
        match reading.await {
            Ok(digest) => digest?.ok_or(PullError::Cancelled),
            Err(error) => Err(PullError::disk(part.path(), std::io::Error::other(error))),
        }
    }
}

/// What a server says of a file.
struct Source {
    place: String,
    size: Option<u64>,
    /// What the content must be.
    digest: Option<Sha256Digest>,
    tag: Option<String>,
    /// Whether parts of it can be had.
    ranges: bool,
}

impl Source {
    fn identity(&self) -> Identity {
        Identity { place: self.place.clone(), size: self.size, tag: self.tag.clone() }
    }
}

/// What the Hub says of the file that it redirects to.
struct Linked {
    size: Option<u64>,
    digest: Option<Sha256Digest>,
}

fn linked(answer: &Answer) -> Linked {
    let header = |name: &str| answer.first.get(name).and_then(|value| value.to_str().ok());
    Linked {
        size: header("x-linked-size").and_then(|size| size.parse().ok()),
        digest: header("x-linked-etag").and_then(|tag| tag.trim_start_matches("W/").trim_matches('"').parse().ok()),
    }
}

/// What is missing, in pieces that are asked for one by one.
fn segments(gaps: &[(u64, u64)], source: &Source, connections: usize) -> VecDeque<(u64, u64)> {
    let Some(size) = source.size.filter(|_| source.ranges) else {
        return gaps.iter().copied().collect();
    };
    let length = (size / (connections as u64 * 2)).clamp(*SEGMENT.start(), *SEGMENT.end());
    let mut segments = VecDeque::new();
    for (start, end) in gaps {
        let mut at = *start;
        while at < *end {
            let next = (at + length).min(*end);
            segments.push_back((at, next));
            at = next;
        }
    }
    segments
}

/// One connection.
struct Worker<'a> {
    transfer: &'a Transfer<'a>,
    wanted: &'a Wanted,
    source: &'a Source,
    segments: &'a Mutex<VecDeque<(u64, u64)>>,
    sender: Sender<(u64, Bytes)>,
}

impl Worker<'_> {
    /// Brings segments until none is left.
    async fn run(self) -> Result<(), PullError> {
        let next = || self.segments.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        while let Some((start, end)) = next() {
            let mut patience = Patience::new(ATTEMPTS);
            let mut at = start;
            loop {
                let from = at;
                let Err(failure) = self.stream(&mut at, end).await else { break };
                // Without ranges an attempt that came far is lost all the same.
                if at > from && self.source.ranges {
                    patience = Patience::new(ATTEMPTS);
                }
                // Where only its end tells how long a file is, nothing would tell where two attempts meet.
                if at > from && self.source.size.is_none() {
                    return Err(failure.error);
                }
                if !self.source.ranges {
                    at = start;
                }
                patience.wait(failure).await?;
            }
        }
        Ok(())
    }

    /// Brings bytes from `at`, which moves on with them, up to `end`.
    async fn stream(&self, at: &mut u64, end: u64) -> Result<(), Failure> {
        let url = &self.wanted.url;
        let fetcher = self.transfer.fetcher;
        let passing = |problem: String| {
            let error = PullError::Server { place: shown(url), kind: ErrorKind::Network, problem };
            Failure { error, passes: true, after: None }
        };
        let mut answer = fetcher.get(url, self.source.ranges.then_some((*at, end))).await?;
        if self.source.ranges {
            match answer.range() {
                Some(range) if range.start == *at && Some(range.total) == self.source.size => {}
                Some(range) if Some(range.total) != self.source.size => {
                    let problem = "the file changed while it came; pull it again".to_owned();
                    let error = PullError::Server { place: shown(url), kind: ErrorKind::Network, problem };
                    return Err(Failure::lasting(error));
                }
                _ => return Err(passing("sent other bytes than were asked for".to_owned())),
            }
        }
        while *at < end {
            let chunk = answer.response.chunk().await.map_err(|error| fetcher.transport(url, &error))?;
            let Some(mut chunk) = chunk else { break };
            chunk.truncate(usize::try_from(end - *at).unwrap_or(usize::MAX));
            let length = chunk.len() as u64;
            if *at + length > self.wanted.most {
                let error = PullError::TooLarge { place: shown(url), size: *at + length, most: self.wanted.most };
                return Err(Failure::lasting(error));
            }
            // Fails only when the writer ended, which says why.
            if self.sender.send((*at, chunk)).await.is_err() {
                return Err(Failure::lasting(PullError::Cancelled));
            }
            *at += length;
        }
        if *at < end && self.source.size.is_some() {
            return Err(passing(format!("ended at byte {at} of {end}")));
        }
        Ok(())
    }
}

/// Writes what comes until nobody sends any more, and saves it now and then.
fn write(
    mut part: Part,
    mut pieces: Receiver<(u64, Bytes)>,
    came: &AtomicU64,
    runtime: &Handle,
) -> Result<Part, PullError> {
    let mut saved = (Instant::now(), part.bytes());
    let mut step = |part: &mut Part, piece: Option<(u64, Bytes)>| {
        if let Some((offset, bytes)) = piece {
            part.write(offset, &bytes)?;
        }
        let bytes = part.bytes();
        came.store(bytes, Ordering::Relaxed);
        if bytes.abs_diff(saved.1) >= UNSAVED_BYTES || saved.0.elapsed() >= UNSAVED_TIME {
            part.save()?;
            saved = (Instant::now(), bytes);
        }
        Ok(())
    };
    loop {
        let piece = match runtime.block_on(async { timeout(UNSAVED_TIME, pieces.recv()).await }) {
            Ok(Some(piece)) => Some(piece),
            Ok(None) => break,
            Err(_) => None,
        };
        if let Err(error) = step(&mut part, piece) {
            // What was written before may still be saved.
            let _ = part.save();
            return Err(error);
        }
    }
    part.save()?;
    Ok(part)
}

/// What `work` comes to, unless it is taken back first. Not for what has to be saved in the end.
pub(super) async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, PullError>>,
) -> Result<T, PullError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(PullError::Cancelled),
        result = work => result,
    }
}

/// Waits until nobody else brings a file, and tells how far they are.
pub(super) async fn wait_for_lock(
    folder: &Path,
    key: &str,
    listener: &Listener,
    file: &str,
    size: Option<u64>,
) -> Result<Lock, PullError> {
    let mut meter = Meter::new(listener, PullStage::Waiting, file, size);
    loop {
        if let Some(lock) = Lock::take(folder, key)? {
            return Ok(lock);
        }
        meter.tell(so_far(folder, key).map_or(0, |(_, bytes)| bytes));
        sleep(TOLD_EVERY).await;
    }
}

/// How long a failure is waited out, and how often.
pub(super) struct Patience {
    failures: u32,
    most: u32,
}

impl Patience {
    pub(super) fn new(most: u32) -> Patience {
        Patience { failures: 0, most }
    }

    /// Waits before the next attempt; fails when there is none.
    pub(super) async fn wait(&mut self, failure: Failure) -> Result<(), PullError> {
        if !failure.passes {
            return Err(failure.error);
        }
        self.failures += 1;
        if self.failures >= self.most {
            return Err(PullError::GivenUp { source: Box::new(failure.error), attempts: self.failures });
        }
        tracing::debug!(error = %failure.error, failures = self.failures, "a download is tried again");
        let longest = (SHORTEST_WAIT * 2u32.saturating_pow(self.failures - 1)).min(LONGEST_WAIT);
        let wait = longest.mul_f64(rand::random_range(0.5..1.0));
        sleep(failure.after.map_or(wait, |after| after.clamp(wait, LONGEST_RETRY_AFTER))).await;
        Ok(())
    }
}

/// Refuses what the disk has no room for.
pub(super) fn check_space(folder: &Path, what: &str, needed: u64) -> Result<(), PullError> {
    let free = disk_space(folder).map_err(|error| PullError::disk(folder, error))?.free_bytes;
    if needed.saturating_add(SPARE) <= free {
        return Ok(());
    }
    Err(PullError::NoSpace { what: what.to_owned(), needed, free, folder: folder.to_owned() })
}
