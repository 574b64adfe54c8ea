//! Which models are in memory, who holds them, and that each is loaded once however many ask.
//!
//! Together they stay below a budget, as reckoned from their files before they are loaded: idle ones make room, those used
//! longest ago first, and one whose time without requests is over goes by itself. A pinned one does neither.
//!
//! A slot goes from loading to resident, and from resident to gone when the last lease is dropped
//! while somebody waits to unload. Such a wait keeps nobody from leasing, and has an end: one of
//! the leases may be the waiting caller's own. The lock is held for look-ups only, never while
//! anything loads, waits or is freed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use perilune_engine::{DroppedModel, Engine, EngineOptions, Error as EngineError, ModelInfo};
use tokio::sync::watch;
use tokio::time::timeout;

use super::memory;
use super::shelf::Found;
use crate::error::Error;
use crate::provider::{Keep, LoadedModel, Location};

/// The share of the memory there is that models may take when nobody said.
const DEFAULT_SHARE: f64 = 0.75;
/// Models that left memory by themselves and are remembered.
const REMEMBERED: usize = 16;

pub(super) struct Residency {
    instance: String,
    options: EngineOptions,
    /// Bytes that all models may take together.
    budget: u64,
    /// For models of which nobody said otherwise.
    keep_alive: Option<Duration>,
    slots: Mutex<BTreeMap<String, Slot>>,
    dropped: Mutex<VecDeque<(DroppedModel, Instant)>>,
    loads: AtomicU64,
    /// Wakes the thread that drops models whose time is over.
    changes: Sender<()>,
}

enum Slot {
    Loading {
        done: watch::Receiver<Option<Error>>,
        /// Bytes of the budget that are meant for it.
        reserved: u64,
    },
    Resident {
        model: Arc<Resident>,
        leases: usize,
        /// Those who wait to unload it; dropped with the slot, which tells them.
        unloading: watch::Sender<()>,
        stay: Stay,
    },
}

/// How long a model stays that nobody uses.
#[derive(Clone, Copy)]
struct Stay {
    pinned: bool,
    keep_alive: Option<Duration>,
    last_used: Instant,
}

impl Stay {
    /// When it goes, if nobody uses it.
    fn until(&self) -> Option<Instant> {
        let keep_alive = self.keep_alive.filter(|_| !self.pinned)?;
        self.last_used.checked_add(keep_alive)
    }
}

struct Resident {
    name: String,
    location: Location,
    engine: Engine,
    load_ms: u64,
    /// Bytes by which the process grew.
    grown: Option<u64>,
    /// What had to go for it.
    made_room: Vec<DroppedModel>,
}

impl Resident {
    fn describe(&self, active_requests: usize, unloading: bool, stay: Stay) -> LoadedModel {
        let info = self.engine.info();
        LoadedModel {
            name: self.name.clone(),
            memory_bytes: info.memory_bytes,
            resident_bytes: self.grown,
            context_size: info.context_size,
            load_ms: self.load_ms,
            steps: self.engine.steps(),
            active_requests,
            unloading,
            pinned: stay.pinned,
            keep_alive_seconds: stay.keep_alive.map(|time| time.as_secs()),
            idle_seconds: if active_requests == 0 { stay.last_used.elapsed().as_secs() } else { 0 },
            made_room: Vec::new(),
        }
    }
}

impl Residency {
    /// `budget` is in bytes; without one it is a share of the memory there is.
    pub(super) fn new(
        instance: &str,
        options: EngineOptions,
        budget: Option<u64>,
        keep_alive: Option<Duration>,
    ) -> Arc<Residency> {
        let (changes, changed) = channel();
        let share = || memory::usable().map(|bytes| (bytes as f64 * DEFAULT_SHARE) as u64);
        let residency = Arc::new(Residency {
            instance: instance.to_owned(),
            options,
            budget: budget.or_else(share).unwrap_or(u64::MAX),
            keep_alive,
            slots: Mutex::default(),
            dropped: Mutex::default(),
            loads: AtomicU64::new(0),
            changes,
        });
        let weak = Arc::downgrade(&residency);
        let started =
            std::thread::Builder::new().name("model-keep-alive".to_owned()).spawn(move || watch_idle(&weak, &changed));
        if let Err(error) = started {
            tracing::error!(%error, "no thread to watch idle models: `keep_alive_seconds` has no effect");
        }
        residency
    }

