//! Which model a file is: what is computed with one is of no use to another.

use sha2::{Digest, Sha256};

use super::Gguf;

/// Bytes of a sample of a tensor.
const SAMPLE: usize = 4096;

impl Gguf {
    /// A SHA-256 in hexadecimal: of the file's length, of all that comes before its tensors (metadata, vocabulary, chat
    /// template, and the tensors' names, types and shapes), and of the first, middle and last 4 KiB of each tensor. It
    /// takes milliseconds where the whole file would take seconds. It tells models from each other, also those that were
    /// trained on from the same one, since training changes every tensor; a file that somebody changes in between the
    /// samples it does not tell.
    pub(crate) fn fingerprint(&self) -> String {
        let file = self.bytes.as_slice();
        let mut tensors: Vec<_> = self.tensors().map(|tensor| tensor.range()).collect();
        tensors.sort_by_key(|range| (range.start, range.end));
        let header = tensors.first().map_or(file.len(), |first| first.start);

        let mut digest = Sha256::new();
        digest.update((file.len() as u64).to_le_bytes());
        digest.update(&file[..header]);
        for tensor in tensors.into_iter().map(|range| &file[range]) {
            let last = tensor.len().saturating_sub(SAMPLE);
            for start in [0, last / 2, last] {
                digest.update(&tensor[start..tensor.len().min(start + SAMPLE)]);
            }
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
