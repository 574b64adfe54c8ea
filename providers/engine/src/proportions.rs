//! Refuses files of a shape that would take far more memory than they have bytes: vocabularies of millions of tokens, matrices
//! that are padding for the most part, pages of keys and values wider than the weights that make them. Reckoned from the
//! header, before anything is loaded.

use crate::decoder::{CacheType, Matrix, PageShape};
use crate::description::Description;
use crate::error::Error;
use crate::gguf::Gguf;
use crate::tokenizer::Tokenizer;

/// Bytes that any model may take beside its weights. The largest vocabularies of known models take about as much.
const BASE: u64 = 60 << 20;
/// And one for so many bytes of the file.
const FILE_BYTES: u64 = 16;
/// What a metadatum or a tensor's entry takes in memory.
const ENTRY: u64 = 200;

/// Fails with [`Error::UnsupportedModel`] for a file out of proportion.
pub(crate) fn check(gguf: &Gguf, description: &Description) -> Result<(), Error> {
    let parts = [
        ("the vocabulary", Tokenizer::bytes(gguf)),
        ("matrices of few rows, which are padded", padding(gguf)),
        ("a page of keys and values", PageShape::of(description, CacheType::F16).bytes(1)),
        ("the table of tensors and metadata", gguf.entries() as u64 * ENTRY),
    ];
    let file = gguf.bytes().as_slice().len() as u64;
    let (total, most) = (parts.iter().map(|(_, bytes)| bytes).sum::<u64>(), BASE + file / FILE_BYTES);
    if total <= most {
        return Ok(());
    }
    let (name, bytes) = parts.into_iter().max_by_key(|(_, bytes)| *bytes).unwrap_or_default();
    Err(gguf.bytes().unsupported(format!(
        "beside its weights it would take {total} bytes of memory ({name}: {bytes}), \
         expected at most {most} for a file of {file} bytes"
    )))
}

/// What weights take in memory beyond their bytes in the file.
fn padding(gguf: &Gguf) -> u64 {
    let padded = |tensor: &crate::gguf::TensorInfo| match tensor.shape() {
        [_, _] => Matrix::bytes(tensor),
        // Vectors become 32-bit numbers.
        _ => tensor.elements * size_of::<f32>() as u64,
    };
    gguf.tensors().map(|tensor| padded(tensor).saturating_sub(tensor.bytes)).fold(0, u64::saturating_add)
}
