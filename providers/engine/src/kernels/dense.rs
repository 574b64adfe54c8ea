//! Products with weights that are fractions in the file, F16, BF16 and F32, and inputs in single precision. Tiles of sixteen
//! columns again, one weight of each column after another; a sum is made in the order of the inputs with fused multiply-adds,
//! so it is the same on every instruction set, thread count and batch.

use std::ops::Range;

use candle_core::quantized::GgmlDType;

use super::instruction_set::InstructionSet;
use super::lanes::{Lanes, TILE_COLUMNS, portable::Portable};
use super::lines::LINE;
use super::packed::{WORK_EACH, apart, shares};
use super::product::{prefetch, store};
use super::space::{Space, Tiles};
use crate::error::Error;
use crate::threads::Threads;

/// Weights `[columns, inputs]` of a product, in tiles.
pub(crate) struct Dense {
    /// `[tiles, inputs, 16]`
    tiles: Tiles,
    columns: usize,
    inputs: usize,
    kernel: Kernel,
}

/// One of several products with the same input; `output` is `[rows, columns]`.
pub(crate) struct DenseProduct<'a> {
    pub(crate) weights: &'a Dense,
    pub(crate) output: &'a mut [f32],
}

impl Dense {
    /// Whether weights of a type are multiplied here. Without vector instructions candle is faster.
    pub(crate) fn has_form(kind: GgmlDType, set: InstructionSet) -> bool {
        matches!(kind, GgmlDType::F16 | GgmlDType::BF16 | GgmlDType::F32) && set > InstructionSet::Portable
    }

    /// Packs the weights of a tensor, whose bytes are whole; `None` for types that are not multiplied here. Fails when the
    /// system has no memory for it.
    pub(crate) fn pack(
        kind: GgmlDType,
        bytes: &[u8],
        columns: usize,
        set: InstructionSet,
        space: &mut Space,
        threads: &mut Threads,
    ) -> Option<Result<Dense, Error>> {
        Dense::has_form(kind, set).then(|| pack_any(kind, bytes, columns, set, space, threads))?
    }
}

fn pack_any(
    kind: GgmlDType,
    bytes: &[u8],
    columns: usize,
    set: InstructionSet,
    space: &mut Space,
    threads: &mut Threads,
) -> Option<Result<Dense, Error>> {
    Some(match kind {
        GgmlDType::F16 => pack::<F16>(bytes, columns, set, space, threads),
        GgmlDType::BF16 => pack::<Bf16>(bytes, columns, set, space, threads),
        GgmlDType::F32 => pack::<F32>(bytes, columns, set, space, threads),
        _ => return None,
    })
}

fn pack<W: Weight>(
    bytes: &[u8],
    columns: usize,
    set: InstructionSet,
    space: &mut Space,
    threads: &mut Threads,
) -> Result<Dense, Error> {
    let column_bytes = bytes.len() / columns;
    let tile_bytes = column_bytes * TILE_COLUMNS;
    let mut tiles = space.take(columns.div_ceil(TILE_COLUMNS) * tile_bytes)?;
    threads.chunks(&mut tiles, tile_bytes, |index, tile| {
        let columns = bytes.chunks_exact(column_bytes).skip(index * TILE_COLUMNS).take(TILE_COLUMNS);
        for (column, weights) in columns.enumerate() {
            for (weight, place) in weights.chunks_exact(W::BYTES).zip(tile.chunks_exact_mut(W::BYTES * TILE_COLUMNS)) {
                place[column * W::BYTES..(column + 1) * W::BYTES].copy_from_slice(weight);
            }
        }
    });
    Ok(Dense { tiles, columns, inputs: column_bytes / W::BYTES, kernel: kernel::<W>(set) })
}

/// How a weight lies in memory.
trait Weight {
    const BYTES: usize;

    /// One weight of each of [`Lanes::COLUMNS`] columns.
    unsafe fn load<L: Lanes>(at: *const u8) -> L::Floats;
}

struct F16;
struct Bf16;
struct F32;

impl Weight for F16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> L::Floats {
        // SAFETY: as the caller promises.
        unsafe { L::load_halves(at) }
    }
}

impl Weight for Bf16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> L::Floats {
        // SAFETY: as the caller promises.
        unsafe { L::load_short_floats(at) }
    }
}

impl Weight for F32 {
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> L::Floats {
        // SAFETY: as the caller promises; the load asks for no alignment.
        unsafe { L::load_floats(at.cast()) }
    }
}

/// Where a product's weights, inputs and results lie.
struct Task<'a> {
    weights: &'a [u8],
    /// `[rows, inputs]`
    input: &'a [f32],
    inputs: usize,
    /// `[rows, columns]`
    output: *mut f32,
    columns: usize,
}

// SAFETY: `output` is written at the columns of the tiles that a thread was given, and by no other thread.
unsafe impl Sync for Task<'_> {}