    /// Bytes that all models may take together, where there is a limit.
    pub(super) fn budget(&self) -> Option<u64> {
        (self.budget < u64::MAX).then_some(self.budget)
    }

    /// Facts about a model that need not be in memory.
    pub(super) fn inspect(&self, name: &str, found: &Found) -> Result<ModelInfo, Error> {
        let read = |options: &EngineOptions| Engine::inspect(&found.source(), options);
        with_limit(&self.options, found, read).map_err(|error| Error::engine(name, error))
    }

    /// The models that left memory by themselves, the last one first.
    pub(super) fn dropped(&self) -> Vec<DroppedModel> {
        let dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |(model, at): &(DroppedModel, Instant)| DroppedModel {
            seconds_ago: at.elapsed().as_secs(),
            ..model.clone()
        };
        dropped.iter().map(since).collect()
    }

    /// Says how long a model stays; `None` when it is not in memory.
    pub(super) fn keep(&self, name: &str, keep: Keep) -> Option<LoadedModel> {
        let mut slots = self.slots();
        let Some(Slot::Resident { model, leases, unloading, stay }) = slots.get_mut(name) else {
            return None;
        };
        stay.pinned = keep.pin.unwrap_or(stay.pinned);
        stay.keep_alive = keep.keep_alive_seconds.map(Duration::from_secs).or(stay.keep_alive);
        let described = model.describe(*leases, is_wanted(unloading), *stay);
        drop(slots);
        self.changed();
        Some(described)
    }

    /// The thread that watches idle models goes with this value, so that it is there to be told.
    fn changed(&self) {
        let _ = self.changes.send(());
    }

    /// Makes room for a model that needs so many bytes, or says what does not go. Idle models go, those used longest ago first.
    fn make_room(&self, name: &str, needed: u64) -> Result<Vec<DroppedModel>, Error> {
        let mut slots = self.slots();
        let mut idle = Vec::new();
        let mut in_use = Vec::new();
        for (other, slot) in slots.iter().filter(|(other, _)| *other != name) {
            match slot {
                Slot::Loading { reserved, .. } => in_use.push((other.clone(), *reserved, "loading")),
                Slot::Resident { model, leases, stay, .. } => {
                    let bytes = model.engine.info().memory_bytes;
                    match () {
                        () if stay.pinned => in_use.push((other.clone(), bytes, "pinned")),
                        () if *leases > 0 => in_use.push((other.clone(), bytes, "in use")),
                        () => idle.push((stay.last_used, other.clone(), bytes)),
                    }
                }
            }
        }
        let taken: u64 = in_use.iter().map(|(_, bytes, _)| bytes).sum();
        if taken.saturating_add(needed) > self.budget {
            in_use.retain(|(_, bytes, _)| *bytes > 0);
            let (model, instance) = (name.to_owned(), self.instance.clone());
            return Err(Error::MemoryBudget { model, instance, needed, budget: self.budget, in_use });
        }
        if let Some(Slot::Loading { reserved, .. }) = slots.get_mut(name) {
            *reserved = needed;
        }
        idle.sort();
        let mut all: u64 = taken + needed + idle.iter().map(|(_, _, bytes)| bytes).sum::<u64>();
        let mut gone = Vec::new();
        for (_, other, bytes) in idle {
            if all <= self.budget {
                break;
            }
            all -= bytes;
            gone.extend(slots.remove(&other).map(|slot| (other, slot)));
        }
        drop(slots);
        Ok(gone
            .into_iter()
            .map(|(other, slot)| self.forget(other, slot, format!("to make room for `{name}`")))
            .collect())
    }

