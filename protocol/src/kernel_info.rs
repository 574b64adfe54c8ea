//! `kernel_info_reply`: what kernel this is and which language it runs. The request is empty.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient::null_default;

/// The answer to `kernel_info_request`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KernelInfoReply {
    /// Version of the messaging protocol.
    pub protocol_version: String,
    /// The kernel's name.
    pub implementation: String,
    /// The kernel's version.
    #[serde(default, deserialize_with = "null_default")]
    pub implementation_version: String,
    /// The language of its cells.
    pub language_info: LanguageInfo,
    /// What a console prints first.
    #[serde(default, deserialize_with = "null_default")]
    pub banner: String,
    /// Whether it has a debugger.
    #[serde(default, deserialize_with = "null_default")]
    pub debugger: bool,
    /// Optional features by name, e.g. `kernel subshells` (JEP 92).
    #[serde(default, deserialize_with = "null_default")]
    pub supported_features: Vec<String>,
    /// Links of a frontend's help menu.
    #[serde(default, deserialize_with = "null_default")]
    pub help_links: Vec<HelpLink>,
}

/// The language of a kernel's cells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LanguageInfo {
    /// E.g. `lua`.
    pub name: String,
    /// The language's version.
    #[serde(default, deserialize_with = "null_default")]
    pub version: String,
    /// E.g. `text/x-lua`.
    #[serde(default, deserialize_with = "null_default")]
    pub mimetype: String,
    /// E.g. `.lua`.
    #[serde(default, deserialize_with = "null_default")]
    pub file_extension: String,
    /// Pygments' lexer, when it is not called as the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pygments_lexer: Option<String>,
    /// CodeMirror's mode: a name, or an object in other kernels' replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codemirror_mode: Option<Value>,
    /// nbconvert's exporter, when it is not the general script exporter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbconvert_exporter: Option<String>,
}

/// An entry of a frontend's help menu.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelpLink {
    /// What is shown.
    pub text: String,
    /// Where it leads.
    pub url: String,
}
