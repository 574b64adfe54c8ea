//! The model specifiers that completion offers: what the instances listed last. Asking them again
//! happens beside, so that a slow one delays nobody and a model is never loaded for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use perilune_providers::Registry;
use tokio::time::timeout;

/// How old a list may be before the instances are asked again.
const FRESH: Duration = Duration::from_secs(5);
/// How long a completion waits for instances that are being asked.
const WAIT: Duration = Duration::from_millis(150);

pub(crate) struct ModelNames {
    registry: Arc<Registry>,
    listed: Mutex<Listed>,
}

#[derive(Default)]
struct Listed {
    /// Specifiers by instance.
    names: BTreeMap<String, Vec<String>>,
    asked: Option<Instant>,
}

impl ModelNames {
    pub(crate) fn new(registry: Arc<Registry>) -> ModelNames {
        ModelNames { registry, listed: Mutex::default() }
    }

    /// The specifiers that are known by now, sorted.
    pub(crate) async fn known(self: &Arc<Self>) -> Vec<String> {
        if self.is_due() {
            let asking: Vec<_> = (0..self.registry.instances().len())
                .map(|instance| {
                    let names = Arc::clone(self);
                    tokio::spawn(async move { names.ask(instance).await })
                })
                .collect();
            // What comes later is there for the next key.
            let _ = timeout(WAIT, futures::future::join_all(asking)).await;
        }
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<String> = listed.names.values().flatten().cloned().collect();
        names.push(self.registry.default_model().to_string());
        names.sort();
        names.dedup();
        names
    }

    fn is_due(&self) -> bool {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let due = listed.asked.is_none_or(|asked| asked.elapsed() > FRESH);
        if due {
            listed.asked = Some(Instant::now());
        }
        due
    }

    /// Asks one instance. One that fails keeps what it listed before.
    async fn ask(&self, instance: usize) {
        let Some(provider) = self.registry.instances().get(instance) else { return };
        let Ok(listed) = self.registry.list(Some(provider.name())).await else { return };
        for listed in listed {
            let Ok(models) = &listed.models else { continue };
            let usable = models.iter().filter(|model| model.problem.is_none());
            let names = usable.filter_map(|model| Some(listed.specifier(&model.name)?.to_string())).collect();
            self.listed.lock().unwrap_or_else(PoisonError::into_inner).names.insert(listed.instance.clone(), names);
        }
    }
}
