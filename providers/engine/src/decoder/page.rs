//! A page of keys and values: what lies where in it, and in which form the numbers are kept. What a position holds does not
//! depend on the others of its page.

use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

use crate::description::Description;
use crate::kernels::{InstructionSet, KEY_BLOCK, SCALED_TOGETHER, widen, widen_scaled_keys, widen_scaled_values};

/// Positions in one page.
pub(super) const PAGE_POSITIONS: usize = KEY_BLOCK;

/// The largest of the whole numbers that a scale is for.
const LARGEST: f32 = 127.0;

const CONVERTED_AT_ONCE: usize = 64;

/// In which form keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheType {
    /// Half precision.
    #[default]
    F16,
    /// Whole numbers of eight bits with a scale in half precision for each 32 dimensions of a head, as ggml's `Q8_0`: 53 %
    /// of the memory, and answers that differ a little.
    Q8_0,
}

impl CacheType {
    /// The word for it, in configurations and replies.
    pub fn as_str(self) -> &'static str {
        match self {
            CacheType::F16 => "f16",
            CacheType::Q8_0 => "q8_0",
        }
    }
}

/// What a model's pages are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageShape {
    pub(crate) cache_type: CacheType,
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_size: usize,
}

/// What a position holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

pub(super) type Page = Arc<Numbers>;

/// `[layer][key, value][kv head]`, then `[dimension][position]` for keys, so that a register holds one dimension of
/// several keys, and `[position][dimension]` for values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    F16(Vec<f16>),
    /// Scales are `[layer][key, value][kv head][block of dimensions][position]`.
    Q8_0 {
        numbers: Vec<i8>,
        scales: Vec<f16>,
    },
}

/// The keys or the values of one head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) layer: usize,
    pub(super) part: Part,
    pub(super) kv_head: usize,
}

impl PageShape {
    pub(crate) fn of(description: &Description, cache_type: CacheType) -> PageShape {
        let Description { layers, kv_heads, head_size, .. } = *description;
        PageShape { cache_type, layers, kv_heads, head_size }
    }

    /// Bytes of keys and values of one position, in all layers.
    pub(crate) fn bytes_per_position(&self) -> usize {
        let of_head = match self.cache_type {
            CacheType::F16 => self.head_size * size_of::<f16>(),
            CacheType::Q8_0 => self.head_size + self.blocks() * size_of::<f16>(),
        };
        self.heads() * of_head
    }

    /// Bytes that the pages of so many positions take.
    pub(crate) fn bytes(&self, positions: usize) -> u64 {
        positions.next_multiple_of(PAGE_POSITIONS) as u64 * self.bytes_per_position() as u64
    }

    /// A page whose content means nothing yet.
    pub(super) fn blank(&self) -> Page {
        let numbers = self.heads() * self.head_size * PAGE_POSITIONS;
        Arc::new(match self.cache_type {
            CacheType::F16 => Numbers::F16(vec![f16::ZERO; numbers]),
            CacheType::Q8_0 => Numbers::Q8_0 {
                numbers: vec![0; numbers],
                scales: vec![f16::ZERO; self.heads() * self.blocks() * PAGE_POSITIONS],
            },
        })
    }

    /// Every head of every layer, in the order in which they lie.
    pub(super) fn all_heads(&self) -> impl Iterator<Item = Head> + use<> {
        let kv_heads = self.kv_heads;
        let parts = (0..self.layers).flat_map(|layer| [Part::Key, Part::Value].map(|part| (layer, part)));
        parts.flat_map(move |(layer, part)| (0..kv_heads).map(move |kv_head| Head { layer, part, kv_head }))
    }

    fn heads(&self) -> usize {
        self.layers * 2 * self.kv_heads
    }

    /// Scales of one position of a head.
    fn blocks(&self) -> usize {
        self.head_size.div_ceil(SCALED_TOGETHER)
    }

    /// Where a head begins, when each has so many numbers a position.
    fn start(&self, head: Head, per_position: usize) -> usize {
        let part = match head.part {
            Part::Key => 0,
            Part::Value => 1,
        };
        ((head.layer * 2 + part) * self.kv_heads + head.kv_head) * PAGE_POSITIONS * per_position
    }

    /// Where a position's dimensions are among the numbers: the first, and how far the next one is.
    fn dimensions(&self, head: Head, within: usize) -> (usize, usize) {
        let start = self.start(head, self.head_size);
        match head.part {
            Part::Key => (start + within, PAGE_POSITIONS),
            Part::Value => (start + within * self.head_size, 1),
        }
    }
}

