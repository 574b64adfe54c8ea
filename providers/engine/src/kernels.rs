//! Products with weights on the CPU, at nearly the file's bits per weight and to the same bits on every
//! instruction set, thread count and batch. In reading order:
//!
//! - `instruction_set`: what this processor has, or a lesser set that the environment asks for
//! - `activations`: inputs rounded to eight bits as ggml rounds them
//! - `format`: how each tensor type lies in memory, sixteen columns of weights beside each other
//! - `product`: the products, written once for every instruction set
//! - `lanes`: the registers of one instruction set
//! - `lines`: memory for activations
//! - `amx`: the same products for some ten rows and more, sixteen at a time, in tiles
//! - `space`: memory for packed weights
//! - `packed`: a weight matrix in that form, and several products with one input shared out over threads
//! - `dense`: the same for weights that are fractions in the file
//! - `attention`: scores and weighted sums over keys and values
//!
//! A product's sum is made of whole numbers as far as 32 bits hold them; the few operations on fractions come in one
//! order, with fused multiply-adds, which is why every instruction set agrees.

#![allow(clippy::needless_range_loop, reason = "a register's number counts sums, weights and addresses alike")]

use candle_core::quantized::GgmlDType;

mod activations;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod dense;
mod format;
mod instruction_set;
mod lanes;
mod lines;
mod packed;
mod product;
mod space;

pub(crate) use activations::Rounded;
pub(crate) use attention::{
    Heads, KEY_BLOCK, SCALED_TOGETHER, scores, weighted_sums, widen, widen_scaled_keys, widen_scaled_values,
};
pub(crate) use dense::{Dense, DenseProduct, multiply_dense};
#[cfg(test)]
pub(crate) use instruction_set::VARIABLE;
pub(crate) use instruction_set::{InstructionSet, vectorized};
pub(crate) use lines::Lines;
pub(crate) use packed::{Packed, Product, multiply};
pub(crate) use space::Space;

/// Bytes in memory of a matrix that has so many in the file: its columns come to whole tiles.
pub(crate) fn packed_bytes(kind: GgmlDType, bytes: u64, columns: u64, set: InstructionSet) -> u64 {
    if has_kernel(kind, set) { bytes / columns * columns.next_multiple_of(lanes::TILE_COLUMNS as u64) } else { bytes }
}

/// Whether weights of a type have a kernel of ours.
pub(crate) fn has_kernel(kind: GgmlDType, set: InstructionSet) -> bool {
    Packed::has_form(kind, set) || Dense::has_form(kind, set)
}
