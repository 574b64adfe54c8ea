//! Kernel subshells (JEP 91): created, deleted and listed on control. A request on shell names its subshell in its header
//! ([`Header::subshell_id`](crate::Header)). The requests to create and to list are empty.

use serde::{Deserialize, Serialize};

use crate::lenient::null_default;

/// The name of this feature in `supported_features` (JEP 92).
pub const SUBSHELLS: &str = "kernel subshells";

/// The answer to `create_subshell_request`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateSubshellReply {
    /// The new subshell.
    pub subshell_id: String,
}

/// Asks for the end of a subshell; the answer is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteSubshellRequest {
    /// Which.
    pub subshell_id: String,
}

/// The answer to `list_subshell_request`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSubshellReply {
    /// Every subshell; the main shell has no id.
    #[serde(default, deserialize_with = "null_default")]
    pub subshell_id: Vec<String>,
}
