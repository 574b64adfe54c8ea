//! `usage_request`: the processor time and memory of this process and its machine, and the memory of the models in it, and who
//! listens to it.
//!
//! A share of processor time needs two readings: a request looks at what happened since the one before it, or, where that is long
//! ago or there was none, at the next tenth of a second. So the first answer is as true as those that follow.

use std::fs;
use std::time::{Duration, Instant};

use perilune_protocol::{LoadedModel, PeerCounts, UsageExtension, UsageReply};
use perilune_providers::Registry;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::convert;

/// The shortest time that a share of processor time is taken over, and the longest.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Remembers the last reading, and the shares that it gave.
#[derive(Default)]
pub(crate) struct Meter {
    last: Mutex<Option<(Reading, (f64, f64))>>,
}

/// Processor time since the process and the machine started.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    /// Of this process, in seconds.
    process: f64,
    /// Of the machine, in ticks: all, and those that something was done in.
    total: u64,
    busy: u64,
}

impl Meter {
    /// What is used now, by `registry`, which is that of this process's own models, among others.
    pub(crate) async fn read(&self, registry: &Registry, peers: PeerCounts) -> UsageReply {
        let models = models(registry).await;
        let mut reply = UsageReply {
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            cpu_count: std::thread::available_parallelism().ok().map(usize::from),
            kernel_memory: resident_memory(),
            host_virtual_memory: virtual_memory(),
            perilune: UsageExtension {
                model_memory: models.iter().filter_map(|model| model.memory_bytes).sum(),
                models,
                peers,
            },
            ..UsageReply::default()
        };
        if let Some((kernel, host)) = self.shares().await {
            reply.kernel_cpu = Some(kernel);
            reply.host_cpu_percent = Some(host);
        }
        reply
    }

    /// The process's share in percent of one processor, and the machine's in percent of all.
    async fn shares(&self) -> Option<(f64, f64)> {
        let mut last = self.last.lock().await;
        let before = match *last {
            // So soon nothing new is to be said, and nobody has to wait for it.
            Some((reading, shares)) if reading.at.elapsed() < SHORTEST => return Some(shares),
            Some((reading, _)) if reading.at.elapsed() <= LONGEST => reading,
            _ => {
                let before = reading()?;
                sleep(SHORTEST).await;
                before
            }
        };
        let now = reading()?;
        let process = 100.0 * (now.process - before.process) / (now.at - before.at).as_secs_f64();
        let total = now.total.saturating_sub(before.total).max(1);
        let host = 100.0 * now.busy.saturating_sub(before.busy) as f64 / total as f64;
        *last = Some((now, (process, host)));
        Some((process, host))
    }
}

/// The models in memory; `registry` is that of this process's own models.
pub(crate) async fn models(registry: &Registry) -> Vec<LoadedModel> {
    let mut models = Vec::new();
    for instance in registry.instances() {
        if let Some(local) = instance.local()
            && let Ok(loaded) = local.loaded().await
        {
            models.extend(loaded.into_iter().map(|model| convert::loaded_model(instance.name(), model)));
        }
    }
    models
}

/// Linux tells in `/proc` (proc(5)); elsewhere nothing is known.
fn reading() -> Option<Reading> {
    let process = fs::read_to_string("/proc/self/stat").ok()?;
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let at = Instant::now();
    // The name before the last bracket may hold anything; utime and stime are the 14th and 15th field.
    let fields: Vec<&str> = process.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let process = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    // user, nice, system, idle, iowait, irq, softirq, steal; a guest's time is in the user's already.
    let times: Vec<u64> =
        machine.lines().next()?.split_whitespace().skip(1).take(8).filter_map(|time| time.parse().ok()).collect();
    let total = times.iter().sum();
    let idle: u64 = times.iter().skip(3).take(2).sum();
    Some(Reading { at, process, total, busy: total - idle })
}

/// Bytes of this process in physical memory.
pub(crate) fn resident_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "VmRSS")
}

/// The machine's memory under psutil's names.
fn virtual_memory() -> Option<Map<String, Value>> {
    const NAMES: [(&str, &str); 9] = [
        ("total", "MemTotal"),
        ("available", "MemAvailable"),
        ("free", "MemFree"),
        ("active", "Active"),
        ("inactive", "Inactive"),
        ("buffers", "Buffers"),
        ("cached", "Cached"),
        ("shared", "Shmem"),
        ("slab", "Slab"),
    ];
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let mut memory: Map<String, Value> =
        NAMES.iter().filter_map(|(name, line)| Some(((*name).to_owned(), kibibytes(&meminfo, line)?.into()))).collect();
    let (total, available) = (kibibytes(&meminfo, "MemTotal")?, kibibytes(&meminfo, "MemAvailable")?);
    let used = total.saturating_sub(available);
    memory.insert("used".to_owned(), used.into());
    memory.insert("percent".to_owned(), (100.0 * used as f64 / total.max(1) as f64).into());
    Some(memory)
}

/// The bytes of a line like `VmRSS:  1234 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
