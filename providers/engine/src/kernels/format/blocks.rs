//! Q8_0, Q5_0 and Q4_0: blocks of 32 weights with one half-precision scale. Activations are rounded in blocks of 32 too.

use super::{Format, Input, REGISTER, byte_at, pack_low, unpack_low};
#[cfg(target_arch = "x86_64")]
use crate::kernels::amx;
use crate::kernels::lanes::{Lanes, TILE_COLUMNS};
use crate::kernels::lines::LINE;
use crate::kernels::product::prefetch;

pub(in super::super) const BLOCK: usize = 32;
/// A half-precision number for each column.
pub(in super::super) const SCALES: usize = 2 * TILE_COLUMNS;
/// Eight weights each.
pub(in super::super) const PAIRS: usize = BLOCK / 8;

/// What sets the three types apart: a tile is the scales, then the weights.
pub(in super::super) trait Block {
    /// What is subtracted of each stored weight.
    const OFFSET: i32;

    /// The eight weights of a pair, unsigned; `weights` points behind the scales, at these columns' first bytes.
    unsafe fn unpack<L: Lanes>(weights: *const u8, pair: usize) -> (L::Bytes, L::Bytes);
}

pub(in super::super) struct Q8_0;
pub(in super::super) struct Q5_0;
pub(in super::super) struct Q4_0;

/// Stored with 128 added, because one factor of a byte product is unsigned.
impl Block for Q8_0 {
    const OFFSET: i32 = 128;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(weights: *const u8, pair: usize) -> (L::Bytes, L::Bytes) {
        // SAFETY: the tile holds four pairs of registers.
        unsafe { (L::load(weights.add(pair * 2 * REGISTER)), L::load(weights.add((pair * 2 + 1) * REGISTER))) }
    }
}

// SAFETY: a tile is 32 bytes of scales and 512 of weights; `accumulate_block` reads those.
unsafe impl Format for Q8_0 {
    const BLOCK: usize = BLOCK;
    const BLOCK_BYTES: usize = 34;
    const TILE_BYTES: usize = SCALES + BLOCK * TILE_COLUMNS;

    fn pack(block: &[u8], column: usize, tile: &mut [u8]) {
        let (scales, weights) = tile.split_at_mut(SCALES);
        scales[column * 2..column * 2 + 2].copy_from_slice(&block[..2]);
        for (index, weight) in block[2..].iter().enumerate() {
            weights[byte_at(index, column)] = weight ^ 0x80;
        }
    }

    #[inline(always)]
    unsafe fn accumulate<L: Lanes, const ROWS: usize, const FIRST: bool>(
        tile: *const u8,
        inputs: &[Input; ROWS],
        sums: &mut [[L::Floats; 2]; ROWS],
    ) {
        // SAFETY: as the trait says.
        unsafe { accumulate_block::<Q8_0, L, ROWS, FIRST>(tile, inputs, sums) }
    }

    #[cfg(target_arch = "x86_64")]
    const FEWEST_AMX_ROWS: usize = 10;

    #[cfg(target_arch = "x86_64")]
    unsafe fn accumulate_amx<const TILES: usize>(piece: &amx::Piece<'_>) {
        // SAFETY: as the trait says.
        unsafe { amx::accumulate_blocks::<Q8_0, TILES>(piece) }
    }
}

/// Low halves as [`pack_low`] leaves them, then the fifth bits: of each column's byte `j`, bit `i` belongs to weight
/// `4 i + j`.
impl Block for Q5_0 {
    const OFFSET: i32 = 16;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(weights: *const u8, pair: usize) -> (L::Bytes, L::Bytes) {
        // SAFETY: the tile holds four registers of low halves and one of fifth bits.
        unsafe {
            let (first, second) = unpack_low::<L>(weights.add(pair * REGISTER));
            let bits = L::load(weights.add(PAIRS * REGISTER));
            let fifth = L::splat_byte(16);
            let (first_bits, second_bits) = match pair {
                0 => (L::shift_left::<4>(bits), L::shift_left::<3>(bits)),
                1 => (L::shift_left::<2>(bits), L::shift_left::<1>(bits)),
                2 => (bits, L::shift_right::<1>(bits)),
                _ => (L::shift_right::<2>(bits), L::shift_right::<3>(bits)),
            };
            (L::or(first, L::and(first_bits, fifth)), L::or(second, L::and(second_bits, fifth)))
        }
    }
}

// SAFETY: a tile is 32 bytes of scales, 256 of low halves and 64 of fifth bits; `accumulate_block` reads those.
unsafe impl Format for Q5_0 {
    const BLOCK: usize = BLOCK;
    const BLOCK_BYTES: usize = 22;
    const TILE_BYTES: usize = SCALES + (PAIRS + 1) * REGISTER;

