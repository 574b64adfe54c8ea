//! What a kernel takes of its machine: `usage`, in the shape that ipykernel gives it and jupyter-resource-usage reads. The request is
//! empty. What the machine does not tell is left out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::lenient::null_default;
use crate::model::LoadedModel;
use crate::transport::PeerCounts;

/// The answer to `usage_request`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageReply {
    /// The machine's name.
    #[serde(default, deserialize_with = "null_default")]
    pub hostname: String,
    /// The kernel's process.
    #[serde(default, deserialize_with = "null_default")]
    pub pid: u32,
    /// The machine's logical processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_count: Option<usize>,
    /// Processor time of the kernel's process, in percent of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_cpu: Option<f64>,
    /// Memory of the kernel's process, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_memory: Option<u64>,
    /// Processor time of everything on the machine, in percent of all its processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_cpu_percent: Option<f64>,
    /// The machine's memory in bytes, by the names of `psutil.virtual_memory`, and `percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_virtual_memory: Option<Map<String, Value>>,
    /// What only Perilune has.
    #[serde(default, deserialize_with = "null_default")]
    pub perilune: UsageExtension,
}

/// What a kernel's models and its peers take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageExtension {
    /// The memory of all models together, in bytes.
    #[serde(default, deserialize_with = "null_default")]
    pub model_memory: u64,
    /// The models in memory.
    #[serde(default, deserialize_with = "null_default")]
    pub models: Vec<LoadedModel>,
    /// Who listens to what is published.
    #[serde(default, deserialize_with = "null_default")]
    pub peers: PeerCounts,
}
