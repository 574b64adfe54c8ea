//! Types with blocks of 32: one product of each block, then as every other instruction set does it.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::{Piece, Turns, prefetch};
use crate::kernels::activations::ROWS;
use crate::kernels::format::blocks::{BLOCK, Block, PAIRS, SCALES};
use crate::kernels::format::{Format, REGISTER};
use crate::kernels::lanes::avx512::Avx512Vnni;
use crate::kernels::lanes::{Lanes, TILE_COLUMNS};

/// Blocks of a tile that are unpacked at a time.
const AT_ONCE: usize = 16;
/// Blocks whose products are computed together.
const TOGETHER: usize = 2;

/// Weights of two tiles as signed bytes, and their scales.
#[repr(C, align(64))]
struct Unpacked {
    weights: [[[[u8; REGISTER]; BLOCK / 4]; AT_ONCE]; 2],
    scales: [[[f32; TILE_COLUMNS]; AT_ONCE]; 2],
}

/// Sixteen rows whose products with some blocks are there.
#[derive(Clone, Copy)]
struct Computed {
    first: usize,
    /// The first of the blocks, counted from those unpacked.
    block: usize,
    blocks: usize,
    turn: usize,
}

/// [`Format::accumulate_amx`] of the types with blocks of 32.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(in crate::kernels) unsafe fn accumulate_blocks<B: Block + Format, const TILES: usize>(piece: &Piece<'_>) {
    let mut unpacked = MaybeUninit::<Unpacked>::uninit();
    let mut results = MaybeUninit::<Turns>::uninit();
    // SAFETY: as the caller promises; of the arrays above nothing is read that was not written.
    unsafe {
        let (unpacked, results) = (unpacked.as_mut_ptr(), results.as_mut_ptr());
        let result = |turn: usize, index: usize| (&raw mut (*results)[turn][index]).cast::<i32>();
        let weights = |tile: usize, block: usize| (&raw mut (*unpacked).weights[tile][block]).cast::<u8>();
        let scales = |tile: usize, block: usize| (&raw mut (*unpacked).scales[tile][block]).cast::<f32>();
        let stride = piece.task.input.stride();
        let mut turn = 0;
        for begin in (0..piece.blocks).step_by(AT_ONCE) {
            let count = (piece.blocks - begin).min(AT_ONCE);
            for tile in 0..TILES {
                for block in 0..count {
                    let at = piece.tile::<B>(tile, begin + block);
                    prefetch(at.wrapping_add(AT_ONCE * B::TILE_BYTES), B::TILE_BYTES);
                    unpack::<B>(at, weights(tile, block));
                    _mm512_store_ps(scales(tile, block), Avx512Vnni::load_halves(at));
                }
            }
            let mut before: Option<Computed> = None;
            for first in piece.rows.clone().step_by(ROWS) {
                for block in (0..count).step_by(TOGETHER) {
                    let computed = Computed { first, block, blocks: (count - block).min(TOGETHER), turn };
                    let input = piece.task.input.input(first, begin + block).values;
                    tile_zero!("0");
                    tile_load!("4", input, stride);
                    tile_load!("6", weights(0, block), REGISTER);
                    tile_products!("tdpbssd", "0", "4", "6");
                    if TILES == 2 {
                        tile_zero!("1");
                        tile_load!("7", weights(1, block), REGISTER);
                        tile_products!("tdpbssd", "1", "4", "7");
                    }
                    if computed.blocks == TOGETHER {
                        tile_zero!("2");
                        tile_load!("5", input.add(BLOCK), stride);
                        tile_load!("6", weights(0, block + 1), REGISTER);
                        tile_products!("tdpbssd", "2", "5", "6");
                        if TILES == 2 {
                            tile_zero!("3");
                            tile_load!("7", weights(1, block + 1), REGISTER);
                            tile_products!("tdpbssd", "3", "5", "7");
                        }
                    }
                    if let Some(before) = before {
                        finish::<TILES>(piece, before, begin, scales, |index| result(before.turn, index));
                    }
                    tile_store!("0", result(turn, 0));
                    if TILES == 2 {
                        tile_store!("1", result(turn, 1));
                    }
                    if computed.blocks == TOGETHER {
                        tile_store!("2", result(turn, 2));
                        if TILES == 2 {
                            tile_store!("3", result(turn, 3));
                        }
                    }
                    before = Some(computed);
                    turn = 1 - turn;
                }
            }
            if let Some(before) = before {
                finish::<TILES>(piece, before, begin, scales, |index| result(before.turn, index));
            }
        }
    }
}

/// A tile's block as signed bytes.
#[inline(always)]
unsafe fn unpack<B: Block>(tile: *const u8, weights: *mut u8) {
    // SAFETY: the caller says that it is a tile, and that there is room.
    unsafe {
        let offset = _mm512_set1_epi8(B::OFFSET as u8 as i8);
        for pair in 0..PAIRS {
            let (first, second) = B::unpack::<Avx512Vnni>(tile.add(SCALES), pair);
            _mm512_store_si512(weights.add(pair * 2 * REGISTER).cast(), _mm512_sub_epi8(first, offset));
            _mm512_store_si512(weights.add((pair * 2 + 1) * REGISTER).cast(), _mm512_sub_epi8(second, offset));
        }
    }
}

/// Adds what was computed to the sums.
#[inline(always)]
unsafe fn finish<const TILES: usize>(
    piece: &Piece<'_>,
    computed: Computed,
    begin: usize,
    scales: impl Fn(usize, usize) -> *mut f32,
    results: impl Fn(usize) -> *mut i32,
) {
    let Computed { first, block, blocks, .. } = computed;
    // SAFETY: the rows exist, and their products are there.
    unsafe {
        for index in 0..(piece.rows.end - first).min(ROWS) {
            let at = index * TILE_COLUMNS;
            let row = first + index;
            let mut values = [_mm512_setzero_ps(); TILES];
            for tile in 0..TILES {
                values[tile] = piece.sum(tile, row, begin + block);
            }
            for part in 0..blocks {
                let input = _mm512_set1_ps(piece.task.input.input(row, begin + block + part).scale);
                for tile in 0..TILES {
                    let products = _mm512_cvtepi32_ps(_mm512_load_si512(results(part * 2 + tile).add(at).cast()));
                    let scale = _mm512_mul_ps(_mm512_load_ps(scales(tile, block + part)), input);
                    values[tile] = _mm512_fmadd_ps(products, scale, values[tile]);
                }
            }
            for tile in 0..TILES {
                piece.add(tile, row, begin + block + blocks - 1, values[tile]);
            }
        }
    }
}
