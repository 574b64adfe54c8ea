//! Many rows: the tile unit is what they wait for, so weights are unpacked once for all of them, some blocks at a time, and sums are put
//! down in between.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::{Piece, RING, Results, Scales, Sums, clear, finish, prefetch, put, unpack};
use crate::kernels::activations::ROWS;
use crate::kernels::format::blocks::{BLOCK, Block};
use crate::kernels::format::{Format, REGISTER};
use crate::kernels::lanes::TILE_COLUMNS;
use crate::kernels::lines::LINE;
use crate::kernels::product::share;

/// Blocks of a tile that are unpacked at a time.
const AT_ONCE: usize = 16;
/// Blocks whose lines are asked for together: of one block these are one or two a turn, and the processor guesses wrong which.
const TOGETHER: usize = 2;

/// Weights of two tiles as signed bytes, and their scales.
#[repr(C, align(64))]
struct Unpacked {
    weights: [[[[u8; REGISTER]; BLOCK / 4]; AT_ONCE]; 2],
    scales: [[[f32; TILE_COLUMNS]; AT_ONCE]; 2],
}

/// [`super::accumulate_blocks`] of many rows.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn accumulate<B: Block + Format, const TILES: usize>(piece: &Piece<'_>) {
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
        for done in (0..piece.blocks).step_by(AT_ONCE) {
            let count = (piece.blocks - done).min(AT_ONCE);
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
                    let next = match done + AT_ONCE < piece.blocks {
                        true => piece.tile::<B>(tile, done + AT_ONCE),
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
                            finish::<B>(&mut sums, result(2), waiting[0], None);
                            tile_store!("3", result(3));
                        }
                        begin!("1", "5", "7", block + 1);
                        if let Some((_, _, waiting)) = before {
                            finish::<B>(&mut sums, result(3), waiting[1], None);
                        }
                        tile_store!("0", result(0));
                        if block == 0 {
                            if let Some((tile, first, _)) = before {
                                put(piece, tile, first, last, &sums);
                            }
                            take(piece, tile, first, done, &mut sums);
                        }
                        begin!("2", "4", "6", block + 2);
                        finish::<B>(&mut sums, result(0), scales(block), None);
                        tile_store!("1", result(1));
                        begin!("3", "5", "7", block + 3);
                        finish::<B>(&mut sums, result(1), scales(block + 1), None);
                        tile_store!("2", result(2));
                        before = Some((tile, first, [scales(block + 2), scales(block + 3)]));
                    }
                }
            }
            if let Some((tile, first, waiting)) = before {
                finish::<B>(&mut sums, result(2), waiting[0], None);
                tile_store!("3", result(3));
                finish::<B>(&mut sums, result(3), waiting[1], None);
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