impl Numbers {
    /// Takes the content of another page of the same shape.
    pub(super) fn copy_from(&mut self, other: &Numbers) {
        match (self, other) {
            (Numbers::F16(own), Numbers::F16(other)) => own.copy_from_slice(other),
            (Numbers::Q8_0 { numbers, scales }, Numbers::Q8_0 { numbers: other_numbers, scales: other_scales }) => {
                numbers.copy_from_slice(other_numbers);
                scales.copy_from_slice(other_scales);
            }
            (own, other) => *own = other.clone(),
        }
    }

    /// Keeps the dimensions of one position of a head.
    pub(super) fn store(&mut self, shape: &PageShape, head: Head, within: usize, floats: &[f32]) {
        let (first, step) = shape.dimensions(head, within);
        match self {
            Numbers::F16(halves) if step == 1 => halves[first..first + floats.len()].convert_from_f32_slice(floats),
            Numbers::F16(halves) => {
                let mut places = halves[first..].iter_mut().step_by(step);
                // Several at once, which is faster than each for itself.
                let mut converted = [f16::ZERO; CONVERTED_AT_ONCE];
                for floats in floats.chunks(CONVERTED_AT_ONCE) {
                    let converted = &mut converted[..floats.len()];
                    converted.convert_from_f32_slice(floats);
                    converted.iter().zip(&mut places).for_each(|(half, place)| *place = *half);
                }
            }
            Numbers::Q8_0 { numbers, scales } => {
                let scales = scales[shape.start(head, shape.blocks()) + within..].iter_mut().step_by(PAGE_POSITIONS);
                let mut numbers = numbers[first..].iter_mut().step_by(step);
                for (block, scale) in floats.chunks(SCALED_TOGETHER).zip(scales) {
                    let inverse;
                    (*scale, inverse) = scale_of(block);
                    for (float, number) in block.iter().zip(&mut numbers) {
                        *number = (float * inverse).round() as i8;
                    }
                }
            }
        }
    }

    /// A head's numbers as they are, in the order in which they lie: `[PAGE_POSITIONS * head size]`.
    pub(super) fn widen(&self, set: InstructionSet, shape: &PageShape, head: Head, floats: &mut [f32]) {
        let start = shape.start(head, shape.head_size);
        match self {
            Numbers::F16(halves) => widen(set, &halves[start..start + floats.len()], floats),
            Numbers::Q8_0 { numbers, scales } => {
                let numbers = &numbers[start..start + floats.len()];
                let scales = &scales[shape.start(head, shape.blocks())..][..shape.blocks() * PAGE_POSITIONS];
                match head.part {
                    Part::Key => widen_scaled_keys(numbers, scales, floats),
                    Part::Value => widen_scaled_values(numbers, scales, shape.head_size, floats),
                }
            }
        }
    }

    /// Appends the bytes of one position of a head: its numbers, little endian, after their scales if they have any.
    pub(super) fn read(&self, shape: &PageShape, head: Head, within: usize, bytes: &mut Vec<u8>) {
        let (first, step) = shape.dimensions(head, within);
        let halves = |halves: &[f16], step: usize, count: usize, bytes: &mut Vec<u8>| {
            halves.iter().step_by(step).take(count).for_each(|half| bytes.extend(half.to_le_bytes()));
        };
        match self {
            Numbers::F16(numbers) => halves(&numbers[first..], step, shape.head_size, bytes),
            Numbers::Q8_0 { numbers, scales } => {
                let scales = &scales[shape.start(head, shape.blocks()) + within..];
                halves(scales, PAGE_POSITIONS, shape.blocks(), bytes);
                let numbers = numbers[first..].iter().step_by(step).take(shape.head_size);
                bytes.extend(numbers.map(|number| number.cast_unsigned()));
            }
        }
    }

    /// Takes what [`Numbers::read`] gave, from the front of `bytes`; they are as many.
    pub(super) fn write(&mut self, shape: &PageShape, head: Head, within: usize, bytes: &mut &[u8]) {
        let (first, step) = shape.dimensions(head, within);
        let halves = |halves: &mut [f16], step: usize, count: usize, bytes: &mut &[u8]| {
            let (own, rest) = bytes.split_at(count * size_of::<f16>());
            for (half, bytes) in halves.iter_mut().step_by(step).zip(own.as_chunks().0) {
                *half = f16::from_le_bytes(*bytes);
            }
            *bytes = rest;
        };
        match self {
            Numbers::F16(numbers) => halves(&mut numbers[first..], step, shape.head_size, bytes),
            Numbers::Q8_0 { numbers, scales } => {
                let scales = &mut scales[shape.start(head, shape.blocks()) + within..];
                halves(scales, PAGE_POSITIONS, shape.blocks(), bytes);
                let (own, rest) = bytes.split_at(shape.head_size);
                for (number, byte) in numbers[first..].iter_mut().step_by(step).zip(own) {
                    *number = byte.cast_signed();
                }
                *bytes = rest;
            }
        }
    }
}

