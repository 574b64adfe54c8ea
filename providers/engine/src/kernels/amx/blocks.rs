//! Types with blocks of 32: one product of each block, then as every other instruction set does it.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::{Piece, Results, prefetch};
use crate::kernels::activations::ROWS;
use crate::kernels::format::blocks::{BLOCK, Block, PAIRS, SCALES};
use crate::kernels::format::{Format, REGISTER};
use crate::kernels::lanes::avx512::Avx512Vnni;
use crate::kernels::lanes::{Lanes, TILE_COLUMNS};
use crate::kernels::product::{LINE, share};

/// Blocks of a tile that are unpacked at a time: where many rows follow, more, so that their sums are put down less often; where few
/// do, fewer, so that memory is read evenly.
const AT_ONCE_FOR_MANY: usize = 16;
const AT_ONCE_FOR_FEW: usize = 8;
/// Turns of sixteen rows that are many.
const MANY_TURNS: usize = 4;
/// Blocks whose lines are asked for together: of one block these are one or two a turn, and the processor guesses wrong which.
const TOGETHER: usize = 2;
/// Products under way, each in its register: one is computed, one is on its way to memory, and one is being finished.
const RING: usize = 4;

/// Weights of two tiles as signed bytes, and their scales.
#[repr(C, align(64))]
struct Unpacked {
    weights: [[[[u8; REGISTER]; BLOCK / 4]; AT_ONCE_FOR_MANY]; 2],
    scales: [[[f32; TILE_COLUMNS]; AT_ONCE_FOR_MANY]; 2],
}

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
    let mut unpacked = MaybeUninit::<Unpacked>::uninit();
    let mut ring = MaybeUninit::<[Results; RING]>::uninit();
    // SAFETY: as the caller promises; of the arrays above nothing is read that was not written.
    unsafe {
        let (unpacked, ring) = (unpacked.as_mut_ptr(), ring.as_mut_ptr());
        let result = |index: usize| (&raw mut (*ring)[index]).cast::<i32>();
        let weights = |tile: usize, block: usize| (&raw mut (*unpacked).weights[tile][block]).cast::<u8>();
        let column_scales = |tile: usize, block: usize| (&raw mut (*unpacked).scales[tile][block]).cast::<f32>();
        let stride = piece.task.input.stride();
        let turns = piece.rows.len().div_ceil(ROWS);
        let at_once = if turns < MANY_TURNS { AT_ONCE_FOR_FEW } else { AT_ONCE_FOR_MANY };
        for done in (0..piece.blocks).step_by(at_once) {
            let count = (piece.blocks - done).min(at_once);
            let last = done + count - 1;
            for tile in 0..TILES {
                for block in 0..count.next_multiple_of(RING) {
                    let to = (weights(tile, block), column_scales(tile, block));
                    if block < count { unpack::<B>(piece.tile::<B>(tile, done + block), to) } else { clear(to) }
                }
            }
            let mut sums = [_mm512_setzero_ps(); ROWS];
            // What the sums are of, and the two products that are not in them yet.
            let mut before: Option<(usize, usize, [Scales; 2])> = None;
            for first in piece.rows.clone().step_by(ROWS) {
                let lines = share((TOGETHER * B::TILE_BYTES).div_ceil(LINE), (first - piece.rows.start) / ROWS, turns);
                let (values, rows) =
                    (piece.task.input.input(first, done).values, piece.task.input.scales_of_rows(first, done));
                let input = |block: usize| values.add(block.min(count - 1) * BLOCK);
                for tile in 0..TILES {
                    let next = match done + at_once < piece.blocks {
                        true => piece.tile::<B>(tile, done + at_once),
                        false => piece.tile::<B>(tile + TILES, 0),
                    };
                    let scales = |block: usize| Scales {
                        columns: column_scales(tile, block),
                        rows: rows.add(block.min(count - 1) * ROWS),
                    };
                    macro_rules! begin {
                        ($sums:literal, $activations:literal, $weights:literal, $block:expr) => {
                            if $block % TOGETHER == 0 {
                                prefetch(next.wrapping_add($block * B::TILE_BYTES), lines.clone());
                            }
                            tile_zero!($sums);
                            tile_load!($activations, input($block), stride);
                            tile_load!($weights, weights(tile, $block), REGISTER);
                            tile_products!("tdpbssd", $sums, $activations, $weights);
                        };
                    }
                    for block in (0..count).step_by(RING) {
                        begin!("0", "4", "6", block);
                        if let Some((_, _, waiting)) = before {
                            finish(&mut sums, result(2), waiting[0]);
                            tile_store!("3", result(3));
                        }
                        begin!("1", "5", "7", block + 1);
                        if let Some((_, _, waiting)) = before {
                            finish(&mut sums, result(3), waiting[1]);
                        }
                        tile_store!("0", result(0));
                        if block == 0 {
                            if let Some((tile, first, _)) = before {
                                put(piece, tile, first, last, &sums);
                            }
                            take(piece, tile, first, done, &mut sums);
                        }
                        begin!("2", "4", "6", block + 2);
                        finish(&mut sums, result(0), scales(block));
                        tile_store!("1", result(1));
                        begin!("3", "5", "7", block + 3);
                        finish(&mut sums, result(1), scales(block + 1));
                        tile_store!("2", result(2));
                        before = Some((tile, first, [scales(block + 2), scales(block + 3)]));
                    }
                }
            }
            if let Some((tile, first, waiting)) = before {
                finish(&mut sums, result(2), waiting[0]);
                tile_store!("3", result(3));
                finish(&mut sums, result(3), waiting[1]);
                put(piece, tile, first, last, &sums);
            }
        }
    }
}

/// Takes up the sums of sixteen rows where the blocks before left them.
#[inline(always)]
unsafe fn take(piece: &Piece<'_>, tile: usize, first: usize, block: usize, sums: &mut Sums) {
    for index in 0..ROWS {
        // SAFETY: the rows exist, and their sums up to this block were put there.
        sums[index] = unsafe {
            if first + index < piece.rows.end { piece.sum(tile, first + index, block) } else { _mm512_setzero_ps() }
        };
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

/// Adds a product of sixteen rows to their sums.
#[inline(always)]
unsafe fn finish(sums: &mut Sums, product: *const i32, scales: Scales) {
    // SAFETY: the caller says that the product and the scales are there.
    unsafe {
        let columns = _mm512_load_ps(scales.columns);
        for row in 0..ROWS {
            let product = _mm512_cvtepi32_ps(_mm512_load_si512(product.add(row * TILE_COLUMNS).cast()));
            let scale = _mm512_mul_ps(columns, _mm512_set1_ps(*scales.rows.add(row)));
            sums[row] = _mm512_fmadd_ps(product, scale, sums[row]);
        }
    }
}
