//! How much memory there is, and how much of it this process has.

use std::fs;

/// Bytes of memory that this process may use: the machine's, or what its control group allows. Linux tells; elsewhere nothing is
/// known, and nothing is limited.
pub(super) fn usable() -> Option<u64> {
    let machine = kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal")?;
    Some(control_group().map_or(machine, |limit| limit.min(machine)))
}

/// Bytes of memory that programs may still take, on this machine or in its control group's limit, if that is less.
pub fn available_memory() -> Option<u64> {
    let available = kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable")?;
    Some(control_group().map_or(available, |limit| limit.min(available)))
}

/// The least limit of the control groups that this process is in (cgroups(7), version 2).
fn control_group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folders = std::path::Path::new(path).ancestors();
    folders
        .filter_map(|folder| {
            let limit =
                fs::read_to_string(std::path::Path::new("/sys/fs/cgroup").join(folder).join("memory.max")).ok()?;
            limit.trim().parse().ok()
        })
        .min()
}

/// Bytes that this process has in memory and no file has: what loading a model adds.
pub(super) fn resident() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "RssAnon")
}

/// The bytes of a line like `RssAnon:  1234 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
