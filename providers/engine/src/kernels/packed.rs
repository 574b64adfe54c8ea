//! A weight matrix in packed form, and products with one input shared out over threads.

use std::ops::Range;

use candle_core::quantized::GgmlDType;

use super::activations::Rounded;
use super::format::Format;
use super::format::blocks::{Q4_0, Q5_0, Q8_0};
use super::format::k_quants::{Q4K, Q5K, Q6K};
use super::instruction_set::InstructionSet;
use super::lanes::TILE_COLUMNS;
use super::product::{Kernel, Task, kernel};
use super::space::{Space, Tiles};
use crate::error::Error;
use crate::threads::Threads;

/// Weights `[columns, inputs]` of a product, in tiles.
pub(crate) struct Packed {
    /// `[tiles, blocks]`, each one tile long.
    tiles: Tiles,
    columns: usize,
    inputs: usize,
    block: usize,
    kernel: Kernel,
}

/// Multiply-adds that are worth handing to another thread at a time.
pub(super) const WORK_EACH: usize = 1024 * 1024;

impl Packed {
    /// Packs the weights of a tensor, whose bytes are whole; `None` for types without a form. Fails when the system has no
    /// memory for it.
    pub(crate) fn pack(
        kind: GgmlDType,
        bytes: &[u8],
        columns: usize,
        set: InstructionSet,
        space: &mut Space,
        threads: &mut Threads,
    ) -> Option<Result<Packed, Error>> {
        Packed::has_form(kind, set).then(|| pack_any(kind, bytes, columns, set, space, threads))?
    }

    /// Whether a type is packed. Without vector instructions candle is faster than what is here, but its Q8_0 rounds
    /// activations in larger blocks, which shows in greedy answers.
    pub(crate) fn has_form(kind: GgmlDType, set: InstructionSet) -> bool {
        match kind {
            GgmlDType::Q8_0 => true,
            GgmlDType::Q4_0 | GgmlDType::Q5_0 | GgmlDType::Q4K | GgmlDType::Q5K | GgmlDType::Q6K => {
                set > InstructionSet::Portable
            }
            _ => false,
        }
    }

    /// Width of what goes in.
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Values that share a scale when an input of this matrix is rounded.
    pub(crate) fn block(&self) -> usize {
        self.block
    }

    fn tile_count(&self) -> usize {
        self.columns.div_ceil(TILE_COLUMNS)
    }
}

fn pack_any(
    kind: GgmlDType,
    bytes: &[u8],
    columns: usize,
    set: InstructionSet,
    space: &mut Space,
    threads: &mut Threads,
) -> Option<Result<Packed, Error>> {
    Some(match kind {
        GgmlDType::Q4_0 => pack::<Q4_0>(bytes, columns, set, space, threads),
        GgmlDType::Q5_0 => pack::<Q5_0>(bytes, columns, set, space, threads),
        GgmlDType::Q8_0 => pack::<Q8_0>(bytes, columns, set, space, threads),
        GgmlDType::Q4K => pack::<Q4K>(bytes, columns, set, space, threads),
        GgmlDType::Q5K => pack::<Q5K>(bytes, columns, set, space, threads),
        GgmlDType::Q6K => pack::<Q6K>(bytes, columns, set, space, threads),
        _ => return None,
    })
}

fn pack<F: Format>(
    bytes: &[u8],
    columns: usize,
    set: InstructionSet,
    space: &mut Space,
    threads: &mut Threads,
) -> Result<Packed, Error> {
    let column_bytes = bytes.len() / columns;
    let blocks = column_bytes / F::BLOCK_BYTES;
    let tile_bytes = blocks * F::TILE_BYTES;
    let mut tiles = space.take(columns.div_ceil(TILE_COLUMNS) * tile_bytes)?;
    threads.chunks(&mut tiles, tile_bytes, |index, tile| {
        let first = index * TILE_COLUMNS;
        for column in first..(first + TILE_COLUMNS).min(columns) {
            let blocks = bytes[column * column_bytes..(column + 1) * column_bytes].chunks_exact(F::BLOCK_BYTES);
            for (block, tile) in blocks.zip(tile.chunks_exact_mut(F::TILE_BYTES)) {
                F::pack(block, column - first, tile);
            }
        }
    });
    Ok(Packed { tiles, columns, inputs: blocks * F::BLOCK, block: F::BLOCK, kernel: kernel::<F>(set) })
}

/// One of several products with the same input; `output` is `[rows, columns]`.
pub(crate) struct Product<'a> {
    pub(crate) weights: &'a Packed,
    pub(crate) output: &'a mut [f32],
}

/// Computes several products with one input, which is rounded in blocks of what each of their weights asks for.
pub(crate) fn multiply(products: &mut [Product<'_>], input: &Rounded, threads: &mut Threads) {
    let rows = input.rows();
    let tasks: Vec<(Task<'_>, Kernel, usize)> = products
        .iter_mut()
        .map(|Product { weights, output }| {
            assert_eq!(
                (input.columns(), input.block(), output.len()),
                (weights.inputs, weights.block, rows * weights.columns),
                "a product whose parts do not fit together"
            );
            let output = output.as_mut_ptr();
            let task = Task { weights: &weights.tiles, input, output, columns: weights.columns };
            (task, weights.kernel, weights.tile_count())
        })
        .collect();
    // Tiles are multiplied two by two where many rows are.
    let each = (WORK_EACH / (rows * input.columns() * TILE_COLUMNS).max(1)).max(1).next_multiple_of(2);
    let shares = apart(shares(tasks.iter().map(|(_, _, tiles)| *tiles), each), threads.count());
    threads.run(shares.len(), &|share| {
        let (index, tiles) = &shares[share];
        let (task, kernel, _) = &tasks[*index];
        // SAFETY: the kernel was chosen for instructions this processor has, the assertion above holds sizes together,
        // and every tile is in one share.
        unsafe { kernel(task, tiles.clone()) };
    });
}

/// Cuts products of so many tiles into shares of at most `each`: the product's number, and the tiles.
pub(super) fn shares(tiles: impl Iterator<Item = usize>, each: usize) -> Vec<(usize, Range<usize>)> {
    let cut = |(index, tiles)| (0..tiles).step_by(each).map(move |first| (index, first..(first + each).min(tiles)));
    tiles.enumerate().flat_map(cut).collect()
}

/// Reorders shares so that `count` threads that take the next one in turn work far from each other: rows of results of
/// neighbouring tiles lie in the same lines of the caches, and a thread's next weights follow its last ones.
pub(super) fn apart<T: Clone>(shares: Vec<T>, count: usize) -> Vec<T> {
    let each = shares.len().div_ceil(count).max(1);
    (0..each).flat_map(|place| shares.iter().skip(place).step_by(each).cloned()).collect()
}

#[cfg(test)]
mod tests;