    /// Frees a model that was taken out of its slot, and remembers why.
    fn forget(&self, name: String, slot: Slot, reason: String) -> DroppedModel {
        let memory_bytes = match &slot {
            Slot::Resident { model, .. } => model.engine.info().memory_bytes,
            Slot::Loading { .. } => 0,
        };
        drop(slot);
        tracing::info!(model = name, reason, "model dropped from memory");
        let model = DroppedModel { name, reason, memory_bytes, seconds_ago: 0 };
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.push_front((model.clone(), Instant::now()));
        dropped.truncate(REMEMBERED);
        model
    }

    /// Drops models whose time without requests is over; when the next one's is.
    fn drop_idle(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut slots = self.slots();
        let idle_until = |slot: &Slot| match slot {
            Slot::Resident { leases: 0, stay, .. } => stay.until(),
            Slot::Resident { .. } | Slot::Loading { .. } => None,
        };
        let over: Vec<String> = slots
            .iter()
            .filter(|(_, slot)| idle_until(slot).is_some_and(|until| until <= now))
            .map(|(name, _)| name.clone())
            .collect();
        let gone: Vec<(String, Slot)> = over.into_iter().filter_map(|name| slots.remove_entry(&name)).collect();
        let next = slots.values().filter_map(idle_until).min();
        drop(slots);
        for (name, slot) in gone {
            let kept = match &slot {
                Slot::Resident { stay, .. } => stay.keep_alive.unwrap_or_default(),
                Slot::Loading { .. } => Duration::ZERO,
            };
            self.forget(name, slot, format!("idle for {} s, its `keep_alive`", kept.as_secs()));
        }
        next
    }

    /// Every change under the lock is one insertion or removal, so a poisoned lock is still sound.
    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    pub(super) fn is_loaded(&self, name: &str) -> bool {
        matches!(self.slots().get(name), Some(Slot::Resident { .. }))
    }

    pub(super) fn loaded(&self) -> Vec<LoadedModel> {
        let slots = self.slots();
        let resident = slots.values().filter_map(|slot| match slot {
            Slot::Resident { model, leases, unloading, stay } => {
                Some(model.describe(*leases, is_wanted(unloading), *stay))
            }
            Slot::Loading { .. } => None,
        });
        resident.collect()
    }

    /// The model, loaded from where `find` says unless it is in memory or on its way there. A load
    /// that fails fails for everyone who waits for it, and is then forgotten.
    pub(super) async fn lease(
        self: &Arc<Self>,
        name: &str,
        find: impl Fn() -> Result<Found, Error> + Clone + Send + 'static,
    ) -> Result<Lease, Error> {
        let mut loads = false;
        loop {
            let mut load = None;
            let done = match self.slots().entry(name.to_owned()) {
                Entry::Vacant(slot) => {
                    let (report, done) = watch::channel(None);
                    slot.insert(Slot::Loading { done: done.clone(), reserved: 0 });
                    load = Some(report);
                    done
                }
                Entry::Occupied(mut slot) => match slot.get_mut() {
                    Slot::Loading { done, .. } => done.clone(),
                    Slot::Resident { model, leases, .. } => {
                        *leases += 1;
                        return Ok(Lease { residency: Arc::clone(self), model: Arc::clone(model), loads });
                    }
                },
            };
            if let Some(report) = load {
                loads = true;
                Loading::new(self, name, report).start(find.clone());
            }
            loaded(done).await?;
        }
    }

