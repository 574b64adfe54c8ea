//! What is known of a stored model, and how it is written down.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The SHA-256 of a file's content, as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Digest(String);

impl Sha256Digest {
    /// The digest of these 32 bytes.
    pub fn of_bytes(bytes: [u8; 32]) -> Sha256Digest {
        Sha256Digest(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the file of that content is called in the store.
    pub(super) fn file_name(&self) -> String {
        format!("sha256-{}", self.0)
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Sha256Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Sha256Digest, String> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Sha256Digest(digits.to_ascii_lowercase()));
        }
        Err(format!("`{}` is not a SHA-256, which has 64 hexadecimal digits", crate::nearest::quoted(text)))
    }
}

impl TryFrom<String> for Sha256Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Sha256Digest, String> {
        text.parse()
    }
}

impl From<Sha256Digest> for String {
    fn from(digest: Sha256Digest) -> String {
        digest.0
    }
}

/// What is said of a model that comes into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewModel {
    /// The name it is to go by.
    pub name: String,
    /// Where it came from, such as `hf:owner/repository/file.gguf` or an address.
    pub source: String,
    /// The commit of the repository it came from.
    pub revision: Option<String>,
    /// How its weights are written, such as `Q4_K_M`, as far as its name or its source says.
    pub quantization: Option<String>,
    /// The licence its source gives, such as `apache-2.0`.
    pub license: Option<String>,
}

/// A model of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredModel {
    /// The name it goes by.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Its content.
    pub digest: Sha256Digest,
    /// Bytes of its file.
    pub size_bytes: u64,
    /// Where it came from, such as `hf:owner/repository/file.gguf` or an address.
    pub source: String,
    /// The commit of the repository it came from.
    pub revision: Option<String>,
    /// How its weights are written, such as `Q4_K_M`.
    pub quantization: Option<String>,
    /// The licence its source gave.
    pub license: Option<String>,
    /// When it got this name, in seconds since 1970.
    pub added: u64,
    /// Why it cannot be used, and what would help.
    pub problem: Option<String>,
}

/// A model as a file of `names/` has it.
#[derive(Deserialize, Serialize)]
pub(super) struct Record {
    pub(super) sha256: Sha256Digest,
    pub(super) size_bytes: u64,
    source: String,
    #[serde(default)]
    revision: Option<String>,
    #[serde(default)]
    quantization: Option<String>,
    #[serde(default)]
    license: Option<String>,
    added: u64,
}

impl Record {
    pub(super) fn new(digest: &Sha256Digest, size_bytes: u64, model: NewModel) -> Record {
        let NewModel { source, revision, quantization, license, .. } = model;
        // A clock before 1970 is wrong anyhow.
        let added = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Record { sha256: digest.clone(), size_bytes, source, revision, quantization, license, added }
    }

    pub(super) fn into_model(self, name: &str, path: PathBuf, problem: Option<String>) -> StoredModel {
        StoredModel {
            name: name.to_owned(),
            path,
            digest: self.sha256,
            size_bytes: self.size_bytes,
            source: self.source,
            revision: self.revision,
            quantization: self.quantization,
            license: self.license,
            added: self.added,
            problem,
        }
    }
}