/// The scale of numbers that are kept together, and what they are multiplied with, as ggml's `quantize_row_q8_0` has it.
fn scale_of(block: &[f32]) -> (f16, f32) {
    let largest = block.iter().fold(0.0f32, |largest, float| largest.max(float.abs()));
    let scale = largest / LARGEST;
    (f16::from_f32(scale), if scale == 0.0 { 0.0 } else { 1.0 / scale })
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut random = SmallRng::seed_from_u64(seed);
        (0..count).map(|_| random.random_range(-3.0f32..3.0)).collect()
    }

    /// What a position of a head holds, dimension by dimension.
    fn kept(page: &Numbers, shape: &PageShape, head: Head, within: usize) -> Vec<f32> {
        let mut floats = vec![0.0; PAGE_POSITIONS * shape.head_size];
        page.widen(InstructionSet::current(), shape, head, &mut floats);
        match head.part {
            Part::Key => floats[within..].iter().step_by(PAGE_POSITIONS).copied().collect(),
            Part::Value => floats[within * shape.head_size..][..shape.head_size].to_vec(),
        }
    }

    /// What candle's quantiser makes of it.
    fn candles(floats: &[f32]) -> Vec<f32> {
        let tensor = Tensor::new(floats, &Device::Cpu).expect("a tensor");
        let rounded = QTensor::quantize(&tensor, GgmlDType::Q8_0).expect("whole blocks");
        rounded.dequantize(&Device::Cpu).and_then(|tensor| tensor.to_vec1()).expect("floats")
    }

    #[test]
    fn every_head_and_position_is_kept_as_ggml_rounds_it_and_beside_the_others() {
        for cache_type in [CacheType::F16, CacheType::Q8_0] {
            let shape = PageShape { cache_type, layers: 2, kv_heads: 3, head_size: 64 };
            let mut page = shape.blank();
            let page = Arc::get_mut(&mut page).expect("its own");
            let floats = |head: usize, within: usize| numbers(64, (head * PAGE_POSITIONS + within) as u64);
            for within in 0..PAGE_POSITIONS {
                for (index, head) in shape.all_heads().enumerate() {
                    page.store(&shape, head, within, &floats(index, within));
                }
            }
            for within in 0..PAGE_POSITIONS {
                for (index, head) in shape.all_heads().enumerate() {
                    let expected = match cache_type {
                        CacheType::F16 => floats(index, within).iter().map(|f| f16::from_f32(*f).to_f32()).collect(),
                        CacheType::Q8_0 => candles(&floats(index, within)),
                    };
                    assert_eq!(kept(page, &shape, head, within), expected, "{cache_type:?} {head:?} {within}");
                }
            }
        }
    }

    #[test]
    fn heads_that_are_no_whole_blocks_and_odd_numbers_are_kept() {
        let shape = PageShape { cache_type: CacheType::Q8_0, layers: 1, kv_heads: 1, head_size: 80 };
        let mut page = shape.blank();
        let page = Arc::get_mut(&mut page).expect("its own");
        for head in shape.all_heads() {
            let floats = numbers(80, 7);
            page.store(&shape, head, 31, &floats);
            for (kept, float) in kept(page, &shape, head, 31).iter().zip(&floats) {
                assert!((kept - float).abs() <= 3.0 / 127.0 / 2.0 + 1e-3, "{kept} is not {float}");
            }
            page.store(&shape, head, 31, &[0.0; 80]);
            assert_eq!(kept(page, &shape, head, 31), [0.0; 80]);
            // What is no number stays none, so that it is noticed.
            page.store(&shape, head, 31, &[f32::INFINITY; 80]);
            assert!(kept(page, &shape, head, 31).iter().all(|float| !float.is_finite()));
        }
    }

    #[test]
    fn bytes_are_as_many_as_reckoned_and_come_back() {
        for (cache_type, bytes_of_head) in [(CacheType::F16, 160), (CacheType::Q8_0, 80 + 3 * 2)] {
            let shape = PageShape { cache_type, layers: 2, kv_heads: 2, head_size: 80 };
            assert_eq!(shape.bytes_per_position(), 2 * 2 * 2 * bytes_of_head);
            let (mut page, mut copy) = (shape.blank(), shape.blank());
            let page = Arc::get_mut(&mut page).expect("its own");
            let copy = Arc::get_mut(&mut copy).expect("its own");
            for head in shape.all_heads() {
                page.store(&shape, head, 5, &numbers(80, head.kv_head as u64));
                let mut bytes = Vec::new();
                page.read(&shape, head, 5, &mut bytes);
                assert_eq!(bytes.len(), bytes_of_head);
                let mut rest = &bytes[..];
                copy.write(&shape, head, 5, &mut rest);
                assert!(rest.is_empty());
            }
            assert!(page == copy, "{cache_type:?}");
        }
    }
}