    /// Drops a model once nobody holds it, and waits up to `limit` for that.
    pub(super) async fn unload(&self, name: &str, limit: Duration) -> Result<Unload, Error> {
        loop {
            let wait = {
                let mut slots = self.slots();
                match slots.get(name) {
                    None => return Ok(Unload::NotLoaded),
                    Some(Slot::Loading { done, .. }) => Wait::Load(done.clone()),
                    Some(Slot::Resident { leases: 0, .. }) => {
                        let idle = slots.remove(name);
                        drop(slots);
                        drop(idle);
                        tracing::info!(model = name, "model unloaded");
                        return Ok(Unload::Done);
                    }
                    Some(Slot::Resident { unloading, .. }) => Wait::Idle(unloading.subscribe()),
                }
            };
            match wait {
                Wait::Load(done) => loaded(done).await?,
                Wait::Idle(gone) => return Ok(self.until_idle(name, gone, limit).await),
            }
        }
    }

    /// Waits until the last lease took the model with it.
    async fn until_idle(&self, name: &str, mut gone: watch::Receiver<()>, limit: Duration) -> Unload {
        // It never sends: an error says that the sender went with its slot.
        if timeout(limit, gone.changed()).await.is_ok() {
            return Unload::Done;
        }
        // Under the lock, so that the last lease finds this wait or its end, and nothing between.
        let slots = self.slots();
        drop(gone);
        match slots.get(name) {
            Some(Slot::Resident { leases, .. }) if *leases > 0 => Unload::InUse { requests: *leases },
            _ => Unload::Done,
        }
    }
}

