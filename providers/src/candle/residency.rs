//! Which models are in memory, who holds them, and that each is loaded once however many ask.
//!
//! A slot goes from loading to resident, and from resident to gone when the last lease is dropped
//! while somebody waits to unload. Such a wait keeps nobody from leasing, and has an end: one of
//! the leases may be the waiting caller's own. The lock is held for look-ups only, never while
//! anything loads, waits or is freed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use perilune_engine::{Engine, EngineOptions, Error as EngineError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::shelf::Found;
use crate::error::Error;
use crate::provider::{LoadedModel, Location};

pub(super) struct Residency {
    options: EngineOptions,
    slots: Mutex<BTreeMap<String, Slot>>,
    loads: AtomicU64,
}

enum Slot {
    Loading(watch::Receiver<Option<Error>>),
    Resident {
        model: Arc<Resident>,
        leases: usize,
        /// Those who wait to unload it; dropped with the slot, which tells them.
        unloading: watch::Sender<()>,
    },
}

struct Resident {
    name: String,
    location: Location,
    engine: Engine,
    load_ms: u64,
}

impl Resident {
    fn describe(&self, active_requests: usize, unloading: bool) -> LoadedModel {
        let info = self.engine.info();
        LoadedModel {
            name: self.name.clone(),
            memory_bytes: info.memory_bytes,
            context_size: info.context_size,
            load_ms: self.load_ms,
            steps: self.engine.steps(),
            active_requests,
            unloading,
        }
    }
}

impl Residency {
    pub(super) fn new(options: EngineOptions) -> Residency {
        Residency { options, slots: Mutex::default(), loads: AtomicU64::new(0) }
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
            Slot::Resident { model, leases, unloading } => Some(model.describe(*leases, is_wanted(unloading))),
            Slot::Loading(_) => None,
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
        loop {
            let mut load = None;
            let done = match self.slots().entry(name.to_owned()) {
                Entry::Vacant(slot) => {
                    let (report, done) = watch::channel(None);
                    slot.insert(Slot::Loading(done.clone()));
                    load = Some(report);
                    done
                }
                Entry::Occupied(mut slot) => match slot.get_mut() {
                    Slot::Loading(done) => done.clone(),
                    Slot::Resident { model, leases, .. } => {
                        *leases += 1;
                        return Ok(Lease { residency: Arc::clone(self), model: Arc::clone(model) });
                    }
                },
            };
            if let Some(report) = load {
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
                    Some(Slot::Loading(done)) => Wait::Load(done.clone()),
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
            let engine = load(&found, &self.residency.options).map_err(|error| Error::engine(&self.name, error))?;
            let load_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(model = self.name, load_ms, "model loaded");
            Ok(Arc::new(Resident { name: self.name.clone(), location: found.location, engine, load_ms }))
        });
        if let Err(error) = &self.outcome {
            tracing::warn!(model = self.name, %error, "model not loaded");
        }
    }
}

/// Loads a model with the options of its instance, which serve models of many sizes: their context
/// size is a limit, so one above what this model was trained on means that.
fn load(found: &Found, options: &EngineOptions) -> Result<Engine, EngineError> {
    let loaded = match Engine::load(&found.source(), options) {
        Err(EngineError::InvalidOption { name: "context_size", .. }) => {
            Engine::load(&found.source(), &EngineOptions { context_size: None, ..options.clone() })
        }
        loaded => loaded,
    };
    // At this point a template is part of a file, not of a request.
    loaded.map_err(|error| match error {
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
                let slot = Slot::Resident { model: Arc::clone(model), leases: 0, unloading: watch::Sender::new(()) };
                slots.insert(self.name.clone(), slot);
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
}

impl Lease {
    pub(super) fn engine(&self) -> &Engine {
        &self.model.engine
    }

    pub(super) fn location(&self) -> Location {
        self.model.location.clone()
    }

    /// The model as its other holders see it.
    pub(super) fn describe(&self) -> LoadedModel {
        let (leases, unloading) = match self.residency.slots().get(&self.model.name) {
            Some(Slot::Resident { leases, unloading, .. }) => (*leases, is_wanted(unloading)),
            _ => (1, false),
        };
        self.model.describe(leases.saturating_sub(1), unloading)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut slots = self.residency.slots();
        let Some(Slot::Resident { leases, unloading, .. }) = slots.get_mut(&self.model.name) else {
            return;
        };
        *leases -= 1;
        if *leases == 0 && is_wanted(unloading) {
            let gone = slots.remove(&self.model.name);
            drop(slots);
            drop(gone);
            tracing::info!(model = self.model.name, "model unloaded");
        }
    }
}