    fn pack(block: &[u8], column: usize, tile: &mut [u8]) {
        let (scales, weights) = tile.split_at_mut(SCALES);
        scales[column * 2..column * 2 + 2].copy_from_slice(&block[..2]);
        let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
        pack_low(&split_halves(&block[6..]), column, weights);
        let bits = &mut weights[PAIRS * REGISTER + column * 4..][..4];
        for (byte, bits) in bits.iter_mut().enumerate() {
            *bits = (0..8).map(|index| ((fifth >> (4 * index + byte) & 1) as u8) << index).sum();
        }
    }

    #[inline(always)]
    unsafe fn accumulate<L: Lanes, const ROWS: usize, const FIRST: bool>(
        tile: *const u8,
        inputs: &[Input; ROWS],
        sums: &mut [[L::Floats; 2]; ROWS],
    ) {
        // SAFETY: as the trait says.
        unsafe { accumulate_block::<Q5_0, L, ROWS, FIRST>(tile, inputs, sums) }
    }

    #[cfg(target_arch = "x86_64")]
    const FEWEST_AMX_ROWS: usize = 10;

    #[cfg(target_arch = "x86_64")]
    unsafe fn accumulate_amx<const TILES: usize>(piece: &amx::Piece<'_>) {
        // SAFETY: as the trait says.
        unsafe { amx::accumulate_blocks::<Q5_0, TILES>(piece) }
    }
}

impl Block for Q4_0 {
    const OFFSET: i32 = 8;

    #[inline(always)]
    unsafe fn unpack<L: Lanes>(weights: *const u8, pair: usize) -> (L::Bytes, L::Bytes) {
        // SAFETY: the tile holds four registers of halves.
        unsafe { unpack_low::<L>(weights.add(pair * REGISTER)) }
    }
}

// SAFETY: a tile is 32 bytes of scales and 256 of weights; `accumulate_block` reads those.
unsafe impl Format for Q4_0 {
    const BLOCK: usize = BLOCK;
    const BLOCK_BYTES: usize = 18;
    const TILE_BYTES: usize = SCALES + PAIRS * REGISTER;

    fn pack(block: &[u8], column: usize, tile: &mut [u8]) {
        let (scales, weights) = tile.split_at_mut(SCALES);
        scales[column * 2..column * 2 + 2].copy_from_slice(&block[..2]);
        pack_low(&split_halves(&block[2..]), column, weights);
    }

    #[inline(always)]
    unsafe fn accumulate<L: Lanes, const ROWS: usize, const FIRST: bool>(
        tile: *const u8,
        inputs: &[Input; ROWS],
        sums: &mut [[L::Floats; 2]; ROWS],
    ) {
        // SAFETY: as the trait says.
        unsafe { accumulate_block::<Q4_0, L, ROWS, FIRST>(tile, inputs, sums) }
    }

    #[cfg(target_arch = "x86_64")]
    const FEWEST_AMX_ROWS: usize = 10;

    #[cfg(target_arch = "x86_64")]
    unsafe fn accumulate_amx<const TILES: usize>(piece: &amx::Piece<'_>) {
        // SAFETY: as the trait says.
        unsafe { amx::accumulate_blocks::<Q4_0, TILES>(piece) }
    }
}

/// The 32 four-bit numbers of a block: ggml keeps the first half in low halves, the second in high ones.
fn split_halves(bytes: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|index| if index < 16 { bytes[index] & 15 } else { bytes[index - 16] >> 4 })
}

/// `sum += weight scale * activation scale * whole product`.
#[inline(always)]
unsafe fn accumulate_block<B: Block + Format, L: Lanes, const ROWS: usize, const FIRST: bool>(
    tile: *const u8,
    inputs: &[Input; ROWS],
    sums: &mut [[L::Floats; 2]; ROWS],
) {
    // SAFETY: as the callers promise.
    unsafe {
        if FIRST {
            prefetch::<L, ROWS>(tile, 0..B::TILE_BYTES.div_ceil(LINE));
        }
        for part in 0..TILE_COLUMNS / L::COLUMNS {
            let column = part * L::COLUMNS;
            let weights = tile.add(SCALES + column * 4);
            let mut products = [L::splat_int(0); ROWS];
            for row in 0..ROWS {
                let sum = i32::from(*inputs[row].sums_of_32);
                products[row] = if B::OFFSET == 128 { L::begin_biased(sum) } else { L::splat_int(-B::OFFSET * sum) };
            }
            for pair in 0..PAIRS {
                let (first, second) = B::unpack::<L>(weights, pair);
                for row in 0..ROWS {
                    let values = inputs[row].values.add(pair * 8);
                    if B::OFFSET == 128 {
                        products[row] = L::dot_biased(products[row], first, L::splat_four(values));
                        products[row] = L::dot_biased(products[row], second, L::splat_four(values.add(4)));
                    } else {
                        products[row] = L::dot(products[row], first, L::splat_four(values));
                        products[row] = L::dot(products[row], second, L::splat_four(values.add(4)));
                    }
                }
            }
            let scales = L::load_halves(tile.add(column * 2));
            for row in 0..ROWS {
                let scale = L::multiply(scales, L::splat(inputs[row].scale));
                sums[row][part] = L::multiply_add(L::to_floats(products[row]), scale, sums[row][part]);
            }
        }
    }
}
