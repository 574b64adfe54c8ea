//! Types with blocks of 32: one product of each block, then as every other instruction set does it.

use std::arch::x86_64::*;

use super::{Piece, Results, prefetch};
use crate::kernels::activations::ROWS;
use crate::kernels::format::blocks::{BLOCK, Block, PAIRS, SCALES};
use crate::kernels::format::{Format, REGISTER};
use crate::kernels::lanes::avx512::Avx512Vnni;
use crate::kernels::lanes::{Lanes, TILE_COLUMNS};
use crate::kernels::lines::LINE;

mod few;
mod many;

/// Products under way, each in its register: one is computed, one is on its way to memory, and one is being finished.
const RING: usize = 4;
/// Turns of sixteen rows for which unpacking weights once and putting sums down in between is better than the other way round.
const MANY_TURNS: usize = 3;

/// Scales of a product: of its columns, and of its rows.
#[derive(Clone, Copy)]
struct Scales {
    columns: *const f32,
    rows: *const f32,
}

/// Sums of sixteen rows; they stay in registers while blocks pass by.
type Sums = [__m512; ROWS];

/// [`Format::accumulate_amx`] of the types with blocks of 32.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(in crate::kernels) unsafe fn accumulate_blocks<B: Block + Format, const TILES: usize>(piece: &Piece<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        if piece.rows.len().div_ceil(ROWS) >= MANY_TURNS {
            return many::accumulate::<B, TILES>(piece);
        }
        for tile in 0..TILES {
            for first in piece.rows.clone().step_by(ROWS) {
                if first == 0 {
                    few::accumulate::<B, true>(piece, tile, first);
                } else {
                    few::accumulate::<B, false>(piece, tile, first);
                }
            }
        }
    }
}

/// A tile's block as signed bytes, and its scales.
#[inline(always)]
unsafe fn unpack<B: Block + Format>(tile: *const u8, (weights, scales): (*mut u8, *mut f32)) {
    // SAFETY: the caller says that it is a tile, and that there is room.
    unsafe {
        _mm512_store_ps(scales, Avx512Vnni::load_halves(tile));
        let offset = _mm512_set1_epi8(B::OFFSET as u8 as i8);
        for pair in 0..PAIRS {
            let (first, second) = B::unpack::<Avx512Vnni>(tile.add(SCALES), pair);
            _mm512_store_si512(weights.add(pair * 2 * REGISTER).cast(), _mm512_sub_epi8(first, offset));
            _mm512_store_si512(weights.add((pair * 2 + 1) * REGISTER).cast(), _mm512_sub_epi8(second, offset));
        }
    }
}

/// A block that adds nothing.
#[inline(always)]
unsafe fn clear((weights, scales): (*mut u8, *mut f32)) {
    // SAFETY: the caller says that there is room.
    unsafe {
        weights.write_bytes(0, BLOCK / 4 * REGISTER);
        scales.write_bytes(0, TILE_COLUMNS);
    }
}

/// Adds a product of sixteen rows to their sums; meanwhile asks for a block.
#[inline(always)]
unsafe fn finish<B: Block + Format>(sums: &mut Sums, product: *const i32, scales: Scales, ask: Option<*const u8>) {
    // SAFETY: the caller says that the product and the scales are there.
    unsafe {
        let columns = _mm512_load_ps(scales.columns);
        for row in 0..ROWS {
            if let Some(ask) = ask
                && row < B::TILE_BYTES.div_ceil(LINE)
            {
                Avx512Vnni::prefetch_far(ask.wrapping_add(row * LINE));
            }
            let product = _mm512_cvtepi32_ps(_mm512_load_si512(product.add(row * TILE_COLUMNS).cast()));
            let scale = _mm512_mul_ps(columns, _mm512_set1_ps(*scales.rows.add(row)));
            sums[row] = _mm512_fmadd_ps(product, scale, sums[row]);
        }
    }
}

/// Puts the sums up to a block where the next blocks, or the product's reader, will take them up.
#[inline(always)]
unsafe fn put(piece: &Piece<'_>, tile: usize, first: usize, block: usize, sums: &Sums) {
    for index in 0..ROWS {
        if first + index < piece.rows.end {
            // SAFETY: the row exists.
            unsafe { piece.add(tile, first + index, block, sums[index]) };
        }
    }
}