/// Computes several products with one input, `[rows, inputs]`.
pub(crate) fn multiply_dense(products: &mut [DenseProduct<'_>], input: &[f32], threads: &mut Threads) {
    let tasks: Vec<(Task<'_>, Kernel)> = products
        .iter_mut()
        .map(|DenseProduct { weights, output }| {
            let Dense { tiles, columns, inputs, kernel } = *weights;
            assert!(
                input.len().is_multiple_of(*inputs) && output.len() == input.len() / inputs * columns,
                "a product whose parts do not fit together"
            );
            let task = Task { weights: tiles, input, inputs: *inputs, output: output.as_mut_ptr(), columns: *columns };
            (task, *kernel)
        })
        .collect();
    let each = (WORK_EACH / (input.len() * TILE_COLUMNS).max(1)).max(1);
    let tiles = tasks.iter().map(|(task, _)| task.columns.div_ceil(TILE_COLUMNS));
    let shares = apart(shares(tiles, each), threads.count());
    threads.run(shares.len(), &|share| {
        let (index, tiles) = &shares[share];
        let (task, kernel) = &tasks[*index];
        // SAFETY: the kernel was chosen for instructions this processor has, the assertion above holds sizes together,
        // and every tile is in one share.
        unsafe { kernel(task, tiles.clone()) };
    });
}

/// Computes the columns of some tiles.
///
/// # Safety
/// The processor has the instructions this was chosen for, the task's parts fit together, and no other thread computes
/// the same tiles.
type Kernel = unsafe fn(&Task<'_>, Range<usize>);

fn kernel<W: Weight>(set: InstructionSet) -> Kernel {
    #[cfg(target_arch = "x86_64")]
    {
        use super::lanes::avx2::Avx2;
        use super::lanes::avx512::Avx512Vnni;

        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn avx2<W: Weight>(task: &Task<'_>, tiles: Range<usize>) {
            // SAFETY: as the caller promises.
            unsafe { multiply::<Avx2, W>(task, tiles) }
        }

        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
        unsafe fn avx512<W: Weight>(task: &Task<'_>, tiles: Range<usize>) {
            // SAFETY: as the caller promises.
            unsafe { multiply::<Avx512Vnni, W>(task, tiles) }
        }

        match set {
            InstructionSet::Portable => {}
            InstructionSet::Avx2 | InstructionSet::AvxVnni => return avx2::<W>,
            InstructionSet::Avx512Vnni | InstructionSet::Amx => return avx512::<W>,
        }
    }
    let _ = set;
    multiply::<Portable, W>
}

/// Tiles that stay near while all rows pass by.
const TILES_AT_ONCE: usize = 4;

#[inline(always)]
unsafe fn multiply<L: Lanes, W: Weight>(task: &Task<'_>, tiles: Range<usize>) {
    let rows = task.input.len() / task.inputs;
    for first in tiles.clone().step_by(TILES_AT_ONCE) {
        let tiles = first..(first + TILES_AT_ONCE).min(tiles.end);
        let mut row = 0;
        while row < rows {
            // Enough sums at once that none waits for its own last addition; eight-column registers are too few for more.
            // SAFETY: as the caller promises; these rows exist.
            row += unsafe {
                match rows - row {
                    1 => multiply_rows::<L, W, 1, 4>(task, &tiles, row),
                    2 | 3 if L::COLUMNS < TILE_COLUMNS => multiply_rows::<L, W, 2, 2>(task, &tiles, row),
                    2 | 3 => multiply_rows::<L, W, 2, 4>(task, &tiles, row),
                    _ if L::COLUMNS < TILE_COLUMNS => multiply_rows::<L, W, 4, 1>(task, &tiles, row),
                    4..8 => multiply_rows::<L, W, 4, 2>(task, &tiles, row),
                    _ => multiply_rows::<L, W, 8, 1>(task, &tiles, row),
                }
            };
        }
    }
}

/// Computes `ROWS` rows of some tiles' columns, `TILES` tiles at a time; returns how many rows that was.
#[inline(always)]
unsafe fn multiply_rows<L: Lanes, W: Weight, const ROWS: usize, const TILES: usize>(
    task: &Task<'_>,
    tiles: &Range<usize>,
    row: usize,
) -> usize {
    let mut tile = tiles.start;
    // SAFETY: as the caller promises.
    unsafe {
        while tile + TILES <= tiles.end {
            multiply_tiles::<L, W, ROWS, TILES>(task, tile, row);
            tile += TILES;
        }
        for tile in tile..tiles.end {
            multiply_tiles::<L, W, ROWS, 1>(task, tile, row);
        }
    }
    ROWS
}

#[inline(always)]
unsafe fn multiply_tiles<L: Lanes, W: Weight, const ROWS: usize, const TILES: usize>(
    task: &Task<'_>,
    tile: usize,
    row: usize,
) {
    let step = W::BYTES * TILE_COLUMNS;
    // SAFETY: tiles, inputs and rows exist; results go where the tiles' columns are.
    unsafe {
        let weights = task.weights.as_ptr().add(tile * task.inputs * step);
        let inputs = task.input.as_ptr().add(row * task.inputs);
        let mut sums = [[[L::splat(0.0); 2]; ROWS]; TILES];
        for input in 0..task.inputs {
            for (tile, sums) in sums.iter_mut().enumerate() {
                let at = weights.add((tile * task.inputs + input) * step);
                // Later rows find the tiles near.
                if row == 0 {
                    prefetch::<L, ROWS>(at, 0..step.div_ceil(LINE));
                }
                for part in 0..TILE_COLUMNS / L::COLUMNS {
                    let weights = W::load::<L>(at.add(part * L::COLUMNS * W::BYTES));
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let value = L::splat(*inputs.add(row * task.inputs + input));
                        sums[part] = L::multiply_add(weights, value, sums[part]);
                    }
                }
            }
        }
        for (index, sums) in sums.iter().enumerate() {
            let first = (tile + index) * TILE_COLUMNS;
            let width = (task.columns - first).min(TILE_COLUMNS);
            for (index, sums) in sums.iter().enumerate() {
                store::<L>(sums, task.output.add((row + index) * task.columns + first), width);
            }
        }
    }
}

#[cfg(test)]
mod tests;
