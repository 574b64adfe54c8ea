//! A tensor's entry in the file's table, and the tensor types that run.

use std::ops::Range;

use candle_core::quantized::GgmlDType;

use super::reader::Reader;
use crate::error::Error;

const MAX_DIMENSIONS: u32 = 4;

/// A tensor of the file.
#[derive(Clone, Debug)]
pub(crate) struct TensorInfo {
    pub(crate) kind: TensorType,
    /// Dimensions, the one that is contiguous in memory last (GGUF writes it first).
    shape: Vec<usize>,
    pub(crate) elements: u64,
    pub(crate) bytes: u64,
    /// Offset in the file, once the end of the tensor table is known.
    pub(super) offset: u64,
}

impl TensorInfo {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<(String, TensorInfo), Error> {
        let name = reader.name("tensor name")?;
        let dimension_field = format!("dimensions of tensor `{name}`");
        let at = reader.position();
        let dimensions = reader.u32(&dimension_field)?;
        if dimensions == 0 || dimensions > MAX_DIMENSIONS {
            return Err(reader.invalid(format!(
                "tensor `{name}` has {dimensions} dimensions at offset {at}, expected 1 to {MAX_DIMENSIONS}"
            )));
        }
        let mut shape = Vec::new();
        let mut elements = 1u64;
        for _ in 0..dimensions {
            let at = reader.position();
            let size = reader.u64(&dimension_field)?;
            elements = match elements.checked_mul(size) {
                Some(elements) if size > 0 => elements,
                _ => {
                    return Err(reader.invalid(format!(
                        "tensor `{name}` has a dimension of {size} at offset {at}, expected one that fits the file"
                    )));
                }
            };
            shape.insert(0, size as usize);
        }
        let kind = TensorType::read(reader, &name)?;
        let row = shape.last().copied().unwrap_or(0);
        if !row.is_multiple_of(kind.block_size()) {
            return Err(reader.invalid(format!(
                "tensor `{name}` has rows of {row}, expected a multiple of {} for {}",
                kind.block_size(),
                kind.name()
            )));
        }
        let Some(bytes) = (elements / kind.block_size() as u64).checked_mul(kind.block_bytes() as u64) else {
            return Err(
                reader.invalid(format!("tensor `{name}` has {elements} elements, expected as many as fit the file"))
            );
        };
        let offset = reader.u64(&format!("offset of tensor `{name}`"))?;
        Ok((name, TensorInfo { kind, shape, elements, bytes, offset }))
    }

    /// Dimensions, the contiguous one last: `[rows, columns]` for a weight.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Where the tensor lies in the file.
    pub(crate) fn range(&self) -> Range<usize> {
        self.offset as usize..(self.offset + self.bytes) as usize
    }
}

/// The tensor types that run, and their number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TensorType(GgmlDType);

/// Number in the file, type, and how ggml spells it.
const RUNNABLE: [(u32, GgmlDType, &str); 13] = [
    (0, GgmlDType::F32, "F32"),
    (1, GgmlDType::F16, "F16"),
    (2, GgmlDType::Q4_0, "Q4_0"),
    (3, GgmlDType::Q4_1, "Q4_1"),
    (6, GgmlDType::Q5_0, "Q5_0"),
    (7, GgmlDType::Q5_1, "Q5_1"),
    (8, GgmlDType::Q8_0, "Q8_0"),
    (10, GgmlDType::Q2K, "Q2_K"),
    (11, GgmlDType::Q3K, "Q3_K"),
    (12, GgmlDType::Q4K, "Q4_K"),
    (13, GgmlDType::Q5K, "Q5_K"),
    (14, GgmlDType::Q6K, "Q6_K"),
    (30, GgmlDType::BF16, "BF16"),
];

/// What the other numbers of ggml.h mean, so that an error can say it.
const NOT_RUNNABLE: [(u32, &str); 19] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
];

impl TensorType {
    fn read(reader: &mut Reader<'_>, tensor: &str) -> Result<TensorType, Error> {
        let at = reader.position();
        let number = reader.u32(&format!("type of tensor `{tensor}`"))?;
        if let Some((_, kind, _)) = RUNNABLE.iter().find(|(known, ..)| *known == number) {
            return Ok(TensorType(*kind));
        }
        let name = match NOT_RUNNABLE.iter().find(|(known, _)| *known == number) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("number {number}"),
        };
        let runnable: Vec<&str> = RUNNABLE.iter().map(|(.., name)| *name).collect();
        Err(reader.unsupported(format!(
            "tensor `{tensor}` has the type {name} (offset {at}); types that run: {}",
            runnable.join(", ")
        )))
    }

    /// candle's name for it.
    pub(crate) fn ggml(self) -> GgmlDType {
        self.0
    }

    /// How ggml spells it, e.g. `Q8_0`.
    pub(crate) fn name(self) -> &'static str {
        RUNNABLE.iter().find(|(_, kind, _)| *kind == self.0).map_or("unknown", |(.., name)| name)
    }

    /// Weights in one block.
    pub(crate) fn block_size(self) -> usize {
        self.0.block_size()
    }

    /// Bytes of one block.
    pub(crate) fn block_bytes(self) -> usize {
        self.0.type_size()
    }
}
