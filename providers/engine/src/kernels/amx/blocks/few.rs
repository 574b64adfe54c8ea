//! Few rows: memory is what they wait for, so weights are unpacked as they come, evenly, and sums stay in registers from a column's
//! first block to its last.

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::{Piece, RING, Results, Scales, Sums, clear, finish, put, unpack};
use crate::kernels::activations::ROWS;
use crate::kernels::format::blocks::{BLOCK, Block};
use crate::kernels::format::{Format, REGISTER};
use crate::kernels::lanes::TILE_COLUMNS;

/// Blocks whose scales are kept: those that are unpacked, and those being finished.
const SCALED: usize = 2 * RING;

/// Weights of the next blocks as signed bytes, and their scales.
#[repr(C, align(64))]
struct Unpacked {
    weights: [[[u8; REGISTER]; BLOCK / 4]; RING],
    scales: [[f32; TILE_COLUMNS]; SCALED],
}

/// Sixteen rows of a tile's columns. The `FIRST` find the tile in memory, and ask for what follows it; others find it in a cache.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
pub(super) unsafe fn accumulate<B: Block + Format, const FIRST: bool>(piece: &Piece<'_>, tile: usize, first: usize) {
    let mut unpacked = MaybeUninit::<Unpacked>::uninit();
    let mut ring = MaybeUninit::<[Results; RING]>::uninit();
    // SAFETY: as the caller promises; of the arrays above nothing is read that was not written.
    unsafe {
        let (unpacked, ring) = (unpacked.as_mut_ptr(), ring.as_mut_ptr());
        let result = |index: usize| (&raw mut (*ring)[index]).cast::<i32>();
        let weights = |block: usize| (&raw mut (*unpacked).weights[block % RING]).cast::<u8>();
        let column_scales = |block: usize| (&raw mut (*unpacked).scales[block % SCALED]).cast::<f32>();
        let blocks = piece.blocks;
        let unpack_block = |block: usize| {
            let to = (weights(block), column_scales(block));
            if block < blocks { unpack::<B>(piece.tile::<B>(tile, block), to) } else { clear(to) }
        };
        let ask = |block: usize| FIRST.then(|| piece.block::<B>(ahead(piece.index(tile, block))));
        let stride = piece.task.input.stride();
        let (values, rows) = (piece.task.input.input(first, 0).values, piece.task.input.scales_of_rows(first, 0));
        let scales =
            |block: usize| Scales { columns: column_scales(block), rows: rows.add(block.min(blocks - 1) * ROWS) };
        macro_rules! begin {
            ($sums:literal, $activations:literal, $weights:literal, $block:expr) => {
                tile_zero!($sums);
                tile_load!($activations, values.add($block.min(blocks - 1) * BLOCK), stride);
                tile_load!($weights, weights($block), REGISTER);
                tile_products!("tdpbssd", $sums, $activations, $weights);
                unpack_block($block + RING);
            };
        }
        let mut sums: Sums = [_mm512_setzero_ps(); ROWS];
        (0..RING).for_each(unpack_block);
        for block in (0..blocks).step_by(RING) {
            begin!("0", "4", "6", block);
            if block > 0 {
                finish::<B>(&mut sums, result(2), scales(block - 2), ask(block));
                tile_store!("3", result(3));
            }
            begin!("1", "5", "7", block + 1);
            if block > 0 {
                finish::<B>(&mut sums, result(3), scales(block - 1), ask(block + 1));
            }
            tile_store!("0", result(0));
            begin!("2", "4", "6", block + 2);
            finish::<B>(&mut sums, result(0), scales(block), ask(block + 2));
            tile_store!("1", result(1));
            begin!("3", "5", "7", block + 3);
            finish::<B>(&mut sums, result(1), scales(block + 1), ask(block + 3));
            tile_store!("2", result(2));
        }
        let end = blocks.next_multiple_of(RING);
        finish::<B>(&mut sums, result(2), scales(end - 2), ask(end));
        tile_store!("3", result(3));
        finish::<B>(&mut sums, result(3), scales(end - 1), ask(end + 1));
        put(piece, tile, first, blocks - 1, &sums);
    }
}

/// The block to ask for when one is read, both counted from the matrix's first: several places in memory are asked for side by side,
/// as in `product`, but by whole blocks, as there is no time here to find every line.
fn ahead(block: usize) -> usize {
    const PLACES: usize = 4;
    const WINDOW: usize = 64;
    let index = block % WINDOW;
    block - index + WINDOW + index % PLACES * (WINDOW / PLACES) + index / PLACES
}