/// Drops models whose time is over, until the models' owner is gone.
fn watch_idle(residency: &Weak<Residency>, changed: &Receiver<()>) {
    loop {
        let next = match residency.upgrade() {
            Some(residency) => residency.drop_idle(),
            None => return,
        };
        let woken = match next {
            Some(next) => changed.recv_timeout(next.saturating_duration_since(Instant::now())),
            None => changed.recv().map_err(RecvTimeoutError::from),
        };
        if woken == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// What an unload waits for.
enum Wait {
    Load(watch::Receiver<Option<Error>>),
    Idle(watch::Receiver<()>),
}

/// How an unload ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unload {
    Done,
    NotLoaded,
    /// It was still held at the limit, and stays.
    InUse {
        requests: usize,
    },
}

/// Whether anybody waits to unload: who gave up, or was dropped, does not.
fn is_wanted(unloading: &watch::Sender<()>) -> bool {
    unloading.receiver_count() > 0
}

/// Waits until a load has ended.
async fn loaded(mut done: watch::Receiver<Option<Error>>) -> Result<(), Error> {
    loop {
        // The sender goes when the load has ended; what it sent last stays readable.
        let ended = done.changed().await.is_err();
        if let Some(error) = &*done.borrow_and_update() {
            return Err(error.clone());
        }
        if ended {
            return Ok(());
        }
    }
}

/// A load under way. Dropping it settles the slot with the outcome, also when the load panics.
struct Loading {
    residency: Arc<Residency>,
    name: String,
    report: watch::Sender<Option<Error>>,
    outcome: Result<Arc<Resident>, Error>,
}

impl Loading {
    fn new(residency: &Arc<Residency>, name: &str, report: watch::Sender<Option<Error>>) -> Loading {
        let problem = "it ended early; load it again".to_owned();
        Loading {
            residency: Arc::clone(residency),
            name: name.to_owned(),
            report,
            outcome: Err(Error::LoadFailed { model: name.to_owned(), problem }),
        }
    }

    /// Loads on a thread and not on a runtime's blocking task: the load outlives the runtime of
    /// whoever asked first. If there is no thread, dropping the closure reports that.
    fn start(self, find: impl FnOnce() -> Result<Found, Error> + Send + 'static) {
        let name = self.name.clone();
        let spawned = std::thread::Builder::new().name("model-load".to_owned()).spawn(move || self.run(find));
        if let Err(error) = spawned {
            tracing::error!(model = name, %error, "no thread to load the model on");
        }
    }

    fn run(mut self, find: impl FnOnce() -> Result<Found, Error>) {
        self.outcome = find().and_then(|found| {
            self.residency.loads.fetch_add(1, Ordering::Relaxed);
            let started = Instant::now();
            let needed = self.residency.inspect(&self.name, &found)?.memory_bytes;
            let made_room = self.residency.make_room(&self.name, needed)?;
            let before = memory::resident();
            let engine = with_limit(&self.residency.options, &found, |options| Engine::load(&found.source(), options))
                .map_err(|error| Error::engine(&self.name, error))?;
            let grown = before.and_then(|before| Some(memory::resident()?.saturating_sub(before)));
            let load_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(model = self.name, load_ms, needed, grown, "model loaded");
            Ok(Arc::new(Resident {
                name: self.name.clone(),
                location: found.location,
                engine,
                load_ms,
                grown,
                made_room,
            }))
        });
        if let Err(error) = &self.outcome {
            tracing::warn!(model = self.name, %error, "model not loaded");
        }
    }
}

/// Reads a model with the options of its instance, which serve models of many sizes: their context
/// size is a limit, so one above what this model was trained on means that.
fn with_limit<T>(
    options: &EngineOptions,
    found: &Found,
    read: impl Fn(&EngineOptions) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let read = match read(options) {
        Err(EngineError::InvalidOption { name: "context_size", .. }) => {
            read(&EngineOptions { context_size: None, ..options.clone() })
        }
        done => done,
    };
    // At this point a template is part of a file, not of a request.
    read.map_err(|error| match error {
        EngineError::Template { problem } => {
            EngineError::InvalidFile { file: found.location.to_string(), problem: format!("chat template: {problem}") }
        }
        error => error,
    })
}

impl Drop for Loading {
    fn drop(&mut self) {
        let mut slots = self.residency.slots();
        match &self.outcome {
            Ok(model) => {
                let keep_alive = self.residency.keep_alive;
                let stay = Stay { pinned: false, keep_alive, last_used: Instant::now() };
                let unloading = watch::Sender::new(());
                slots
                    .insert(self.name.clone(), Slot::Resident { model: Arc::clone(model), leases: 0, unloading, stay });
                self.residency.changed();
            }
            Err(error) => {
                slots.remove(&self.name);
                self.report.send_replace(Some(error.clone()));
            }
        }
    }
}

/// A model that stays in memory at least as long as this.
pub(super) struct Lease {
    residency: Arc<Residency>,
    model: Arc<Resident>,
    /// Whether its own wait is what loaded the model.
    loads: bool,
}

impl Lease {
    pub(super) fn engine(&self) -> &Engine {
        &self.model.engine
    }

    pub(super) fn location(&self) -> Location {
        self.model.location.clone()
    }

    /// The models that had to go for this lease.
    pub(super) fn made_room(&self) -> &[DroppedModel] {
        if self.loads { &self.model.made_room } else { &[] }
    }

    /// The model as its other holders see it.
    pub(super) fn describe(&self) -> LoadedModel {
        let fresh = Stay { pinned: false, keep_alive: None, last_used: Instant::now() };
        let (leases, unloading, stay) = match self.residency.slots().get(&self.model.name) {
            Some(Slot::Resident { leases, unloading, stay, .. }) => (*leases, is_wanted(unloading), *stay),
            _ => (1, false, fresh),
        };
        let described = self.model.describe(leases.saturating_sub(1), unloading, stay);
        LoadedModel { made_room: self.made_room().to_vec(), ..described }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut slots = self.residency.slots();
        let Some(Slot::Resident { leases, unloading, stay, .. }) = slots.get_mut(&self.model.name) else {
            return;
        };
        *leases -= 1;
        stay.last_used = Instant::now();
        if *leases == 0 && stay.until().is_some() {
            self.residency.changed();
        }
        if *leases == 0 && is_wanted(unloading) {
            let gone = slots.remove(&self.model.name);
            drop(slots);
            drop(gone);
            tracing::info!(model = self.model.name, "model unloaded");
        }
    }
}
